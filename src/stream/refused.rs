//! Partitions that are given to a worker and cannot be served.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::error;

/// How often it is told anew.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// Between two trials of one that may be served in a moment, doubled each time: the others wait while it is tried.
const TRIED_AGAIN: Duration = Duration::from_secs(5);
const TRIED_AGAIN_AT_MOST: Duration = Duration::from_secs(60);

struct Refusal {
    reason: String,
    told: Instant,
    trial: Option<Trial>,
}

/// When it is tried again, where that may help.
struct Trial {
    at: Instant,
    pause: Duration,
}

/// Those partitions, with the reason. They are paused, so that nobody else is harmed: another process could not serve
/// them either.
#[derive(Default)]
pub(super) struct Refused {
    by: BTreeMap<i32, Refusal>,
}

impl Refused {
    /// `passes`: it may be otherwise in a moment.
    pub fn insert(&mut self, partition: i32, reason: String, passes: bool) {
        let before = self.by.remove(&partition);
        if before.is_none() {
            tell(partition, &reason);
        }
        let pause = before
            .as_ref()
            .and_then(|before| before.trial.as_ref())
            .map_or(TRIED_AGAIN, |trial| (trial.pause * 2).min(TRIED_AGAIN_AT_MOST));
        let refusal = Refusal {
            reason,
            told: before.map_or_else(Instant::now, |before| before.told),
            trial: passes.then(|| Trial {
                at: Instant::now() + pause,
                pause,
            }),
        };
        self.by.insert(partition, refusal);
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

    /// The one that it is time to try again, and longest so.
    pub fn due(&self) -> Option<i32> {
        let trials = self
            .by
            .iter()
            .filter_map(|(partition, refusal)| Some((refusal.trial.as_ref()?.at, *partition)));
        let (at, partition) = trials.min()?;
        (at <= Instant::now()).then_some(partition)
    }

    pub fn list(&self, topic: &str) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in self.by.keys() {
            list.add_partition(topic, *partition);
        }
        list
    }

    pub fn tell_again(&mut self) {
        for (partition, refusal) in &mut self.by {
            if refusal.told.elapsed() >= TOLD_AGAIN {
                refusal.told = Instant::now();
                tell(*partition, &refusal.reason);
            }
        }
    }
}

fn tell(partition: i32, reason: &str) {
    error!(partition, reason, "this partition is refused: its calls go unjudged");
}
