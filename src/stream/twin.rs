//! Whether another process has our name. Being fenced alone does not tell: who takes over from a worker that seems gone
//! fences it too, and so does the broker where a transaction lasted too long.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::login;
use super::worker::Plan;

const REQUEST: Duration = Duration::from_secs(5);
/// More than a worker takes from its name to its first commit.
const PATIENCE: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(300);

/// What every commit tells of who made it.
pub(super) fn signature(plan: &Plan, transactional_id: &str) -> String {
    let model = plan.pipeline.model_label();
    format!("v1;owner={transactional_id};process={};model={model}", plan.process)
}

/// The name in the metadata of a commit.
pub(super) fn owner(metadata: &str) -> Option<&str> {
    part(metadata, "owner")
}

fn part<'m>(metadata: &'m str, name: &str) -> Option<&'m str> {
    let mut parts = metadata.split(';');
    parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// Whether a commit of another process under this name shows within a few seconds. Who took our name must read state back
/// before it commits: at once only our own commits would be seen, by each of the two in turn, for ever.
pub(super) fn shows_up(plan: &Plan, transactional_id: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && !plan.stop.load(Ordering::Relaxed) {
        if is_seen(plan, transactional_id) {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    false
}

/// A commit of another process under this name stands for some partition. Where Kafka does not answer, nobody is seen.
fn is_seen(plan: &Plan, transactional_id: &str) -> bool {
    let Ok(mut client) = plan.kafka.client() else {
        return false;
    };
    client
        .set("group.id", &plan.kafka.group)
        .set("isolation.level", "read_uncommitted")
        .set("enable.auto.commit", "false");
    let Ok(consumer) = client.create::<BaseConsumer>() else {
        return false;
    };
    if login::log_in(&client, consumer.client()).is_err() {
        return false;
    }
    let Ok(metadata) = consumer.fetch_metadata(Some(&plan.topics.events), REQUEST) else {
        return false;
    };
    let mut list = TopicPartitionList::new();
    for topic in metadata.topics() {
        for partition in topic.partitions() {
            list.add_partition(topic.name(), partition.id());
        }
    }
    let Ok(committed) = consumer.committed_offsets(list, REQUEST) else {
        return false;
    };
    committed.elements().iter().any(|element| {
        let metadata = element.metadata();
        owner(metadata) == Some(transactional_id) && part(metadata, "process") != Some(plan.process.as_str())
    })
}
