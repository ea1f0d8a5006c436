//! Which of the caller's turns sounds most like one that needed a clinician, by its wording alone.

use std::sync::Arc;

use super::Moment;
use crate::record::Timestamp;

/// Evidence of wording before anything was said.
pub const SILENT: f32 = -5.0;
/// Evidence from which a turn is kept to be quoted, and counts as something new.
const LOUD: f32 = 1.5;

#[derive(Clone, Debug, PartialEq)]
pub struct Loudest {
    pub evidence: f32,
    /// Of the turn that comes next to it.
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
            evidence: SILENT,
            second: SILENT,
            turn: None,
        }
    }
}

impl Loudest {
    /// Takes in a turn with its evidence; true where it is the loudest so far, and loud.
    pub fn hear(&mut self, evidence: f32, moment: Moment, text: impl FnOnce() -> Arc<str>) -> bool {
        if evidence <= self.evidence {
            self.second = self.second.max(evidence);
            return false;
        }
        self.second = self.evidence;
        self.evidence = evidence;
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
