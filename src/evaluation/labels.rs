use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::record::Event;

/// The care that the caller's words called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeededLabel {
    Emergency,
    Urgent,
    SameDay,
    Routine,
    None,
}

impl NeededLabel {
    /// A clinician now or within the hour.
    pub const fn is_need(self) -> bool {
        matches!(self, Self::Emergency | Self::Urgent)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::Urgent => "urgent",
            Self::SameDay => "same_day",
            Self::Routine => "routine",
            Self::None => "none",
        }
    }
}

/// A weighty finding and the event that settles it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingLabel {
    pub seq: u64,
    pub finding: String,
    pub status: String,
}

/// A line of a label file. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    pub call_id: String,
    pub needed: NeededLabel,
    pub under_escalated: bool,
    #[serde(default)]
    pub red_flag_seq: Option<u64>,
    #[serde(default)]
    pub closing_seq: Option<u64>,
    #[serde(default)]
    pub red_flags: Vec<String>,
    #[serde(default)]
    pub findings: Vec<FindingLabel>,
    /// Calls of one case have the same words: they never part in a split.
    #[serde(default)]
    pub case: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub style: Option<String>,
    /// How sure the label is: high, medium, low.
    #[serde(default)]
    pub confidence: Option<String>,
}

impl Label {
    pub fn case(&self) -> &str {
        self.case.as_deref().unwrap_or(&self.call_id)
    }

    /// Whether the event states a finding that makes the call one with need.
    pub fn states_red_flag(&self, seq: u64) -> bool {
        self.red_flag_seq == Some(seq)
            || self
                .findings
                .iter()
                .any(|f| f.seq == seq && f.status == "present" && self.red_flags.contains(&f.finding))
    }

    pub fn is_sure(&self) -> bool {
        self.confidence.as_deref() != Some("low")
    }

    /// The agent handed over at the turn after the red flag.
    pub fn is_handed_over(&self) -> bool {
        self.needed.is_need() && !self.under_escalated
    }
}

/// A call with its label.
#[derive(Clone, Debug)]
pub struct LabelledCall {
    pub events: Vec<Event>,
    pub label: Label,
}

/// A third of the cases is set aside by hash and neither read nor trained on: it tells whether what was learned from
/// the others holds.
pub fn is_unread(case: &str) -> bool {
    Sha256::digest(case.as_bytes())[0] % 3 == 0
}
