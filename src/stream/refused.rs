//! Partitions that are given to a worker and cannot be served.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::error;

/// How often it is told anew.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// Between two trials of one that may be served in a moment: the others wait while it is tried.
const TRIED_AGAIN: Duration = Duration::from_secs(5);

struct Refusal {
    reason: String,
    /// When it is tried again, where that may help.
    again: Option<Instant>,
}

/// Those partitions, with the reason. They are paused, so that nobody else is harmed: another process could not serve
/// them either.
#[derive(Default)]
pub(super) struct Refused {
    by: BTreeMap<i32, Refusal>,
    told: Option<Instant>,
}

impl Refused {
    /// `passes`: it may be otherwise in a moment.
    pub fn insert(&mut self, partition: i32, reason: String, passes: bool) {
        let known = self.by.get(&partition).is_some_and(|refusal| refusal.reason == reason);
        if !known {
            error!(partition, reason, "this partition is refused: its calls go unjudged");
            self.told = Some(Instant::now());
        }
        let again = passes.then(|| Instant::now() + TRIED_AGAIN);
        self.by.insert(partition, Refusal { reason, again });
    }

    /// Whether it was refused.
    pub fn remove(&mut self, partition: i32) -> bool {
        self.by.remove(&partition).is_some()
    }

    pub fn clear(&mut self) {
        self.by.clear();
    }

    pub fn len(&self) -> usize {
        self.by.len()
    }

    /// Those that it is time to try again.
    pub fn due(&self) -> Vec<i32> {
        let now = Instant::now();
        let due = self
            .by
            .iter()
            .filter(|(_, refusal)| refusal.again.is_some_and(|again| again <= now));
        due.map(|(partition, _)| *partition).collect()
    }

    pub fn list(&self, topic: &str) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in self.by.keys() {
            list.add_partition(topic, *partition);
        }
        list
    }

    pub fn tell_again(&mut self) {
        if self.by.is_empty() || self.told.is_some_and(|told| told.elapsed() < TOLD_AGAIN) {
            return;
        }
        self.told = Some(Instant::now());
        for (partition, Refusal { reason, .. }) in &self.by {
            error!(partition, reason, "this partition is refused: its calls go unjudged");
        }
    }
}
