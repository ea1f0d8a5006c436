//! The topics with the settings that they need, and whether a cluster has them so.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::login;
use super::settings::{KafkaSettings, TopicSettings};

/// A topic as it should be, with as many partitions as the events have.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: String,
    pub config: Vec<(&'static str, String)>,
    pub why: &'static str,
}

const DAY_MS: u64 = 86_400_000;

/// All topics that `serve` reads and writes. An input of up to 12 MB can be dead-lettered with its bytes.
pub fn wanted(topics: &TopicSettings) -> Vec<Wanted> {
    let delete = |days: u64| {
        vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", (days * DAY_MS).to_string()),
        ]
    };
    let topic = |name: &str, config, why| Wanted {
        name: name.to_owned(),
        config,
        why,
    };
    vec![
        topic(
            &topics.events,
            [delete(3), vec![("message.timestamp.type", "LogAppendTime".to_owned())]].concat(),
            "calls as they happen, by the broker's clock: silence is counted from when a record came, not from what the \
             clock of its source says",
        ),
        topic(
            &topics.state,
            vec![
                ("cleanup.policy", "compact".into()),
                ("segment.bytes", (32 << 20).to_string()),
                ("segment.ms", "300000".into()),
                ("min.cleanable.dirty.ratio", "0.1".into()),
                ("max.compaction.lag.ms", "1800000".into()),
                ("delete.retention.ms", "600000".into()),
            ],
            "state of open calls: small segments, or restoring reads millions of dead records",
        ),
        topic(&topics.scores, delete(7), "a score an event"),
        topic(&topics.alerts, delete(30), "alerts"),
        topic(
            &topics.dead_letter,
            [delete(14), vec![("max.message.bytes", (16 << 20).to_string())]].concat(),
            "refused records with their bytes",
        ),
    ]
}

fn is_less(found: &str, wanted: &str) -> bool {
    let numbers = found.parse::<u64>().ok().zip(wanted.parse::<u64>().ok());
    numbers.is_some_and(|(found, wanted)| found < wanted)
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub topic: String,
    pub problem: String,
    /// A worker must not run so.
    pub fatal: bool,
}

const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    #[error(transparent)]
    Secret(#[from] super::settings::SecretError),
    #[error("Kafka at {brokers} does not answer: {said}")]
    Unreachable {
        brokers: String,
        /// The error, and what the client says of it: a refused password, a certificate that nobody trusts.
        said: String,
    },
    #[error("the Kafka client cannot be made: {0}; check the section kafka of the configuration")]
    Client(String),
    #[error("cannot create {topic}: {code}")]
    Create { topic: String, code: RDKafkaErrorCode },
}

fn administration(kafka: &KafkaSettings) -> Result<AdminClient<DefaultClientContext>, TopicsError> {
    let config = kafka.client()?;
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(|e| unreachable(kafka, e))?;
    login::log_in(&config, admin.inner())?;
    Ok(admin)
}

/// Creates what is missing; what exists is left alone. Returns the names of the new ones.
pub async fn create(
    kafka: &KafkaSettings,
    topics: &TopicSettings,
    partitions: i32,
    replication: i32,
) -> Result<Vec<String>, TopicsError> {
    let admin = administration(kafka)?;
    let wanted = wanted(topics);
    let new: Vec<NewTopic<'_>> = wanted
        .iter()
        .map(|topic| {
            let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(replication));
            let new = topic.config.iter().fold(new, |new, (key, value)| new.set(key, value));
            if replication >= 3 {
                new.set("min.insync.replicas", "2")
            } else {
                new
            }
        })
        .collect();
    let options = AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT));
    let results = admin
        .create_topics(&new, &options)
        .await
        .map_err(|e| unreachable(kafka, e))?;
    let mut made = Vec::new();
    for result in results {
        match result {
            Ok(name) => made.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicsError::Create { topic, code }),
        }
    }
    Ok(made)
}

/// Compares a cluster with what is wanted.
pub async fn check(kafka: &KafkaSettings, topics: &TopicSettings) -> Result<Vec<Finding>, TopicsError> {
    let partitions = partitions(kafka, topics).await?;
    let mut findings = Vec::new();
    let events = partitions
        .iter()
        .find(|(name, _)| *name == topics.events)
        .and_then(|(_, count)| *count);
    let wanted = wanted(topics);
    for topic in &wanted {
        let count = partitions
            .iter()
            .find(|(name, _)| *name == topic.name)
            .and_then(|(_, count)| *count);
        let mut add = |problem: String, fatal| {
            findings.push(Finding {
                topic: topic.name.clone(),
                problem,
                fatal,
            })
        };
        match (count, events) {
            (None, _) => add(
                "is missing, or this user may not see it: run callward topics create, or check the ACLs".into(),
                true,
            ),
            (Some(count), Some(events)) if count != events => {
                add(
                    format!(
                        "has {count} partitions, {} has {events}: they must be equal",
                        topics.events
                    ),
                    true,
                );
            }
            _ => {}
        }
    }
    if findings.iter().any(|finding| finding.fatal) {
        return Ok(findings);
    }
    let admin = administration(kafka)?;
    let specifiers: Vec<ResourceSpecifier<'_>> = wanted.iter().map(|t| ResourceSpecifier::Topic(&t.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    // Without the right to read settings there is nothing to compare.
    let Ok(described) = admin.describe_configs(&specifiers, &options).await else {
        return Ok(findings);
    };
    for (topic, described) in wanted.iter().zip(described) {
        let Ok(resource) = described else { continue };
        for (key, value) in &topic.config {
            let found = resource
                .get(key)
                .and_then(|entry| entry.value.clone())
                .unwrap_or_default();
            if found != *value {
                let problem = format!("{key} is {found}, {value} is advised ({})", topic.why);
                findings.push(Finding {
                    topic: topic.name.clone(),
                    problem,
                    // A dead letter that does not fit would hold up its partition for good.
                    fatal: *key == "cleanup.policy"
                        || topic.name == topics.dead_letter && *key == "max.message.bytes" && is_less(&found, value),
                });
            }
        }
    }
    Ok(findings)
}

/// Partitions of each topic; `None` where it is missing.
pub async fn partitions(
    kafka: &KafkaSettings,
    topics: &TopicSettings,
) -> Result<Vec<(String, Option<i32>)>, TopicsError> {
    let (kafka, topics) = (kafka.clone(), topics.clone());
    // The client waits for its answers in C: on a thread that may wait.
    let counted = tokio::task::spawn_blocking(move || count_partitions(&kafka, &topics)).await;
    counted.expect("counting partitions does not panic")
}

fn count_partitions(kafka: &KafkaSettings, topics: &TopicSettings) -> Result<Vec<(String, Option<i32>)>, TopicsError> {
    let config = kafka.client()?;
    let consumer: BaseConsumer<Reason> = config
        .create_with_context(Reason::default())
        .map_err(|e| unreachable(kafka, e))?;
    login::log_in(&config, consumer.client())?;
    wanted(topics)
        .into_iter()
        .map(|topic| {
            let metadata =
                consumer
                    .fetch_metadata(Some(&topic.name), TIMEOUT)
                    .map_err(|error| TopicsError::Unreachable {
                        brokers: kafka.brokers.clone(),
                        said: format!("{error}{}", consumer.context().told(&consumer)),
                    })?;
            let found = metadata
                .topics()
                .iter()
                .find(|found| found.name() == topic.name && found.error().is_none());
            let count = found
                .map(|found| found.partitions().len() as i32)
                .filter(|count| *count > 0);
            Ok((topic.name, count))
        })
        .collect()
}

fn unreachable(kafka: &KafkaSettings, error: KafkaError) -> TopicsError {
    // A file that is not there, a mechanism that nobody knows: waiting would not mend it.
    if matches!(error, KafkaError::ClientCreation(_) | KafkaError::ClientConfig(..)) {
        return TopicsError::Client(error.to_string());
    }
    TopicsError::Unreachable {
        brokers: kafka.brokers.clone(),
        said: error.to_string(),
    }
}

/// Keeps the client's last word: a request that fails says "transport failure" whatever the cause.
#[derive(Debug, Default)]
struct Reason(Mutex<String>);

impl Reason {
    fn told(&self, consumer: &BaseConsumer<Self>) -> String {
        // Its words come with a poll.
        while self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
            && consumer.poll(Duration::from_millis(100)).is_some()
        {}
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Reason {
    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers are down" follows from what was said before it.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = format!(" ({reason})");
        }
    }
}

impl ConsumerContext for Reason {}
