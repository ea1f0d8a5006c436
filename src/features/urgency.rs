//! How urgent each finding is by the facts around it: the judgement of a triage nurse as weights in
//! `models/lexicon/triage.toml`.

use crate::call::{Heard, Known};
use crate::signals::{ATTRIBUTE_BITS, ConceptId, Known as Condition, Lexicon};

/// A fact of the call that was not said of the finding itself.
const UNATTACHED_CHIEF: f32 = 0.6;
const UNATTACHED: f32 = 0.35;
/// Each next finding adds this share of its own.
const NEXT: f32 = 0.3;

/// A finding or symptom with its urgency, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Urgent {
    pub concept: ConceptId,
    pub value: f32,
}

/// All that came up, the most urgent first.
pub fn urgencies(lexicon: &Lexicon, heard: &Heard) -> Vec<Urgent> {
    let mut all: Vec<Urgent> = heard
        .known
        .iter()
        .filter_map(|known| {
            let value = urgency(lexicon, heard, known)?;
            (value > 0.0).then_some(Urgent {
                concept: known.concept,
                value,
            })
        })
        .collect();
    all.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.concept.cmp(&b.concept)));
    all
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

fn urgency(lexicon: &Lexicon, heard: &Heard, known: &Known) -> Option<f32> {
    let table = lexicon.urgencies[known.concept.0 as usize].as_ref()?;
    let evidence = known.evidence();
    if evidence <= 0.0 {
        return Some(0.0);
    }
    let moved: f32 = table
        .with
        .iter()
        .map(|(condition, weight)| weight * holds(heard, known, *condition))
        .sum();
    Some(evidence * (table.base + moved).clamp(0.0, 1.0))
}

fn holds(heard: &Heard, known: &Known, condition: Condition) -> f32 {
    match condition {
        Condition::Present(other) => heard.find(other).map_or(0.0, Known::evidence),
        Condition::With(other, bit) => heard
            .find(other)
            .filter(|other| other.attributes >> bit & 1 == 1)
            .map_or(0.0, Known::evidence),
        Condition::Fact(bit) if bit < ATTRIBUTE_BITS => {
            if known.attributes >> bit & 1 == 1 {
                1.0
            } else if !heard.has(bit) {
                0.0
            } else if known.chief {
                UNATTACHED_CHIEF
            } else {
                UNATTACHED
            }
        }
        Condition::Fact(bit) => f32::from(heard.has(bit)),
    }
}
