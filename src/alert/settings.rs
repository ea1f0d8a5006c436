//! The clinical numbers that an operator may set.

use serde::{Deserialize, Serialize};

/// The clinical numbers of the policy. Thresholds of risk belong to the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whole turns in which the agent may hand over before an emergency is told.
    pub fair_turns_emergency: u8,
    pub fair_turns_urgent: u8,
    /// Seconds of event time that end the wait where no turn of the agent comes.
    pub fair_seconds_emergency: u32,
    pub fair_seconds_urgent: u32,
    /// Share of the alert threshold that suffices at the last chance.
    pub last_chance_share: f64,
    /// … while the caller has said fewer words than this, and has had no chance to say more …
    pub brief_words: u32,
    /// … this share.
    pub last_chance_share_brief: f64,
    /// Evidence of an emergency finding that alerts at a closing whatever the model says.
    pub floor_evidence: f32,
    /// … where need is at least this …
    pub floor_need: f64,
    /// … or the evidence this: affirmed more than once.
    pub floor_alone: f32,
    /// Evidence below which one scored event is not enough.
    pub weak_evidence: f32,
    /// Share of the alert threshold below which an alert may clear …
    pub clear_share: f64,
    /// … after this many seconds.
    pub clear_seconds: u32,
    /// Seconds after which a spoken hand-over must be confirmed.
    pub handover_seconds: u32,
    /// Seconds that repeated words of handing over may put that off, counted from the first.
    pub handover_seconds_at_most: u32,
    /// Seconds after a hand-over that was reported in which what is newly said is for whoever takes over.
    pub handover_covers_seconds: u32,
    /// Seconds of silence after which contact counts as lost while a need is open.
    pub contact_lost_seconds: u32,
    /// Seconds after which an idle call is forgotten.
    pub idle_seconds: u32,
    /// Seconds after its end for which a call is kept, for events that come late.
    pub ended_seconds: u32,
    /// Seconds after that for which it is remembered that there was a call and how many alerts it had: what comes late is
    /// no new call then, and no alert gets the name of another.
    pub remembered_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fair_turns_emergency: 1,
            fair_turns_urgent: 2,
            fair_seconds_emergency: 25,
            fair_seconds_urgent: 35,
            last_chance_share: 0.9,
            brief_words: 160,
            last_chance_share_brief: 0.65,
            floor_evidence: 0.85,
            floor_need: 0.35,
            floor_alone: 0.91,
            weak_evidence: 0.7,
            clear_share: 0.6,
            clear_seconds: 15,
            handover_seconds: 60,
            handover_seconds_at_most: 180,
            handover_covers_seconds: 60,
            contact_lost_seconds: 45,
            idle_seconds: 7_200,
            ended_seconds: 120,
            remembered_seconds: 3_600,
        }
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    #[error("policy.{field} is {value}, it must lie between {low} and {high}")]
    Range {
        field: &'static str,
        value: f64,
        low: f64,
        high: f64,
    },
    #[error(
        "policy.idle_seconds ({idle}) must be longer than contact_lost_seconds ({lost}), or a lost call is forgotten before it is told"
    )]
    ForgetsFirst { idle: u32, lost: u32 },
}
