//! The fault matrix on a real Apache Kafka: workers are killed, paused and replaced under steady load, and from outside
//! it must look as if nothing had happened. The rows that run are listed in README, with those that do not.
//!
//! A reader of committed records watches while the faults happen: each call's running count must rise by one. In the
//! end every call's scores and alerts must be, byte for byte, those of `callward score` on the same events: nothing
//! lost, nothing said twice, no wrong running value.
//!
//! `CALLWARD_FAULT_SEED` replays a schedule, which is printed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Serve, Site, wait_until};

const PARTITIONS: i32 = 6;
const PROCESSES: usize = 3;
/// Calls that are on the line at the same time.
const ABREAST: usize = 30;
const EVENTS_A_SECOND: u32 = 300;
/// Nothing is told for silence alone: production goes on while workers do not.
const SETTINGS: &str = "[policy]\ncontact_lost_seconds = 600\n";

/// The made-up calls over and over, each under a name of its own, as many abreast as a busy desk has.
struct Load {
    calls: Vec<Vec<serde_json::Value>>,
    open: Vec<(String, Vec<serde_json::Value>)>,
    begun: usize,
    random: StdRng,
}

impl Load {
    fn new(seed: u64) -> Self {
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
        }
    }

    /// The next event, of any open call; at the end no call begins any more, and those that are open are told whole.
    fn next(&mut self, at_end: bool) -> Option<(String, String)> {
        while self.open.len() < ABREAST && !at_end {
            let mut call = self.calls[self.begun % self.calls.len()].clone();
            let id = format!("{:05}-{}", self.begun, call[0]["call_id"].as_str().unwrap());
            call.iter_mut().for_each(|event| event["call_id"] = id.clone().into());
            call.reverse();
            self.open.push((id, call));
            self.begun += 1;
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

    /// Sends at a steady pace, whatever becomes of the workers, until told to end; what was sent.
    fn play(mut self, site: &Site, end: &Arc<AtomicBool>) -> JoinHandle<Vec<String>> {
        let (producer, topic, end) = (site.producer(), site.topic("events"), end.clone());
        std::thread::spawn(move || {
            let (began, mut sent) = (Instant::now(), Vec::new());
            while let Some((key, line)) = self.next(end.load(Ordering::Relaxed)) {
                let due = Duration::from_secs(1) * sent.len() as u32 / EVENTS_A_SECOND;
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                let record = BaseRecord::to(&topic).key(&key).payload(&line);
                producer.send(record).map_err(|(error, _)| error).unwrap();
                sent.push(line);
            }
            producer.flush(Duration::from_secs(60)).unwrap();
            sent
        })
    }
}

/// Reads committed scores while the faults happen.
struct Checker {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
    reading: JoinHandle<Vec<String>>,
}

impl Checker {
    fn start(site: &Site) -> Self {
        let topic = site.topic("scores");
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &site.bootstrap)
            .set("group.id", format!("{}-checker", site.name))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (stop.clone(), seen.clone());
        let reading = std::thread::spawn(move || {
            let mut wrong = Vec::new();
            let mut applied: HashMap<String, u64> = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                    continue;
                };
                let score: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
                if score["cause"] != "event" {
                    continue;
                }
                let call = score["call_id"].as_str().unwrap().to_owned();
                let now = score["applied"].as_u64().unwrap();
                let before = applied.insert(call.clone(), now).unwrap_or(0);
                if now != before + 1 {
                    wrong.push(format!("{call}: applied went from {before} to {now}"));
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            wrong
        });
        Self { stop, seen, reading }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.reading.join().unwrap()
    }
}

/// What is done to the workers.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// F1: kill -9 at a random moment; another of its name comes back.
    Kill,
    /// F2: the process ends itself exactly after … of a commit.
    FailPoint(&'static str),
    /// F3: kill -9 of all together.
    KillAll,
    /// F4: SIGTERM; it ends in order, and another comes.
    Terminate,
    /// F5, F6, F7: stopped for so many seconds: shorter than a transaction, than a session, longer than both.
    Pause(u64),
    /// F8: another joins, and leaves at once.
    JoinAndLeave,
    /// F9: another of the same name; one of the two must end and say why, and is replaced by nobody.
    Twin,
}

const FAIL_POINTS: [&str; 4] = ["after_send", "after_drain", "after_offsets", "after_commit"];

struct Fleet<'s> {
    site: &'s Site,
    random: StdRng,
    processes: Vec<Option<Serve>>,
    kills: usize,
    schedule: String,
}

impl<'s> Fleet<'s> {
    fn new(site: &'s Site, seed: u64) -> Self {
        let mut fleet = Self {
            site,
            random: StdRng::seed_from_u64(seed),
            processes: Vec::new(),
            kills: 0,
            schedule: format!("seed {seed}:"),
        };
        for number in 0..PROCESSES {
            let process = fleet.start(number, None);
            fleet.processes.push(Some(process));
        }
        fleet
    }

    fn start(&self, number: usize, fail_point: Option<String>) -> Serve {
        let instance = format!("member-{number}");
        let mut environment = vec![
            ("CALLWARD_KAFKA__INSTANCE", instance.as_str()),
            ("CALLWARD_STREAM__WORKERS", "1"),
        ];
        if let Some(point) = &fail_point {
            environment.push(("CALLWARD_FAIL_POINT", point));
        }
        Serve::start_with(&self.site.config(), &environment)
    }

    fn replace(&mut self, number: usize, fail_point: Option<String>) {
        self.processes[number] = Some(self.start(number, fail_point));
    }

    fn kill(&mut self, number: usize) {
        if let Some(process) = self.processes[number].take() {
            process.kill();
            self.kills += 1;
        }
    }

    fn strike(&mut self, fault: Fault) {
        let number = self.random.random_range(0..PROCESSES);
        let _ = write!(self.schedule, " {fault:?}@{number}");
        match fault {
            Fault::Kill => {
                self.kill(number);
                self.replace(number, None);
            }
            Fault::FailPoint(point) => {
                let times = self.random.random_range(3..30);
                self.kill(number);
                self.replace(number, Some(format!("{point}:{times}")));
                let deadline = Instant::now() + Duration::from_secs(25);
                // It needs partitions and work before it comes by.
                while self.processes[number].as_mut().is_some_and(Serve::is_running) && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(20));
                }
                let ended = !self.processes[number].as_mut().unwrap().is_running();
                let _ = write!(self.schedule, "{}", if ended { "" } else { " (not reached)" });
                self.kills += usize::from(ended);
                self.processes[number] = None;
                self.replace(number, None);
            }
            Fault::KillAll => {
                (0..PROCESSES).for_each(|number| self.kill(number));
                (0..PROCESSES).for_each(|number| self.replace(number, None));
            }
            Fault::Terminate => {
                let process = self.processes[number].take().unwrap();
                let (code, took, log) = process.terminate();
                assert_eq!(code, Some(0), "{log}");
                assert!(took < Duration::from_secs(10), "{took:?}\n{log}");
                self.replace(number, None);
            }
            Fault::Pause(seconds) => {
                let process = self.processes[number].as_ref().unwrap();
                process.signal("-STOP");
                std::thread::sleep(Duration::from_secs(seconds));
                process.signal("-CONT");
            }
            Fault::JoinAndLeave => {
                let guest = self.start(PROCESSES + number, None);
                std::thread::sleep(Duration::from_secs(3));
                let (code, _, log) = guest.terminate();
                assert_eq!(code, Some(0), "{log}");
            }
            Fault::Twin => {
                let mut twin = self.start(number, None);
                let own = self.processes[number].as_mut().unwrap();
                wait_until("one of the two ends", Duration::from_secs(60), || {
                    !twin.is_running() || !own.is_running()
                });
                std::thread::sleep(Duration::from_secs(3));
                let (ended, stays) = if own.is_running() {
                    (&twin, &mut *own)
                } else {
                    (&*own, &mut twin)
                };
                assert!(ended.log().contains("another process uses"), "{}", ended.log());
                assert!(stays.is_running(), "both ended\n{}", stays.log());
                if !own.is_running() {
                    self.processes[number] = Some(twin);
                }
            }
        }
    }

    fn logs(&self) -> String {
        let logs = self.processes.iter().flatten().map(Serve::log);
        logs.collect::<Vec<_>>().join("\n--\n")
    }
}

fn seed() -> u64 {
    match std::env::var("CALLWARD_FAULT_SEED") {
        Ok(seed) => seed.parse().expect("CALLWARD_FAULT_SEED is a number"),
        Err(_) => rand::random(),
    }
}

/// All that `callward score` makes of the events, by call.
fn expected(site: &Site, sent: &[String]) -> [BTreeMap<String, Vec<String>>; 2] {
    let file: PathBuf = site.folder.path().join("load.ndjson");
    std::fs::write(&file, sent.join("\n")).unwrap();
    let scored = site.command(&["score", file.to_str().unwrap()]);
    assert!(scored.status.success(), "{}", String::from_utf8_lossy(&scored.stderr));
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(scored.stdout).unwrap().lines() {
        let score: serde_json::Value = serde_json::from_str(line).unwrap();
        let call = score["call_id"].as_str().unwrap().to_owned();
        all.entry(call).or_default().push(line.to_owned());
    }
    [all, super::scored(&file, &site.config())]
}

/// Where two sides differ, the first of each kind.
fn differences(
    kind: &str,
    committed: &BTreeMap<String, Vec<String>>,
    expected: &BTreeMap<String, Vec<String>>,
) -> String {
    let mut told = String::new();
    for (call, expected) in expected {
        let none = Vec::new();
        let committed = committed.get(call).unwrap_or(&none);
        if committed != expected {
            let at = committed.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let _ = write!(
                told,
                "\n{kind} of {call}: {} committed, {} expected, different from number {at}:\n  {:?}\n  {:?}",
                committed.len(),
                expected.len(),
                committed.get(at),
                expected.get(at)
            );
        }
        if told.len() > 4_000 {
            break;
        }
    }
    for call in committed.keys().filter(|call| !expected.contains_key(*call)) {
        let _ = write!(told, "\n{kind} of {call}: none expected");
    }
    told
}

/// Strikes with these faults under load, with pauses of so many milliseconds between them; returns the kills.
fn run(test: &str, seed: u64, faults: &[Fault], pause: std::ops::Range<u64>) -> usize {
    println!("{test}: CALLWARD_FAULT_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let site = Site::new(test, PARTITIONS, SETTINGS);
    let mut fleet = Fleet::new(&site, seed);
    for process in fleet.processes.iter().flatten() {
        process.wait_until("ready", |serve| serve.get("/readyz").0 == 200);
    }
    let checker = Checker::start(&site);
    let end = Arc::new(AtomicBool::new(false));
    let playing = Load::new(seed).play(&site, &end);
    for fault in faults {
        std::thread::sleep(Duration::from_millis(random.random_range(pause.clone())));
        fleet.strike(*fault);
    }
    std::thread::sleep(Duration::from_secs(1));
    end.store(true, Ordering::Relaxed);
    let sent = playing.join().unwrap();
    println!("{}; {} kills, {} events", fleet.schedule, fleet.kills, sent.len());
    let deadline = Instant::now() + Duration::from_secs(90);
    while checker.seen.load(Ordering::Relaxed) < sent.len() {
        assert!(
            Instant::now() < deadline,
            "only {} of {} events are judged 90 s after the last fault\n{}\n{}",
            checker.seen.load(Ordering::Relaxed),
            sent.len(),
            fleet.schedule,
            fleet.logs()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    for process in fleet.processes.iter_mut().flatten() {
        assert!(process.is_running(), "a worker gave up\n{}", process.log());
    }
    let wrong = checker.end();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), fleet.schedule);
    let [scores, alerts] = expected(&site, &sent);
    // Deadlines that only time brings may come a moment later.
    let lines = |all: &BTreeMap<String, Vec<String>>| all.values().map(Vec::len).sum::<usize>();
    wait_until("all alerts are there", Duration::from_secs(30), || {
        lines(&site.by_key("alerts")) >= lines(&alerts)
    });
    let different = differences("scores", &site.by_key("scores"), &scores)
        + &differences("alerts", &site.by_key("alerts"), &alerts);
    assert!(different.is_empty(), "{}{different}", fleet.schedule);
    assert!(site.read("dead-letter").is_empty());
    fleet.kills
}

/// A selection of the matrix, in every run of the tests.
#[test]
fn workers_are_killed_paused_and_replaced_under_load_and_nothing_shows() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let point = FAIL_POINTS.choose(&mut random).expect("there are some");
    let faults = [
        Fault::Kill,
        Fault::FailPoint(point),
        Fault::Pause(9),
        Fault::Terminate,
        Fault::KillAll,
    ];
    // One by hand, one at its point of a commit, three together.
    assert_eq!(run("faults", seed, &faults, 500..2_500), 1 + 2 + 3);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f1_kills_at_random_moments() {
    assert_eq!(run("f1", seed(), &[Fault::Kill; 50], 300..2_500), 50);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f2_kills_at_the_points_of_a_commit() {
    let faults: Vec<Fault> = (0..48).map(|round| Fault::FailPoint(FAIL_POINTS[round % 4])).collect();
    assert!(run("f2", seed(), &faults, 300..1_500) >= 48 + 40);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f3_all_are_killed_together() {
    assert_eq!(run("f3", seed(), &[Fault::KillAll; 12], 1_500..6_000), 36);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f4_orderly_ends() {
    assert_eq!(run("f4", seed(), &[Fault::Terminate; 10], 500..3_000), 0);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f5_f6_f7_pauses_shorter_and_longer_than_transaction_and_session() {
    let pauses = [2, 5, 9, 2, 5, 12, 9, 15].map(Fault::Pause);
    assert_eq!(run("pauses", seed(), &pauses, 1_000..4_000), 0);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f8_joins_and_leaves() {
    assert_eq!(run("f8", seed(), &[Fault::JoinAndLeave; 10], 100..500), 0);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f9_of_two_with_one_name_one_ends_and_says_why() {
    assert_eq!(run("f9", seed(), &[Fault::Twin; 2], 1_000..4_000), 0);
}
