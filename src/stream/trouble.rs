//! What can go wrong with a worker, named for what must be done about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::restore::RestoreError;

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The clients' state is unclear: make them anew and read the state back.
    #[error("{0}")]
    Rebuild(String),
    /// The producer's name is not ours any more: its transactional id was initialised elsewhere, or timed out.
    #[error("{0}")]
    Fenced(String),
    /// Nothing sensible is left to do here.
    #[error("{0}")]
    Stop(String),
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed,
            ) => Self::Stop(format!("Kafka refuses us: {error}; check user and ACLs")),
            Some(
                RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch,
            ) => Self::Fenced(error.to_string()),
            _ => Self::Rebuild(error.to_string()),
        }
    }
}

impl From<RestoreError> for Trouble {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Kafka(error) => error.into(),
            RestoreError::Undecided { .. } => Self::Rebuild(error.to_string()),
            _ => Self::Stop(error.to_string()),
        }
    }
}
