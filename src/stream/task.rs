//! What a worker does with the records of one partition. `Partition` judges them; the benchmarks put less in its place,
//! in the same worker.

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use super::dead_letter;
use super::outputs::Outputs;
use super::partition::{Incoming, Output, Partition};
use super::worker::Plan;
use crate::call::SnapshotError;
use crate::telemetry::wall_millis;

/// When a record reached Kafka, in milliseconds since 1970. Where the topic keeps the time of whoever wrote the record, a
/// host whose clock runs ahead would have deadlines of all calls fall due too soon: nothing has come from the future.
pub(super) fn reached_kafka(message: &BorrowedMessage<'_>) -> i64 {
    let now = wall_millis();
    message.timestamp().to_millis().map_or(now, |at| at.min(now))
}

/// What a partition may keep: calls, and calls that are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub calls: usize,
    pub past: usize,
}

impl Room {
    /// How much of what a partition holds it may keep where the process holds so many times too much; all of it, and what
    /// comes to it meanwhile, where nothing need go. A little more goes than must, so that not every second has a search of
    /// its own.
    pub(super) fn part(held: usize, crowding: Option<f64>) -> usize {
        crowding.map_or(usize::MAX, |times| (held as f64 / times * 0.95) as usize)
    }
}

pub trait Task: Default + Send + 'static {
    /// Takes in the last value of a key of the changelog.
    fn restore(&mut self, plan: &Plan, key: &[u8], value: &[u8]) -> Result<(), SnapshotError>;

    /// Takes in one record, which reached Kafka at `heard_at`; what follows from it goes out.
    fn take(&mut self, message: &BorrowedMessage<'_>, heard_at: i64, outputs: &mut Outputs<'_>);

    /// Sends what the changelog must learn of the records since the last time: the last value of each key that changed.
    fn drain(&mut self, outputs: &mut Outputs<'_>);

    /// Wall time, in milliseconds, at which the next deadline may be due.
    fn next_due(&self) -> Option<i64> {
        None
    }

    /// Steps what is due by `now`.
    fn tick(&mut self, _now: i64, _outputs: &mut Outputs<'_>) {}

    /// Makes room, forgetting `at_once` calls at most; how many it forgot. `now` is the wall clock.
    fn make_room(&mut self, _room: Room, _at_once: usize, _now: i64, _outputs: &mut Outputs<'_>) -> usize {
        0
    }

    /// Everything in the log was read.
    fn reached_end(&mut self) {}

    /// Calls that are held.
    fn calls(&self) -> usize;

    /// Calls that are over and remembered.
    fn past(&self) -> usize {
        0
    }

    /// Calls that have not ended.
    fn active(&self) -> usize {
        self.calls()
    }

    /// Offset of the last record whose effect any call holds.
    fn highest_offset(&self) -> Option<i64> {
        None
    }
}

impl Task for Partition {
    fn restore(&mut self, plan: &Plan, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        self.restore(key, value, &plan.pipeline)
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, heard_at: i64, outputs: &mut Outputs<'_>) {
        let payload = message.payload().unwrap_or_default();
        let record = Incoming {
            offset: message.offset(),
            key: message.key(),
            payload,
            heard_at,
        };
        let plan = outputs.plan;
        self.take(&plan.pipeline, &plan.limits, &record, |output| match output {
            Output::Refused(reject) => {
                outputs.count("records_rejected_total", reject.reason.as_str());
                outputs.dead_letter(message, dead_letter::headers(message, reject, outputs.worker));
            }
            other => outputs.took(other),
        });
    }

    fn drain(&mut self, outputs: &mut Outputs<'_>) {
        let plan = outputs.plan;
        self.drain(&plan.pipeline, |id, value| {
            outputs.send(&plan.topics.state, id.as_str().as_bytes(), value.as_deref(), None);
        });
    }

    fn next_due(&self) -> Option<i64> {
        self.next_due()
    }

    fn tick(&mut self, now: i64, outputs: &mut Outputs<'_>) {
        let plan = outputs.plan;
        self.tick(&plan.pipeline, now, |output| outputs.took(output));
    }

    fn make_room(&mut self, room: Room, at_once: usize, now: i64, outputs: &mut Outputs<'_>) -> usize {
        let plan = outputs.plan;
        self.make_room(&plan.pipeline, room, at_once, now, |output| outputs.took(output))
    }

    fn reached_end(&mut self) {
        self.reached_end();
    }

    fn calls(&self) -> usize {
        self.calls()
    }

    fn past(&self) -> usize {
        self.past()
    }

    fn active(&self) -> usize {
        self.active()
    }

    fn highest_offset(&self) -> Option<i64> {
        self.highest_offset()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_need_go_a_partition_that_holds_none_may_keep_what_comes() {
        assert_eq!(Room::part(0, None), usize::MAX);
        assert_eq!(Room::part(7, None), usize::MAX);
        assert_eq!(Room::part(0, Some(2.0)), 0);
        assert_eq!(Room::part(1_000, Some(2.0)), 475);
    }
}
