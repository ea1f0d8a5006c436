//! One worker: a thread that is one member of the group, with the state of its partitions.
//!
//! ```text
//! poll ─► take (judge, collect outputs) ─► … ─► commit: outputs, changed states and offsets in one transaction
//!   └── rebalance, inside poll: commit or abort what is open, drop what goes, restore what comes
//! ```
//! Whatever leaves a transaction unclear ends in the same way: the clients are made anew, the state is read back, and
//! the broker tells what was committed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tracing::{error, info, warn};

use super::clients::{consumer_config, producer_config};
use super::dead_letter;
use super::fail_point;
use super::outputs::{Outputs, Transaction};
use super::partition::{Incoming, Output, Partition};
use super::restore::Restore;
use super::settings::{DeadLetterSettings, KafkaSettings, StreamSettings, TopicSettings};
use super::trouble::Trouble;
use crate::pipeline::Pipeline;
use crate::record::Limits;
use crate::telemetry::{Heartbeat, Metrics, wall_millis};

/// What a worker is made with.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kafka: KafkaSettings,
    pub topics: TopicSettings,
    pub stream: StreamSettings,
    pub limits: Limits,
    pub dead_letter: DeadLetterSettings,
    pub pipeline: Arc<Pipeline>,
    pub metrics: Arc<Metrics>,
    pub heartbeat: Arc<Heartbeat>,
    pub stop: Arc<AtomicBool>,
}

/// Spacing of commits under storms of alerts.
const ALERT_PATIENCE: Duration = Duration::from_millis(2);
const POLL_IDLE: Duration = Duration::from_millis(50);
const POLL_OPEN: Duration = Duration::from_millis(1);

/// Less than a shutdown may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(4);
/// How long the client may be over its time with an answer about offsets.
const OFFSETS_PATIENCE: Duration = Duration::from_millis(500);
/// So many times fenced within a minute: another process has our name, or this one stalled as often for longer than a
/// transaction may last, and should not go on either.
const FENCES: usize = 3;
const FENCES_WITHIN: Duration = Duration::from_secs(60);

/// Runs until it is told to stop; rebuilds its clients as often as needed.
pub fn run(plan: &Plan, number: usize) -> Result<(), Trouble> {
    let mut pause = Duration::from_millis(100);
    let mut fences: Vec<Instant> = Vec::new();
    while !plan.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let ended = Worker::start(plan, number).and_then(|worker| worker.work());
        if let Err(Trouble::Fenced(reason)) = &ended {
            fences.retain(|fence| fence.elapsed() < FENCES_WITHIN);
            fences.push(Instant::now());
            if fences.len() >= FENCES {
                return Err(Trouble::Stop(format!(
                    "another process uses kafka.instance {:?}, or seems to: give each process its own ({reason})",
                    plan.kafka.instance
                )));
            }
        }
        match ended {
            Ok(()) => return Ok(()),
            Err(Trouble::Stop(reason)) => return Err(Trouble::Stop(reason)),
            Err(Trouble::Rebuild(reason) | Trouble::Fenced(reason)) => {
                plan.metrics.count("rebuilds_total", &[]);
                warn!(worker = number, reason, "clients are made anew");
                if began.elapsed() > Duration::from_secs(60) {
                    pause = Duration::from_millis(100);
                }
                plan.heartbeat.polled();
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
    Ok(())
}

struct Worker<'p> {
    plan: &'p Plan,
    number: usize,
    consumer: BaseConsumer<Assignment>,
}

impl<'p> Worker<'p> {
    fn start(plan: &'p Plan, number: usize) -> Result<Self, Trouble> {
        let transactional_id = format!("{}.{}.{number}", plan.kafka.group, plan.kafka.instance);
        let client = plan.kafka.client().map_err(|e| Trouble::Stop(e.to_string()))?;
        let producer: ThreadedProducer<DefaultProducerContext> = producer_config(plan, &client, &transactional_id)
            .create()
            .map_err(|e| Trouble::Stop(format!("producer: {e}")))?;
        // Before joining the group: it can take a second, and calls wait for a member.
        producer.init_transactions(Duration::from_secs(30))?;
        let engine = Engine {
            plan: plan.clone(),
            number,
            producer: Arc::new(producer),
            owned: BTreeMap::new(),
            open: None,
            trouble: None,
            metadata: format!("v1;owner={transactional_id};model={}", plan.pipeline.model_label()),
        };
        let context = Assignment {
            engine: Mutex::new(engine),
            ends: Mutex::new(BTreeMap::new()),
            metrics: plan.metrics.clone(),
            topic: plan.topics.events.clone(),
        };
        let consumer: BaseConsumer<Assignment> = consumer_config(plan, &client, number)
            .create_with_context(context)
            .map_err(|e| Trouble::Stop(format!("consumer: {e}")))?;
        consumer.subscribe(&[&plan.topics.events])?;
        Ok(Self { plan, number, consumer })
    }

    fn work(self) -> Result<(), Trouble> {
        self.plan.heartbeat.worker_ready(true);
        let worked = self.poll_until_stop();
        self.plan.heartbeat.worker_ready(false);
        let closed = worked.and_then(|()| {
            info!(
                worker = self.number,
                "stopping: committing what is open and leaving the group"
            );
            self.engine().commit(&self.consumer)
        });
        if closed.is_err() {
            self.engine().abort();
        }
        self.engine().forget_all();
        self.close();
        closed
    }

    /// Closing runs the revoke callback, in which nothing is open any more, and asks the broker. A client that does not
    /// come to its end is left behind: the next one fences it.
    fn close(self) {
        let Self { consumer, number, .. } = self;
        let (done, closed) = std::sync::mpsc::channel();
        let closing = std::thread::Builder::new()
            .name(format!("close-{number}"))
            .spawn(move || {
                consumer.unsubscribe();
                drop(consumer);
                // Nobody may wait for it any more.
                let _ = done.send(());
            });
        if closing.is_err() || closed.recv_timeout(CLOSE_PATIENCE).is_err() {
            warn!(worker = number, "the client did not close in time: it is left behind");
        }
    }

    fn poll_until_stop(&self) -> Result<(), Trouble> {
        let mut last_poll = Instant::now();
        let mut last_look = Instant::now();
        while !self.plan.stop.load(Ordering::Relaxed) {
            let patience = if self.engine().open.is_some() {
                POLL_OPEN
            } else {
                POLL_IDLE
            };
            let polled = self.consumer.poll(patience);
            self.plan.heartbeat.polled();
            self.plan
                .metrics
                .observe("poll_gap_seconds", &[], last_poll.elapsed().as_secs_f64());
            last_poll = Instant::now();
            let mut engine = self.engine();
            if let Some(trouble) = engine.trouble.take() {
                return Err(trouble);
            }
            let quiet = polled.is_none();
            match polled {
                Some(Ok(message)) => engine.take(&message)?,
                Some(Err(error)) => engine.consumer_error(error)?,
                None => {}
            }
            engine.tick()?;
            if engine.should_commit(quiet) {
                engine.commit(&self.consumer)?;
            }
            if last_look.elapsed() > Duration::from_secs(1) {
                last_look = Instant::now();
                engine.look_around(
                    &self
                        .consumer
                        .context()
                        .ends
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner),
                );
            }
        }
        Ok(())
    }

    fn engine(&self) -> std::sync::MutexGuard<'_, Engine> {
        self.consumer
            .context()
            .engine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rebalance callback and what it works on. It runs inside poll, on the worker's thread, while nobody holds the lock.
struct Assignment {
    engine: Mutex<Engine>,
    /// Last decided offset of each partition, from the client's statistics.
    ends: Mutex<BTreeMap<i32, i64>>,
    metrics: Arc<Metrics>,
    topic: String,
}

impl ClientContext for Assignment {
    fn stats(&self, statistics: Statistics) {
        let up = statistics
            .brokers
            .values()
            .filter(|broker| broker.state == "UP" && broker.nodeid >= 0)
            .count();
        self.metrics.set("kafka_brokers_connected", &[], up as f64);
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, partition) in topic.partitions.iter().filter(|(number, _)| **number >= 0) {
            ends.insert(*number, partition.ls_offset.max(partition.hi_offset));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if is_end_of_partition(&error) {
            return;
        }
        // Brokers that come and go are the client's business; it reconnects.
        warn!(%error, reason, "Kafka client");
    }
}

impl ConsumerContext for Assignment {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => engine.assign(consumer, &numbers),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => engine.revoke(consumer, &numbers),
            other => Err(Trouble::Rebuild(format!("rebalance failed: {other:?}"))),
        };
        if let Err(trouble) = done {
            // A callback that assigns nothing leaves the client waiting for it, even while it is being closed.
            if let Err(error) = consumer.unassign() {
                warn!(%error, "nothing could be unassigned");
            }
            engine.trouble = Some(trouble);
        }
    }
}

/// A partition that this worker holds.
struct Owned {
    partition: Partition,
    /// Offset of the next record to read.
    next: i64,
    /// Something of it stands in the open transaction.
    touched: bool,
    last_record: i64,
}

struct Engine {
    plan: Plan,
    number: usize,
    /// Shared with the thread that asks for offsets, which may be left behind.
    producer: Arc<ThreadedProducer<DefaultProducerContext>>,
    owned: BTreeMap<i32, Owned>,
    open: Option<Transaction>,
    trouble: Option<Trouble>,
    metadata: String,
}

impl Engine {
    fn assign(&mut self, consumer: &BaseConsumer<Assignment>, numbers: &[i32]) -> Result<(), Trouble> {
        self.plan.metrics.count("rebalances_total", &["assign"]);
        let mut list = TopicPartitionList::new();
        if !numbers.is_empty() {
            let began = Instant::now();
            self.plan.metrics.set("restore_in_progress", &[], 1.0);
            let restore = Restore {
                consumer,
                kafka: &self.plan.kafka,
                topics: &self.plan.topics,
                pipeline: &self.plan.pipeline,
                start: self.plan.stream.start,
            };
            let restored = restore.run(numbers);
            self.plan.metrics.set("restore_in_progress", &[], 0.0);
            let mut records = 0;
            for (number, restored) in restored? {
                records += restored.records;
                list.add_partition_offset(&self.plan.topics.events, number, Offset::Offset(restored.next))?;
                if let Some(offset) = restored
                    .partition
                    .highest_offset()
                    .filter(|offset| *offset >= restored.next)
                {
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
                        partition: restored.partition,
                        next: restored.next,
                        touched: true,
                        last_record: 0,
                    },
                );
            }
            self.plan.metrics.add("restored_records_total", &[], records as f64);
            self.plan
                .metrics
                .observe("restore_duration_seconds", &[], began.elapsed().as_secs_f64());
            let calls: usize = self.owned.values().map(|owned| owned.partition.calls()).sum();
            info!(worker = self.number, partitions = ?numbers, records, calls, took_ms = began.elapsed().as_millis() as u64, "assigned");
        }
        consumer.incremental_assign(&list)?;
        if !numbers.is_empty() {
            // The claim: who holds it now stands in the commit's metadata before the first output for it.
            self.begin()?;
        }
        Ok(())
    }

    fn revoke(&mut self, consumer: &BaseConsumer<Assignment>, numbers: &[i32]) -> Result<(), Trouble> {
        let lost = consumer.assignment_lost();
        self.plan
            .metrics
            .count("rebalances_total", &[if lost { "lost" } else { "revoke" }]);
        let settled = if lost { Ok(()) } else { self.commit(consumer) };
        if lost || settled.is_err() {
            self.abort();
        }
        for number in numbers {
            self.owned.remove(number);
            self.plan.metrics.drop_partition(&self.plan.topics.events, *number);
        }
        let mut list = TopicPartitionList::new();
        for number in numbers {
            list.add_partition(&self.plan.topics.events, *number);
        }
        consumer.incremental_unassign(&list)?;
        info!(worker = self.number, partitions = ?numbers, lost, "revoked");
        if lost && !self.owned.is_empty() {
            // What is kept was touched by the aborted transaction.
            return Err(Trouble::Rebuild(
                "the assignment was lost with a transaction open".into(),
            ));
        }
        settled
    }

    fn consumer_error(&mut self, error: KafkaError) -> Result<(), Trouble> {
        match &error {
            KafkaError::PartitionEOF(number) => {
                if let Some(owned) = self.owned.get_mut(number) {
                    owned.partition.reached_end();
                }
                Ok(())
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.plan.metrics.count("kafka_errors_total", &["offset_out_of_range"]);
                Err(Trouble::Stop(format!(
                    "{}: the committed offset is no longer in the log, so records were lost: {error}",
                    self.plan.topics.events
                )))
            }
            KafkaError::MessageConsumptionFatal(_) => Err(error.into()),
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed,
            ) => Err(error.into()),
            _ => {
                self.plan.metrics.count("kafka_errors_total", &["consume"]);
                Ok(())
            }
        }
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        if self.open.is_none() {
            self.producer.begin_transaction()?;
            self.open = Some(Transaction {
                began: Instant::now(),
                records: 0,
                alert: None,
                alerts: Vec::new(),
                counts: Vec::new(),
            });
        }
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Trouble> {
        let number = message.partition();
        if !self.owned.contains_key(&number) {
            return Ok(());
        }
        self.begin()?;
        let payload = message.payload().unwrap_or_default();
        self.plan.metrics.count("records_consumed_total", &[message.topic()]);
        self.plan
            .metrics
            .add("bytes_consumed_total", &[message.topic()], payload.len() as f64);
        let record = Incoming {
            offset: message.offset(),
            key: message.key(),
            payload,
            heard_at: message.timestamp().to_millis().unwrap_or_else(wall_millis),
        };
        let Self {
            plan,
            owned,
            producer,
            open,
            number: worker,
            ..
        } = self;
        let Some(owned) = owned.get_mut(&number) else {
            return Ok(());
        };
        let transaction = open.as_mut().expect("just begun");
        let mut outputs = Outputs {
            plan,
            producer,
            transaction,
            partition: number,
            failed: None,
        };
        let began = Instant::now();
        owned
            .partition
            .take(&plan.pipeline, &plan.limits, &record, |output| match output {
                Output::Refused(reject) => {
                    outputs.count("records_rejected_total", reject.reason.as_str());
                    outputs.dead_letter(message, payload, dead_letter::headers(message, reject, *worker));
                }
                other => outputs.took(other),
            });
        plan.metrics
            .observe("step_duration_seconds", &[], began.elapsed().as_secs_f64());
        let failed = outputs.failed.take();
        transaction.records += 1;
        owned.next = message.offset() + 1;
        owned.touched = true;
        owned.last_record = record.heard_at;
        failed.map_or(Ok(()), Err)
    }

    /// Deadlines that fell due in silence.
    fn tick(&mut self) -> Result<(), Trouble> {
        let now = wall_millis();
        let due: Vec<i32> = self
            .owned
            .iter()
            .filter(|(_, owned)| owned.partition.next_due().is_some_and(|due| due <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.begin()?;
            let Self {
                plan,
                owned,
                producer,
                open,
                ..
            } = self;
            let Some(owned) = owned.get_mut(&number) else { continue };
            let transaction = open.as_mut().expect("just begun");
            let mut outputs = Outputs {
                plan,
                producer,
                transaction,
                partition: number,
                failed: None,
            };
            owned.partition.tick(&plan.pipeline, now, |output| outputs.took(output));
            // With offsets in every transaction, one that only time caused is fenced like the others.
            owned.touched = true;
            outputs.failed.take().map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    fn should_commit(&self, quiet: bool) -> bool {
        let Some(transaction) = &self.open else { return false };
        transaction
            .alert
            .is_some_and(|since| quiet || since.elapsed() >= ALERT_PATIENCE)
            || transaction.began.elapsed() >= Duration::from_millis(self.plan.stream.commit_interval_ms)
            || transaction.records >= self.plan.stream.commit_records
    }

    fn commit(&mut self, consumer: &BaseConsumer<Assignment>) -> Result<(), Trouble> {
        let Some(mut transaction) = self.open.take() else {
            return Ok(());
        };
        let began = Instant::now();
        let committed = self.try_commit(consumer, &mut transaction);
        let result = match &committed {
            Ok(()) => "ok",
            Err(_) => "failed",
        };
        self.plan.metrics.count("commits_total", &[result]);
        if committed.is_err() {
            self.plan.metrics.count("kafka_errors_total", &["transaction"]);
            // Unclear or refused: either way the state is read back.
            drop(self.producer.abort_transaction(Duration::from_secs(5)));
            return committed;
        }
        self.plan
            .metrics
            .observe("commit_duration_seconds", &[], began.elapsed().as_secs_f64());
        for (name, label) in transaction.counts {
            self.plan.metrics.count(name, &[label]);
        }
        let now = wall_millis();
        for (level, at) in transaction.alerts {
            let latency = (now - at).max(0) as f64 / 1000.0;
            self.plan
                .metrics
                .observe("alert_latency_seconds", &[level.priority()], latency);
        }
        self.owned.values_mut().for_each(|owned| owned.touched = false);
        Ok(())
    }

    fn try_commit(
        &mut self,
        consumer: &BaseConsumer<Assignment>,
        transaction: &mut Transaction,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + Duration::from_millis(self.plan.stream.transaction_timeout_ms);
        let mut list = TopicPartitionList::new();
        let Self {
            plan,
            owned,
            producer,
            metadata,
            ..
        } = self;
        for (number, owned) in owned.iter_mut().filter(|(_, owned)| owned.touched) {
            let mut outputs = Outputs {
                plan,
                producer,
                transaction,
                partition: *number,
                failed: None,
            };
            owned.partition.drain(&plan.pipeline, |id, value| {
                outputs.send(&plan.topics.state, id.as_str().as_bytes(), value.as_deref(), None);
            });
            outputs.failed.take().map_or(Ok(()), Err)?;
            list.add_partition_offset(&plan.topics.events, *number, Offset::Offset(owned.next))?;
        }
        set_metadata(&mut list, metadata);
        fail_point::reach("after_send");
        // The crate's own flush sleeps in steps of 100 ms while anything is in flight: wait for that here.
        while producer.in_flight_count() > 0 {
            if Instant::now() > deadline {
                return Err(Trouble::Rebuild(
                    "outputs were not delivered within the transaction's time".into(),
                ));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        fail_point::reach("after_drain");
        if list.count() > 0 {
            let group = consumer
                .group_metadata()
                .ok_or_else(|| Trouble::Rebuild("this worker is no member of its group".into()))?;
            send_offsets(producer, list, group, deadline)?;
        }
        fail_point::reach("after_offsets");
        retry(deadline, || producer.commit_transaction(Duration::from_secs(5)))?;
        fail_point::reach("after_commit");
        Ok(())
    }

    fn abort(&mut self) {
        if self.open.take().is_some() {
            self.plan.metrics.count("commits_total", &["aborted"]);
            if let Err(error) = self.producer.abort_transaction(Duration::from_secs(5)) {
                error!(%error, "abort failed: the broker will end the transaction");
            }
        }
    }

    fn forget_all(&mut self) {
        for number in self.owned.keys() {
            self.plan.metrics.drop_partition(&self.plan.topics.events, *number);
        }
        self.owned.clear();
    }

    fn look_around(&self, ends: &BTreeMap<i32, i64>) {
        let metrics = &self.plan.metrics;
        let topic = self.plan.topics.events.as_str();
        let now = wall_millis();
        let (mut calls, mut active) = (0, 0);
        for (number, owned) in &self.owned {
            calls += owned.partition.calls();
            active += owned.partition.active();
            let lag = ends.get(number).map_or(0, |end| (end - owned.next).max(0));
            let number = number.to_string();
            let labels = [topic, number.as_str()];
            metrics.set("consumer_lag_records", &labels, lag as f64);
            let behind = if lag > 0 {
                (now - owned.last_record).max(0) as f64 / 1000.0
            } else {
                0.0
            };
            metrics.set("consumer_lag_seconds", &labels, behind);
            metrics.set(
                "watermark_timestamp_seconds",
                &labels,
                owned.last_record as f64 / 1000.0,
            );
        }
        metrics.set("assigned_partitions", &[topic], self.owned.len() as f64);
        metrics.set("active_calls", &[], active as f64);
        metrics.set("state_entries", &[], calls as f64);
    }
}

/// The end of a partition comes as an error, and is none.
pub(super) fn is_end_of_partition(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF)
}

/// Every commit tells who made it.
fn set_metadata(list: &mut TopicPartitionList, metadata: &str) {
    let places: Vec<(String, i32)> = list
        .elements()
        .iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect();
    for (topic, partition) in places {
        if let Some(mut element) = list.find_partition(&topic, partition) {
            element.set_metadata(metadata);
        }
    }
}

/// Puts the offsets into the transaction. The client was seen to wait without end where the connection to the group's
/// coordinator broke at that moment, whatever time it was given: another thread asks it, and is left behind at the deadline.
fn send_offsets(
    producer: &Arc<ThreadedProducer<DefaultProducerContext>>,
    offsets: TopicPartitionList,
    group: ConsumerGroupMetadata,
    deadline: Instant,
) -> Result<(), Trouble> {
    let asking = Arc::clone(producer);
    let (answer, answered) = std::sync::mpsc::channel();
    let left = move || deadline.saturating_duration_since(Instant::now());
    let thread = std::thread::Builder::new().name("offsets".into()).spawn(move || {
        let sent = retry(deadline, || {
            asking.send_offsets_to_transaction(&offsets, &group, left())
        });
        // Nobody may wait for it any more.
        let _ = answer.send(sent);
    });
    thread.map_err(|e| Trouble::Rebuild(format!("no thread to send offsets from: {e}")))?;
    answered.recv_timeout(left() + OFFSETS_PATIENCE).unwrap_or_else(|_| {
        Err(Trouble::Rebuild(
            "the group's coordinator did not answer within the transaction's time".into(),
        ))
    })
}

/// Repeats what the client says may be repeated, until the deadline.
fn retry(deadline: Instant, mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), Trouble> {
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
    }
}
