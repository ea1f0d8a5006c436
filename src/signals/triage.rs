//! Triage rules: how the facts around a finding move its urgency, as a nurse on the telephone would weigh them.
//!
//! Written in `models/lexicon/triage.toml`; a value is `evidence × clamp(base + Σ weights of what holds)`, 0 to 1. Most
//! of a rule's conditions do not hold in a call, so a rule is a set of conditions and its weights in their order: what
//! holds is found by the sets, and only that is weighed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lexicon::{ConceptId, Facts, Needed};

/// A rule as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Triage {
    pub id: String,
    /// What people read: "Short of breath, and it is new, worse or there at rest".
    pub reason: String,
    /// Keys of the clinical sources, or their names.
    pub source: Vec<String>,
    /// Judges the findings of this tier that no rule names …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<Needed>,
    /// … or these findings and symptoms; where several rules name one, the highest value counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    pub base: f32,
    /// By id of a fact, or of a symptom or finding that is present besides.
    pub with: BTreeMap<String, f32>,
}

/// Findings and symptoms of a call as bits, by [`ConceptId`].
pub type Present = [u64; PRESENT_WORDS];

const PRESENT_WORDS: usize = 10;
/// A lexicon has fewer concepts than this.
pub const MOST_CONCEPTS: usize = PRESENT_WORDS * 64;

/// A rule ready to be weighed.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub id: String,
    pub reason: String,
    pub base: f32,
    facts: Facts,
    /// In the order of their bits.
    fact_weights: Vec<f32>,
    concepts: Present,
    /// How many concepts stand in the words before each.
    before: [u16; PRESENT_WORDS],
    concept_weights: Vec<f32>,
}

impl Rule {
    pub fn new(written: &Triage, facts: &BTreeMap<u8, f32>, concepts: &BTreeMap<ConceptId, f32>) -> Self {
        let mut bits = Present::default();
        concepts.keys().for_each(|concept| set(&mut bits, *concept));
        let mut before = [0; PRESENT_WORDS];
        for word in 1..PRESENT_WORDS {
            before[word] = before[word - 1] + bits[word - 1].count_ones() as u16;
        }
        Self {
            id: written.id.clone(),
            reason: written.reason.clone(),
            base: written.base,
            facts: facts.keys().fold(0, |all, bit| all | 1 << bit),
            fact_weights: facts.values().copied().collect(),
            concepts: bits,
            before,
            concept_weights: concepts.values().copied().collect(),
        }
    }

    /// Base and weights together, 0 to 1: `of_fact` says how far a fact of this weight holds, `of_concept` how far a
    /// finding is there.
    pub fn weigh(
        &self,
        facts: Facts,
        present: &Present,
        of_fact: impl Fn(u8, f32) -> f32,
        of_concept: impl Fn(ConceptId) -> f32,
    ) -> f32 {
        let mut sum = self.base;
        let mut both = self.facts & facts;
        while both != 0 {
            let bit = both.trailing_zeros();
            let rank = (self.facts & ((1 << bit) - 1)).count_ones();
            let weight = self.fact_weights[rank as usize];
            sum += weight * of_fact(bit as u8, weight);
            both &= both - 1;
        }
        for (word, (own, present)) in self.concepts.iter().zip(present).enumerate() {
            let mut both = own & present;
            while both != 0 {
                let bit = both.trailing_zeros();
                let rank = u32::from(self.before[word]) + (own & ((1 << bit) - 1)).count_ones();
                let concept = ConceptId((word * 64) as u16 + bit as u16);
                sum += self.concept_weights[rank as usize] * of_concept(concept);
                both &= both - 1;
            }
        }
        sum.clamp(0.0, 1.0)
    }
}

pub fn set(present: &mut Present, concept: ConceptId) {
    present[usize::from(concept.0) / 64] |= 1 << (concept.0 % 64);
}

/// The concepts of a set, ascending.
pub fn ids_of(present: &Present) -> impl Iterator<Item = ConceptId> {
    (0..).zip(present).flat_map(|(word, bits)| {
        let mut left = *bits;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as u16)?;
            left &= left - 1;
            Some(ConceptId(word * 64 + bit))
        })
    })
}

pub fn is_set(present: &Present, concept: ConceptId) -> bool {
    present[usize::from(concept.0) / 64] >> (concept.0 % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_weighed_and_nothing_else() {
        let facts = BTreeMap::from([(3, 0.1), (40, 0.2), (90, -0.3)]);
        let concepts = BTreeMap::from([(ConceptId(5), 0.15), (ConceptId(70), 0.25), (ConceptId(600), 0.5)]);
        let rule = Rule::new(
            &Triage {
                base: 0.2,
                ..Triage::default()
            },
            &facts,
            &concepts,
        );
        let mut present = Present::default();
        let weigh = |facts, present: &Present| rule.weigh(facts, present, |_, _| 1.0, |_| 0.5);
        assert_eq!(weigh(0, &present), 0.2);
        assert!((weigh(1 << 40 | 1 << 41, &present) - 0.4).abs() < 1e-6);
        assert!((weigh(1 << 3 | 1 << 90, &present) - 0.0).abs() < 1e-6);
        set(&mut present, ConceptId(70));
        set(&mut present, ConceptId(71));
        assert!((weigh(0, &present) - 0.325).abs() < 1e-6);
        set(&mut present, ConceptId(600));
        assert!((weigh(1 << 40, &present) - 0.775).abs() < 1e-6);
        set(&mut present, ConceptId(5));
        assert!((weigh(1 << 3 | 1 << 40, &present) - 0.95).abs() < 1e-6);
    }
}
