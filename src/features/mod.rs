//! A call as named numbers, in a fixed order that a model is trained on and checked against.
//!
//! Two stages read them: *need* (does the caller need a clinician now?) reads [`NEED`]; *risk* (and will this call end
//! without one?) reads [`RISK`], in which a handling counts only by the need that it meets.

mod urgency;

pub use urgency::{Urgent, total, urgencies};

use crate::call::{Call, Deed, Heard, Loudest};
use crate::record::Timestamp;
use crate::signals::{Facts, Lexicon, Needed};
use sha2::{Digest, Sha256};

/// Which way a feature may move the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Up,
    Down,
    Free,
}

/// One feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: &'static str,
    pub sign: Sign,
    pub meaning: &'static str,
}

const fn up(name: &'static str, meaning: &'static str) -> Spec {
    Spec {
        name,
        sign: Sign::Up,
        meaning,
    }
}
const fn down(name: &'static str, meaning: &'static str) -> Spec {
    Spec {
        name,
        sign: Sign::Down,
        meaning,
    }
}
const fn free(name: &'static str, meaning: &'static str) -> Spec {
    Spec {
        name,
        sign: Sign::Free,
        meaning,
    }
}

/// Features of the first stage: the facts as a triage nurse weighs them, the wording where no fact has a name, and how
/// much was said. Few on purpose: with 54 (groups of findings, tiers, onset, course, persons beside these) AUROC on
/// calls that were not trained on fell by 0.03, since a few hundred calls cannot set so many weights.
pub const NEED: [Spec; 5] = [
    up(
        "urgency",
        "log odds of the urgency of all findings together, between -2.5 and 4",
    ),
    up(
        "wording",
        "evidence of the loudest turn by its wording alone, between -3 and 6, and half of what the second adds",
    ),
    up(
        "talk",
        "evidence a word of all that the caller has said by its wording, as if 50 words more had said nothing, between -0.6 and 0.6",
    ),
    // Who means to end it says so quietly, and among words of moving a visit.
    up(
        "mental_health",
        "urgency of the most urgent finding of the group mental_health, 0 to 1",
    ),
    // The more is said, the more is found by asking, and the louder is the loudest turn by chance.
    down("length", "ln(1 + words of the caller)"),
];

/// Features of the second stage; `need` is the calibrated first stage.
pub const RISK: [Spec; 22] = [
    up("need_logit", "log odds of need, capped at 6"),
    up("need", "need"),
    up("need_booked", "need, where a visit was booked after it"),
    up("need_booked_far", "… by ln(1 + days) until the visit, capped at 3"),
    up("need_message", "need, where a message was taken after it"),
    up("need_callback", "need, where a call back was promised after it"),
    up("need_advice", "need, where the agent gave advice after it"),
    up("need_diagnosis", "need, where the agent said what it was after it"),
    up("need_soothing", "need, where the agent played it down after it"),
    up("need_declining", "need, where a clinician was declined after it"),
    up("need_closing", "need, where the talk was being closed after it"),
    up("need_offering", "need, where a visit was being looked for after it"),
    up(
        "need_conditional",
        "need, where 911 was named only for getting worse after it",
    ),
    free("need_hold", "need, on hold after it"),
    down("need_asking", "need, where the agent asked about it"),
    down("need_acknowledged", "need, where the agent took it seriously"),
    down("need_protocol", "need, where a protocol was opened"),
    down("need_handover", "need, where a hand-over was spoken of after it"),
    up(
        "need_seconds",
        "need by ln(1 + seconds since its evidence), capped at 300 s",
    ),
    up("need_turns", "need by caller's turns since its evidence, capped at 12"),
    up("need_alarm", "need by the caller's own alarm"),
    down("clinical", "the agent is a clinician"),
];

/// Hex digest of names, order and signs: a model of another schema is refused.
pub fn fingerprint() -> String {
    let mut digest = Sha256::new();
    for spec in NEED.iter().chain(&RISK) {
        digest.update(spec.name);
        digest.update([spec.sign as u8, b'\n']);
    }
    crate::signals::hex(&digest.finalize()[..8])
}

/// Facts that features look at, resolved once for a lexicon.
#[derive(Debug)]
pub struct Extractor {
    alarm: Facts,
    /// Place of the group in [`Lexicon::groups`].
    mental_health: Option<usize>,
}

/// The values of [`NEED`] and what else the judgement wants of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    pub need: [f32; NEED.len()],
    /// The most urgent first.
    pub urgencies: Vec<Urgent>,
    pub alarm: f32,
}

impl Extractor {
    pub fn new(lexicon: &Lexicon) -> Self {
        Self {
            alarm: lexicon.facts_of(&[
                "asks_for_clinician",
                "insists",
                "says_serious",
                "frightened",
                "mentions_911",
            ]),
            mental_health: lexicon.groups.iter().position(|group| group == "mental_health"),
        }
    }

    fn mental_health(&self, lexicon: &Lexicon, urgencies: &[Urgent]) -> f32 {
        let own = |urgent: &&Urgent| {
            let concept = lexicon.concept(urgent.concept);
            concept.needed().is_some() && Some(usize::from(concept.group)) == self.mental_health
        };
        urgencies.iter().find(own).map_or(0.0, |urgent| urgent.value)
    }

    /// What the first stage reads.
    pub fn need(&self, lexicon: &Lexicon, call: &Call) -> Features {
        let heard = call.heard();
        let urgencies = urgencies(lexicon, heard);
        let need = [
            logit(total(&urgencies)).clamp(LEAST_URGENT, MOST_URGENT),
            wording(&heard.loudest),
            talk(lexicon, heard, &urgencies),
            self.mental_health(lexicon, &urgencies),
            f32::from(heard.words).ln_1p(),
        ];
        Features {
            need,
            urgencies,
            alarm: (heard.facts() & self.alarm).count_ones().min(3) as f32,
        }
    }

    /// What was done and how long it took, at event time `at`: the second stage's values for a need of 1.
    pub fn handling(&self, call: &Call, features: &Features, at: Timestamp) -> Handling {
        let care = call.care();
        let (since, from, turns) = match call.heard().last_new {
            Some((seq, at, turn)) => (seq, Some(at), call.heard().turns.saturating_sub(turn)),
            None => (0, None, 0),
        };
        let after = |deed: Deed| f32::from(care.since(deed, since));
        let seconds = from.map_or(0.0, |from| at.seconds_since(from).clamp(0.0, 300.0)) as f32;
        let days = care
            .last(Deed::Booked)
            .filter(|done| done.seq >= since)
            .and_then(|done| done.minutes)
            .map_or(0.0, |minutes| (minutes.get() as f32 / 1440.0).ln_1p().min(3.0));
        Handling([
            after(Deed::Booked),
            days,
            after(Deed::MessageTaken),
            after(Deed::CallbackPromised),
            after(Deed::AdviceGiven),
            after(Deed::OwnDiagnosis),
            after(Deed::Soothing),
            after(Deed::Declining),
            after(Deed::Closing),
            after(Deed::OffersBooking),
            after(Deed::EmergencyConditional),
            f32::from(care.on_hold),
            after(Deed::AsksClinical),
            after(Deed::Acknowledges),
            after(Deed::ProtocolOpened),
            after(Deed::HandoverSpoken),
            seconds.ln_1p(),
            f32::from(turns.min(12)),
            features.alarm,
            f32::from(call.context.clinical_agent()),
        ])
    }
}

/// [`RISK`] without what is known of need.
#[derive(Clone, Debug, PartialEq)]
pub struct Handling([f32; RISK.len() - 2]);

impl Handling {
    /// What the second stage reads: a handling means nothing without need, so it counts by it.
    pub fn with(&self, need: f64) -> [f32; RISK.len()] {
        let need = need as f32;
        let mut values = [0.0; RISK.len()];
        values[0] = logit(need).clamp(-6.0, 6.0);
        values[1] = need;
        for (value, handling) in values[2..].iter_mut().zip(self.0) {
            *value = need * handling;
        }
        // That the agent is a clinician holds by itself.
        values[RISK.len() - 1] = self.0[self.0.len() - 1];
        values
    }
}

/// Where nothing was found the wording must be able to speak up, so little urgency counts as none.
const LEAST_URGENT: f32 = -2.5;
const MOST_URGENT: f32 = 4.0;
/// How far the wording of one turn may count.
const QUIETEST: f32 = -3.0;
const LOUDEST: f32 = 6.0;

/// One turn may sound alarming by chance, two less so: AUROC on calls of other writers is higher by 0.01.
fn wording(loudest: &Loudest) -> f32 {
    loudest.evidence.clamp(QUIETEST, LOUDEST) + loudest.second.clamp(0.0, LOUDEST) / 2.0
}

/// How far the wording of the whole talk may count, either way.
const MOST_TALK: f32 = 0.6;
/// Words that say nothing either way, by which a few words are kept from saying much.
const SILENT_WORDS: f32 = 50.0;
/// Urgency, with every wording trusted, from which a finding of tier emergency makes an emergency of the call.
pub const GRAVE: f32 = 0.5;

/// How somebody talks raises nothing where nobody could be told why, since no finding has come up and no turn was loud;
/// and it lowers nothing where the facts make an emergency.
fn talk(lexicon: &Lexicon, heard: &Heard, urgencies: &[Urgent]) -> f32 {
    let grave =
        |urgent: &Urgent| lexicon.concept(urgent.concept).needed() == Some(Needed::Emergency) && urgent.plain >= GRAVE;
    let least = if urgencies.iter().any(grave) { 0.0 } else { -MOST_TALK };
    let ground = logit(total(urgencies)) > LEAST_URGENT || heard.loudest.turn.is_some();
    let most = if ground { MOST_TALK } else { 0.0 };
    (heard.talk / (f32::from(heard.words) + SILENT_WORDS)).clamp(least, most)
}

/// Log odds of a share.
pub fn logit(p: f32) -> f32 {
    let p = p.clamp(1e-4, 1.0 - 1e-4);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice() {
        for specs in [&NEED[..], &RISK[..]] {
            for (i, spec) in specs.iter().enumerate() {
                assert!(specs[..i].iter().all(|other| other.name != spec.name), "{}", spec.name);
            }
        }
    }
}
