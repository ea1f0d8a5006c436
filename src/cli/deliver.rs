//! Alerts from `calls.alerts` to the webhook, at least once: an offset is committed only when its alert and all before it
//! were told, refused for good, or given up aloud.
//!
//! ```text
//! poll ─► taken in ─► behind earlier alerts of its call ─► on its way, tried again and again ─► settled ─► committed
//! ```
//! Alerts of one call go out one after the other, those of different calls beside each other: one that the receiver does
//! not take holds up no other caller.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle};
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
const FIRST_PAUSE: Duration = Duration::from_millis(500);
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
        requests: Semaphore::new(AT_A_TIME),
        others: Semaphore::new(AT_A_TIME / 2),
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
    // The client keeps a pause over revocations, so it is taken back from those that it was put on.
    let mut paused: BTreeSet<i32> = BTreeSet::new();
    while !teller.stop.load(Ordering::Relaxed) {
        if consumer.context().is_lost() {
            match connect(config) {
                Ok(new) => {
                    warn!("no broker has been in reach of the webhook's client for half a minute: it is made anew");
                    leave_behind(std::mem::replace(&mut consumer, new));
                    paused.clear();
                }
                Err(failure) => warn!(error = %failure.error, "the webhook's client cannot be made anew"),
            }
        }
        while let Ok(place) = settled.try_recv() {
            deliveries.settle(place);
        }
        deliveries.commit(&consumer, &config.topics.alerts);
        // Polling goes on, or the group takes this member for dead.
        if let Err(error) = hold_back(&consumer, &config.topics.alerts, &deliveries, &mut paused) {
            warn!(%error, "webhook");
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
            Some(Err(error)) => {
                teller.metrics.count("kafka_errors_total", &["webhook"]);
                warn!(%error, "the webhook's client cannot read alerts");
            }
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

/// Closing a client asks the brokers, which may not answer.
fn leave_behind(consumer: BaseConsumer<Reach>) {
    let closing = std::thread::Builder::new().name("close-webhook".into());
    if let Err(error) = closing.spawn(move || drop(consumer)) {
        warn!(%error, "no thread to close the webhook's old client on");
    }
}

/// Takes no more in while so many are not settled.
fn hold_back(
    consumer: &BaseConsumer<Reach>,
    topic: &str,
    deliveries: &Deliveries,
    paused: &mut BTreeSet<i32>,
) -> Result<(), KafkaError> {
    let list = |numbers: &mut dyn Iterator<Item = i32>| {
        let mut list = TopicPartitionList::new();
        for number in numbers {
            list.add_partition(topic, number);
        }
        list
    };
    if deliveries.count() < MOST_TAKEN {
        if !paused.is_empty() {
            consumer.resume(&list(&mut paused.iter().copied()))?;
            paused.clear();
        }
        return Ok(());
    }
    let new: Vec<i32> = held(consumer)?.difference(paused).copied().collect();
    if !new.is_empty() {
        consumer.pause(&list(&mut new.iter().copied()))?;
        paused.extend(new);
    }
    Ok(())
}

/// Partitions that are assigned to this client.
fn held(consumer: &BaseConsumer<Reach>) -> Result<BTreeSet<i32>, KafkaError> {
    let assigned = consumer.assignment()?;
    Ok(assigned.elements().iter().map(|one| one.partition()).collect())
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
    /// By call: the alert that is on its way, and those that wait behind it.
    on_way: HashMap<String, OnItsWay>,
}

struct OnItsWay {
    partition: i32,
    offset: i64,
    attempts: AbortHandle,
    behind: VecDeque<(Place, Alert)>,
}

impl Deliveries {
    fn new(teller: Arc<Teller>) -> (Self, mpsc::UnboundedReceiver<Place>) {
        let (ended, settled) = mpsc::unbounded_channel();
        let deliveries = Self {
            teller,
            ended,
            taken: BTreeMap::new(),
            on_way: HashMap::new(),
        };
        (deliveries, settled)
    }

    fn count(&self) -> usize {
        self.taken.values().map(BTreeMap::len).sum()
    }

    fn on_their_way(&self) -> usize {
        self.on_way.len()
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, alert: Alert) {
        let (partition, offset) = (message.partition(), message.offset());
        let Entry::Vacant(free) = self.taken.entry(partition).or_default().entry(offset) else {
            return;
        };
        free.insert(false);
        let place = Place {
            partition,
            offset,
            call: alert.call_id.clone(),
            settled: false,
        };
        match self.on_way.get_mut(&alert.call_id) {
            Some(before) => before.behind.push_back((place, alert)),
            None => self.send(place, alert, VecDeque::new()),
        }
    }

    fn pass_over(&mut self, message: &BorrowedMessage<'_>) {
        self.taken
            .entry(message.partition())
            .or_default()
            .insert(message.offset(), true);
    }

    fn send(&mut self, mut place: Place, alert: Alert, behind: VecDeque<(Place, Alert)>) {
        let (call, partition, offset) = (place.call.clone(), place.partition, place.offset);
        let (teller, ended) = (self.teller.clone(), self.ended.clone());
        let attempts = tokio::runtime::Handle::current().spawn(async move {
            place.settled = teller.tell(&alert).await;
            // Nobody may wait for it any more.
            let _ = ended.send(place);
        });
        let on_its_way = OnItsWay {
            partition,
            offset,
            attempts: attempts.abort_handle(),
            behind,
        };
        self.on_way.insert(call, on_its_way);
    }

    fn settle(&mut self, place: Place) {
        if let Some(taken) = self.taken.get_mut(&place.partition)
            && let Some(settled) = taken.get_mut(&place.offset)
        {
            *settled |= place.settled;
        }
        // It may have been given up with its partition meanwhile, and another of its call be on the way.
        let is_it = |own: &OnItsWay| (own.partition, own.offset) == (place.partition, place.offset);
        if !self.on_way.get(&place.call).is_some_and(is_it) {
            return;
        }
        let own = self.on_way.remove(&place.call);
        let mut behind = own.map(|own| own.behind).unwrap_or_default();
        if place.settled
            && let Some((next, alert)) = behind.pop_front()
        {
            self.send(next, alert, behind);
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
        // Whoever holds a partition now tells what is not committed of it, in its order: from here nothing of it is told.
        let held = held(consumer)?;
        self.taken.retain(|partition, _| held.contains(partition));
        self.on_way.retain(|_, own| {
            let stays = held.contains(&own.partition);
            if !stays {
                own.attempts.abort();
            }
            stays
        });
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
    requests: Semaphore,
    /// Of them, for what is no page.
    others: Semaphore,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
}

impl Teller {
    /// Tries until it is told, refused or given up; false only where the process stops first.
    async fn tell(&self, alert: &Alert) -> bool {
        let began = Instant::now();
        let mut first_try = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = {
                // Whatever hangs, some requests are left for pages.
                let _other = match alert.is_page() {
                    true => None,
                    false => Some(self.others.acquire().await),
                };
                let _turn = self.requests.acquire().await;
                first_try.get_or_insert_with(Instant::now);
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
                Sent::Retry(obstacle) => {
                    let tried = first_try.map_or(Duration::ZERO, |first| first.elapsed());
                    // The first attempt, and the last.
                    if pause == FIRST_PAUSE || tried >= self.give_up {
                        warn!(alert = alert.alert_id.0, revision = alert.revision, %obstacle, "the webhook's receiver was not told");
                    }
                    if tried >= self.give_up {
                        return self.give_up(alert, "given_up");
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    fn give_up(&self, alert: &Alert, reason: &'static str) -> bool {
        self.metrics.count("alerts_undelivered_total", &["webhook", reason]);
        error!(
            alert = alert.alert_id.0,
            revision = alert.revision,
            reason,
            "an alert was not told to the webhook's receiver and will not be"
        );
        true
    }
}
