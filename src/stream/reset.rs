//! A group set back: every state tombstoned and every offset moved in one transaction, so that no one finds half of it.
//!
//! Kafka's own tools would move the offsets and leave the state, whose calls would then take every record for one that
//! they know.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::writer_config;
use super::login;
use super::settings::{KafkaSettings, StartAt, StreamSettings, TopicSettings};
use super::transaction::Writer;
use super::trouble::Trouble;

/// What a reset did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reset {
    pub partitions: usize,
    /// Calls whose state is gone.
    pub calls: usize,
}

const REQUEST: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// Sets the group to the start or the end of the log, with no state; not while it has members.
pub fn reset(
    kafka: &KafkaSettings,
    topics: &TopicSettings,
    stream: &StreamSettings,
    to: StartAt,
) -> Result<Reset, Trouble> {
    let client = kafka.client().map_err(|error| Trouble::Stop(error.to_string()))?;
    let consumer: BaseConsumer = client
        .clone()
        .set("group.id", &kafka.group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let logged_in = |consumer: &BaseConsumer| {
        login::log_in(&client, consumer.client()).map_err(|error| Trouble::Stop(error.to_string()))
    };
    logged_in(&consumer)?;
    refuse_members(&consumer, &kafka.group)?;
    let metadata = consumer.fetch_metadata(Some(&topics.events), REQUEST)?;
    let numbers: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions().iter().map(|partition| partition.id()))
        .collect();
    let mut offsets = TopicPartitionList::new();
    for number in &numbers {
        let (low, high) = consumer.fetch_watermarks(&topics.events, *number, REQUEST)?;
        let next = match to {
            StartAt::Earliest => low,
            StartAt::Latest => high,
        };
        offsets.add_partition_offset(&topics.events, *number, Offset::Offset(next))?;
    }
    let undecided: BaseConsumer = client
        .clone()
        .set("group.id", &kafka.group)
        .set("isolation.level", "read_uncommitted")
        .create()?;
    logged_in(&undecided)?;
    let deadline = Instant::now() + PATIENCE;
    for number in &numbers {
        let (_, end) = undecided.fetch_watermarks(&topics.state, *number, REQUEST)?;
        while consumer.fetch_watermarks(&topics.state, *number, REQUEST)?.1 < end {
            if Instant::now() > deadline {
                return Err(Trouble::Stop(format!(
                    "{} partition {number} is still undecided",
                    topics.state
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let keys = keys(&consumer, &topics.state, &numbers)?;
    refuse_members(&consumer, &kafka.group)?;

    // The worker's own limit for a transaction would be too short for the state of a million calls.
    let config = writer_config(
        &client,
        &format!("{}.reset", kafka.group),
        stream.transaction_timeout_ms.max(60_000),
    );
    let writer = Writer::start(&config, REQUEST)?;
    let deadline = Instant::now() + PATIENCE;
    writer.begin()?;
    for (number, key) in &keys {
        let mut record = BaseRecord::<[u8], [u8]>::to(&topics.state).partition(*number).key(key);
        while let Err((error, again)) = writer.producer().send(record) {
            if Instant::now() > deadline {
                return Err(error.into());
            }
            record = again;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let group = consumer
        .group_metadata()
        .ok_or_else(|| Trouble::Stop("the client knows no group".into()))?;
    writer.flush(deadline)?;
    writer.send_offsets(offsets, group, deadline)?.wait(deadline)?;
    writer.commit(deadline)?;
    Ok(Reset {
        partitions: numbers.len(),
        calls: keys.len(),
    })
}

/// Kafka itself takes offsets in a transaction from somebody who is no member, whoever else is.
fn refuse_members(consumer: &BaseConsumer, group: &str) -> Result<(), Trouble> {
    let groups = consumer.fetch_group_list(Some(group), REQUEST)?;
    if groups.groups().iter().any(|group| !group.members().is_empty()) {
        return Err(Trouble::Stop(format!(
            "the group {group} has members: end all its processes first; nothing was changed"
        )));
    }
    Ok(())
}

/// Keys that have a value, with their partitions.
fn keys(consumer: &BaseConsumer, topic: &str, numbers: &[i32]) -> Result<BTreeSet<(i32, Vec<u8>)>, Trouble> {
    let mut list = TopicPartitionList::new();
    for number in numbers {
        list.add_partition_offset(topic, *number, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut keys = BTreeSet::new();
    let mut open: BTreeSet<i32> = numbers.iter().copied().collect();
    let deadline = Instant::now() + PATIENCE;
    while !open.is_empty() {
        if Instant::now() > deadline {
            return Err(Trouble::Stop(format!(
                "{topic} was not read to its end in {} s",
                PATIENCE.as_secs()
            )));
        }
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let key = (message.partition(), message.key().unwrap_or_default().to_vec());
                match message.payload() {
                    Some(_) => keys.insert(key),
                    None => keys.remove(&key),
                };
            }
            Some(Err(KafkaError::PartitionEOF(number))) => drop(open.remove(&number)),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    consumer.unassign()?;
    Ok(keys)
}
