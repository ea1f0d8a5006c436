//! What a worker's rebalance callback and its loop work on: the partitions that it holds and the open transaction.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prometheus::{Counter, Histogram};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::{error, info, warn};

use super::clients::producer_config;
use super::fail_point;
use super::outputs::Outputs;
use super::pace::Pace;
use super::refused::Refused;
use super::restore::{Restore, RestoreError};
use super::task::{Task, reached_kafka};
use super::transaction::{SENT_AGAIN_AFTER, Transaction, Writer};
use super::trouble::Trouble;
use super::twin;
use super::worker::{Assignment, Plan};
use crate::telemetry::{Part, wall_millis};

/// How long an alert waits for more records under load, so that a storm of alerts is committed in batches.
const ALERT_PATIENCE: Duration = Duration::from_millis(2);
/// While the broker still ends the last transaction it puts off the first output of the next, and the client asks again
/// after 20 ms: where there is time, a moment is given to it.
const ENDS_WITHIN: Duration = Duration::from_millis(5);
const SEEK_PATIENCE: Duration = Duration::from_secs(5);
/// Together with reading state back, less than a worker may go without polling.
const RENEW_PATIENCE: Duration = Duration::from_secs(6);

/// Without a poll for so long, what came meanwhile may wait unread: deadlines wait until the log is seen to be quiet, for a
/// while in which what the broker holds arrives, or as long as it takes to read all that a client may have fetched.
const STALL: Duration = Duration::from_millis(500);
const QUIET_AFTER_STALL: Duration = Duration::from_secs(1);
const HELD_AT_MOST: Duration = Duration::from_secs(10);
/// How long the end of a partition's changelog may be undecided when it is given to this worker, and when it is tried
/// again, while the others wait.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_AGAIN: Duration = Duration::from_millis(200);
/// How often it is told anew that the consumer meets errors.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
const WATERMARKS: Duration = Duration::from_secs(5);

/// A partition that this worker holds.
struct Owned<T> {
    task: T,
    /// Offset of the next record to read.
    next: i64,
    /// Something of it stands in the open transaction.
    touched: bool,
    last_record: i64,
    /// End of its log when it was last heard of; 0 before.
    end: i64,
    /// Since when records have been waiting.
    behind_since: Option<i64>,
}

impl<T> Owned<T> {
    /// Records that are known to wait.
    fn waiting(&self) -> i64 {
        (self.end - self.next).max(0)
    }
}

pub(super) struct Engine<T> {
    plan: Plan,
    number: usize,
    writer: Writer,
    /// Its own name, which stands in the metadata of every commit.
    transactional_id: String,
    owned: BTreeMap<i32, Owned<T>>,
    refused: Refused,
    consumer_told: Option<Instant>,
    /// Errors that a place in the log is gone, and partitions that were refused for one: each has one.
    gone: (usize, usize),
    /// Since when deadlines wait for what came during a stall.
    deadlines_wait: Option<Instant>,
    /// More calls are held than memory is planned for.
    crowd: Option<Crowd>,
    open: Option<Transaction>,
    /// What went wrong in the callback, for the loop.
    trouble: Option<Trouble>,
    /// Rewinds since the last commit.
    rewinds: u32,
    pace: Pace,
    closing: bool,
    /// Its part of what the workers of a process hold together.
    part: Part,
    often: Often,
}

/// The process holds too many: the share of its calls, and of those that are over, that each worker may keep.
struct Crowd {
    calls: f64,
    past: f64,
}

/// Series that every record touches: looking one up costs more than counting.
struct Often {
    records: Counter,
    bytes: Counter,
    poll_gap: Histogram,
    step: Histogram,
}

impl Often {
    fn of(plan: &Plan) -> Self {
        let topic = [plan.topics.events.as_str()];
        Self {
            records: plan.metrics.counter("records_consumed_total", &topic),
            bytes: plan.metrics.counter("bytes_consumed_total", &topic),
            poll_gap: plan.metrics.histogram("poll_gap_seconds", &[]),
            step: plan.metrics.histogram("step_duration_seconds", &[]),
        }
    }
}

impl<T: Task> Engine<T> {
    pub(super) fn new(plan: &Plan, number: usize, writer: Writer, transactional_id: String) -> Self {
        Self {
            plan: plan.clone(),
            number,
            writer,
            transactional_id,
            owned: BTreeMap::new(),
            refused: Refused::default(),
            consumer_told: None,
            gone: (0, 0),
            deadlines_wait: None,
            crowd: None,
            open: None,
            trouble: None,
            rewinds: 0,
            pace: Pace::default(),
            closing: false,
            part: Part::new(&plan.metrics, &plan.topics.events),
            often: Often::of(plan),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Rewinds since the last commit.
    pub(super) fn rewinds(&self) -> u32 {
        self.rewinds
    }

    /// Keeps what went wrong for the loop.
    pub(super) fn fail(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
    }

    /// What went wrong in the callback.
    pub(super) fn trouble(&mut self) -> Result<(), Trouble> {
        self.trouble.take().map_or(Ok(()), Err)
    }

    pub(super) fn assign(&mut self, consumer: &BaseConsumer<Assignment<T>>, numbers: &[i32]) -> Result<(), Trouble> {
        self.plan.metrics.count("rebalances_total", &["assign"]);
        // What is open is committed first: reading state back may take longer than a transaction may last.
        let restored = if self.closing {
            Ok(TopicPartitionList::new())
        } else {
            self.commit(consumer)
                .and_then(|()| self.restore(consumer, numbers, PATIENCE))
        };
        // A callback that assigns nothing, not even none, leaves the client waiting for it, even while it is closed.
        let none = TopicPartitionList::new();
        consumer.incremental_assign(restored.as_ref().unwrap_or(&none))?;
        // What was given and is not held would be read by nobody: only another membership gives it again.
        restored.map_err(Trouble::rebuilds)?;
        self.pause_refused(consumer)?;
        // Of the group it was given its share, if only none.
        self.plan.heartbeat.worker_ready(self.number, !self.closing);
        self.claim(consumer)
    }

    /// Who holds new partitions stands in the commit's metadata before the first output for them.
    fn claim(&mut self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        // A cooperative rebalance often gives nothing: then there is nothing to claim.
        if !self.owned.values().any(|owned| owned.touched) {
            return Ok(());
        }
        self.begin()?;
        self.commit(consumer)
    }

    /// Tries those of the refused partitions again that may be served by now.
    pub(super) fn try_again(&mut self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        let due = self.refused.due();
        if due.is_empty() {
            return Ok(());
        }
        self.commit(consumer)?;
        let restored = self.restore(consumer, &due, PATIENCE_AGAIN)?;
        let mut served = TopicPartitionList::new();
        for number in due.iter().filter(|number| self.owned.contains_key(number)) {
            self.refused.remove(*number);
            let place = restored.find_partition(&self.plan.topics.events, *number);
            if let Some(place) = place {
                served.add_partition_offset(&self.plan.topics.events, *number, place.offset())?;
            }
        }
        self.tell_refused();
        if served.count() == 0 {
            return Ok(());
        }
        seek(consumer, served.clone())?;
        consumer.resume(&served)?;
        info!(worker = self.number, partitions = ?due, "served again");
        self.claim(consumer)
    }

    /// Reads the state of these partitions back and holds them from now on; where to go on reading each. Those that are
    /// refused stand at the end of their log, to be paused.
    fn restore(
        &mut self,
        consumer: &BaseConsumer<Assignment<T>>,
        numbers: &[i32],
        patience: Duration,
    ) -> Result<TopicPartitionList, Trouble> {
        let mut list = TopicPartitionList::new();
        if numbers.is_empty() {
            return Ok(list);
        }
        let began = Instant::now();
        self.part.set("restore_in_progress", 1.0);
        let restore = Restore {
            consumer,
            plan: &self.plan,
            number: self.number,
            transactional_id: &self.transactional_id,
            patience,
            logged_in: Cell::new(began),
        };
        let restored = restore.run::<T>(numbers);
        self.part.set("restore_in_progress", 0.0);
        let mut records = 0;
        let restored = restored?;
        let all_fail = self.owned.is_empty()
            && restored
                .values()
                .all(|one| one.as_ref().is_err_and(RestoreError::passes));
        for (number, restored) in restored {
            let restored = match restored {
                Ok(restored) => restored,
                // Where none can be served it may be the clients.
                Err(reason) if all_fail => return Err(reason.into()),
                Err(reason) => {
                    self.refuse(number, reason.to_string(), reason.passes());
                    list.add_partition_offset(&self.plan.topics.events, number, Offset::End)?;
                    continue;
                }
            };
            records += restored.records;
            list.add_partition_offset(&self.plan.topics.events, number, Offset::Offset(restored.next))?;
            let ahead = restored.task.highest_offset().filter(|offset| *offset >= restored.next);
            if let Some(offset) = ahead {
                warn!(
                    partition = number,
                    offset,
                    next = restored.next,
                    "state is ahead of the committed offset"
                );
            }
            self.owned.insert(
                number,
                Owned {
                    task: restored.task,
                    next: restored.next,
                    touched: true,
                    last_record: 0,
                    end: 0,
                    behind_since: None,
                },
            );
        }
        self.plan
            .metrics
            .observe("restore_duration_seconds", &[], began.elapsed().as_secs_f64());
        let held: Vec<&Owned<T>> = numbers.iter().filter_map(|number| self.owned.get(number)).collect();
        if !held.is_empty() {
            let calls: usize = held.iter().map(|owned| owned.task.calls()).sum();
            let took_ms = began.elapsed().as_millis() as u64;
            info!(worker = self.number, partitions = ?numbers, records, calls, took_ms, "state read back");
        }
        Ok(list)
    }

    fn refuse(&mut self, number: i32, reason: String, passes: bool) {
        self.owned.remove(&number);
        self.plan.metrics.drop_partition(&self.plan.topics.events, number);
        self.refused.insert(number, reason, passes);
        self.tell_refused();
    }

    fn tell_refused(&mut self) {
        self.part.set("refused_partitions", self.refused.len() as f64);
        self.plan.heartbeat.refuses(self.number, self.refused.len());
    }

    fn pause_refused(&self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        let list = self.refused.list(&self.plan.topics.events);
        if list.count() > 0 {
            consumer.pause(&list)?;
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self, consumer: &BaseConsumer<Assignment<T>>, numbers: &[i32]) -> Result<(), Trouble> {
        let lost = consumer.assignment_lost();
        self.plan
            .metrics
            .count("rebalances_total", &[if lost { "lost" } else { "revoke" }]);
        let settled = match lost {
            true if self.is_open() => Err(Trouble::Rewind("the assignment was lost".into())),
            true => Ok(()),
            false => self.commit(consumer),
        };
        let mut list = TopicPartitionList::new();
        let mut paused = TopicPartitionList::new();
        for number in numbers {
            list.add_partition(&self.plan.topics.events, *number);
            self.owned.remove(number);
            self.plan.metrics.drop_partition(&self.plan.topics.events, *number);
            if self.refused.remove(*number) {
                paused.add_partition(&self.plan.topics.events, *number);
            }
        }
        self.tell_refused();
        // The pause outlives the assignment: given again, it would be held and never read.
        if paused.count() > 0 {
            consumer.resume(&paused)?;
        }
        consumer.incremental_unassign(&list)?;
        info!(worker = self.number, partitions = ?numbers, lost, "revoked");
        settled
    }

    /// After a transaction that cannot be committed: taking the name anew aborts it, what the state took in of it is
    /// forgotten by reading it back, and its records are read again.
    pub(super) fn rewind(&mut self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        self.rewinds += 1;
        if self.open.take().is_some() {
            self.plan.metrics.count("commits_total", &["aborted"]);
        }
        self.renew()?;
        let numbers: Vec<i32> = self.owned.keys().copied().collect();
        self.owned.clear();
        self.restore(consumer, &numbers, PATIENCE)?;
        self.pause_refused(consumer)?;
        if self.owned.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (number, owned) in &self.owned {
            list.add_partition_offset(&self.plan.topics.events, *number, Offset::Offset(owned.next))?;
        }
        seek(consumer, list)?;
        self.begin()
    }

    /// Takes the name anew, between two transactions or to abort one.
    fn renew(&mut self) -> Result<(), Trouble> {
        let client = self
            .plan
            .kafka
            .client()
            .map_err(|error| Trouble::Rebuild(error.to_string()))?;
        let config = producer_config(&self.plan, &client, &self.transactional_id);
        self.writer = Writer::start(&config, RENEW_PATIENCE)?;
        Ok(())
    }

    pub(super) fn consumer_error(
        &mut self,
        consumer: &BaseConsumer<Assignment<T>>,
        error: KafkaError,
    ) -> Result<(), Trouble> {
        match &error {
            KafkaError::PartitionEOF(number) => {
                if let Some(owned) = self.owned.get_mut(number) {
                    owned.task.reached_end();
                }
                Ok(())
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.plan.metrics.count("kafka_errors_total", &["offset_out_of_range"]);
                self.refuse_lost(consumer)
            }
            KafkaError::MessageConsumptionFatal(_) => Err(error.into()),
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed,
            ) => Err(error.into()),
            _ => {
                self.plan.metrics.count("kafka_errors_total", &["consume"]);
                // As of a group that cannot be joined: told nowhere else.
                let told = self.consumer_told.is_some_and(|told| told.elapsed() < TOLD_AGAIN);
                if !told {
                    self.consumer_told = Some(Instant::now());
                    warn!(worker = self.number, %error, "the consumer cannot go on for now");
                }
                Ok(())
            }
        }
    }

    /// The client does not say which partition it was.
    fn refuse_lost(&mut self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        // What was judged of them before is committed, or read again by nobody.
        self.commit(consumer)?;
        self.gone.0 += 1;
        let read: Vec<(i32, i64)> = self.owned.iter().map(|(number, owned)| (*number, owned.next)).collect();
        for (number, next) in read {
            let (low, high) = consumer.fetch_watermarks(&self.plan.topics.events, number, WATERMARKS)?;
            if !(low..=high).contains(&next) {
                let reason = format!(
                    "{}: offset {next} is no longer in the log ({low} to {high}), so records were lost: `callward reset` is \
                     the way back",
                    self.plan.topics.events
                );
                self.refuse(number, reason, false);
                self.gone.1 += 1;
            }
        }
        if self.gone.0 > self.gone.1 {
            // As after an election that cut the log: the client reads on from there no more, another will.
            error!(
                worker = self.number,
                "a log was cut and written anew: records may be lost"
            );
            return Err(Trouble::Rebuild("a log was cut and written anew".into()));
        }
        self.pause_refused(consumer)
    }

    /// What may have come since the last poll, and was not read, must be read before time is let speak.
    pub(super) fn polled(&mut self, gap: Duration, took: Duration) {
        self.often.poll_gap.observe(gap.as_secs_f64());
        self.pace.polled(took);
        if gap >= STALL {
            // One stall after another, as on a slow way, holds time up no longer than one does.
            self.deadlines_wait.get_or_insert_with(Instant::now);
        }
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        if self.open.is_none() {
            self.writer.begin()?;
            self.open = Some(Transaction::begin());
        }
        Ok(())
    }

    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Trouble> {
        let number = message.partition();
        // What was fetched before a rewind comes again.
        if self
            .owned
            .get(&number)
            .is_none_or(|owned| message.offset() < owned.next)
        {
            return Ok(());
        }
        self.begin()?;
        self.often.records.inc();
        self.often.bytes.inc_by(message.payload_len() as f64);
        let heard_at = reached_kafka(message);
        let Some((owned, mut outputs)) = self.outputs(number) else {
            return Ok(());
        };
        let began = Instant::now();
        owned.task.take(message, heard_at, &mut outputs);
        let took = began.elapsed();
        outputs.transaction.records += 1;
        owned.next = message.offset() + 1;
        if !owned.touched {
            // A partition of a topic is made known to the transaction with its first record, which takes two answers:
            // for the changelog now rather than at the commit, which would wait for them.
            owned.task.drain(&mut outputs);
        }
        owned.touched = true;
        owned.last_record = heard_at;
        outputs.end()?;
        self.often.step.observe(took.as_secs_f64());
        Ok(())
    }

    /// A partition and where its outputs go, within the transaction that was begun.
    fn outputs(&mut self, number: i32) -> Option<(&mut Owned<T>, Outputs<'_>)> {
        let owned = self.owned.get_mut(&number)?;
        let outputs = Outputs {
            plan: &self.plan,
            producer: self.writer.producer(),
            transaction: self.open.as_mut()?,
            partition: number,
            worker: self.number,
            hastens: owned.waiting() <= self.plan.stream.commit_records as i64,
            failed: None,
        };
        Some((owned, outputs))
    }

    /// Deadlines that fell due in silence. `quiet`: nothing came with the last poll.
    pub(super) fn tick(&mut self, quiet: bool) -> Result<(), Trouble> {
        if let Some(since) = self.deadlines_wait {
            let waited = since.elapsed();
            if waited < QUIET_AFTER_STALL || (!quiet && waited < HELD_AT_MOST) {
                return Ok(());
            }
            self.deadlines_wait = None;
        }
        let now = wall_millis();
        let due: Vec<i32> = self
            .owned
            .iter()
            .filter(|(_, owned)| owned.task.next_due().is_some_and(|due| due <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.begin()?;
            let Some((owned, mut outputs)) = self.outputs(number) else {
                continue;
            };
            owned.task.tick(now, &mut outputs);
            // With offsets in every transaction, one that only time caused is fenced like the others.
            owned.touched = true;
            outputs.end()?;
        }
        Ok(())
    }

    /// Gives up calls without an open need, where the process holds more than memory is planned for.
    pub(super) fn make_room(&mut self) -> Result<(), Trouble> {
        let Some(Crowd { calls, past }) = self.crowd.take() else {
            return Ok(());
        };
        let (now, share) = (wall_millis(), |count: usize, share: f64| {
            (count as f64 * share) as usize
        });
        let numbers: Vec<i32> = self.owned.keys().copied().collect();
        let mut given_up = 0;
        for number in numbers {
            self.begin()?;
            let Some((owned, mut outputs)) = self.outputs(number) else {
                continue;
            };
            let before = owned.task.calls();
            owned.task.give_up(share(before, calls), now, &mut outputs);
            given_up += before - owned.task.calls();
            owned.task.forget_past(share(owned.task.past(), past));
            owned.touched = true;
            outputs.end()?;
        }
        warn!(
            worker = self.number,
            given_up,
            "more calls than stream.capacity_calls: of those without an open need some are forgotten before their time"
        );
        Ok(())
    }

    /// `quiet`: nothing came with the last poll.
    pub(super) fn should_commit(&self, quiet: bool) -> bool {
        let Some(transaction) = &self.open else { return false };
        let now = Instant::now();
        let is_due = |since| self.pace.is_spaced(now, quiet) && (quiet || now - since >= ALERT_PATIENCE);
        transaction.alert.is_some_and(is_due)
            || now - transaction.began >= Duration::from_millis(self.plan.stream.commit_interval_ms)
            || transaction.records >= self.plan.stream.commit_records
    }

    pub(super) fn commit(&mut self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        if !self.is_open() {
            return Ok(());
        }
        let began = Instant::now();
        let committed = self.try_commit(consumer);
        let result = if committed.is_ok() { "ok" } else { "failed" };
        self.plan.metrics.count("commits_total", &[result]);
        if committed.is_err() {
            self.plan.metrics.count("kafka_errors_total", &["transaction"]);
            return committed;
        }
        let took = began.elapsed();
        let waited = self.pace.committed(took);
        self.plan
            .metrics
            .observe("commit_duration_seconds", &[], took.as_secs_f64());
        let Some(transaction) = self.open.take() else {
            return Ok(());
        };
        transaction.tally.tell(&self.plan.metrics);
        let now = wall_millis();
        for (level, at) in transaction.alerts {
            let latency = (now - at).max(0) as f64 / 1000.0;
            self.plan
                .metrics
                .observe("alert_latency_seconds", &[level.priority()], latency);
        }
        self.owned.values_mut().for_each(|owned| owned.touched = false);
        self.rewinds = 0;
        let stops = self.plan.stop.load(Ordering::Relaxed);
        if !stops && (took >= SENT_AGAIN_AFTER || self.writer.has_lost_connections()) {
            info!(
                worker = self.number,
                "something may have been sent twice: the producer is made anew"
            );
            self.plan.metrics.count("producer_renewals_total", &[]);
            self.renew()?;
        } else if waited && !stops {
            std::thread::sleep(ENDS_WITHIN);
        }
        Ok(())
    }

    fn try_commit(&mut self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        let Some(transaction) = &self.open else { return Ok(()) };
        let deadline = transaction.began + Duration::from_millis(self.plan.stream.transaction_timeout_ms);
        let metadata = twin::signature(&self.plan, &self.transactional_id);
        let touched: Vec<i32> = self
            .owned
            .iter()
            .filter(|(_, owned)| owned.touched)
            .map(|(number, _)| *number)
            .collect();
        let mut offsets = TopicPartitionList::new();
        for number in touched {
            let Some((owned, mut outputs)) = self.outputs(number) else {
                continue;
            };
            owned.task.drain(&mut outputs);
            let next = Offset::Offset(owned.next);
            outputs.end()?;
            offsets.add_partition_offset(&self.plan.topics.events, number, next)?;
            if let Some(mut element) = offsets.find_partition(&self.plan.topics.events, number) {
                element.set_metadata(&metadata);
            }
        }
        // Without offsets a transaction of a worker that lost its partitions would not be fenced.
        if offsets.count() == 0 {
            return Err(Trouble::Rewind("the transaction holds no partition's offset".into()));
        }
        let group = consumer
            .group_metadata()
            .ok_or_else(|| Trouble::Rebuild("this worker is no member of its group".into()))?;
        fail_point::reach("after_send");
        let mut phase = Instant::now();
        let mut ended = |name: &str| {
            let took = std::mem::replace(&mut phase, Instant::now()).elapsed();
            self.plan
                .metrics
                .observe("commit_phase_seconds", &[name], took.as_secs_f64());
        };
        let offsets = self.writer.send_offsets(offsets, group, deadline)?;
        self.writer.flush(deadline)?;
        ended("drain");
        fail_point::reach("after_drain");
        offsets.wait(deadline)?;
        ended("offsets");
        fail_point::reach("after_offsets");
        self.writer.commit(deadline)?;
        ended("end");
        fail_point::reach("after_commit");
        Ok(())
    }

    /// What is held is held no more, and nothing is taken on: the client is about to be closed.
    pub(super) fn forget_all(&mut self) {
        for number in self.owned.keys() {
            self.plan.metrics.drop_partition(&self.plan.topics.events, *number);
        }
        self.owned.clear();
        self.refused.clear();
        self.tell_refused();
        self.closing = true;
    }

    /// `ends`: the last decided offset of each partition.
    pub(super) fn look_around(&mut self, ends: &BTreeMap<i32, i64>) {
        let metrics = &self.plan.metrics;
        let topic = self.plan.topics.events.as_str();
        let now = wall_millis();
        let (mut calls, mut active, mut past) = (0, 0, 0);
        for (number, owned) in &mut self.owned {
            calls += owned.task.calls();
            active += owned.task.active();
            past += owned.task.past();
            owned.end = ends.get(number).copied().unwrap_or_default();
            let lag = owned.waiting();
            let number = number.to_string();
            let labels = [topic, number.as_str()];
            metrics.set("consumer_lag_records", &labels, lag as f64);
            // After a quiet hour the last record is old, and what waits is not.
            let behind = if lag > 0 {
                let since = *owned.behind_since.get_or_insert(now);
                now - since.max(owned.last_record)
            } else {
                owned.behind_since = None;
                0
            };
            metrics.set("consumer_lag_seconds", &labels, behind.max(0) as f64 / 1000.0);
            metrics.set(
                "watermark_timestamp_seconds",
                &labels,
                owned.last_record as f64 / 1000.0,
            );
        }
        self.refused.tell_again();
        self.part.set_of_topic("assigned_partitions", self.owned.len() as f64);
        self.part.set("active_calls", active as f64);
        self.part.set("state_entries", calls as f64);
        self.part.set("remembered_calls", past as f64);
        let most = self.plan.stream.capacity_calls as f64;
        let share = |name| (most / metrics.value(name)).min(1.0);
        let (calls, past) = (share("state_entries"), share("remembered_calls"));
        // A little more than must be, so that not every second has a search of its own.
        let spare = |share: f64| if share < 1.0 { share * 0.95 } else { share };
        self.crowd = (calls.min(past) < 1.0).then(|| Crowd {
            calls: spare(calls),
            past: spare(past),
        });
    }
}

fn seek<T: Task>(consumer: &BaseConsumer<Assignment<T>>, to: TopicPartitionList) -> Result<(), Trouble> {
    let sought = consumer.seek_partitions(to, SEEK_PATIENCE)?;
    for element in sought.elements() {
        element.error()?;
    }
    Ok(())
}
