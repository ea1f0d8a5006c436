//! Consume, step, commit: the live driver of the pipeline, on Kafka.
//!
//! State, alerts, scores, dead letters and offsets of a worker commit in one transaction, so that readers of committed
//! records see each event's effect exactly once. Nothing durable is local: state is read back from the changelog.

mod clients;
mod dead_letter;
mod fail_point;
mod outputs;
mod partition;
mod restore;
mod settings;
pub mod topics;
mod trouble;
mod worker;

pub use partition::{Incoming, Output, Partition};
pub use settings::{
    DeadLetterSettings, KafkaSettings, Payload, SecretError, SecurityProtocol, StartAt, StreamSettings, TopicSettings,
};
pub use trouble::Trouble;
pub use worker::{Plan, run};
