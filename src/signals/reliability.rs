//! How far each pattern of the lexicon is to be trusted, learned from labelled calls and turns.
//!
//! A pattern is written in good faith; what it is worth is how often the calls in which it speaks up needed a clinician.
//! One that keeps speaking up in harmless calls counts for little in what need is learned from, whoever wrote it. Whether
//! a finding is there, its quotes, and the policy's safety floor do not ask for this record.

use super::lexicon::{Kind, Lexicon};

/// Reliability is kept in 250ths.
const SCALE: f32 = 250.0;
/// A pattern counts as its finding's patterns do together until this many calls say otherwise.
const PRIOR_OF_PATTERN: f32 = 2.0;
/// And a finding counts in full until this many do.
const PRIOR_OF_FINDING: f32 = 3.0;
/// One call in which a pattern was wrong counts as much as this many in which it was right: of live calls far fewer need
/// a clinician than of labelled ones. From 2 to 4 little changes (urgency alone, AUROC on calls of other writers).
const WRONG: f32 = 3.0;
/// What was never right so far may be right today.
const LEAST: f32 = 0.05;

/// First bytes of the stored form; then a byte a pattern.
const MAGIC: &[u8] = b"patterns1";

/// By pattern as written, in the order of the lexicon: 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reliability(Box<[u8]>);

impl Reliability {
    /// Full for a pattern of which nothing was learned.
    pub fn of(&self, pattern: u32) -> f32 {
        self.0
            .get(pattern as usize)
            .map_or(1.0, |byte| f32::from(*byte) / SCALE)
    }

    /// `None` where the bytes are not of this format, or not of a lexicon with so many patterns.
    pub fn from_bytes(bytes: &[u8], patterns: usize) -> Option<Self> {
        let all = bytes.strip_prefix(MAGIC)?;
        let fits = all.len() == patterns && all.iter().all(|byte| f32::from(*byte) <= SCALE);
        fits.then(|| Self(all.into()))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        [MAGIC, &*self.0].concat()
    }
}

/// In how many calls and single turns each pattern was right, and in how many wrong; what it was counted from can be
/// taken out again.
#[derive(Clone, Debug, Default)]
pub struct ReliabilityCounts(Vec<[u32; 2]>);

impl ReliabilityCounts {
    /// Of one call or single turn: `found` holds each pattern once.
    pub fn learn(&mut self, found: impl IntoIterator<Item = u32>, right: bool) {
        for pattern in found {
            let at = pattern as usize;
            if self.0.len() <= at {
                self.0.resize(at + 1, [0; 2]);
            }
            self.0[at][usize::from(!right)] += 1;
        }
    }

    pub fn add(&mut self, others: &Self) {
        self.0.resize(self.0.len().max(others.0.len()), [0; 2]);
        for (all, own) in self.0.iter_mut().zip(&others.0) {
            *all = [all[0] + own[0], all[1] + own[1]];
        }
    }

    pub fn without(&self, others: &Self) -> Self {
        let own = |at: usize| others.0.get(at).copied().unwrap_or_default();
        let less = |(at, all): (usize, &[u32; 2])| [all[0] - own(at)[0], all[1] - own(at)[1]];
        Self(self.0.iter().enumerate().map(less).collect())
    }

    /// Right and wrong of a pattern.
    pub fn of(&self, pattern: u32) -> [u32; 2] {
        self.0.get(pattern as usize).copied().unwrap_or_default()
    }

    /// Shares of right, those of a pattern shrunk towards those of its finding. A symptom is as much at home in harmless
    /// calls, so its patterns are held against each other: one that speaks up in harmless calls more often than the
    /// symptom does means something else there.
    pub fn reliability(&self, lexicon: &Lexicon) -> Reliability {
        let written = lexicon.automaton.written();
        let mut together = vec![[0u32; 2]; lexicon.concepts.len()];
        for (number, pattern) in (0..).zip(written) {
            let [right, wrong] = self.of(number);
            let sum = &mut together[usize::from(pattern.concept.0)];
            *sum = [sum[0] + right, sum[1] + wrong];
        }
        let share = |[right, wrong]: [u32; 2], prior: f32, weight: f32| {
            (right as f32 + prior * weight) / (right as f32 + WRONG * wrong as f32 + weight)
        };
        let all = (0..).zip(written).map(|(number, pattern)| {
            let of_concept = share(together[usize::from(pattern.concept.0)], 1.0, PRIOR_OF_FINDING);
            let of_pattern = share(self.of(number), of_concept, PRIOR_OF_PATTERN);
            let reliability = match lexicon.concept(pattern.concept).kind {
                Kind::Finding { .. } => of_pattern,
                Kind::Symptom => of_pattern / of_concept,
                Kind::Fact { .. } | Kind::Act | Kind::Sign { .. } | Kind::Cue => 1.0,
            };
            (reliability.clamp(LEAST, 1.0) * SCALE).round() as u8
        });
        Reliability(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn lexicon() -> Lexicon {
        let group = toml::from_str(
            r#"
            group = "skin"
            [[finding]]
            id = "spots"
            title = "Spots"
            needed = "urgent"
            says = ["spots", "dots", "freckles"]
            [[symptom]]
            id = "itching"
            title = "Itching"
            says = ["itch*", "scratching"]
            "#,
        );
        let groups = vec![group.unwrap()];
        Lexicon::compile(&Source { groups }).unwrap()
    }

    #[test]
    fn a_pattern_counts_by_how_often_it_was_right() {
        let lexicon = lexicon();
        let mut counts = ReliabilityCounts::default();
        assert_eq!(counts.reliability(&lexicon).of(0), 1.0);
        (0..8).for_each(|_| counts.learn([0], true));
        (0..8).for_each(|_| counts.learn([1], false));
        let learned = counts.reliability(&lexicon);
        assert!(learned.of(0) > 0.85, "{}", learned.of(0));
        assert!(learned.of(1) <= LEAST + 0.01, "{}", learned.of(1));
        // Nothing was seen of the third: it counts as its finding does.
        assert!((0.25..0.4).contains(&learned.of(2)), "{}", learned.of(2));
        assert_eq!(learned.of(99), 1.0);
        // "Scratching" comes up in harmless calls alone, where itching comes up in both.
        (0..8).for_each(|_| counts.learn([3], true));
        (0..8).for_each(|_| counts.learn([3, 4], false));
        let learned = counts.reliability(&lexicon);
        assert_eq!(learned.of(3), 1.0);
        assert!(learned.of(4) < 0.4, "{}", learned.of(4));
        let patterns = lexicon.automaton.written().len();
        assert_eq!(
            Reliability::from_bytes(&learned.to_bytes(), patterns),
            Some(learned.clone())
        );
        assert_eq!(Reliability::from_bytes(&learned.to_bytes(), patterns + 1), None);
        assert_eq!(Reliability::from_bytes(b"patterns1\xff", 1), None);
        let mut own = ReliabilityCounts::default();
        (0..8).for_each(|_| own.learn([1], false));
        assert_eq!(counts.without(&own).reliability(&lexicon).of(1), 1.0);
    }
}
