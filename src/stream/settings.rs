use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

/// How Kafka is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// host:port, comma-separated.
    pub brokers: String,
    /// The consumer group: the unit of scaling, and part of every transactional id.
    pub group: String,
    /// Name of this process in the group; stable names let a restarted process abort its own leftovers at once.
    /// Empty: a random one.
    pub instance: String,
    /// Join as a static member, so that a restart within the session time-out moves no partition.
    pub static_membership: bool,
    pub security_protocol: SecurityProtocol,
    /// SCRAM-SHA-512, SCRAM-SHA-256, PLAIN or OAUTHBEARER.
    pub sasl_mechanism: String,
    pub sasl_username: String,
    pub sasl_password_file: Option<PathBuf>,
    /// For OAUTHBEARER: a JSON Web Token that somebody keeps fresh.
    pub sasl_token_file: Option<PathBuf>,
    pub ssl_ca_file: Option<PathBuf>,
    pub ssl_certificate_file: Option<PathBuf>,
    pub ssl_key_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            group: "callward".into(),
            instance: String::new(),
            static_membership: false,
            security_protocol: SecurityProtocol::default(),
            sasl_mechanism: "SCRAM-SHA-512".into(),
            sasl_username: String::new(),
            sasl_password_file: None,
            sasl_token_file: None,
            ssl_ca_file: None,
            ssl_certificate_file: None,
            ssl_key_file: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read {field} from {path}: {error}")]
    Read {
        field: &'static str,
        path: String,
        error: std::io::Error,
    },
    #[error("the token in kafka.sasl_token_file {path} cannot be used: {problem}")]
    Token { path: String, problem: String },
}

impl KafkaSettings {
    /// Where the token stands, if clients log in by one.
    pub fn token_file(&self) -> Option<&Path> {
        let by_token = self.sasl_mechanism == "OAUTHBEARER"
            && matches!(
                self.security_protocol,
                SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
            );
        self.sasl_token_file.as_deref().filter(|_| by_token)
    }

    /// What all clients share. Secrets are read from their files here, so that a rebuilt client has the new ones.
    pub fn client(&self) -> Result<ClientConfig, SecretError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "callward")
            .set("reconnect.backoff.max.ms", "1000")
            // A commit sends a request for each partition, all at once; else each would wait for the answer to the last.
            .set("socket.nagle.disable", "true")
            .set("allow.auto.create.topics", "false");
        let protocol = match self.security_protocol {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if matches!(
            self.security_protocol,
            SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
        ) {
            config.set("sasl.mechanism", &self.sasl_mechanism);
            if let Some(file) = self.token_file() {
                config.set(super::login::FILE, file.display().to_string());
            } else {
                config.set("sasl.username", &self.sasl_username);
            }
            if let Some(path) = &self.sasl_password_file {
                let secret = std::fs::read_to_string(path).map_err(|error| SecretError::Read {
                    field: "kafka.sasl_password_file",
                    path: path.display().to_string(),
                    error,
                })?;
                config.set("sasl.password", secret.trim_end_matches(['\r', '\n']));
            }
        }
        let files = [
            ("ssl.ca.location", &self.ssl_ca_file),
            ("ssl.certificate.location", &self.ssl_certificate_file),
            ("ssl.key.location", &self.ssl_key_file),
        ];
        for (key, path) in files {
            if let Some(path) = path {
                config.set(key, path.display().to_string());
            }
        }
        Ok(config)
    }
}

/// Names of the topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSettings {
    pub events: String,
    pub state: String,
    pub scores: String,
    pub alerts: String,
    pub dead_letter: String,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            events: "calls.events".into(),
            state: "calls.state".into(),
            scores: "calls.scores".into(),
            alerts: "calls.alerts".into(),
            dead_letter: "calls.dead-letter".into(),
        }
    }
}

/// Where a group begins that has never committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    #[default]
    Earliest,
    Latest,
}

/// What a dead letter holds of the bytes as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    #[default]
    Keep,
    /// Their length and SHA-256 alone.
    Hash,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterSettings {
    pub payload: Payload,
}

/// The numbers of the stream. Time-outs rise from request over transaction and session to poll interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamSettings {
    /// Workers of this process, each a member of the group with its own thread; 0: one a core.
    pub workers: usize,
    /// Longest life of a transaction; an alert ends it at once where no backlog waits.
    pub commit_interval_ms: u64,
    /// Records after which a transaction is committed at once.
    pub commit_records: usize,
    /// A clinical number: calls of a crashed process go unjudged until it has passed.
    pub session_timeout_ms: u64,
    pub transaction_timeout_ms: u64,
    /// Seconds that a shutdown may take.
    pub drain_seconds: u64,
    pub start: StartAt,
    /// Publish a score for every event; else only where the level, the findings or the alert changed.
    pub every_score: bool,
    /// Calls that memory is planned for: beyond it those without an open need are given up.
    pub capacity_calls: usize,
    /// Longest wait of a fetch for new records.
    pub fetch_wait_ms: u64,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            workers: 0,
            commit_interval_ms: 100,
            commit_records: 5_000,
            session_timeout_ms: 8_000,
            transaction_timeout_ms: 5_000,
            drain_seconds: 10,
            start: StartAt::default(),
            every_score: true,
            capacity_calls: 100_000,
            fetch_wait_ms: 50,
        }
    }
}

impl StreamSettings {
    pub fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(self.transaction_timeout_ms)
    }

    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }
}
