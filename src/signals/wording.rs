//! How callers put it when they needed a clinician, learned from written turns: evidence for wordings that no rule knows.
//!
//! Naive Bayes over words, stems, and pairs and triples of stems. Counting stood above logistic regression over the same
//! terms (with a few thousand turns as with ten thousand, on turns and calls of other writers), its weights are those of
//! single words, and what one writer added can be taken out again, so that every writer's calls are judged by what the
//! others taught. Triples gained 0.01 of AUROC over pairs; pairs of whole words beside those of stems, words of the
//! question, and the turn before gained nothing.

use super::normalize::Tokens;

/// Terms are told apart by their hash: 2^20 places for some 300,000 terms.
const PLACES_BITS: u32 = 20;
const PLACES: usize = 1 << PLACES_BITS;
/// Words that were met, by their hash as bits: of 12,000 words one unknown word in ten is taken for one of them.
const KNOWN_BITS: u32 = 17;
/// Weights are kept in twentieths.
const SCALE: f32 = 20.0;
/// Letters of a stem.
const STEM: usize = 5;

/// Weights of terms: log ratio of how often a turn that needs a clinician holds them to how often another does.
#[derive(Clone, PartialEq)]
pub struct Wording {
    weights: Box<[i8]>,
    known: Box<[u8]>,
}

impl std::fmt::Debug for Wording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Wording({} terms)",
            self.weights.iter().filter(|weight| **weight != 0).count()
        )
    }
}

impl Default for Wording {
    /// Knows nothing: every turn is 0.
    fn default() -> Self {
        Self {
            weights: vec![0; PLACES].into(),
            known: vec![0; KNOWN_BYTES].into(),
        }
    }
}

/// What a turn says of need by its wording alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The weights of its terms summed, over the root of their number, so that long turns do not win by length. About −5
    /// to 8; 0 says nothing.
    pub value: f32,
    /// Bytes of the turn's text where its loudest term begins, for the turn to be quoted around it.
    pub loudest: (u32, u32),
    /// Words that no turn had of which it was learned.
    pub unknown: u16,
}

/// First bytes of the stored form.
const MAGIC: &[u8; 8] = b"wording3";

impl Wording {
    /// `None` where the bytes are no wording of this format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (weights, known) = bytes.strip_prefix(MAGIC)?.split_at_checked(PLACES)?;
        (known.len() == KNOWN_BYTES).then(|| Self {
            weights: weights.iter().map(|byte| *byte as i8).collect(),
            known: known.into(),
        })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let weights = self.weights.iter().map(|weight| *weight as u8);
        MAGIC
            .iter()
            .copied()
            .chain(weights)
            .chain(self.known.iter().copied())
            .collect()
    }

    /// What a turn says of need by its wording.
    pub fn evidence(&self, tokens: &Tokens) -> Evidence {
        let (mut sum, mut count, mut unknown) = (0i32, 0u32, 0u16);
        let mut loudest = (i8::MIN, 0);
        terms(tokens, |place, term| {
            let weight = self.weights[place];
            sum += i32::from(weight);
            count += 1;
            if let Term::Word(_) = term {
                unknown += u16::from(!is_set(&self.known, place));
            }
            if weight > loudest.0 {
                loudest = (weight, term.first());
            }
        });
        if count == 0 {
            return Evidence::default();
        }
        Evidence {
            value: sum as f32 / SCALE / (count as f32).sqrt(),
            loudest: tokens.tokens[loudest.1].source,
            unknown,
        }
    }

    /// The terms of a turn with their weights, the strongest first.
    pub fn loudest(&self, tokens: &Tokens) -> Vec<(String, f32)> {
        let mut all = Vec::new();
        terms(tokens, |place, term| {
            all.push((term.spelled(tokens), f32::from(self.weights[place]) / SCALE))
        });
        all.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        all.dedup();
        all
    }
}

/// What a term is made of.
#[derive(Clone, Copy)]
enum Term {
    Word(usize),
    Stem(usize),
    Pair(usize),
    Triple(usize),
}

impl Term {
    /// The token with which it begins.
    fn first(self) -> usize {
        match self {
            Self::Word(at) | Self::Stem(at) | Self::Pair(at) | Self::Triple(at) => at,
        }
    }

    fn spelled(self, tokens: &Tokens) -> String {
        let stems = |at: usize, count: usize| {
            let stem = |at| match stem(tokens.word(at)) {
                whole if whole.len() == tokens.word(at).len() => whole.to_owned(),
                stem => format!("{stem}…"),
            };
            (at..at + count).map(stem).collect::<Vec<_>>().join(" ")
        };
        match self {
            Self::Word(at) => tokens.word(at).to_owned(),
            Self::Stem(at) => stems(at, 1),
            Self::Pair(at) => stems(at, 2),
            Self::Triple(at) => stems(at, 3),
        }
    }
}

fn terms(tokens: &Tokens, mut found: impl FnMut(usize, Term)) {
    let mut before: [Option<u32>; 2] = [None; 2];
    for at in 0..tokens.tokens.len() {
        let text = tokens.word(at);
        let word = match tokens.tokens[at].number {
            Some(number) => hash(magnitude(number).as_bytes()),
            None => hash(text.as_bytes()),
        };
        let short = stem(text);
        let stem = if short.len() == text.len() {
            word
        } else {
            hash(short.as_bytes())
        };
        found(place(word, 0), Term::Word(at));
        if short.len() >= STEM {
            found(place(stem, 1), Term::Stem(at));
        }
        if let [_, Some(second)] = before {
            let pair = second.rotate_left(7) ^ stem;
            found(place(pair, 2), Term::Pair(at - 1));
            if let [Some(first), _] = before {
                found(place(first.rotate_left(14) ^ pair, 3), Term::Triple(at - 2));
            }
        }
        before = [before[1], Some(stem)];
    }
}

/// Readings tell by their size: a temperature, a pressure, an age.
fn magnitude(number: f32) -> &'static str {
    match number {
        n if n < 10.0 => "#0",
        n if n < 40.0 => "#10",
        n if n < 65.0 => "#40",
        n if n < 90.0 => "#65",
        n if n < 100.0 => "#90",
        n if n < 107.0 => "#100",
        n if n < 160.0 => "#107",
        n if n <= 300.0 => "#160",
        _ => "#big",
    }
}

fn stem(word: &str) -> &str {
    word.char_indices().nth(STEM).map_or(word, |(end, _)| &word[..end])
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

const KNOWN_BYTES: usize = (1 << KNOWN_BITS) / 8;

/// The bit of a word that has this place.
fn known_bit(place: usize) -> (usize, u8) {
    let bit = place >> (PLACES_BITS - KNOWN_BITS);
    (bit / 8, 1 << (bit % 8))
}

fn is_set(known: &[u8], place: usize) -> bool {
    let (byte, bit) = known_bit(place);
    known[byte] & bit != 0
}

fn set(known: &mut [u8], place: usize) {
    let (byte, bit) = known_bit(place);
    known[byte] |= bit;
}

/// Mixes once more, so that all bits of the hash decide.
fn place(hash: u32, kind: u32) -> usize {
    let mixed = (hash ^ kind.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
    (mixed >> (u32::BITS - PLACES_BITS)) as usize
}

/// A turn that was written to state a finding, or to sound like one, counts three times as much as one that was taken
/// down from real talk, where a label says less about single turns. Without real talk, harmless talk of patients sounds
/// too loud; with all of its weight, wordings of written calls suffer.
pub const WRITTEN: u32 = 3;
pub const REAL: u32 = 1;

/// How many turns of each kind hold each term; what it was learned from can be taken out again.
#[derive(Clone, Debug)]
pub struct WordingCounts {
    /// By place: turns that need a clinician, and others.
    terms: Vec<[u32; 2]>,
    turns: [u32; 2],
    /// The same, each counted once.
    learned_from: [u32; 2],
    /// Words that were met, as in [`Wording`].
    known: Vec<u8>,
}

impl Default for WordingCounts {
    fn default() -> Self {
        Self {
            terms: vec![[0; 2]; PLACES],
            turns: [0; 2],
            learned_from: [0; 2],
            known: vec![0; KNOWN_BYTES],
        }
    }
}

impl WordingCounts {
    /// Takes in a turn; one of this `weight` counts as that many.
    pub fn learn(&mut self, tokens: &Tokens, needs: bool, weight: u32) {
        let kind = usize::from(!needs);
        let mut places = Vec::new();
        terms(tokens, |place, term| {
            places.push(place);
            if let Term::Word(_) = term {
                set(&mut self.known, place);
            }
        });
        places.sort_unstable();
        places.dedup();
        places.into_iter().for_each(|place| self.terms[place][kind] += weight);
        self.turns[kind] += weight;
        self.learned_from[kind] += 1;
    }

    /// What is left without these others. Their words stay known: to have met them says nothing of need.
    pub fn without(&self, others: &Self) -> Self {
        let less = |all: [u32; 2], own: [u32; 2]| [all[0] - own[0], all[1] - own[1]];
        Self {
            terms: self
                .terms
                .iter()
                .zip(&others.terms)
                .map(|(all, own)| less(*all, *own))
                .collect(),
            turns: less(self.turns, others.turns),
            learned_from: less(self.learned_from, others.learned_from),
            known: self.known.clone(),
        }
    }

    pub fn add(&mut self, others: &Self) {
        for (all, own) in self.terms.iter_mut().zip(&others.terms) {
            *all = [all[0] + own[0], all[1] + own[1]];
        }
        let more = |all: [u32; 2], own: [u32; 2]| [all[0] + own[0], all[1] + own[1]];
        self.turns = more(self.turns, others.turns);
        self.learned_from = more(self.learned_from, others.learned_from);
        self.known
            .iter_mut()
            .zip(&others.known)
            .for_each(|(all, own)| *all |= own);
    }

    /// Turns that it was learned from: of need, and others.
    pub fn learned_from(&self) -> [u32; 2] {
        self.learned_from
    }

    /// Log ratios, smoothed by one written turn shared out as the kinds are: a term that was seen once says little.
    pub fn wording(&self) -> Wording {
        let turns = self.turns.map(f64::from);
        let all = (turns[0] + turns[1]).max(1.0);
        let one = f64::from(WRITTEN);
        let share = |count: u32, kind: usize| (f64::from(count) + one * turns[kind] / all) / (turns[kind] + one);
        let weight = |count: &[u32; 2]| match count {
            [0, 0] => 0,
            _ => {
                let ratio = (share(count[0], 0) / share(count[1], 1).max(1e-9)).max(1e-9).ln();
                (ratio as f32 * SCALE).round().clamp(-127.0, 127.0) as i8
            }
        };
        Wording {
            weights: self.terms.iter().map(weight).collect(),
            known: self.known.clone().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::normalize;
    use super::*;

    fn learned() -> (WordingCounts, WordingCounts) {
        let learn = |turns: &[(&str, bool)]| {
            let mut counts = WordingCounts::default();
            turns
                .iter()
                .for_each(|(text, needs)| counts.learn(&normalize(text), *needs, WRITTEN));
            counts
        };
        let one = learn(&[
            ("an elephant sits on my breastbone", true),
            ("my foot keeps dragging since breakfast", true),
            ("i need a refill of my pills", false),
            ("can i move my appointment to thursday", false),
        ]);
        let other = learn(&[
            ("the elephant ride was fun", false),
            ("a truck is parked on my breastbone", true),
        ]);
        (one, other)
    }

    #[test]
    fn words_of_needy_turns_count_for_need() {
        let wording = learned().0.wording();
        let of = |text| wording.evidence(&normalize(text)).value;
        assert!(of("something sits on his breastbone") > 0.5);
        assert!(of("move my appointment") < 0.0);
        assert_eq!(of("zebra"), 0.0);
        assert_eq!(of(""), 0.0);
        let text = "zebra, zebra: breastbone";
        let Evidence {
            loudest: (from, to),
            unknown,
            ..
        } = wording.evidence(&normalize(text));
        assert_eq!(unknown, 2);
        assert_eq!(&text[from as usize..to as usize], "breastbone");
        assert_eq!(wording.loudest(&normalize("breastbone"))[0].0, "breastbone");
    }

    #[test]
    fn what_was_added_can_be_taken_out_again() {
        let (one, other) = learned();
        let mut both = one.clone();
        both.add(&other);
        assert_eq!(both.without(&other).wording().weights, one.wording().weights);
        assert_ne!(both.wording(), one.wording());
    }

    #[test]
    fn bytes_and_back() {
        let wording = learned().0.wording();
        assert_eq!(Wording::from_bytes(&wording.to_bytes()), Some(wording));
        assert_eq!(Wording::from_bytes(b"wording3short"), None);
    }
}
