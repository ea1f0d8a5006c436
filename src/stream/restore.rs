//! State read back from the changelog, in the order that loses nothing:
//!
//! 1. stable committed offsets (the broker answers "unstable" until a predecessor's pending ones are decided);
//! 2. the end of the changelog as a client sees it that also reads what is not committed;
//! 3. wait until everything up to that end is decided;
//! 4. read from the beginning to that end, committed records alone.
//!
//! A client that reads committed records sees the last decided offset as the end: without 2 and 3 an undecided
//! transaction would end the reading early and lose state in silence (KAFKA-10167).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::warn;

use super::partition::Partition;
use super::settings::{KafkaSettings, StartAt, TopicSettings};
use super::worker::is_end_of_partition;
use crate::call::SnapshotError;
use crate::pipeline::Pipeline;

/// A partition with its state and where to go on reading.
#[derive(Debug)]
pub(super) struct Restored {
    pub partition: Partition,
    pub next: i64,
    pub records: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Secret(#[from] super::settings::SecretError),
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("{topic} partition {partition}: still undecided after {} s", DEADLINE.as_secs())]
    Undecided { topic: String, partition: i32 },
    #[error("{topic} partition {partition} offset {offset}: {error}")]
    State {
        topic: String,
        partition: i32,
        offset: i64,
        error: SnapshotError,
    },
    #[error(
        "the group has no committed offset for {topic} partition {partition}, yet its changelog holds state: the \
         offsets expired or were deleted; to judge the log anew from its start, empty {state} first"
    )]
    MissingOffsets {
        topic: String,
        partition: i32,
        state: String,
    },
}

const DEADLINE: Duration = Duration::from_secs(25);
const REQUEST: Duration = Duration::from_secs(5);

pub(super) struct Restore<'r, C: ConsumerContext> {
    pub consumer: &'r BaseConsumer<C>,
    pub kafka: &'r KafkaSettings,
    pub topics: &'r TopicSettings,
    pub pipeline: &'r Pipeline,
    pub start: StartAt,
}

/// Reaching the end is what this client is there for.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if !is_end_of_partition(&error) {
            warn!(%error, reason, "Kafka client");
        }
    }
}

impl ConsumerContext for Quiet {}

impl<C: ConsumerContext> Restore<'_, C> {
    pub fn run(&self, partitions: &[i32]) -> Result<BTreeMap<i32, Restored>, RestoreError> {
        let deadline = Instant::now() + DEADLINE;
        let committed = self.committed(partitions, deadline)?;
        let mut base = self.kafka.client()?;
        base.set("group.id", format!("{}-restore", self.kafka.group))
            .set("enable.auto.commit", "false");
        let undecided: BaseConsumer = base.clone().set("isolation.level", "read_uncommitted").create()?;
        let decided: BaseConsumer<Quiet> = base
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "10")
            .create_with_context(Quiet)?;
        let mut ends = BTreeMap::new();
        for partition in partitions {
            let (low, end) = undecided.fetch_watermarks(&self.topics.state, *partition, REQUEST)?;
            self.wait_until_decided(&decided, *partition, end, deadline)?;
            ends.insert(*partition, (low, end));
        }
        let mut restored = self.read(&decided, &ends, deadline)?;
        for (partition, restored) in &mut restored {
            restored.next = match committed.get(partition) {
                Some(offset) => *offset,
                None if restored.partition.calls() > 0 => {
                    return Err(RestoreError::MissingOffsets {
                        topic: self.topics.events.clone(),
                        partition: *partition,
                        state: self.topics.state.clone(),
                    });
                }
                None => {
                    let (low, high) = undecided.fetch_watermarks(&self.topics.events, *partition, REQUEST)?;
                    match self.start {
                        StartAt::Earliest => low,
                        StartAt::Latest => high,
                    }
                }
            };
        }
        Ok(restored)
    }

    /// Asked twice before "none" is believed.
    fn committed(&self, partitions: &[i32], deadline: Instant) -> Result<BTreeMap<i32, i64>, RestoreError> {
        let mut asked = 0;
        loop {
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition(&self.topics.events, *partition);
            }
            match self.consumer.committed_offsets(list, REQUEST) {
                Ok(list) => {
                    asked += 1;
                    let found: BTreeMap<i32, i64> = list
                        .elements()
                        .iter()
                        .filter_map(|element| match element.offset() {
                            Offset::Offset(offset) => Some((element.partition(), offset)),
                            _ => None,
                        })
                        .collect();
                    if found.len() == partitions.len() || asked >= 2 {
                        return Ok(found);
                    }
                }
                // Somebody's transaction is pending: its end decides.
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn wait_until_decided(
        &self,
        decided: &BaseConsumer<Quiet>,
        partition: i32,
        end: i64,
        deadline: Instant,
    ) -> Result<(), RestoreError> {
        loop {
            let (_, stable) = decided.fetch_watermarks(&self.topics.state, partition, REQUEST)?;
            if stable >= end {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(RestoreError::Undecided {
                    topic: self.topics.state.clone(),
                    partition,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn read(
        &self,
        decided: &BaseConsumer<Quiet>,
        ends: &BTreeMap<i32, (i64, i64)>,
        deadline: Instant,
    ) -> Result<BTreeMap<i32, Restored>, RestoreError> {
        let mut restored: BTreeMap<i32, Restored> = ends
            .keys()
            .map(|number| {
                (
                    *number,
                    Restored {
                        partition: Partition::default(),
                        next: 0,
                        records: 0,
                    },
                )
            })
            .collect();
        let mut open: Vec<i32> = ends
            .iter()
            .filter(|(_, (low, end))| low < end)
            .map(|(number, _)| *number)
            .collect();
        if open.is_empty() {
            return Ok(restored);
        }
        let mut list = TopicPartitionList::new();
        for number in &open {
            list.add_partition_offset(&self.topics.state, *number, Offset::Beginning)?;
        }
        decided.assign(&list)?;
        while !open.is_empty() {
            match decided.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let Some(into) = restored.get_mut(&message.partition()) else {
                        continue;
                    };
                    into.records += 1;
                    let key = message.key().unwrap_or_default();
                    into.partition
                        .restore(key, message.payload(), self.pipeline)
                        .map_err(|error| RestoreError::State {
                            topic: self.topics.state.clone(),
                            partition: message.partition(),
                            offset: message.offset(),
                            error,
                        })?;
                }
                Some(Err(KafkaError::PartitionEOF(number))) => open.retain(|one| *one != number),
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown))) | None => {}
                Some(Err(error)) => return Err(error.into()),
            }
            if Instant::now() > deadline {
                let partition = open.first().copied().unwrap_or_default();
                return Err(RestoreError::Undecided {
                    topic: self.topics.state.clone(),
                    partition,
                });
            }
        }
        Ok(restored)
    }
}
