//! Alerts from `calls.alerts` to the webhook, at least once: an offset is committed only when its alert and all before it
//! were told, refused for good, or given up aloud.
//!
//! ```text
//! poll ─► taken in ─► behind earlier alerts of its call ─► on its way, tried again and again ─► settled ─► committed
//! ```
//! Alerts of one call go out one after the other, those of different calls beside each other: one that the receiver does
//! not take holds up no other caller.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::Failure;
use crate::alert::Alert;
use crate::config::Config;
use crate::delivery::{Courier, Sent};
use crate::stream::{Reach, login};
use crate::telemetry::{Metrics, wall_millis};

/// Requests at a time. An alert that waits for its next attempt takes no place among them.
const AT_A_TIME: usize = 8;
/// Alerts that are taken in before the first of them is settled.
const MOST_TAKEN: usize = 1_000;
const POLL_IDLE: Duration = Duration::from_millis(200);
const POLL_BUSY: Duration = Duration::from_millis(20);
/// In which attempts under way may end at a shutdown; what does not is told again.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// Begins to deliver; `None` where no webhook is configured.
pub fn start(config: &Config, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Result<Option<JoinHandle<()>>, Failure> {
    if config.webhook.url.is_empty() {
        return Ok(None);
    }
    for result in ["done", "retry", "refused"] {
        metrics.add("delivery_attempts_total", &["webhook", result], 0.0);
    }
    for reason in ["given_up", "refused", "too_old", "unreadable"] {
        metrics.add("alerts_undelivered_total", &["webhook", reason], 0.0);
    }
    let teller = Arc::new(Teller {
        courier: Courier::new(&config.webhook)?,
        give_up: Duration::from_secs(config.webhook.give_up_seconds),
        places: Semaphore::new(AT_A_TIME),
        metrics,
        stop,
    });
    let consumer = connect(config)?;
    let config = config.clone();
    Ok(Some(tokio::task::spawn_blocking(move || {
        deliver(&config, consumer, &teller);
        info!("webhook stopped");
    })))
}

fn connect(config: &Config) -> Result<BaseConsumer<Reach>, Failure> {
    let mut client = config.kafka.client()?;
    client
        .set("group.id", format!("{}-webhook", config.kafka.group))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", config.stream.session_timeout_ms.to_string())
        .set("statistics.interval.ms", Reach::STATISTICS_MS);
    let consumer: BaseConsumer<Reach> = client.create_with_context(Reach::default())?;
    login::log_in(&client, consumer.client())?;
    consumer.subscribe(&[&config.topics.alerts])?;
    Ok(consumer)
}

fn deliver(config: &Config, mut consumer: BaseConsumer<Reach>, teller: &Arc<Teller>) {
    let oldest = Duration::from_secs(config.webhook.max_age_seconds).as_millis() as i64;
    let (mut deliveries, mut settled) = Deliveries::new(teller.clone());
    let mut paused = false;
    while !teller.stop.load(Ordering::Relaxed) {
        if consumer.context().is_lost() {
            match connect(config) {
                Ok(new) => {
                    warn!("no broker has been in reach of the webhook's client for half a minute: it is made anew");
                    (consumer, paused) = (new, false);
                }
                Err(failure) => warn!(error = %failure.error, "the webhook's client cannot be made anew"),
            }
        }
        while let Ok(place) = settled.try_recv() {
            deliveries.settle(place);
        }
        deliveries.commit(&consumer, &config.topics.alerts);
        let full = deliveries.count() >= MOST_TAKEN;
        if full != paused {
            // Polling goes on, or the group takes this member for dead.
            let turned = consumer.assignment().and_then(|held| match full {
                true => consumer.pause(&held),
                false => consumer.resume(&held),
            });
            match turned {
                Ok(()) => paused = full,
                Err(error) => warn!(%error, "webhook"),
            }
        }
        let patience = if deliveries.count() > 0 { POLL_BUSY } else { POLL_IDLE };
        match consumer.poll(patience) {
            Some(Ok(message)) => match read(&message, oldest) {
                Ok(alert) => deliveries.take(&message, alert),
                Err(reason) => {
                    teller.metrics.count("alerts_undelivered_total", &["webhook", reason]);
                    error!(
                        partition = message.partition(),
                        offset = message.offset(),
                        reason,
                        "an alert is not told"
                    );
                    deliveries.pass_over(&message);
                }
            },
            Some(Err(error)) => warn!(%error, "webhook"),
            None => {}
        }
    }
    let deadline = Instant::now() + LAST_WORDS;
    while deliveries.on_their_way() > 0 && Instant::now() < deadline {
        match settled.try_recv() {
            Ok(place) => deliveries.settle(place),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    deliveries.commit(&consumer, &config.topics.alerts);
}

/// The alert in a record, or why it is not to be told.
fn read(message: &BorrowedMessage<'_>, oldest_ms: i64) -> Result<Alert, &'static str> {
    let written = message.timestamp().to_millis().unwrap_or_else(wall_millis);
    if wall_millis() - written > oldest_ms {
        return Err("too_old");
    }
    serde_json::from_slice(message.payload().unwrap_or_default()).map_err(|_| "unreadable")
}

/// Where an alert stands, and the call that it is about.
#[derive(Clone, Debug)]
struct Place {
    partition: i32,
    offset: i64,
    call: String,
    /// Told, refused or given up: false only where the process stops first, so that the next one tells it.
    settled: bool,
}

/// What was taken in and is not committed yet.
struct Deliveries {
    teller: Arc<Teller>,
    ended: mpsc::UnboundedSender<Place>,
    /// By partition: the offsets taken in, and whether each is settled.
    taken: BTreeMap<i32, BTreeMap<i64, bool>>,
    /// By call that an alert is on its way for: those that wait behind it.
    waiting: HashMap<String, VecDeque<(Place, Alert)>>,
}

impl Deliveries {
    fn new(teller: Arc<Teller>) -> (Self, mpsc::UnboundedReceiver<Place>) {
        let (ended, settled) = mpsc::unbounded_channel();
        let deliveries = Self {
            teller,
            ended,
            taken: BTreeMap::new(),
            waiting: HashMap::new(),
        };
        (deliveries, settled)
    }

    fn count(&self) -> usize {
        self.taken.values().map(BTreeMap::len).sum()
    }

    fn on_their_way(&self) -> usize {
        self.waiting.len()
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, alert: Alert) {
        let (partition, offset) = (message.partition(), message.offset());
        // After a rebalance it may come again while it is on its way.
        if self.taken.entry(partition).or_default().insert(offset, false).is_some() {
            return;
        }
        let call = alert.call_id.clone();
        let place = Place {
            partition,
            offset,
            call: call.clone(),
            settled: false,
        };
        match self.waiting.get_mut(&call) {
            Some(behind) => behind.push_back((place, alert)),
            None => {
                self.waiting.insert(call, VecDeque::new());
                self.send(place, alert);
            }
        }
    }

    fn pass_over(&mut self, message: &BorrowedMessage<'_>) {
        self.taken
            .entry(message.partition())
            .or_default()
            .insert(message.offset(), true);
    }

    fn send(&self, mut place: Place, alert: Alert) {
        let (teller, ended) = (self.teller.clone(), self.ended.clone());
        tokio::runtime::Handle::current().spawn(async move {
            place.settled = teller.tell(&alert).await;
            // Nobody may wait for it any more.
            let _ = ended.send(place);
        });
    }

    fn settle(&mut self, place: Place) {
        if let Some(taken) = self.taken.get_mut(&place.partition)
            && let Some(settled) = taken.get_mut(&place.offset)
        {
            *settled |= place.settled;
        }
        match self.waiting.get_mut(&place.call).and_then(VecDeque::pop_front) {
            Some((next, alert)) if place.settled => self.send(next, alert),
            _ => drop(self.waiting.remove(&place.call)),
        }
    }

    /// Commits up to the first alert of each partition that is not settled.
    fn commit(&mut self, consumer: &BaseConsumer<Reach>, topic: &str) {
        self.teller
            .metrics
            .set("deliveries_pending", &["webhook"], self.count() as f64);
        if let Err(error) = self.try_commit(consumer, topic) {
            warn!(%error, "the webhook's place was not committed: an alert may be told again");
        }
    }

    fn try_commit(&mut self, consumer: &BaseConsumer<Reach>, topic: &str) -> Result<(), KafkaError> {
        if self.taken.is_empty() {
            return Ok(());
        }
        // Whoever holds a partition now tells what is not committed of it.
        let held: HashSet<i32> = consumer
            .assignment()?
            .elements()
            .iter()
            .map(|one| one.partition())
            .collect();
        self.taken.retain(|partition, _| held.contains(partition));
        let mut list = TopicPartitionList::new();
        for (partition, taken) in &mut self.taken {
            let mut next = None;
            while let Some(first) = taken.first_entry().filter(|first| *first.get()) {
                next = Some(first.remove_entry().0 + 1);
            }
            if let Some(next) = next {
                list.add_partition_offset(topic, *partition, Offset::Offset(next))?;
            }
        }
        self.taken.retain(|_, taken| !taken.is_empty());
        if list.count() == 0 {
            return Ok(());
        }
        consumer.commit(&list, CommitMode::Sync)
    }
}

/// Tells alerts to one receiver.
struct Teller {
    courier: Courier,
    give_up: Duration,
    places: Semaphore,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl Teller {
    /// Tries until it is told, refused or given up; false only where the process stops first.
    async fn tell(&self, alert: &Alert) -> bool {
        let began = Instant::now();
        let mut pause = Duration::from_millis(500);
        loop {
            let sent = {
                let _place = self.places.acquire().await;
                if self.stop.load(Ordering::Relaxed) {
                    return false;
                }
                self.courier.send(alert, wall_millis() / 1000).await
            };
            self.metrics
                .count("delivery_attempts_total", &["webhook", sent.as_str()]);
            match sent {
                Sent::Done => {
                    self.metrics
                        .observe("delivery_duration_seconds", &["webhook"], began.elapsed().as_secs_f64());
                    return true;
                }
                Sent::Refused => return self.give_up(alert, "refused"),
                Sent::Retry if began.elapsed() >= self.give_up => return self.give_up(alert, "given_up"),
                Sent::Retry => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    fn give_up(&self, alert: &Alert, reason: &'static str) -> bool {
        self.metrics.count("alerts_undelivered_total", &["webhook", reason]);
        error!(
            alert = alert.alert_id.0,
            reason, "the webhook's receiver took an alert not at all"
        );
        true
    }
}
