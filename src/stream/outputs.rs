//! What follows from the records of one partition, sent within the open transaction to the same partition of the other
//! topics: one writer a partition, whatever the clients' own partitioners do.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use tracing::error;

use super::dead_letter;
use super::partition::Output;
use super::transaction::{Transaction, TransactionalProducer};
use super::trouble::Trouble;
use super::worker::Plan;
use crate::alert::Level;
use crate::pipeline::Outcome;
use crate::telemetry::wall_millis;

/// Less than a transaction may last.
const QUEUE_FULL_PATIENCE: Duration = Duration::from_secs(4);

/// Bytes that hold most records of scores without growing.
const SCORE_USUAL: usize = 1024;

/// What stands beside an alert's value.
#[derive(Clone, Copy, Debug)]
pub struct Raised<'a> {
    pub alert_id: &'a str,
    pub level: Level,
    /// Event time, in milliseconds since 1970.
    pub at: i64,
}

/// Sends what follows from one partition to the same partition of the other topics.
pub struct Outputs<'o> {
    pub plan: &'o Plan,
    pub(super) producer: &'o TransactionalProducer,
    pub(super) transaction: &'o mut Transaction,
    pub(super) partition: i32,
    /// Number of the worker within its process.
    pub(super) worker: usize,
    /// An alert is committed at once. Where more records wait than a transaction takes it gains nothing by haste: the
    /// sooner the backlog is gone, the sooner all alerts of it are out.
    pub(super) hastens: bool,
    /// The first thing that went wrong; nothing is sent after it.
    pub(super) failed: Option<Trouble>,
}

impl std::fmt::Debug for Outputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outputs")
            .field("partition", &self.partition)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl Outputs<'_> {
    pub(super) fn count(&mut self, name: &'static str, label: &'static str) {
        self.transaction.tally.count(name, label);
    }

    pub(super) fn took(&mut self, output: Output<'_>) {
        match output {
            Output::Judged(outcome) => self.judged(outcome),
            Output::GivenUp(outcome) => {
                self.count("calls_total", "given_up");
                self.judged(outcome);
            }
            Output::Slipped(slip) => self.count("field_slips_total", slip.as_str()),
            Output::AlreadyApplied => self.plan.metrics.count("records_already_applied_total", &[]),
            Output::Panicked => {
                self.plan.metrics.count("panics_total", &[]);
                error!(
                    partition = self.partition,
                    "judging an event panicked: it goes to the dead-letter topic"
                );
            }
            Output::Refused(_) => {}
        }
    }

    fn judged(&mut self, outcome: &Outcome) {
        self.transaction.tally.observed(outcome, wall_millis());
        if let Some(alert) = &outcome.alert {
            let value = serde_json::to_vec(alert).expect("an alert is plain data");
            let raised = Raised {
                alert_id: &alert.alert_id.0,
                level: alert.level,
                at: outcome.at.millis(),
            };
            self.alert(alert.call_id.as_bytes(), &value, raised);
        }
        let told = outcome.alert.is_some() || !outcome.applied.changes.is_empty();
        if outcome.has_line() && (self.plan.stream.every_score || told) {
            let pipeline = &self.plan.pipeline;
            let score = outcome.score(pipeline.lexicon(), pipeline.model_label());
            let mut value = Vec::with_capacity(SCORE_USUAL);
            serde_json::to_writer(&mut value, &score).expect("a score is plain data");
            self.send(
                &self.plan.topics.scores,
                outcome.call_id.as_str().as_bytes(),
                Some(&value),
                None,
            );
        }
    }

    /// An alert, which is committed soon: at the latest with all else.
    pub fn alert(&mut self, key: &[u8], value: &[u8], raised: Raised<'_>) {
        if self.hastens {
            self.transaction.alert.get_or_insert_with(Instant::now);
        }
        self.transaction.alerts.push((raised.level, raised.at));
        let mut headers = OwnedHeaders::new();
        for (key, value) in [
            ("alert_id", raised.alert_id),
            ("model_version", self.plan.pipeline.model_label()),
            ("schema_version", "1"),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        self.send(&self.plan.topics.alerts, key, Some(value), Some(headers));
    }

    /// As it came, even without key or value.
    pub(super) fn dead_letter(&mut self, message: &BorrowedMessage<'_>, headers: OwnedHeaders) {
        let keep = self.plan.dead_letter.payload;
        let value = message.payload().map(|payload| dead_letter::value(payload, keep));
        self.send_keyed(
            &self.plan.topics.dead_letter,
            message.key(),
            value.as_deref(),
            Some(headers),
        );
    }

    /// What went wrong, at the end.
    pub(super) fn end(self) -> Result<(), Trouble> {
        self.failed.map_or(Ok(()), Err)
    }

    /// A record for the same partition of another topic.
    pub fn send(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>, headers: Option<OwnedHeaders>) {
        self.send_keyed(topic, Some(key), value, headers);
    }

    /// A full queue is back-pressure, not an error: it is waited for.
    fn send_keyed(&mut self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, headers: Option<OwnedHeaders>) {
        if self.failed.is_some() {
            return;
        }
        let deadline = Instant::now() + QUEUE_FULL_PATIENCE;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(self.partition);
        record.key = key;
        record.payload = value;
        record.headers = headers;
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if Instant::now() < deadline =>
                {
                    record = again;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    self.plan.metrics.count("kafka_errors_total", &["produce"]);
                    // That it failed for good is all that the client says here: it knows why.
                    self.failed = Some(match self.producer.client().fatal_error() {
                        Some((code, text)) => Trouble::of(code, false, text),
                        None => error.into(),
                    });
                    return;
                }
            }
        }
    }
}
