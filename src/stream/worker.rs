//! One worker: a thread that is one member of the group, with the state of its partitions.
//!
//! ```text
//! poll ─► take (judge, collect outputs) ─► … ─► commit: outputs, changed states and offsets in one transaction
//!   └── rebalance, inside poll: commit or abort what is open, drop what goes, restore what comes
//! ```
//! A transaction that cannot be committed is aborted, the state read back, and its records read again. Whatever leaves
//! one unclear ends in the same way, with clients made anew: the broker tells what was committed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tracing::{info, warn};

use super::clients::{consumer_config, producer_config};
use super::engine::Engine;
use super::login;
use super::reach::Reach;
use super::settings::{DeadLetterSettings, KafkaSettings, StreamSettings, TopicSettings};
use super::task::Task;
use super::transaction::Writer;
use super::trouble::Trouble;
use super::twin;
use crate::pipeline::Pipeline;
use crate::record::Limits;
use crate::telemetry::{Heartbeat, Metrics};

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
    /// Told in every commit, so that two processes of one name can be told apart; random.
    pub process: String,
}

const POLL_IDLE: Duration = Duration::from_millis(50);
const POLL_OPEN: Duration = Duration::from_millis(1);

/// How long a new producer may wait for its name.
const INIT_PATIENCE: Duration = Duration::from_secs(30);
/// Less than a shutdown may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(4);
/// So many rewinds with no commit between them, and the clients are made anew: that waits longer each time.
const REWINDS: u32 = 3;
/// So many times fenced within a minute with another process of our name in sight: one of the two has to go.
const FENCES: usize = 3;
const FENCES_WITHIN: Duration = Duration::from_secs(60);

/// Runs until it is told to stop; rebuilds its clients as often as needed.
pub fn run<T: Task>(plan: &Plan, number: usize) -> Result<(), Trouble> {
    let mut pause = Duration::from_millis(100);
    let mut fences: Vec<Instant> = Vec::new();
    while !plan.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let ended = Worker::<T>::start(plan, number).and_then(Worker::work);
        if let Err(Trouble::Fenced(reason)) = &ended {
            fences.retain(|fence| fence.elapsed() < FENCES_WITHIN);
            fences.push(Instant::now());
            if fences.len() >= FENCES && twin::shows_up(plan, &transactional_id(plan, number)) {
                return Err(Trouble::Stop(format!(
                    "another process uses kafka.instance {:?}: give each process its own ({reason})",
                    plan.kafka.instance
                )));
            }
        }
        match ended {
            Ok(()) => return Ok(()),
            Err(Trouble::Stop(reason)) => return Err(Trouble::Stop(reason)),
            // Told to stop in the middle of something that is aborted with it.
            Err(_) if plan.stop.load(Ordering::Relaxed) => return Ok(()),
            Err(Trouble::Rewind(reason) | Trouble::Rebuild(reason) | Trouble::Fenced(reason)) => {
                plan.metrics.count("rebuilds_total", &[]);
                warn!(worker = number, reason, "clients are made anew");
                if began.elapsed() > Duration::from_secs(60) {
                    pause = Duration::from_millis(100);
                }
                plan.heartbeat.polled(number, Instant::now());
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
    Ok(())
}

/// Stable over restarts, so that a worker that comes back ends what it left open.
fn transactional_id(plan: &Plan, number: usize) -> String {
    format!("{}.{}.{number}", plan.kafka.group, plan.kafka.instance)
}

struct Worker<'p, T: Task> {
    plan: &'p Plan,
    number: usize,
    consumer: BaseConsumer<Assignment<T>>,
}

impl<'p, T: Task> Worker<'p, T> {
    fn start(plan: &'p Plan, number: usize) -> Result<Self, Trouble> {
        let transactional_id = transactional_id(plan, number);
        let client = plan.kafka.client().map_err(|e| Trouble::Rebuild(e.to_string()))?;
        // Before joining the group: it can take a second, and calls wait for a member.
        let writer = Writer::start(&producer_config(plan, &client, &transactional_id), INIT_PATIENCE)?;
        let engine = Engine::new(plan, number, writer, transactional_id);
        let context = Assignment {
            engine: Mutex::new(engine),
            ends: Mutex::new(BTreeMap::new()),
            reach: Reach::default(),
            metrics: plan.metrics.clone(),
            topic: plan.topics.events.clone(),
        };
        let consumer: BaseConsumer<Assignment<T>> = consumer_config(plan, &client, number)
            .create_with_context(context)
            .map_err(|e| Trouble::Stop(format!("consumer: {e}")))?;
        login::log_in(&client, consumer.client()).map_err(|e| Trouble::Rebuild(e.to_string()))?;
        consumer.subscribe(&[&plan.topics.events])?;
        Ok(Self { plan, number, consumer })
    }

    fn work(self) -> Result<(), Trouble> {
        let worked = self.poll_until_stop();
        self.plan.heartbeat.worker_ready(self.number, false);
        let closed = worked.and_then(|()| {
            info!(
                worker = self.number,
                "stopping: committing what is open and leaving the group"
            );
            self.engine().commit(&self.consumer)
        });
        // What is open then is left: whoever takes the name next ends it.
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
            self.or_rewind(self.turn(&mut last_poll))?;
            if last_poll - last_look > Duration::from_secs(1) {
                last_look = last_poll;
                let context = self.consumer.context();
                self.engine()
                    .look_around(&context.ends.lock().unwrap_or_else(PoisonError::into_inner));
                let tried = self.engine().try_again(&self.consumer);
                self.or_rewind(tried)?;
                if context.reach.is_lost() {
                    return Err(Trouble::Rebuild("no broker has been in reach for half a minute".into()));
                }
            }
        }
        Ok(())
    }

    /// One record, if there is one; deadlines; a commit, if it is time.
    fn turn(&self, last_poll: &mut Instant) -> Result<(), Trouble> {
        let patience = if self.engine().is_open() { POLL_OPEN } else { POLL_IDLE };
        let asked = Instant::now();
        let polled = self.consumer.poll(patience);
        let now = Instant::now();
        self.plan.heartbeat.polled(self.number, now);
        let gap = now - *last_poll;
        *last_poll = now;
        let mut engine = self.engine();
        engine.trouble()?;
        engine.polled(gap, now - asked);
        let quiet = polled.is_none();
        match polled {
            Some(Ok(message)) => engine.take(&message)?,
            Some(Err(error)) => engine.consumer_error(&self.consumer, error)?,
            None => {}
        }
        engine.tick(quiet)?;
        engine.make_room()?;
        if engine.should_commit(quiet) {
            engine.commit(&self.consumer)?;
        }
        Ok(())
    }

    fn or_rewind(&self, done: Result<(), Trouble>) -> Result<(), Trouble> {
        let Err(Trouble::Rewind(reason)) = done else {
            return done;
        };
        self.plan.metrics.count("rewinds_total", &[]);
        warn!(
            worker = self.number,
            reason, "the transaction is aborted and its records are read again"
        );
        let mut engine = self.engine();
        if engine.rewinds() >= REWINDS {
            return Err(Trouble::Rebuild(reason));
        }
        engine.rewind(&self.consumer)
    }

    fn engine(&self) -> std::sync::MutexGuard<'_, Engine<T>> {
        self.consumer
            .context()
            .engine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rebalance callback and what it works on. It runs inside poll, on the worker's thread, while nobody holds the lock.
pub(super) struct Assignment<T: Task> {
    engine: Mutex<Engine<T>>,
    /// Last decided offset of each partition, from the client's statistics.
    ends: Mutex<BTreeMap<i32, i64>>,
    reach: Reach,
    metrics: Arc<Metrics>,
    topic: String,
}

impl<T: Task> ClientContext for Assignment<T> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(file)
    }

    fn stats(&self, statistics: Statistics) {
        let up = statistics
            .brokers
            .values()
            .filter(|broker| broker.state == "UP" && broker.nodeid >= 0)
            .count();
        self.metrics.set("kafka_brokers_connected", &[], up as f64);
        self.reach.saw(&statistics);
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, partition) in topic.partitions.iter().filter(|(number, _)| **number >= 0) {
            ends.insert(*number, partition.ls_offset);
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

impl<T: Task> ConsumerContext for Assignment<T> {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let numbers: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let Ok(mut engine) = self.engine.lock() else {
            // The worker panicked, in the middle of something: nothing of it is committed, the partitions go.
            drop(match event {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => consumer.incremental_unassign(list),
                _ => consumer.incremental_assign(&TopicPartitionList::new()),
            });
            return;
        };
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => engine.assign(consumer, &numbers),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => engine.revoke(consumer, &numbers),
            other => Err(Trouble::Rebuild(format!("rebalance failed: {other:?}"))),
        };
        if let Err(trouble) = done {
            engine.fail(trouble);
        }
    }
}

/// The end of a partition comes as an error, and is none.
pub(super) fn is_end_of_partition(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF)
}
