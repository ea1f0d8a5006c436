//! State read back from the changelog, in the order that loses nothing:
//!
//! 1. stable committed offsets (the broker answers "unstable" until a predecessor's pending ones are decided; where they
//!    stay pending, the predecessor is gone, and its name is taken for a moment, which decides them);
//! 2. the end of the changelog as a client sees it that also reads what is not committed;
//! 3. wait until everything up to that end is decided;
//! 4. read from the beginning to that end, committed records alone.
//!
//! A client that reads committed records sees the last decided offset as the end: without 2 and 3 an undecided
//! transaction would end the reading early and lose state in silence (KAFKA-10167).

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::clients::producer_config;
use super::login;
use super::settings::StartAt;
use super::task::Task;
use super::transaction::Writer;
use super::trouble::Trouble;
use super::twin::owner;
use super::worker::{Plan, is_end_of_partition};
use crate::call::SnapshotError;

/// What is held of a partition, and where to go on reading.
#[derive(Debug)]
pub(super) struct Restored<T> {
    pub task: T,
    pub next: i64,
    /// Records of the changelog that were read.
    pub records: u64,
}

/// What was told of partitions, and of which of them nothing could be told.
type Told<T> = (BTreeMap<i32, T>, BTreeMap<i32, RestoreError>);

/// What was read of each partition's changelog, and how many records it took.
type Read = BTreeMap<i32, Result<(Latest, u64), RestoreError>>;

/// Where the changelog of each partition begins and ends.
type Ends = BTreeMap<i32, (i64, i64)>;

/// The last value of each key of a partition's changelog, with its offset.
type Latest = HashMap<Vec<u8>, (i64, Vec<u8>)>;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Secret(#[from] super::settings::SecretError),
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("{topic} partition {partition}: what was written last is still undecided")]
    Undecided { topic: String, partition: i32 },
    #[error("{topic} partition {partition}: no record comes, though there are some")]
    Stalled { topic: String, partition: i32 },
    #[error("told to stop while state was read back")]
    Stopped,
    #[error("{topic} partition {partition} offset {offset}: {error}")]
    State {
        topic: String,
        partition: i32,
        offset: i64,
        error: SnapshotError,
    },
    #[error(
        "the group has no committed offset for {topic} partition {partition}, yet its changelog holds state: the \
         offsets expired or were deleted; `callward reset --to earliest` forgets {state} and judges the log anew"
    )]
    MissingOffsets {
        topic: String,
        partition: i32,
        state: String,
    },
}

impl RestoreError {
    /// Itself where it may be of one partition alone; what concerns all is passed on.
    fn of_one(self) -> Result<Self, Self> {
        match &self {
            Self::Kafka(_) if !self.passes() => Err(self),
            Self::Secret(_) | Self::Stopped => Err(self),
            _ => Ok(self),
        }
    }

    /// Whether it may be otherwise in a moment: a leader is elected, a transaction ends.
    pub fn passes(&self) -> bool {
        match self {
            Self::Undecided { .. } | Self::Stalled { .. } => true,
            Self::Kafka(error) => !matches!(Trouble::of_kafka(error), Trouble::Stop(_)),
            _ => false,
        }
    }
}

/// Whether partitions were just given to this worker, or are tried again while others of it are served and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    Given,
    Again,
}

impl Occasion {
    /// For offsets that are undecided to be decided.
    fn offsets(self) -> Duration {
        Duration::from_secs(if self == Self::Given { 20 } else { 1 })
    }

    /// For the end of a changelog to be decided. Of a process that was killed the broker ends the transaction 5 to 15 s after
    /// it began, and a session of 8 s is over before its partitions are given away.
    fn changelog(self) -> Duration {
        Duration::from_millis(if self == Self::Given { 8_000 } else { 200 })
    }

    /// Reading may take as long as there is something to read: it is given up where nothing comes for so long.
    fn reading(self) -> Duration {
        Duration::from_secs(if self == Self::Given { 10 } else { 3 })
    }
}

const REQUEST: Duration = Duration::from_secs(5);
/// For the end of one partition's changelog to be told: the others wait meanwhile.
const END: Duration = Duration::from_secs(1);

/// Offsets that are undecided for so long are nobody's: who holds partitions decides them before giving them away.
const ORPHAN: Duration = Duration::from_secs(1);
const SUCCESSION: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// A long restore tells how far it is each time that so many records were read, …
const PROGRESS: u64 = 100_000;
/// … and the group that it lives.
const SIGN_OF_LIFE: u64 = 1_000;

pub(super) struct Restore<'r, C: ConsumerContext> {
    pub consumer: &'r BaseConsumer<C>,
    pub plan: &'r Plan,
    /// Of the worker that restores.
    pub number: usize,
    pub transactional_id: &'r str,
    pub occasion: Occasion,
    /// When the worker's client was given a token last.
    pub logged_in: Cell<Instant>,
}

/// Less than the fifth of a token's life in which the client asks for the next.
const LOG_IN: Duration = Duration::from_secs(5);

/// What became of each partition: one whose state cannot be read keeps no other from being served.
#[derive(Debug)]
pub(super) struct Restores<T> {
    pub held: BTreeMap<i32, Restored<T>>,
    pub refused: BTreeMap<i32, RestoreError>,
    pub committed: BTreeMap<i32, i64>,
}

/// Reaching the end is what this client is there for.
struct Quiet;

impl ClientContext for Quiet {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(file)
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !is_end_of_partition(&error) {
            warn!(%error, reason, "Kafka client");
        }
    }
}

impl ConsumerContext for Quiet {}

impl<C: ConsumerContext> Restore<'_, C> {
    pub fn run<T: Task>(&self, partitions: &[i32]) -> Result<Restores<T>, RestoreError> {
        let Plan {
            kafka, topics, stream, ..
        } = self.plan;
        let mut base = kafka.client()?;
        base.set("enable.auto.commit", "false");
        let undecided: BaseConsumer = base
            .clone()
            .set("group.id", &kafka.group)
            .set("isolation.level", "read_uncommitted")
            .create()?;
        login::log_in(&base, undecided.client())?;
        let mut ended = HashSet::from([self.transactional_id.to_owned()]);
        let (committed, mut refused) = self.committed(partitions, &undecided, &mut ended)?;
        let decided: BaseConsumer<Quiet> = base
            .set("group.id", format!("{}-restore", kafka.group))
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "5")
            .create_with_context(Quiet)?;
        login::log_in(&base, decided.client())?;
        let stable: Vec<i32> = partitions
            .iter()
            .copied()
            .filter(|partition| !refused.contains_key(partition))
            .collect();
        let (ends, untold) = self.ends(&undecided, &decided, &stable)?;
        refused.extend(untold);
        let mut held = BTreeMap::new();
        for (partition, read) in self.read(&decided, &ends)? {
            let restored = read.and_then(|(latest, records)| {
                let next = match committed.get(&partition) {
                    Some(offset) => *offset,
                    None if !latest.is_empty() => {
                        return Err(RestoreError::MissingOffsets {
                            topic: topics.events.clone(),
                            partition,
                            state: topics.state.clone(),
                        });
                    }
                    None => {
                        let (low, high) = undecided.fetch_watermarks(&topics.events, partition, END)?;
                        match stream.start {
                            StartAt::Earliest => low,
                            StartAt::Latest => high,
                        }
                    }
                };
                let task = self.decode(partition, latest)?;
                Ok(Restored { task, next, records })
            });
            match restored {
                Ok(restored) => drop(held.insert(partition, restored)),
                Err(error) => drop(refused.insert(partition, error.of_one()?)),
            }
            self.lives()?;
        }
        Ok(Restores {
            held,
            refused,
            committed,
        })
    }

    /// Where the changelogs begin and end, once everything up to there is decided; and those of which it cannot be told.
    fn ends(
        &self,
        undecided: &BaseConsumer,
        decided: &BaseConsumer<Quiet>,
        partitions: &[i32],
    ) -> Result<Told<(i64, i64)>, RestoreError> {
        let deadline = Instant::now() + self.occasion.changelog();
        let mut told = Ends::new();
        let (mut ends, mut untold) = (Ends::new(), BTreeMap::new());
        let mut left = partitions.to_vec();
        loop {
            for partition in std::mem::take(&mut left) {
                match self.is_decided(undecided, decided, partition, &mut told) {
                    Ok(()) => {
                        untold.remove(&partition);
                        ends.insert(partition, told[&partition]);
                    }
                    Err(error) => {
                        untold.insert(partition, error.of_one()?);
                        left.push(partition);
                    }
                }
                self.lives()?;
            }
            if left.is_empty() || Instant::now() >= deadline {
                return Ok((ends, untold));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `told`: ends as a client told them that also reads what is not decided.
    fn is_decided(
        &self,
        undecided: &BaseConsumer,
        decided: &BaseConsumer<Quiet>,
        partition: i32,
        told: &mut Ends,
    ) -> Result<(), RestoreError> {
        let topic = &self.plan.topics.state;
        let (_, end) = match told.get(&partition) {
            Some(told) => *told,
            None => {
                let ends = undecided.fetch_watermarks(topic, partition, END)?;
                told.insert(partition, ends);
                ends
            }
        };
        let (_, stable) = decided.fetch_watermarks(topic, partition, END)?;
        if stable < end {
            return Err(RestoreError::Undecided {
                topic: topic.clone(),
                partition,
            });
        }
        Ok(())
    }

    /// Tells group and health checks that this worker lives, though it does not poll.
    fn lives(&self) -> Result<(), RestoreError> {
        self.plan.heartbeat.polled(self.number, Instant::now());
        super::native::lives(self.consumer);
        if self.logged_in.get().elapsed() > LOG_IN {
            self.logged_in.set(Instant::now());
            login::log_in_again(&self.plan.kafka, self.consumer.client())?;
        }
        if self.plan.stop.load(Ordering::Relaxed) {
            return Err(RestoreError::Stopped);
        }
        Ok(())
    }

    /// Asked twice before "none" is believed; and those of which it cannot be told. `ended`: names that have nothing open any
    /// more; to take one again would only hurt whoever has it now.
    fn committed(
        &self,
        partitions: &[i32],
        undecided: &BaseConsumer,
        ended: &mut HashSet<String>,
    ) -> Result<Told<i64>, RestoreError> {
        let deadline = Instant::now() + self.occasion.offsets();
        let mut asked = 0;
        loop {
            self.lives()?;
            match self.consumer.committed_offsets(self.list(partitions), ORPHAN) {
                Ok(list) => {
                    asked += 1;
                    let elements = list.elements();
                    // An error of one partition is no "none".
                    if elements.iter().any(|element| element.error().is_err()) && Instant::now() < deadline {
                        std::thread::sleep(PAUSE);
                        asked = 0;
                        continue;
                    }
                    let (mut found, mut untold) = (BTreeMap::new(), BTreeMap::new());
                    for element in &elements {
                        match (element.error(), element.offset()) {
                            (Err(error), _) => {
                                drop(untold.insert(element.partition(), RestoreError::from(error).of_one()?))
                            }
                            (Ok(()), Offset::Offset(offset)) => drop(found.insert(element.partition(), offset)),
                            (Ok(()), _) => {}
                        }
                    }
                    if found.len() == partitions.len() || asked >= 2 {
                        return Ok((found, untold));
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(error) if is_pending(&error) && Instant::now() > deadline => return self.pending(partitions),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                // Somebody's transaction is pending: its end decides. Of partitions that are tried again nothing can pend that
                // its owner does not decide by itself.
                Err(error) if is_pending(&error) && self.occasion == Occasion::Again => {}
                Err(error) if is_pending(&error) => self.succeed(partitions, undecided, ended)?,
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                    return Err(error.into());
                }
                // The coordinator moves, or is away.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// One that pends keeps no other from being served; where all do, it may be the coordinator.
    fn pending(&self, partitions: &[i32]) -> Result<Told<i64>, RestoreError> {
        let (mut found, mut untold) = (BTreeMap::new(), BTreeMap::new());
        for partition in partitions {
            self.lives()?;
            // Asked twice here as well.
            for _ in 0..2 {
                match self.consumer.committed_offsets(self.list(&[*partition]), ORPHAN) {
                    Ok(list) => {
                        for element in list.elements() {
                            element.error()?;
                            if let Offset::Offset(offset) = element.offset() {
                                found.insert(*partition, offset);
                            }
                        }
                    }
                    Err(error) if is_pending(&error) && untold.len() + 1 < partitions.len() => {
                        let topic = self.plan.topics.events.clone();
                        let partition = *partition;
                        untold.insert(partition, RestoreError::Undecided { topic, partition });
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
                if found.contains_key(partition) {
                    break;
                }
            }
        }
        Ok((found, untold))
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.plan.topics.events, *partition);
        }
        list
    }

    /// Ends what vanished workers left open, by taking their names for a moment: the metadata of the last commit tells
    /// who held a partition. A worker that lives after all makes its clients anew, and nothing of it is lost.
    fn succeed(
        &self,
        partitions: &[i32],
        undecided: &BaseConsumer,
        ended: &mut HashSet<String>,
    ) -> Result<(), RestoreError> {
        // A coordinator that does not answer this either is slow or away: nothing tells that somebody is gone.
        let Ok(list) = undecided.committed_offsets(self.list(partitions), ORPHAN) else {
            return Ok(());
        };
        for element in list.elements() {
            let Some(owner) = owner(element.metadata()).filter(|owner| !ended.contains(*owner)) else {
                continue;
            };
            // Beside a partition of somebody who is gone stand those of others who gave theirs away in order, and live on.
            let own = self.list(&[element.partition()]);
            self.lives()?;
            let answer = self.consumer.committed_offsets(own, ORPHAN);
            if !answer.is_err_and(|error| is_pending(&error)) {
                continue;
            }
            ended.insert(owner.to_owned());
            warn!(owner, "a vanished worker's transaction is still open: it is ended");
            let config = producer_config(self.plan, &self.plan.kafka.client()?, owner);
            match Writer::start(&config, SUCCESSION) {
                Ok(_) => self.plan.metrics.count("orphans_ended_total", &[]),
                Err(error) => warn!(owner, %error, "its name could not be taken: the broker will end the transaction"),
            }
        }
        Ok(())
    }

    fn wait_until_decided(&self, decided: &BaseConsumer<Quiet>, partition: i32, end: i64) -> Result<(), RestoreError> {
        let deadline = Instant::now() + self.occasion.changelog();
        loop {
            let (_, stable) = decided.fetch_watermarks(&self.plan.topics.state, partition, REQUEST)?;
            if stable >= end {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(RestoreError::Undecided {
                    topic: self.plan.topics.state.clone(),
                    partition,
                });
            }
            self.lives()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last values of the partitions, and how many records were read. What was overwritten is not even decoded.
    fn read(&self, decided: &BaseConsumer<Quiet>, ends: &Ends) -> Result<Read, RestoreError> {
        let topic = &self.plan.topics.state;
        let mut read: Read = ends.keys().map(|number| (*number, Ok(Default::default()))).collect();
        let mut open: Vec<i32> = ends
            .iter()
            .filter(|(_, (low, end))| low < end)
            .map(|(number, _)| *number)
            .collect();
        if open.is_empty() {
            return Ok(read);
        }
        let mut list = TopicPartitionList::new();
        for number in &open {
            list.add_partition_offset(topic, *number, Offset::Beginning)?;
        }
        decided.assign(&list)?;
        let mut total = 0;
        let mut again: HashSet<i32> = HashSet::new();
        let mut stalled = Instant::now() + self.occasion.reading();
        while !open.is_empty() {
            match decided.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let Some(Ok((latest, records))) = read.get_mut(&message.partition()) else {
                        continue;
                    };
                    *records += 1;
                    total += 1;
                    self.plan.metrics.count("restored_records_total", &[]);
                    if total % PROGRESS == 0 {
                        info!(records = total, partitions_left = open.len(), "reading state back");
                    }
                    if total % SIGN_OF_LIFE == 0 {
                        self.lives()?;
                    }
                    stalled = Instant::now() + self.occasion.reading();
                    let key = message.key().unwrap_or_default();
                    match message.payload() {
                        Some(value) => drop(latest.insert(key.to_vec(), (message.offset(), value.to_vec()))),
                        None => drop(latest.remove(key)),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(number))) => {
                    let (low, end) = ends[&number];
                    let position = position(decided, topic, number)?.max(low);
                    // A leader that has just been elected may take less for the end than the one before had told
                    // (KIP-207 guards the offsets that it names, not what it serves). Where the tail was compacted away the
                    // position stays short as well: then the end is reached a second time.
                    if position >= end || !again.insert(number) {
                        open.retain(|one| *one != number);
                        continue;
                    }
                    let sought = self
                        .wait_until_decided(decided, number, end)
                        .and_then(|()| Ok(decided.seek(topic, number, Offset::Offset(position), REQUEST)?));
                    if let Err(error) = sought {
                        open.retain(|one| *one != number);
                        read.insert(number, Err(error.of_one()?));
                    }
                    stalled = Instant::now() + self.occasion.reading();
                }
                // One of several brokers may be away; whether it matters shows in what comes.
                Some(Err(error)) => {
                    RestoreError::from(error).of_one()?;
                    self.lives()?;
                }
                None => self.lives()?,
            }
            if Instant::now() > stalled {
                for partition in open.drain(..) {
                    let topic = topic.clone();
                    read.insert(partition, Err(RestoreError::Stalled { topic, partition }));
                }
            }
        }
        Ok(read)
    }

    fn decode<T: Task>(&self, partition: i32, latest: Latest) -> Result<T, RestoreError> {
        let mut task = T::default();
        for (key, (offset, value)) in latest {
            // Partial results are read anew, by what may be another model.
            let restored = catch_unwind(AssertUnwindSafe(|| task.restore(self.plan, &key, &value)));
            restored
                .unwrap_or_else(|_| Err(SnapshotError::Damaged("reading it panicked".into())))
                .map_err(|error| RestoreError::State {
                    topic: self.plan.topics.state.clone(),
                    partition,
                    offset,
                    error,
                })?;
        }
        Ok(task)
    }
}

/// The broker keeps the answer back while somebody's transaction is open.
fn is_pending(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut)
}

/// Where a client goes on reading a partition: 0 before it has read anything.
fn position(consumer: &BaseConsumer<Quiet>, topic: &str, number: i32) -> Result<i64, KafkaError> {
    let positions = consumer.position()?;
    let found = positions.find_partition(topic, number).map(|element| element.offset());
    Ok(match found {
        Some(Offset::Offset(offset)) => offset,
        _ => 0,
    })
}
