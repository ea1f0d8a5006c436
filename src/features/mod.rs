//! A call as named numbers, in a fixed order that a model is trained on and checked against.
//!
//! Two stages read them: *need* (does the caller need a clinician now?) reads [`NEED`]; *risk* (and will this call end
//! without one?) reads [`RISK`], in which a handling counts only by the need that it meets.

mod urgency;

pub use urgency::{Urgent, total, urgencies};

use crate::call::{Call, Deed, PRESENT};
use crate::record::Timestamp;
use crate::signals::{Facts, Kind, Lexicon, Needed};
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

/// Groups of findings, in the order of their features.
pub const GROUPS: [&str; 20] = [
    "cardiac",
    "neuro",
    "respiratory",
    "gi_bleed",
    "vte",
    "sepsis",
    "abdominal",
    "obstetric",
    "mental_health",
    "trauma",
    "allergy",
    "diabetes",
    "blood_pressure",
    "eye",
    "genital",
    "spine",
    "limb",
    "medication",
    "elder",
    "environment",
];

/// Features of the first stage.
pub const NEED: [Spec; 54] = [
    up("cardiac", "strongest evidence of the group, 0 to 1"),
    up("neuro", "strongest evidence of the group, 0 to 1"),
    up("respiratory", "strongest evidence of the group, 0 to 1"),
    up("gi_bleed", "strongest evidence of the group, 0 to 1"),
    up("vte", "strongest evidence of the group, 0 to 1"),
    up("sepsis", "strongest evidence of the group, 0 to 1"),
    up("abdominal", "strongest evidence of the group, 0 to 1"),
    up("obstetric", "strongest evidence of the group, 0 to 1"),
    up("mental_health", "strongest evidence of the group, 0 to 1"),
    up("trauma", "strongest evidence of the group, 0 to 1"),
    up("allergy", "strongest evidence of the group, 0 to 1"),
    up("diabetes", "strongest evidence of the group, 0 to 1"),
    up("blood_pressure", "strongest evidence of the group, 0 to 1"),
    up("eye", "strongest evidence of the group, 0 to 1"),
    up("genital", "strongest evidence of the group, 0 to 1"),
    up("spine", "strongest evidence of the group, 0 to 1"),
    up("limb", "strongest evidence of the group, 0 to 1"),
    up("medication", "strongest evidence of the group, 0 to 1"),
    up("elder", "strongest evidence of the group, 0 to 1"),
    up("environment", "strongest evidence of the group, 0 to 1"),
    up("urgency", "urgency of all findings together, 0 to 1"),
    up("urgency_logit", "its log odds, capped at 4"),
    up("first", "urgency of the most urgent finding, 0 to 1"),
    up("second", "… of the second"),
    up("third", "… of the third"),
    up("emergency", "strongest evidence of a finding of tier emergency, 0 to 1"),
    up("groups", "groups with evidence of at least one half, capped at 4"),
    up(
        "volunteered",
        "strongest evidence that the agent did not ask for, 0 to 1",
    ),
    down("denied", "ln(1 + findings denied), capped at 5"),
    free("past", "ln(1 + findings of the past), capped at 5"),
    free("other_person", "ln(1 + findings of others), capped at 5"),
    down(
        "hypothetical",
        "ln(1 + findings only feared or asked about), capped at 5",
    ),
    up("sudden", "sudden, by urgency"),
    up("severe", "severe or worst ever, by urgency"),
    up("worse", "getting worse, by urgency"),
    up("cannot", "cannot sleep, or do an everyday thing, by urgency"),
    up("recent", "since now, today or yesterday, by urgency"),
    down("long", "for months or years, or stable, by urgency"),
    down("mild", "mild, by urgency"),
    down("better", "better or gone, by urgency"),
    up("old", "65 or older, by urgency"),
    up("child", "a child or infant, by urgency"),
    up("pregnant", "pregnant or gave birth, by urgency"),
    up("thinner", "on a blood thinner, by urgency"),
    up(
        "frail",
        "weak immunity, cancer, heart, lung or kidney disease, diabetes, by urgency",
    ),
    up("surgery", "recent surgery or hospital stay, by urgency"),
    up("alone", "lives alone, by urgency"),
    up("repeat", "second call about it, by urgency"),
    up(
        "alarm",
        "asks for a clinician, insists, is frightened, names 911: how many of these",
    ),
    down("minimises", "plays it down"),
    free("asked_share", "share of findings that the agent asked for"),
    free("typed", "chat or questionnaire"),
    up(
        "wording",
        "evidence of the loudest turn by its wording alone, between -3 and 6",
    ),
    up("wording_second", "… of the second loudest"),
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
    groups: Vec<Option<usize>>,
    sudden: Facts,
    severe: Facts,
    worse: Facts,
    cannot: Facts,
    recent: Facts,
    long: Facts,
    mild: Facts,
    better: Facts,
    old: Facts,
    child: Facts,
    pregnant: Facts,
    thinner: Facts,
    frail: Facts,
    surgery: Facts,
    alone: Facts,
    repeat: Facts,
    alarm: Facts,
    minimises: Facts,
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
        let facts = |ids: &[&str]| lexicon.facts_of(ids);
        Self {
            groups: lexicon
                .groups
                .iter()
                .map(|name| GROUPS.iter().position(|group| group == name))
                .collect(),
            sudden: facts(&["sudden"]),
            severe: facts(&["severe", "worst_ever"]),
            worse: facts(&["worse"]),
            cannot: facts(&["no_sleep", "cannot_do"]),
            recent: facts(&["now", "today", "day", "woke_with"]),
            long: facts(&["month", "year", "stable"]),
            mild: facts(&["mild"]),
            better: facts(&["better"]),
            old: facts(&["age_65", "frail_elder"]),
            child: facts(&["infant", "child", "age_under_5", "age_under_1"]),
            pregnant: facts(&["pregnant", "postpartum"]),
            thinner: facts(&["blood_thinner", "bleeding_disorder"]),
            frail: facts(&[
                "weak_immunity",
                "chemo",
                "cancer",
                "heart_disease",
                "lung_disease",
                "kidney_disease",
                "dialysis",
                "diabetes",
                "dementia",
            ]),
            surgery: facts(&["recent_surgery", "recent_hospital"]),
            alone: facts(&["lives_alone"]),
            repeat: facts(&["second_call"]),
            alarm: facts(&[
                "asks_for_clinician",
                "insists",
                "says_serious",
                "frightened",
                "mentions_911",
            ]),
            minimises: facts(&["minimises"]),
        }
    }

    /// What the first stage reads.
    pub fn need(&self, lexicon: &Lexicon, call: &Call) -> Features {
        let heard = call.heard();
        let urgencies = urgencies(lexicon, heard);
        let mut groups = [0.0f32; GROUPS.len()];
        let (mut emergency, mut volunteered) = (0.0f32, 0.0f32);
        let (mut asked, mut present) = (0u32, 0u32);
        for known in &heard.known {
            let concept = lexicon.concept(known.concept);
            let evidence = known.evidence();
            if evidence >= PRESENT {
                present += 1;
                asked += u32::from(known.asked);
            }
            let Kind::Finding { needed, .. } = concept.kind else {
                continue;
            };
            if let Some(Some(group)) = self.groups.get(concept.group as usize) {
                groups[*group] = groups[*group].max(evidence);
            }
            if needed == Needed::Emergency {
                emergency = emergency.max(evidence);
            }
            if !known.asked {
                volunteered = volunteered.max(evidence);
            }
        }
        let total = total(&urgencies);
        let nth = |n: usize| urgencies.get(n).map_or(0.0, |urgent| urgent.value);
        let if_any = |facts: Facts| if heard.facts & facts != 0 { total } else { 0.0 };
        let log = |count: u16| f32::from(count.min(5)).ln_1p();
        let alarm = (heard.facts & self.alarm).count_ones().min(3) as f32;
        let mut need = [0.0; NEED.len()];
        need[..GROUPS.len()].copy_from_slice(&groups);
        let rest = [
            total,
            logit(total).clamp(-4.0, 4.0),
            nth(0),
            nth(1),
            nth(2),
            emergency,
            groups.iter().filter(|evidence| **evidence >= 0.5).count().min(4) as f32,
            volunteered,
            log(heard.counts.denied),
            log(heard.counts.past),
            log(heard.counts.other_person),
            log(heard.counts.hypothetical),
            if_any(self.sudden),
            if_any(self.severe),
            if_any(self.worse),
            if_any(self.cannot),
            if_any(self.recent),
            if_any(self.long),
            if_any(self.mild),
            if_any(self.better),
            if_any(self.old),
            if_any(self.child),
            if_any(self.pregnant),
            if_any(self.thinner),
            if_any(self.frail),
            if_any(self.surgery),
            if_any(self.alone),
            if_any(self.repeat),
            alarm,
            f32::from(heard.facts & self.minimises != 0),
            if present == 0 {
                0.0
            } else {
                asked as f32 / present as f32
            },
            f32::from(call.context.typed()),
            heard.loudest.first.clamp(QUIETEST, LOUDEST),
            heard.loudest.second.clamp(QUIETEST, LOUDEST),
        ];
        need[GROUPS.len()..].copy_from_slice(&rest);
        Features { need, urgencies, alarm }
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
            .map_or(0.0, |minutes| (minutes as f32 / 1440.0).ln_1p().min(3.0));
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

/// How far the wording of one turn may count.
const QUIETEST: f32 = -3.0;
const LOUDEST: f32 = 6.0;

/// Log odds of a share.
pub fn logit(p: f32) -> f32 {
    let p = p.clamp(1e-4, 1.0 - 1e-4);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_features_are_the_groups() {
        for (spec, group) in NEED.iter().zip(GROUPS) {
            assert_eq!(spec.name, group);
        }
    }

    #[test]
    fn no_name_stands_twice() {
        for specs in [&NEED[..], &RISK[..]] {
            for (i, spec) in specs.iter().enumerate() {
                assert!(specs[..i].iter().all(|other| other.name != spec.name), "{}", spec.name);
            }
        }
    }
}
