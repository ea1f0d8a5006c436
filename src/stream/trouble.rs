//! What can go wrong with a worker, named for what must be done about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::restore::RestoreError;

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The open transaction cannot be committed, and that is all: abort it, read the state back, read its records again.
    #[error("{0}")]
    Rewind(String),
    /// The clients' state is unclear: make them anew and read the state back.
    #[error("{0}")]
    Rebuild(String),
    /// A name is not ours any more: the transactional id was initialised elsewhere, or timed out; or another process is
    /// the static member now.
    #[error("{0}")]
    Fenced(String),
    /// Nothing sensible is left to do here.
    #[error("{0}")]
    Stop(String),
}

impl Trouble {
    /// What an error of the client asks for. `requires_abort` is the client's own word on its transaction.
    pub(super) fn of(code: RDKafkaErrorCode, requires_abort: bool, text: String) -> Self {
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed => {
                Self::Stop(format!("Kafka refuses us: {text}; check user and ACLs"))
            }
            // The last is the name of a static member.
            RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::FencedInstanceId => Self::Fenced(text),
            _ if requires_abort => Self::Rewind(text),
            _ => Self::Rebuild(text),
        }
    }

    pub(super) fn of_kafka(error: &KafkaError) -> Self {
        let requires_abort = matches!(error, KafkaError::Transaction(inner) if inner.txn_requires_abort());
        match error.rdkafka_error_code() {
            Some(code) => Self::of(code, requires_abort, error.to_string()),
            None => Self::Rebuild(error.to_string()),
        }
    }

    /// The same where a rewind would not be enough.
    pub(super) fn rebuilds(self) -> Self {
        match self {
            Self::Rewind(reason) => Self::Rebuild(reason),
            graver => graver,
        }
    }
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Self {
        Self::of_kafka(&error)
    }
}

impl From<RestoreError> for Trouble {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Kafka(error) => error.into(),
            // A secret that is being replaced is there again in a moment.
            RestoreError::Secret(_)
            | RestoreError::Undecided { .. }
            | RestoreError::Stalled { .. }
            | RestoreError::Stopped => Self::Rebuild(error.to_string()),
            // Of one partition alone, which is refused for it.
            RestoreError::State { .. } | RestoreError::MissingOffsets { .. } => Self::Stop(error.to_string()),
        }
    }
}
