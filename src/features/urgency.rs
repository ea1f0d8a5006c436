//! How urgent each finding is by the facts around it: the judgement of a triage nurse as weights in
//! `models/lexicon/triage.toml`.

use std::cell::RefCell;

use crate::call::{Heard, Known};
use crate::signals::{ATTRIBUTE_BITS, ConceptId, Lexicon, Present, set};

/// A fact of the call that was not said of the finding itself.
const UNATTACHED_CHIEF: f32 = 0.6;
const UNATTACHED: f32 = 0.35;
/// Each next finding adds this share of its own: findings of one illness are not independent of each other.
const NEXT: f32 = 0.7;

/// A finding or symptom with its urgency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Urgent {
    pub concept: ConceptId,
    /// 0 to 1: from 0.75 on somebody is needed now, from 0.5 within the hour, from 0.25 today.
    pub value: f32,
    /// The same with every wording trusted: a graver level than need by itself may ask for.
    pub plain: f32,
    /// The triage rule that says so, in [`Lexicon::triage`].
    pub rule: u16,
}

thread_local! {
    /// Evidence by concept while urgencies are weighed; a buffer, so that a step allocates nothing here.
    static EVIDENCE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// All that came up, the most urgent first.
pub fn urgencies(lexicon: &Lexicon, heard: &Heard) -> Vec<Urgent> {
    EVIDENCE.with_borrow_mut(|evidence| {
        evidence.resize(lexicon.concepts.len(), 0.0);
        let mut present = Present::default();
        for known in heard.known.iter().filter(|known| known.evidence() > 0.0) {
            set(&mut present, known.concept);
            evidence[usize::from(known.concept.0)] = known.trusted();
        }
        let mut all: Vec<Urgent> = heard
            .known
            .iter()
            .filter(|known| known.evidence() > 0.0)
            .filter_map(|known| urgency(lexicon, heard, known, &present, evidence))
            .collect();
        all.sort_unstable_by(|a, b| b.value.total_cmp(&a.value).then(a.concept.cmp(&b.concept)));
        all
    })
}

/// The urgency of the whole: the strongest in full, the next three in part.
pub fn total(urgencies: &[Urgent]) -> f32 {
    let calm: f32 = urgencies
        .iter()
        .take(4)
        .enumerate()
        .map(|(i, urgent)| 1.0 - urgent.value.min(0.97) * if i == 0 { 1.0 } else { NEXT })
        .product();
    1.0 - calm
}

/// By the rule that makes most of it.
fn urgency(lexicon: &Lexicon, heard: &Heard, known: &Known, present: &Present, evidence: &[f32]) -> Option<Urgent> {
    let of_fact = |bit: u8, weight: f32| {
        if bit >= ATTRIBUTE_BITS || known.attributes >> bit & 1 == 1 {
            1.0
        } else if weight < 0.0 {
            // What calms one finding ("the cough is better") says nothing of another.
            0.0
        } else if known.chief {
            UNATTACHED_CHIEF
        } else {
            UNATTACHED
        }
    };
    let of_concept = |other: ConceptId| evidence[usize::from(other.0)];
    lexicon
        .triage_of(known.concept)
        .map(|(rule, triage)| {
            let weight = triage.weigh(heard.facts(), present, of_fact, of_concept);
            Urgent {
                concept: known.concept,
                value: known.trusted() * weight,
                plain: known.evidence() * weight,
                rule,
            }
        })
        .filter(|urgent| urgent.value > 0.0)
        .max_by(|a, b| a.value.total_cmp(&b.value))
}
