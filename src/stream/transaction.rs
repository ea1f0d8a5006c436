//! The open transaction of a worker, and the producer that it is written with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::{error, info, warn};

use super::login;
use super::native;
use super::trouble::Trouble;
use crate::alert::Level;
use crate::telemetry::Tally;

pub(super) type TransactionalProducer = ThreadedProducer<Connections>;

/// Before a call is made again that the client says may be made again.
const AGAIN: Duration = Duration::from_millis(10);
/// After so long without an answer the client sends a request a second time: `socket.timeout.ms`.
pub(super) const SENT_AGAIN_AFTER: Duration = Duration::from_secs(4);
/// How long the client may be over its time with an answer about offsets.
const OFFSETS_PATIENCE: Duration = Duration::from_millis(500);

/// What stands in the open transaction beside the records.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) began: Instant,
    pub(super) records: usize,
    /// When the first alert of it was raised that is to be committed at once.
    pub(super) alert: Option<Instant>,
    /// Priority and event time of its alerts.
    pub(super) alerts: Vec<(Level, i64)>,
    /// What is counted once it is committed: a record of an aborted transaction comes again.
    pub(super) tally: Tally,
}

impl Transaction {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            records: 0,
            alert: None,
            alerts: Vec::new(),
            tally: Tally::default(),
        }
    }
}

/// Remembers that a connection of the producer broke, with whatever was under way on it. The client tells that in its log
/// alone, at level info, and the same within half a minute once. Delivery reports come only for failures, which fail the
/// commit.
#[derive(Debug, Default)]
pub struct Connections {
    broke: AtomicBool,
}

impl ClientContext for Connections {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(file)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A connection that never came about carried no request.
        if facility == "REQTMOUT" || facility == "FAIL" && message.contains("in state UP") {
            self.broke.store(true, Ordering::Relaxed);
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                error!(facility, message, "Kafka client");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => warn!(facility, message, "Kafka client"),
            RDKafkaLogLevel::Info => info!(facility, message, "Kafka client"),
            RDKafkaLogLevel::Debug => {}
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "Kafka client");
    }
}

impl ProducerContext for Connections {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A producer with a name of its own: who takes the name ends what an earlier holder left open.
///
/// All transactions of one producer have the same epoch in the protocol that the client speaks. A request that the client
/// sent twice, because an answer did not come, may reach the broker late the first time: in the middle of a later
/// transaction, which it would end or whose offsets it would replace (<https://jepsen.io/analyses/bufstream-0.1.0>). That
/// is why a producer that may have sent anything twice is not used again: taking the name anew gives a new epoch, and
/// what comes late is refused.
pub(super) struct Writer {
    /// Shared with the thread that asks for offsets, which may be left behind.
    producer: Arc<TransactionalProducer>,
}

impl Writer {
    /// Takes the name in `transactional.id`. It can take a second.
    pub(super) fn start(config: &ClientConfig, patience: Duration) -> Result<Self, Trouble> {
        let producer: TransactionalProducer = config
            .create_with_context(Connections::default())
            .map_err(|error| Trouble::Stop(format!("producer: {error}")))?;
        login::log_in(config, producer.client()).map_err(|error| Trouble::Rebuild(error.to_string()))?;
        let writer = Self {
            producer: Arc::new(producer),
        };
        let deadline = Instant::now() + patience;
        retry(deadline, || writer.producer.init_transactions(left(deadline)))?;
        Ok(writer)
    }

    pub(super) fn producer(&self) -> &TransactionalProducer {
        &self.producer
    }

    /// A connection broke since it was made.
    pub(super) fn has_lost_connections(&self) -> bool {
        self.producer.context().broke.load(Ordering::Relaxed)
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
                Err(refusal) if refusal.retriable && Instant::now() < deadline => std::thread::sleep(AGAIN),
                Err(refusal) => return Err(Trouble::of(refusal.code, refusal.requires_abort, refusal.text)),
            }
        }
    }
}

impl Drop for Writer {
    /// Closing a client asks the brokers, which may not answer: whoever is last to hold it waits, and that is never us.
    fn drop(&mut self) {
        let producer = Arc::clone(&self.producer);
        let closing = std::thread::Builder::new().name("close-producer".into());
        let closed = closing.spawn(move || {
            while Arc::strong_count(&producer) > 1 {
                std::thread::sleep(AGAIN);
            }
        });
        if closed.is_err() {
            warn!("no thread to close a producer on");
        }
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
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                std::thread::sleep(AGAIN);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
