//! The open transaction of a worker, and the producer that it is written with.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::native;
use super::trouble::Trouble;
use crate::alert::Level;

pub(super) type TransactionalProducer = ThreadedProducer<DefaultProducerContext>;

const ABORT_PATIENCE: Duration = Duration::from_secs(5);
/// How long the client may be over its time with an answer about offsets.
const OFFSETS_PATIENCE: Duration = Duration::from_millis(500);

/// What stands in the open transaction beside the records.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) began: Instant,
    pub(super) records: usize,
    /// When the first alert of it was raised.
    pub(super) alert: Option<Instant>,
    /// Priority and event time of its alerts.
    pub(super) alerts: Vec<(Level, i64)>,
    /// What is counted once it is committed, by metric and label: a record of an aborted transaction comes again.
    pub(super) counts: Vec<(&'static str, &'static str)>,
}

impl Transaction {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            records: 0,
            alert: None,
            alerts: Vec::new(),
            counts: Vec::new(),
        }
    }
}

/// A producer with a name of its own: who takes the name ends what an earlier holder left open.
pub(super) struct Writer {
    /// Shared with the thread that asks for offsets, which may be left behind.
    producer: Arc<TransactionalProducer>,
}

impl Writer {
    /// Takes the name in `transactional.id`. It can take a second.
    pub(super) fn start(config: &ClientConfig, patience: Duration) -> Result<Self, Trouble> {
        let producer: TransactionalProducer = config
            .create()
            .map_err(|error| Trouble::Stop(format!("producer: {error}")))?;
        let deadline = Instant::now() + patience;
        retry(deadline, || producer.init_transactions(left(deadline)))?;
        Ok(Self {
            producer: Arc::new(producer),
        })
    }

    pub(super) fn producer(&self) -> &TransactionalProducer {
        &self.producer
    }

    pub(super) fn begin(&self) -> Result<(), Trouble> {
        Ok(self.producer.begin_transaction()?)
    }

    /// Waits until the brokers have everything that was sent.
    pub(super) fn flush(&self, deadline: Instant) -> Result<(), Trouble> {
        if native::flush(&self.producer, left(deadline)) {
            return Ok(());
        }
        Err(Trouble::Rebuild(
            "outputs were not delivered within the transaction's time".into(),
        ))
    }

    /// Puts the offsets into the transaction, while what was sent is still being delivered: the answer is waited for
    /// apart.
    pub(super) fn send_offsets(
        &self,
        offsets: TopicPartitionList,
        group: ConsumerGroupMetadata,
        deadline: Instant,
    ) -> Result<OffsetsSent, Trouble> {
        let asking = Arc::clone(&self.producer);
        let (answer, answered) = mpsc::channel();
        let thread = std::thread::Builder::new().name("offsets".into()).spawn(move || {
            let sent = retry(deadline, || {
                asking.send_offsets_to_transaction(&offsets, &group, left(deadline))
            });
            // Nobody may wait for it any more.
            let _ = answer.send(sent);
        });
        match thread {
            Ok(_) => Ok(OffsetsSent(answered)),
            Err(error) => Err(Trouble::Rebuild(format!("no thread to send offsets from: {error}"))),
        }
    }

    /// A commit whose end is not clear by the deadline is neither done nor undone for us: the name is taken anew, which
    /// decides it, and the broker tells what was committed.
    pub(super) fn commit(&self, deadline: Instant) -> Result<(), Trouble> {
        loop {
            match native::commit(&self.producer, left(deadline)) {
                Ok(()) => return Ok(()),
                Err(refusal) if refusal.retriable && Instant::now() < deadline => {}
                Err(refusal) => return Err(Trouble::of(refusal.code, refusal.requires_abort, refusal.text)),
            }
        }
    }

    pub(super) fn abort(&self) -> Result<(), Trouble> {
        let deadline = Instant::now() + ABORT_PATIENCE;
        retry(deadline, || self.producer.abort_transaction(ABORT_PATIENCE))
    }
}

/// Offsets on their way into the transaction. The client was seen to wait without end where the connection to the
/// group's coordinator broke at that moment, whatever time it was given: that is why another thread asks it, which is
/// left behind at the deadline.
pub(super) struct OffsetsSent(mpsc::Receiver<Result<(), Trouble>>);

impl OffsetsSent {
    pub(super) fn wait(self, deadline: Instant) -> Result<(), Trouble> {
        let answer = self.0.recv_timeout(left(deadline) + OFFSETS_PATIENCE);
        answer.unwrap_or_else(|_| {
            Err(Trouble::Rebuild(
                "the group's coordinator did not answer within the transaction's time".into(),
            ))
        })
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
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
