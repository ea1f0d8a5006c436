//! Refused records: key, value and headers as they came, and headers that tell why, in the style of Kafka Connect.

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use sha2::{Digest, Sha256};

use super::settings::Payload;
use crate::record::{Reason, Reject};
use crate::signals::hex;

/// A value beyond this is replaced by its length and digest: the producer would not take it.
pub(super) const MAX_VALUE: usize = 15_000_000;

/// The value of the dead letter.
pub(super) fn value(payload: &[u8], keep: Payload) -> Vec<u8> {
    if keep == Payload::Keep && payload.len() <= MAX_VALUE {
        return payload.to_vec();
    }
    let digest = hex(&Sha256::digest(payload));
    format!(r#"{{"bytes":{},"sha256":"{digest}"}}"#, payload.len()).into_bytes()
}

/// The record's own headers and ours. No word of the payload stands in them.
pub(super) fn headers(message: &BorrowedMessage<'_>, reject: &Reject, worker: usize) -> OwnedHeaders {
    let mut headers = message.headers().map_or_else(OwnedHeaders::new, |own| own.detach());
    let stage = match reject.reason {
        Reason::NotJson | Reason::NotUtf8 | Reason::TooLarge | Reason::TooDeep => "parse",
        Reason::Internal => "score",
        _ => "validate",
    };
    let ours = [
        ("__connect.errors.topic", message.topic().to_owned()),
        ("__connect.errors.partition", message.partition().to_string()),
        ("__connect.errors.offset", message.offset().to_string()),
        ("__connect.errors.connector.name", "callward".to_owned()),
        ("__connect.errors.task.id", worker.to_string()),
        ("__connect.errors.stage", stage.to_owned()),
        ("__connect.errors.class.name", "callward::record::Reject".to_owned()),
        (
            "__connect.errors.exception.class.name",
            reject.reason.as_str().to_owned(),
        ),
        ("__connect.errors.exception.message", reject.to_string()),
    ];
    for (key, value) in &ours {
        headers = headers.insert(Header {
            key,
            value: Some(value.as_str()),
        });
    }
    headers
}
