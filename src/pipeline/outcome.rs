//! All that a step found: what shells see, and a line of `callward score`.

use serde::Serialize;

use crate::alert::{Alert, Deadline, Decision, Level, Why, rounded};
use crate::call::{Applied, Fate};
use crate::features::{Features, RISK};
use crate::record::{CallId, Timestamp};
use crate::signals::{Lexicon, NearMiss, Status};

/// What moved the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Event,
    Deadline(Deadline),
}

/// One event or deadline and all that followed from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub call_id: CallId,
    pub at: Timestamp,
    pub seq: u64,
    pub cause: Cause,
    pub applied: Applied,
    pub events: u32,
    pub events_hash: u64,
    /// `None` before the caller's first words.
    pub need: Option<f64>,
    pub risk: Option<f64>,
    /// What the model read; `None` where the event was not applied.
    pub features: Option<(Features, [f32; RISK.len()])>,
    pub decision: Decision,
    pub alert: Option<Alert>,
    pub trust_reasons: Vec<&'static str>,
    /// This event ended the call.
    pub ended: bool,
    /// The call is over or idle: its state may go.
    pub over: bool,
    /// A deadline should have been stepped before this event and was not: the event came in later than that.
    pub came_late: bool,
}

impl Outcome {
    /// Whether it has a line of its own: every accepted event, and every deadline that did something.
    pub fn has_line(&self) -> bool {
        match self.cause {
            Cause::Event => true,
            Cause::Deadline(_) => self.alert.is_some(),
        }
    }

    /// The record of `calls.scores`.
    pub fn score<'o>(&'o self, lexicon: &'o Lexicon, model: &'o str) -> Score<'o> {
        let findings = self.applied.changes.iter().map(|change| FindingLine {
            id: &lexicon.concept(change.concept).id,
            status: change.status,
            kind: change.kind,
            seq: change.seq,
            said_by: if change.answered { "answer" } else { "caller" },
        });
        Score {
            v: 1,
            call_id: self.call_id.as_str(),
            at: self.at,
            seq: self.seq,
            cause: match self.cause {
                Cause::Event => "event",
                Cause::Deadline(_) => "deadline",
            },
            applied: self.events,
            applied_hash: format!("{:016x}", self.events_hash),
            status: self.applied.fate.as_str(),
            need: self.need.map(rounded),
            risk: self.risk.map(rounded),
            findings: findings.collect(),
            decision: DecisionLine {
                level: self.decision.level,
                why: self.decision.why,
            },
            trust: if self.trust_reasons.is_empty() { "ok" } else { "low" },
            trust_reasons: &self.trust_reasons,
            model,
            alert: self.alert.as_ref(),
        }
    }

    pub fn was_applied(&self) -> bool {
        self.applied.fate == Fate::Applied
    }
}

#[derive(Debug, Serialize)]
pub struct Score<'o> {
    v: u32,
    call_id: &'o str,
    at: Timestamp,
    seq: u64,
    cause: &'static str,
    applied: u32,
    applied_hash: String,
    status: &'static str,
    need: Option<f64>,
    risk: Option<f64>,
    findings: Vec<FindingLine<'o>>,
    decision: DecisionLine,
    trust: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    trust_reasons: &'o [&'static str],
    model: &'o str,
    alert: Option<&'o Alert>,
}

#[derive(Debug, Serialize)]
struct FindingLine<'o> {
    id: &'o str,
    status: Status,
    kind: Option<NearMiss>,
    seq: u64,
    said_by: &'static str,
}

#[derive(Debug, Serialize)]
struct DecisionLine {
    level: Option<Level>,
    why: Why,
}
