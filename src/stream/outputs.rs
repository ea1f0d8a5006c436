//! What follows from the records of one partition, sent within the open transaction to the same partition of the other
//! topics: one writer a partition, whatever the clients' own partitioners do.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use tracing::error;

use super::dead_letter;
use super::partition::Output;
use super::trouble::Trouble;
use super::worker::Plan;
use crate::alert::Level;
use crate::pipeline::Outcome;
use crate::telemetry::wall_millis;

const QUEUE_FULL_PATIENCE: Duration = Duration::from_secs(10);

/// The open transaction.
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

/// Sends what follows from one partition to the same partition of the other topics.
pub(super) struct Outputs<'o> {
    pub(super) plan: &'o Plan,
    pub(super) producer: &'o ThreadedProducer<DefaultProducerContext>,
    pub(super) transaction: &'o mut Transaction,
    pub(super) partition: i32,
    /// The first thing that went wrong; nothing is sent after it.
    pub(super) failed: Option<Trouble>,
}

impl Outputs<'_> {
    pub(super) fn count(&mut self, name: &'static str, label: &'static str) {
        self.transaction.counts.push((name, label));
    }

    pub(super) fn took(&mut self, output: Output<'_>) {
        match output {
            Output::Judged(outcome) => self.judged(outcome),
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
        self.plan.metrics.observed(outcome, wall_millis());
        if let Some(alert) = &outcome.alert {
            self.transaction.alert.get_or_insert_with(Instant::now);
            self.transaction.alerts.push((alert.level, outcome.at.millis()));
            let value = serde_json::to_vec(alert).expect("an alert is plain data");
            let headers = OwnedHeaders::new()
                .insert(Header {
                    key: "alert_id",
                    value: Some(alert.alert_id.0.as_str()),
                })
                .insert(Header {
                    key: "model_version",
                    value: Some(self.plan.pipeline.model_label()),
                })
                .insert(Header {
                    key: "schema_version",
                    value: Some("1"),
                });
            self.send(
                &self.plan.topics.alerts,
                alert.call_id.as_bytes(),
                Some(&value),
                Some(headers),
            );
        }
        let told = outcome.alert.is_some() || !outcome.applied.changes.is_empty();
        if outcome.has_line() && (self.plan.stream.every_score || told) {
            let pipeline = &self.plan.pipeline;
            let score = outcome.score(pipeline.lexicon(), pipeline.model_label());
            let value = serde_json::to_vec(&score).expect("a score is plain data");
            self.send(
                &self.plan.topics.scores,
                outcome.call_id.as_str().as_bytes(),
                Some(&value),
                None,
            );
        }
    }

    pub(super) fn dead_letter(&mut self, message: &BorrowedMessage<'_>, payload: &[u8], headers: OwnedHeaders) {
        let value = dead_letter::value(payload, self.plan.dead_letter.payload);
        self.send(
            &self.plan.topics.dead_letter,
            message.key().unwrap_or_default(),
            Some(&value),
            Some(headers),
        );
    }

    /// A full queue is back-pressure, not an error: wait for it.
    pub(super) fn send(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>, headers: Option<OwnedHeaders>) {
        if self.failed.is_some() {
            return;
        }
        let deadline = Instant::now() + QUEUE_FULL_PATIENCE;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(self.partition).key(key);
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
                    self.failed = Some(error.into());
                    return;
                }
            }
        }
    }
}
