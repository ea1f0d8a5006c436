//! What the source said: one event of one call, checked once at the door.
//!
//! ```text
//! bytes ── decode ──► Decoded { Event, slips }   or   Reject { reason, field, message }
//! ```
//! Nothing behind this module looks at raw input again. Texts of patients live in [`Event`] alone and never reach
//! the message of a [`Reject`].

mod body;
mod decode;
mod loose;
mod time;

pub use body::{Act, Action, Agent, Answer, Body, Channel, Ended, Patient, Sex, Speaker, Started, Utterance};
pub use decode::{Decoded, Limits, Reason, Reject, Slip, decode};
pub use time::Timestamp;

use std::fmt;
use std::sync::Arc;

/// Identity of a call: 1 to 128 bytes, also the Kafka key. Shared: a call's state, its deadlines and its outcomes all name
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(Arc<str>);

impl CallId {
    pub const MAX_BYTES: usize = 128;

    /// `None` where the text is empty, longer than [`Self::MAX_BYTES`] or holds control characters.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for CallId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One event of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub call_id: CallId,
    /// Position in the call as the source gave it.
    pub seq: Option<u64>,
    /// The source's own id of the event.
    pub event_id: Option<Box<str>>,
    /// When it happened.
    pub at: Timestamp,
    pub body: Body,
}
