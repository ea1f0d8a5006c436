//! What the workers are given while faults happen, and what watches them from outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PARTITIONS;
use crate::kafka::Site;

const EVENTS_A_SECOND: u32 = 300;

/// What is wrong with the input, in thousandths of the events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noise {
    /// Records that cannot be judged, beside the events.
    pub poison: u32,
    /// Events that are sent a second time, later.
    pub again: u32,
    /// Events that change places with the next of their call.
    pub swapped: u32,
    /// Records that cannot be judged, at once and before everything else.
    pub burst: usize,
}

/// What was sent, in order.
#[derive(Debug, Default)]
pub struct Sent {
    pub events: Vec<String>,
    pub poison: Vec<String>,
}

/// The made-up calls over and over, each under a name of its own, as many abreast as a busy desk has.
pub struct Load {
    calls: Vec<Vec<serde_json::Value>>,
    open: Vec<(String, Vec<serde_json::Value>)>,
    begun: usize,
    random: StdRng,
    noise: Noise,
    abreast: usize,
}

impl Load {
    pub fn new(seed: u64, noise: Noise, abreast: usize) -> Self {
        let mut calls: Vec<Vec<serde_json::Value>> = Vec::new();
        for line in callward::simulation::CALLS.lines().filter(|line| !line.is_empty()) {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            match calls.last_mut().filter(|call| call[0]["call_id"] == event["call_id"]) {
                Some(call) => call.push(event),
                None => calls.push(vec![event]),
            }
        }
        // A call that never ends is told by time alone.
        calls.retain(|call| call.last().is_some_and(|event| event["type"] == "call_ended"));
        Self {
            calls,
            open: Vec::new(),
            begun: 0,
            random: StdRng::seed_from_u64(seed),
            noise,
            abreast,
        }
    }

    fn by_chance(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.random.random_range(0..1000) < thousandths
    }

    /// A call under its own name, last event first, with what is wrong with it.
    fn begin(&mut self) -> (String, Vec<serde_json::Value>) {
        let mut call = self.calls[self.begun % self.calls.len()].clone();
        let id = format!("{:05}-{}", self.begun, call[0]["call_id"].as_str().unwrap());
        self.begun += 1;
        call.iter_mut().for_each(|event| event["call_id"] = id.clone().into());
        for at in 1..call.len() {
            if self.by_chance(self.noise.swapped) {
                call.swap(at - 1, at);
            }
        }
        for at in (0..call.len()).rev() {
            if self.by_chance(self.noise.again) {
                let later = self.random.random_range(at + 1..=call.len());
                call.insert(later, call[at].clone());
            }
        }
        call.reverse();
        (id, call)
    }

    /// The next event, of any open call; at the end no call begins any more, and those that are open are told whole.
    fn next(&mut self, at_end: bool) -> Option<(String, String)> {
        while self.open.len() < self.abreast && !at_end {
            let call = self.begin();
            self.open.push(call);
        }
        if self.open.is_empty() {
            return None;
        }
        let at = self.random.random_range(0..self.open.len());
        let (id, call) = &mut self.open[at];
        let next = (id.clone(), call.pop().expect("a call with events left").to_string());
        if call.is_empty() {
            self.open.swap_remove(at);
        }
        Some(next)
    }

    /// A record that no door lets in; the last kind is an event that judging panics at.
    fn poison(&mut self, number: usize) -> (String, String) {
        let id = format!("fail-point-panic-{number}");
        let at = "2026-05-04T09:00:00.000Z";
        let line = match self.random.random_range(0..5) {
            0 => format!("not JSON, number {number}"),
            1 => format!("{{\"call_id\":{number},\"at\":\"{at}\",\"type\":\"call_started\"}}"),
            2 => format!("{{\"call_id\":\"{id}\",\"at\":\"yesterday\",\"type\":\"call_started\"}}"),
            3 => format!("[{number}]"),
            _ => format!("{{\"call_id\":\"{id}\",\"at\":\"{at}\",\"type\":\"call_started\"}}"),
        };
        (id, line)
    }

    /// Sends at a steady pace, whatever becomes of the workers, until told to end; what was sent.
    pub fn play(mut self, site: &Site, end: &Arc<AtomicBool>) -> JoinHandle<Sent> {
        let (producer, topic, end) = (site.producer(), site.topic("events"), end.clone());
        std::thread::spawn(move || {
            let (began, mut sent) = (Instant::now(), Sent::default());
            let send = |key: &str, line: &str| {
                let record = BaseRecord::to(&topic).key(key).payload(line);
                producer.send(record).map_err(|(error, _)| error).unwrap();
            };
            for number in 0..self.noise.burst {
                let (key, line) = self.poison(number);
                send(&key, &line);
                sent.poison.push(line);
            }
            while let Some((key, line)) = self.next(end.load(Ordering::Relaxed)) {
                let due = Duration::from_secs(1) * sent.events.len() as u32 / EVENTS_A_SECOND;
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                send(&key, &line);
                sent.events.push(line);
                if self.by_chance(self.noise.poison) {
                    let (key, line) = self.poison(sent.poison.len());
                    send(&key, &line);
                    sent.poison.push(line);
                }
            }
            producer.flush(Duration::from_secs(120)).unwrap();
            sent
        })
    }
}

/// Silence after which the checker connects anew.
const DEAF_AFTER: Duration = Duration::from_secs(15);

/// Reads committed scores while the faults happen.
pub struct Checker {
    stop: Arc<AtomicBool>,
    /// Scores that events caused.
    pub seen: Arc<AtomicUsize>,
    /// When each partition last had a score, and its longest silence since it was asked for.
    silences: Arc<Mutex<BTreeMap<i32, (Instant, Duration)>>>,
    /// Offset of the last score of each partition.
    offsets: Arc<Mutex<BTreeMap<i32, i64>>>,
    reading: JoinHandle<Vec<String>>,
}

impl Checker {
    pub fn start(site: &Site) -> Self {
        let topic = site.topic("scores");
        let (bootstrap, group) = (site.bootstrap.clone(), format!("{}-checker", site.name));
        let connect = move |reached: &BTreeMap<i32, i64>| {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &bootstrap)
                .set("group.id", &group)
                .set("isolation.level", "read_committed")
                .set("enable.auto.commit", "false")
                .create()
                .unwrap();
            let mut list = TopicPartitionList::new();
            for partition in 0..PARTITIONS {
                let next = reached.get(&partition).map(|offset| Offset::Offset(offset + 1));
                list.add_partition_offset(&topic, partition, next.unwrap_or(Offset::Beginning))
                    .unwrap();
            }
            consumer.assign(&list).unwrap();
            consumer
        };
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let silences: Arc<Mutex<BTreeMap<i32, (Instant, Duration)>>> = Arc::default();
        let (stopped, count, heard) = (stop.clone(), seen.clone(), silences.clone());
        let offsets: Arc<Mutex<BTreeMap<i32, i64>>> = Arc::default();
        let reached = offsets.clone();
        let reading = std::thread::spawn(move || {
            let mut wrong = Vec::new();
            let mut applied: HashMap<String, u64> = HashMap::new();
            let mut consumer = connect(&BTreeMap::new());
            let mut last = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                    // A client that is told of no broker at all, as when the only one is fenced for a moment, may ask
                    // nobody ever after: then it is the checker that has gone deaf.
                    if last.elapsed() > DEAF_AFTER {
                        consumer = connect(&reached.lock().unwrap());
                        last = Instant::now();
                    }
                    continue;
                };
                last = Instant::now();
                reached.lock().unwrap().insert(message.partition(), message.offset());
                heard
                    .lock()
                    .unwrap()
                    .entry(message.partition())
                    .and_modify(|(last, longest)| {
                        *longest = last.elapsed().max(*longest);
                        *last = Instant::now();
                    })
                    .or_insert((Instant::now(), Duration::ZERO));
                let score: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
                if score["cause"] != "event" {
                    continue;
                }
                let call = score["call_id"].as_str().unwrap().to_owned();
                let now = score["applied"].as_u64().unwrap();
                let before = applied.insert(call.clone(), now).unwrap_or(0);
                // An event that came twice is told of, and counts once.
                if now != before + u64::from(score["status"] == "applied") {
                    wrong.push(format!("{call}: applied went from {before} to {now}"));
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            wrong
        });
        Self {
            stop,
            seen,
            silences,
            offsets,
            reading,
        }
    }

    /// Where things stand: of each partition what was judged, where the scores end and where those that are decided end,
    /// and how far the checker has come.
    pub fn standing(&self, site: &Site) -> String {
        let consumer = |isolation: &str| -> BaseConsumer {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", &site.bootstrap);
            config.set("group.id", &site.name);
            config.set("isolation.level", isolation);
            config.create().unwrap()
        };
        let (all, decided) = (consumer("read_uncommitted"), consumer("read_committed"));
        let patience = Duration::from_secs(5);
        let end = |consumer: &BaseConsumer, kind: &str, partition| {
            let ends = consumer.fetch_watermarks(&site.topic(kind), partition, patience);
            ends.map_or(-1, |(_, end)| end)
        };
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(&site.topic("events"), partition);
        }
        let committed = all.committed_offsets(list, patience).unwrap();
        let offsets = self.offsets.lock().unwrap();
        let line = |partition: i32| {
            let judged = committed
                .find_partition(&site.topic("events"), partition)
                .map(|next| next.offset());
            let states =
                ["state", "scores", "alerts"].map(|kind| (end(&all, kind, partition), end(&decided, kind, partition)));
            format!(
                "{partition}: events judged to {judged:?} of {}; state, scores, alerts end at {states:?}; the checker is at {:?}",
                end(&all, "events", partition),
                offsets.get(&partition)
            )
        };
        (0..PARTITIONS).map(line).collect::<Vec<_>>().join("\n")
    }

    /// The longest that a partition had no score since the last question, a silence that lasts included.
    pub fn longest_silence(&self) -> Duration {
        let mut silences = self.silences.lock().unwrap();
        let longest = silences.values().map(|(last, longest)| last.elapsed().max(*longest));
        let longest = longest.max().unwrap_or_default();
        silences.values_mut().for_each(|silence| silence.1 = Duration::ZERO);
        longest
    }

    pub fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.reading.join().unwrap()
    }
}
