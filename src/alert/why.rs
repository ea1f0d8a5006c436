use serde::Serialize;

/// Why the policy said what it said; silence has a reason as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nothing was said yet that could need a clinician.
    NothingHeard,
    RiskLow,
    /// Above the watch threshold.
    RiskRaised,
    /// Weak evidence has to stand a second time.
    Persistence,
    /// The agent has a turn to hand over first.
    FairChance,
    /// … and did not.
    ChancePassed,
    /// The matter is being closed: nobody gets another chance.
    LastChance,
    /// An affirmed emergency finding at a closing, whatever the model says.
    SafetyFloor,
    StillRaised,
    /// A graver level than was told before.
    Worsened,
    HandoverSpoken,
    HandoverUnconfirmed,
    HandedOver,
    ClinicalAgent,
    RiskFell,
    ContactLost,
    Ended,
    /// The event was not applied.
    NotApplied,
    CallOver,
}

impl Why {
    pub const ALL: [Self; 19] = [
        Self::NothingHeard,
        Self::RiskLow,
        Self::RiskRaised,
        Self::Persistence,
        Self::FairChance,
        Self::ChancePassed,
        Self::LastChance,
        Self::SafetyFloor,
        Self::StillRaised,
        Self::Worsened,
        Self::HandoverSpoken,
        Self::HandoverUnconfirmed,
        Self::HandedOver,
        Self::ClinicalAgent,
        Self::RiskFell,
        Self::ContactLost,
        Self::Ended,
        Self::NotApplied,
        Self::CallOver,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingHeard => "nothing_heard",
            Self::RiskLow => "risk_low",
            Self::RiskRaised => "risk_raised",
            Self::Persistence => "persistence",
            Self::FairChance => "fair_chance",
            Self::ChancePassed => "chance_passed",
            Self::LastChance => "last_chance",
            Self::SafetyFloor => "safety_floor",
            Self::StillRaised => "still_raised",
            Self::Worsened => "worsened",
            Self::HandoverSpoken => "handover_spoken",
            Self::HandoverUnconfirmed => "handover_unconfirmed",
            Self::HandedOver => "handed_over",
            Self::ClinicalAgent => "clinical_agent",
            Self::RiskFell => "risk_fell",
            Self::ContactLost => "contact_lost",
            Self::Ended => "ended",
            Self::NotApplied => "not_applied",
            Self::CallOver => "call_over",
        }
    }
}
