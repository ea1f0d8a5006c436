//! What one key holds: the call and its alert state, and both as bytes.

use serde::{Deserialize, Serialize};

use crate::alert::{Deadline, Watch, WatchRow};
use crate::call::{Call, FORMAT, Snapshot, SnapshotError};
use crate::record::{CallId, Timestamp};
use crate::signals::Reader;

const FORMAT_BEFORE: u8 = FORMAT - 1;

#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    pub call: Call,
    pub watch: Watch,
}

#[derive(Serialize, Deserialize)]
struct Rows<'c> {
    call: Snapshot<'c>,
    watch: WatchRow,
    numbering: Numbering,
    /// What the wording of the whole talk says.
    talk: f32,
}

/// Of the call's numbering: what is added, what leapt, and when its leg began.
type Numbering = (u64, Option<u64>, Option<i64>);

/// Format 5 knew nothing of the talk as a whole: what a call then said up to an upgrade counts for nothing in it.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct RowsBefore<'c> {
    call: Snapshot<'c>,
    watch: WatchRow,
    numbering: Numbering,
}

impl Watched {
    pub fn new(id: CallId) -> Self {
        Self {
            call: Call::new(id),
            watch: Watch::default(),
        }
    }

    /// The next time at which time itself matters.
    pub fn due(&self) -> Option<(Timestamp, Deadline)> {
        self.watch.due()
    }

    /// Whether the call is over, and kept only for what comes late.
    pub fn is_past(&self) -> bool {
        self.call.is_past()
    }

    /// Whether not even that need be kept any more, at event time `now`.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.is_past() && self.due().is_none_or(|(due, _)| due <= now)
    }

    pub(super) fn forget(&mut self, until: Timestamp) {
        self.call.forget();
        self.watch.forget(until);
    }

    pub(super) fn begin_anew(&mut self) {
        self.call.begin_anew();
        self.watch.begin_anew();
    }

    /// `[format u8][rows]`
    pub fn to_bytes(&self, reader: &Reader) -> Vec<u8> {
        self.append_to(Vec::new(), reader)
    }

    /// The same behind what the bytes hold already.
    pub fn append_to(&self, mut bytes: Vec<u8>, reader: &Reader) -> Vec<u8> {
        let rows = Rows {
            call: Snapshot::of(&self.call, reader.lexicon()),
            watch: WatchRow::from(&self.watch),
            numbering: self.numbering(),
            talk: self.call.settled_talk(),
        };
        bytes.push(FORMAT);
        postcard::to_extend(&rows, bytes).expect("rows are plain data")
    }

    fn numbering(&self) -> Numbering {
        let sequence = &self.call.sequence;
        (sequence.base, sequence.leapt, sequence.leg_began.map(Timestamp::millis))
    }

    pub fn from_bytes(id: CallId, bytes: &[u8], reader: &Reader) -> Result<Self, SnapshotError> {
        let (format, rest) = bytes
            .split_first()
            .ok_or_else(|| SnapshotError::Damaged("it is empty".into()))?;
        let damaged = |error: postcard::Error| SnapshotError::Damaged(error.to_string());
        let Rows {
            call,
            watch,
            numbering,
            talk,
        } = match *format {
            FORMAT => postcard::from_bytes(rest).map_err(damaged)?,
            FORMAT_BEFORE => {
                let RowsBefore { call, watch, numbering } = postcard::from_bytes(rest).map_err(damaged)?;
                Rows {
                    call,
                    watch,
                    numbering,
                    talk: 0.0,
                }
            }
            found if found > FORMAT => return Err(SnapshotError::Newer { found }),
            found => return Err(SnapshotError::Damaged(format!("no release wrote format {found}"))),
        };
        let mut call = call.restore(id, talk, reader);
        let (base, leapt, leg_began) = numbering;
        (call.sequence.base, call.sequence.leapt) = (base, leapt);
        call.sequence.leg_began = leg_began.map(Timestamp::from_millis);
        Ok(Self {
            call,
            watch: watch.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::call::Bounds;
    use crate::record::{Limits, decode};
    use crate::signals::{Lexicon, Source};

    #[test]
    fn state_of_the_format_before_is_read() {
        let source = Source::read("models/lexicon".as_ref()).unwrap();
        let reader = Reader::new(Arc::new(Lexicon::compile(&source).unwrap()), Arc::default());
        let mut watched = Watched::new(CallId::new("call").unwrap());
        for (seq, text) in (0..).zip(["do you have any pain", "yes my chest hurts since an hour", "i fainted"]) {
            let line = serde_json::json!({
                "call_id": "call", "seq": seq, "at": "2026-05-04T09:00:00Z", "type": "utterance",
                "speaker": if seq == 0 { "agent" } else { "caller" }, "text": text, "utterance_id": "u", "is_final": seq < 2,
            });
            let event = decode(line.to_string().as_bytes(), None, &Limits::default())
                .unwrap()
                .event;
            watched.call.apply(&reader, &event, &Bounds::default());
        }
        assert!(!watched.call.heard().known.is_empty());
        let rows = RowsBefore {
            call: Snapshot::of(&watched.call, reader.lexicon()),
            watch: WatchRow::from(&watched.watch),
            numbering: watched.numbering(),
        };
        let before = postcard::to_extend(&rows, vec![FORMAT_BEFORE]).unwrap();
        let read = |bytes: &[u8]| Watched::from_bytes(watched.call.id.clone(), bytes, &reader);
        assert_eq!(read(&before).unwrap(), read(&watched.to_bytes(&reader)).unwrap());
        assert_eq!(read(&[FORMAT + 1]), Err(SnapshotError::Newer { found: FORMAT + 1 }));
    }
}
