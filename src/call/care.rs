//! The care given so far: what the agent did about it, from actions and from the agent's own words.

use std::num::NonZero;

use serde::{Deserialize, Serialize};

use crate::record::Timestamp;

/// Something that the agent did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Deed {
    /// Handed to clinical staff; reported, or confirmed by a clinician's voice or by how the call ended.
    Escalated,
    /// Told to call 911 or to go to an emergency department now.
    EmergencyAdvised,
    /// Only a note marked urgent to clinical staff: the weakest form of handing over.
    UrgentMessage,
    /// Said to hand over; not yet confirmed.
    HandoverSpoken,
    Booked,
    MessageTaken,
    CallbackPromised,
    AdviceGiven,
    OwnDiagnosis,
    Soothing,
    Declining,
    Hold,
    Closing,
    OffersBooking,
    EmergencyConditional,
    AsksClinical,
    Acknowledges,
    ProtocolOpened,
}

impl Deed {
    pub const ALL: [Self; 18] = [
        Self::Escalated,
        Self::EmergencyAdvised,
        Self::UrgentMessage,
        Self::HandoverSpoken,
        Self::Booked,
        Self::MessageTaken,
        Self::CallbackPromised,
        Self::AdviceGiven,
        Self::OwnDiagnosis,
        Self::Soothing,
        Self::Declining,
        Self::Hold,
        Self::Closing,
        Self::OffersBooking,
        Self::EmergencyConditional,
        Self::AsksClinical,
        Self::Acknowledges,
        Self::ProtocolOpened,
    ];

    /// The id of the act in the lexicon by which it is understood from words.
    pub const fn act(self) -> Option<&'static str> {
        Some(match self {
            Self::EmergencyAdvised => "emergency_advised",
            Self::HandoverSpoken => "handover_spoken",
            Self::Booked => "booked",
            Self::MessageTaken => "message_taken",
            Self::CallbackPromised => "callback_promised",
            Self::AdviceGiven => "advice_given",
            Self::OwnDiagnosis => "own_diagnosis",
            Self::Soothing => "soothing",
            Self::Declining => "declining",
            Self::Hold => "hold",
            Self::Closing => "closing",
            Self::OffersBooking => "offers_booking",
            Self::EmergencyConditional => "emergency_conditional",
            Self::AsksClinical => "asks_clinical",
            Self::Acknowledges => "acknowledges",
            Self::Escalated | Self::UrgentMessage | Self::ProtocolOpened => return None,
        })
    }

    /// What somebody did who said what the lexicon knows by this id.
    pub fn of_act(id: &str) -> Option<Self> {
        match id {
            // A hand-over by another line.
            "clinician_rings_now" => Some(Self::HandoverSpoken),
            _ => Self::ALL.into_iter().find(|deed| deed.act() == Some(id)),
        }
    }

    /// After it the caller is put off: the last chance to speak up.
    pub const fn closes_the_matter(self) -> bool {
        matches!(
            self,
            Self::Booked | Self::MessageTaken | Self::CallbackPromised | Self::AdviceGiven | Self::Closing
        )
    }

    /// What people read.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Escalated => "handed over",
            Self::EmergencyAdvised => "advised to call 911 or go to an emergency department",
            Self::UrgentMessage => "left an urgent message instead of handing over",
            Self::HandoverSpoken => "spoke of handing over",
            Self::Booked => "booked a visit",
            Self::MessageTaken => "took a message",
            Self::CallbackPromised => "promised a call back",
            Self::AdviceGiven => "gave advice of their own",
            Self::OwnDiagnosis => "said what it was",
            Self::Soothing => "played it down",
            Self::Declining => "declined to bring in a clinician",
            Self::Hold => "put the caller on hold",
            Self::Closing => "closed the talk",
            Self::OffersBooking => "looked for a visit",
            Self::EmergencyConditional => "spoke of 911 only if it gets worse",
            Self::AsksClinical => "asked about the symptom",
            Self::Acknowledges => "took it seriously",
            Self::ProtocolOpened => "opened a protocol",
        }
    }
}

/// The last time that the agent did something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub deed: Deed,
    pub seq: u64,
    pub at_ms: i64,
    /// How far off a visit or a call back is, where told.
    pub minutes: Option<Minutes>,
    /// Understood from words rather than reported.
    pub inferred: bool,
}

/// Never 0 inside, so that one that may be missing takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub struct Minutes(NonZero<u32>);

impl Minutes {
    pub const fn get(self) -> u32 {
        self.0.get() - 1
    }
}

impl From<u32> for Minutes {
    fn from(minutes: u32) -> Self {
        Self(NonZero::<u32>::MIN.saturating_add(minutes))
    }
}

impl From<Minutes> for u32 {
    fn from(minutes: Minutes) -> Self {
        minutes.get()
    }
}

impl Done {
    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at_ms)
    }
}

/// All that was done, the last of each kind: at most one entry a [`Deed`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Care {
    done: Vec<Done>,
    pub on_hold: bool,
}

impl Care {
    pub fn did(&mut self, done: Done) {
        match self.done.iter_mut().find(|old| old.deed == done.deed) {
            // The action that follows the words says how far off the visit is.
            Some(old) => {
                *old = Done {
                    minutes: done.minutes.or(old.minutes),
                    inferred: done.inferred && old.inferred,
                    ..done
                }
            }
            None => {
                super::grow(&mut self.done);
                self.done.push(done);
            }
        }
    }

    pub fn last(&self, deed: Deed) -> Option<&Done> {
        self.done.iter().find(|done| done.deed == deed)
    }

    pub fn since(&self, deed: Deed, seq: u64) -> bool {
        self.last(deed).is_some_and(|done| done.seq >= seq)
    }

    pub fn all(&self) -> &[Done] {
        &self.done
    }
}
