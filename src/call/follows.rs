//! What follows from what is known: the evidence of a combination of findings and facts.

use std::cell::RefCell;

use super::heard::{Known, PRESENT};
use crate::signals::{Combination, ConceptId, Facts, Known as Condition, Lexicon, Present, is_set, set};

/// A fact of the call that was not said of this very symptom counts for the chief complaint by this much.
const UNATTACHED: f32 = 0.6;

#[derive(Clone, Copy, Default)]
struct Row {
    evidence: f32,
    trusted: f32,
    attributes: u32,
    chief: bool,
}

thread_local! {
    /// Evidence by concept while conclusions are drawn; what another call left in it is not looked at.
    static EVIDENCE: RefCell<Vec<Row>> = const { RefCell::new(Vec::new()) };
}

/// What is known, laid out by concept.
pub struct Table<'t> {
    pub present: Present,
    rows: &'t [Row],
}

impl Table<'_> {
    pub fn with<T>(known: &[Known], lexicon: &Lexicon, read: impl FnOnce(&Table<'_>) -> T) -> T {
        EVIDENCE.with_borrow_mut(|rows| {
            rows.resize(lexicon.concepts.len().max(rows.len()), Row::default());
            let mut present = Present::default();
            for known in known.iter().filter(|known| known.said > 0.0) {
                set(&mut present, known.concept);
                rows[usize::from(known.concept.0)] = Row {
                    evidence: known.said,
                    trusted: known.trust[0].of(known.said),
                    attributes: known.attributes,
                    chief: known.chief,
                };
            }
            read(&Table { present, rows })
        })
    }

    fn of(&self, concept: ConceptId) -> Row {
        if is_set(&self.present, concept) {
            self.rows[usize::from(concept.0)]
        } else {
            Row::default()
        }
    }
}

/// Evidence of what follows, and what is left of it where each wording counts by its record.
pub fn value_of(combination: &Combination, table: &Table<'_>, facts: Facts) -> [f32; 2] {
    if combination.facts & !facts != 0 {
        return [0.0; 2];
    }
    let value = |condition: &Condition| -> [f32; 2] {
        match *condition {
            Condition::Present(concept) => {
                let row = table.of(concept);
                [row.evidence, row.trusted]
            }
            Condition::With(concept, bit) => {
                let row = table.of(concept);
                if row.attributes >> bit & 1 == 1 {
                    [row.evidence, row.trusted]
                } else if row.chief && facts >> bit & 1 == 1 {
                    [row.evidence * UNATTACHED, row.trusted * UNATTACHED]
                } else {
                    [0.0; 2]
                }
            }
            Condition::Fact(bit) => [(facts >> bit & 1) as f32; 2],
        }
    };
    let mut least = [1.0f32; 2];
    let mut with = |[evidence, trusted]: [f32; 2]| {
        least = [least[0].min(evidence), least[1].min(trusted)];
        least[0] > 0.1
    };
    for condition in &combination.all {
        if !with(value(condition)) {
            return [0.0; 2];
        }
    }
    if !combination.any.is_empty() {
        let most = |a: [f32; 2], b: [f32; 2]| [a[0].max(b[0]), a[1].max(b[1])];
        if !with(combination.any.iter().map(value).fold([0.0; 2], most)) {
            return [0.0; 2];
        }
    }
    if combination.none.iter().any(|condition| value(condition)[0] >= PRESENT) {
        return [0.0; 2];
    }
    // Two middling halves make a middling whole.
    least.map(|least| combination.strength * least.min(1.0))
}
