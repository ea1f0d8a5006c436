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
use super::restore::{Occasion, Restore, RestoreError, Restores};
use super::task::{Room, Task, reached_kafka};
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
    /// More calls are held than memory is planned for: what each partition may keep.
    crowd: Option<BTreeMap<i32, Room>>,
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
                .and_then(|()| self.restore(consumer, numbers, Occasion::Given))
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

    /// Tries one of the refused partitions again that may be served by now.
    pub(super) fn try_again(&mut self, consumer: &BaseConsumer<Assignment<T>>) -> Result<(), Trouble> {
        let Some(number) = self.refused.due() else {
            return Ok(());
        };
        self.commit(consumer)?;
        let place = match self.restore(consumer, &[number], Occasion::Again) {
            Ok(place) if self.owned.contains_key(&number) => place,
            Ok(_) => return Ok(()),
            Err(Trouble::Stop(reason)) => return Err(Trouble::Stop(reason)),
            Err(_) if self.plan.stop.load(Ordering::Relaxed) => return Ok(()),
            // It is no reason to keep the others from being served.
            Err(trouble) => {
                self.refuse(number, trouble.to_string(), true);
                return Ok(());
            }
        };
        self.refused.remove(number);
        self.tell_held();
        seek(consumer, place.clone())?;
        consumer.resume(&place)?;
        info!(worker = self.number, partition = number, "served again");
        self.claim(consumer)
    }

    /// Reads the state of these partitions back and holds them from now on; where to go on reading each. Those that are
    /// refused stand at their committed offset, to be paused: a place that the client would have to ask for might be told
    /// long after it went on elsewhere.
    fn restore(
        &mut self,
        consumer: &BaseConsumer<Assignment<T>>,
        numbers: &[i32],
        occasion: Occasion,
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
            occasion,
            logged_in: Cell::new(began),
        };
        let restored = restore.run::<T>(numbers);
        self.part.set("restore_in_progress", 0.0);
        let Restores {
            held,
            refused,
            committed,
        } = restored?;
        // Where nobody answers for any it may be the clients.
        let unanswered = |error: &RestoreError| error.passes() && !matches!(error, RestoreError::Undecided { .. });
        if occasion == Occasion::Given && self.owned.is_empty() && held.is_empty() && refused.values().all(unanswered) {
            let first = refused.into_values().next();
            return Err(first.map_or_else(|| Trouble::Rebuild("nothing was read back".into()), Trouble::from));
        }
        for (number, error) in refused {
            self.refuse(number, error.to_string(), error.passes());
            let place = committed
                .get(&number)
                .map_or(Offset::Beginning, |offset| Offset::Offset(*offset));
            list.add_partition_offset(&self.plan.topics.events, number, place)?;
        }
        let (mut records, mut calls) = (0, 0);
        let any = !held.is_empty();
        for (number, restored) in held {
            calls += restored.task.calls();
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
        self.tell_held();
        if any {
            let took = began.elapsed();
            let (metrics, took_ms) = (&self.plan.metrics, took.as_millis() as u64);
            metrics.observe("restore_duration_seconds", &[], took.as_secs_f64());
            info!(worker = self.number, partitions = ?numbers, records, calls, took_ms, "state read back");
        }
        Ok(list)
    }

    fn refuse(&mut self, number: i32, reason: String, passes: bool) {
        self.owned.remove(&number);
        self.plan.metrics.drop_partition(&self.plan.topics.events, number);
        self.refused.insert(number, reason, passes);
        self.tell_held();
    }

    /// What is held, and what is refused: told at once where it changes hands, since workers share one measure of memory.
    fn tell_held(&mut self) {
        let sum = |count: fn(&T) -> usize| self.owned.values().map(|owned| count(&owned.task)).sum::<usize>() as f64;
        let (calls, active, past) = (sum(T::calls), sum(T::active), sum(T::past));
        self.part.set_of_topic("assigned_partitions", self.owned.len() as f64);
        self.part.set("active_calls", active);
        self.part.set("state_entries", calls);
        self.part.set("remembered_calls", past);
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
        self.tell_held();
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
        self.restore(consumer, &numbers, Occasion::Given)?;
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

    /// Gives up calls without an open need, where the process holds more than memory is planned for: as many at a time as
    /// fit into a transaction.
    pub(super) fn make_room(&mut self) -> Result<(), Trouble> {
        let Some(crowd) = self.crowd.take() else {
            return Ok(());
        };
        let (now, at_once) = (wall_millis(), self.plan.stream.commit_records);
        let mut left = at_once;
        for (number, room) in &crowd {
            self.begin()?;
            let Some((owned, mut outputs)) = self.outputs(*number) else {
                continue;
            };
            let gone = owned.task.make_room(*room, left, now, &mut outputs);
            left -= gone;
            outputs.transaction.records += gone;
            owned.touched = true;
            outputs.end()?;
            if left == 0 {
                break;
            }
        }
        if left < at_once {
            warn!(
                worker = self.number,
                gone = at_once - left,
                "more calls than stream.capacity_calls: some without an open need, or long over, are forgotten before their time"
            );
        }
        // The other workers must not give up the same once more. It goes on with the next turn.
        self.tell_held();
        self.crowd = (left == 0).then_some(crowd);
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
        self.tell_held();
        self.closing = true;
    }

    /// `ends`: the last decided offset of each partition.
    pub(super) fn look_around(&mut self, ends: &BTreeMap<i32, i64>) {
        let metrics = &self.plan.metrics;
        let topic = self.plan.topics.events.as_str();
        let now = wall_millis();
        for (number, owned) in &mut self.owned {
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
        self.tell_held();
        self.look_for_room();
    }

    /// Where the process holds too many calls, each partition gives up its share of them.
    fn look_for_room(&mut self) {
        let most = self.plan.stream.capacity_calls as f64;
        let crowding = |name| Some(self.plan.metrics.value(name) / most).filter(|times| *times > 1.0);
        let (calls, past) = (crowding("state_entries"), crowding("remembered_calls"));
        let room = |task: &T| Room {
            calls: Room::part(task.calls(), calls),
            past: Room::part(task.past(), past),
        };
        self.crowd = calls.or(past).map(|_| {
            let owned = self.owned.iter();
            owned.map(|(number, owned)| (*number, room(&owned.task))).collect()
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
