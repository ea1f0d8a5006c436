//! Which of the caller's turns sound most like turns that needed a clinician, by their wording alone.

use std::sync::Arc;

use super::Moment;
use crate::record::Timestamp;

/// Evidence of wording before anything was said.
pub const SILENT: f32 = -5.0;
/// Evidence from which a turn is kept to be quoted, and counts as something new.
const LOUD: f32 = 1.5;

#[derive(Clone, Debug, PartialEq)]
pub struct Loudest {
    /// Evidence of the two loudest turns.
    pub first: f32,
    pub second: f32,
    pub turn: Option<Box<LoudTurn>>,
}

/// A turn to be quoted where no finding has a name for it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoudTurn {
    pub text: Arc<str>,
    pub seq: u64,
    pub at: Timestamp,
}

impl Default for Loudest {
    fn default() -> Self {
        Self {
            first: SILENT,
            second: SILENT,
            turn: None,
        }
    }
}

impl Loudest {
    /// Takes in a turn with its evidence; true where it is the loudest so far, and loud.
    pub fn hear(&mut self, evidence: f32, moment: Moment, text: impl FnOnce() -> Arc<str>) -> bool {
        if evidence <= self.first {
            self.second = self.second.max(evidence);
            return false;
        }
        self.second = self.first;
        self.first = evidence;
        if evidence < LOUD {
            return false;
        }
        self.turn = Some(Box::new(LoudTurn {
            text: text(),
            seq: moment.seq,
            at: moment.at,
        }));
        true
    }
}
