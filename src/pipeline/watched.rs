//! What one key holds: the call and its alert state, and both as bytes.

use serde::{Deserialize, Serialize};

use crate::alert::{Deadline, Watch, WatchRow};
use crate::call::{Call, FORMAT, Snapshot, SnapshotError};
use crate::record::{CallId, Timestamp};
use crate::signals::Reader;

#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    pub call: Call,
    pub watch: Watch,
}

#[derive(Serialize, Deserialize)]
struct Rows {
    call: Snapshot,
    watch: WatchRow,
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

    /// `[format u8][rows]`
    pub fn to_bytes(&self, reader: &Reader) -> Vec<u8> {
        let rows = Rows {
            call: Snapshot::of(&self.call, reader.lexicon()),
            watch: WatchRow::from(&self.watch),
        };
        postcard::to_extend(&rows, vec![FORMAT]).expect("rows are plain data")
    }

    pub fn from_bytes(id: CallId, bytes: &[u8], reader: &Reader) -> Result<Self, SnapshotError> {
        let (format, rest) = bytes
            .split_first()
            .ok_or_else(|| SnapshotError::Damaged("it is empty".into()))?;
        match *format {
            FORMAT => {
                let rows: Rows = postcard::from_bytes(rest).map_err(|e| SnapshotError::Damaged(e.to_string()))?;
                Ok(Self {
                    call: rows.call.restore(id, reader),
                    watch: rows.watch.into(),
                })
            }
            found if found > FORMAT => Err(SnapshotError::Newer { found }),
            found => Err(SnapshotError::Damaged(format!("no release wrote format {found}"))),
        }
    }
}
