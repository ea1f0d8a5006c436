//! Consume, step, commit: the live driver of the pipeline, on Kafka.
//!
//! State, alerts, scores, dead letters and offsets of a worker commit in one transaction, so that readers of committed
//! records see each event's effect exactly once. Nothing durable is local: state is read back from the changelog.

mod clients;
mod dead_letter;
mod engine;
mod fail_point;
pub mod login;
#[expect(unsafe_code, reason = "commits natively; see there")]
mod native;
mod outputs;
mod pace;
mod partition;
mod reach;
mod refused;
mod reset;
mod restore;
mod settings;
mod task;
pub mod topics;
mod transaction;
mod trouble;
mod twin;
mod worker;

pub use outputs::{Outputs, Raised};
pub use partition::{Incoming, Output, Partition};
pub use reach::Reach;
pub use reset::{Reset, reset};
pub use settings::{
    DeadLetterSettings, KafkaSettings, Payload, SecretError, SecurityProtocol, StartAt, StreamSettings, TopicSettings,
};
pub use task::{Room, Task};
pub use trouble::Trouble;
pub use worker::{Plan, run};
