//! How callers put it when they needed a clinician, learned from labelled calls and turns: evidence for wordings that no
//! rule knows, of single turns and of the whole talk.
//!
//! Naive Bayes over words, stems, and pairs and triples of stems. Counting stood above logistic regression over the same
//! terms (with a few thousand turns as with ten thousand, on turns and calls of other writers), its weights are those of
//! single words, and what one writer added can be taken out again, so that every writer's calls are judged by what the
//! others taught. Triples gained 0.01 of AUROC over pairs; pairs of whole words beside those of stems, words of the
//! question, and the turn before gained nothing.
//!
//! A loud turn says that something is wrong; the whole talk says as well what speaks against it ("same as every spring",
//! "years now", "no, all fine there"), which no single turn can.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::normalize::Tokens;

/// Terms are told apart by their hash: 2^20 places for some 600,000 terms.
const PLACES_BITS: u32 = 20;
const PLACES: usize = 1 << PLACES_BITS;
/// Words that were met, by their hash as bits: of 16,000 words one unknown word in eight is taken for one of them.
const KNOWN_BITS: u32 = 17;
/// Weights are kept in twentieths.
const SCALE: f32 = 20.0;
/// Letters of a stem.
const STEM: usize = 5;

/// Weights of terms by their places, as log ratios: of how often a turn that needs a clinician holds them to how often
/// another does, and of how often they come in what a caller says who needs one to how often in what others say.
#[derive(Clone, PartialEq)]
pub struct Wording {
    weights: Box<[[i8; 2]]>,
    known: Box<[u8]>,
}

impl std::fmt::Debug for Wording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Wording({} terms)",
            self.weights.iter().filter(|weights| **weights != [0; 2]).count()
        )
    }
}

impl Default for Wording {
    /// Knows nothing: every turn is 0.
    fn default() -> Self {
        Self {
            weights: vec![[0; 2]; PLACES].into(),
            known: vec![0; KNOWN_BYTES].into(),
        }
    }
}

/// What a turn says of need by its wording alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The weights of its terms summed, over the root of their number, so that long turns do not win by length. About −5
    /// to 8; 0 says nothing. The words that name a finding never speak against need, here and below: of them the facts judge.
    pub value: f32,
    /// What it adds to the whole talk: its terms by their weights there, summed.
    pub talk: f32,
    /// Bytes of the turn's text where its loudest term begins, for the turn to be quoted around it.
    pub loudest: (u32, u32),
    /// Words that no turn had of which it was learned.
    pub unknown: u16,
}

/// First bytes of the stored form.
const MAGIC: &[u8; 8] = b"wording4";

impl Wording {
    /// `None` where the bytes are no wording of this format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (weights, known) = bytes.strip_prefix(MAGIC)?.split_at_checked(2 * PLACES)?;
        (known.len() == KNOWN_BYTES).then(|| Self {
            weights: weights.chunks_exact(2).map(|of| [of[0] as i8, of[1] as i8]).collect(),
            known: known.into(),
        })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let weights = self.weights.iter().flatten().map(|weight| *weight as u8);
        MAGIC
            .iter()
            .copied()
            .chain(weights)
            .chain(self.known.iter().copied())
            .collect()
    }

    /// What a turn says of need by its wording; `named` are the tokens by which it states a finding.
    pub fn evidence(&self, tokens: &Tokens, named: impl Fn(usize) -> bool) -> Evidence {
        let (mut sum, mut talk, mut count, mut unknown) = (0i32, 0i32, 0u32, 0u16);
        let mut loudest = (i8::MIN, 0);
        terms(tokens, |key, term| {
            let place = place(key);
            let [weight, of_talk] = match self.weights[place] {
                weights if weights.iter().any(|weight| *weight < 0) && term.tokens().any(&named) => {
                    weights.map(|weight| weight.max(0))
                }
                weights => weights,
            };
            sum += i32::from(weight);
            talk += i32::from(of_talk);
            count += 1;
            if let Term::Word(_) = term {
                unknown += u16::from(!is_known(&self.known, place));
            }
            if weight > loudest.0 {
                loudest = (weight, term.tokens().start);
            }
        });
        if count == 0 {
            return Evidence::default();
        }
        Evidence {
            value: sum as f32 / SCALE / (count as f32).sqrt(),
            talk: talk as f32 / SCALE,
            loudest: tokens.tokens[loudest.1].source,
            unknown,
        }
    }

    /// The terms of a turn with their weights as a turn and as part of the whole talk.
    pub fn spelled(&self, tokens: &Tokens) -> Vec<(String, [f32; 2])> {
        let mut all = Vec::new();
        terms(tokens, |key, term| {
            let weights = self.weights[place(key)].map(|weight| f32::from(weight) / SCALE);
            all.push((term.spelled(tokens), weights));
        });
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
    fn tokens(self) -> std::ops::Range<usize> {
        match self {
            Self::Word(at) | Self::Stem(at) => at..at + 1,
            Self::Pair(at) => at..at + 2,
            Self::Triple(at) => at..at + 3,
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

/// Gives each term with its key, a hash of it.
fn terms(tokens: &Tokens, mut found: impl FnMut(u32, Term)) {
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
        found(key(word, 0), Term::Word(at));
        if short.len() >= STEM {
            found(key(stem, 1), Term::Stem(at));
        }
        if let [_, Some(second)] = before {
            let pair = second.rotate_left(7) ^ stem;
            found(key(pair, 2), Term::Pair(at - 1));
            if let [Some(first), _] = before {
                found(key(first.rotate_left(14) ^ pair, 3), Term::Triple(at - 2));
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
fn known_bit(place: usize) -> usize {
    place >> (PLACES_BITS - KNOWN_BITS)
}

fn is_known(known: &[u8], place: usize) -> bool {
    let bit = known_bit(place);
    known[bit / 8] >> (bit % 8) & 1 == 1
}

/// Mixes once more, so that all bits of the hash decide.
fn key(hash: u32, kind: u32) -> u32 {
    (hash ^ kind.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b)
}

/// Where the weights of a term stand.
fn place(key: u32) -> usize {
    (key >> (u32::BITS - PLACES_BITS)) as usize
}

/// A turn that was written to state a finding, or to sound like one, counts three times as much as one that was taken
/// down from real talk, where a label says less about single turns. Without real talk, harmless talk of patients sounds
/// too loud; with all of its weight, wordings of written calls suffer.
pub const WRITTEN: u32 = 3;
pub const REAL: u32 = 1;

/// And what a caller says in real talk counts so many times as much as what a writer has one say: of real talk there is
/// less, and how writers put things is not how people do. From 5 to 15 little changes.
pub const REAL_TALK: u32 = 8;
/// What fewer callers than this have said tells nothing yet of a whole talk, in which all that is said once adds up.
const LEAST_CALLERS: u32 = 2;
/// And no term tells more than this, as a log ratio.
const MOST_IN_TALK: f32 = 2.0;

/// How many turns of each kind hold each term, and how often it came in talks of each kind; what they were learned from
/// can be taken out again.
#[derive(Clone, Debug, Default)]
pub struct WordingCounts {
    /// By place.
    turns: Counts,
    /// By key: whether two callers have said a term cannot be told where several terms share a place.
    talks: Counts,
    /// Turns that need a clinician, and others, each counted once.
    learned_from: [u32; 2],
    /// How often words were met, which are told apart as in [`Wording`].
    known: FxHashMap<u32, u32>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    by_term: FxHashMap<u32, Count>,
    /// Of those who need a clinician, and of others.
    all: [u32; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Of those who need a clinician, and of others.
    kinds: [u32; 2],
    /// Turns, or callers, that hold the term.
    held_by: u32,
}

impl Counts {
    fn add(&mut self, others: &Self) {
        for (place, own) in &others.by_term {
            let all = self.by_term.entry(*place).or_default();
            all.kinds = [all.kinds[0] + own.kinds[0], all.kinds[1] + own.kinds[1]];
            all.held_by += own.held_by;
        }
        self.all = [self.all[0] + others.all[0], self.all[1] + others.all[1]];
    }

    fn take_out(&mut self, others: &Self) {
        for (place, own) in &others.by_term {
            let all = self.by_term.entry(*place).or_default();
            all.kinds = [all.kinds[0] - own.kinds[0], all.kinds[1] - own.kinds[1]];
            all.held_by -= own.held_by;
        }
        self.all = [self.all[0] - others.all[0], self.all[1] - others.all[1]];
    }

    /// Log ratios of the terms that so many hold, smoothed by `one` shared out as the kinds are: a term that was seen once
    /// says little.
    fn ratios(&self, least: u32, one: u32) -> impl Iterator<Item = (u32, f32)> {
        let all = self.all.map(f64::from);
        let (sum, one) = ((all[0] + all[1]).max(1.0), f64::from(one));
        let share = move |count: u32, kind: usize| (f64::from(count) + one * all[kind] / sum) / (all[kind] + one);
        let told = self.by_term.iter().filter(move |(_, count)| count.held_by >= least);
        told.map(move |(term, Count { kinds, .. })| {
            let ratio = (share(kinds[0], 0) / share(kinds[1], 1).max(1e-9)).max(1e-9).ln();
            (*term, ratio as f32)
        })
    }
}

/// As it is stored.
fn weight(ratio: f32) -> i8 {
    (ratio * SCALE).round().clamp(-127.0, 127.0) as i8
}

impl WordingCounts {
    /// Takes in a turn; one of this `weight` counts as that many.
    pub fn learn_turn(&mut self, tokens: &Tokens, needs: bool, weight: u32) {
        let kind = usize::from(!needs);
        for place in BTreeSet::from_iter(self.keys(tokens).into_iter().map(place)) {
            let count = self.turns.by_term.entry(place as u32).or_default();
            count.kinds[kind] += weight;
            count.held_by += 1;
        }
        self.turns.all[kind] += weight;
        self.learned_from[kind] += 1;
    }

    /// Takes in all turns of a caller; each term counts by this `weight` as often as it comes.
    pub fn learn_talk<'t>(&mut self, turns: impl IntoIterator<Item = &'t Tokens>, needs: bool, weight: u32) {
        let kind = usize::from(!needs);
        let mut held = BTreeSet::new();
        for key in turns
            .into_iter()
            .flat_map(|tokens| self.keys(tokens))
            .collect::<Vec<_>>()
        {
            let count = self.talks.by_term.entry(key).or_default();
            count.kinds[kind] += weight;
            count.held_by += u32::from(held.insert(key));
            self.talks.all[kind] += weight;
        }
    }

    /// The keys of all terms. The words among them are known from now on.
    fn keys(&mut self, tokens: &Tokens) -> Vec<u32> {
        let mut keys = Vec::new();
        terms(tokens, |key, term| {
            keys.push(key);
            if let Term::Word(_) = term {
                *self.known.entry(known_bit(place(key)) as u32).or_default() += 1;
            }
        });
        keys
    }

    /// What is left without these others.
    pub fn without(&self, others: &Self) -> Self {
        let mut left = self.clone();
        left.turns.take_out(&others.turns);
        left.talks.take_out(&others.talks);
        for (word, own) in &others.known {
            *left.known.entry(*word).or_default() -= own;
        }
        let [needs, other] = others.learned_from;
        left.learned_from = [self.learned_from[0] - needs, self.learned_from[1] - other];
        left
    }

    pub fn add(&mut self, others: &Self) {
        self.turns.add(&others.turns);
        self.talks.add(&others.talks);
        for (word, own) in &others.known {
            *self.known.entry(*word).or_default() += own;
        }
        let [needs, other] = others.learned_from;
        self.learned_from = [self.learned_from[0] + needs, self.learned_from[1] + other];
    }

    /// Turns that it was learned from: of need, and others.
    pub fn learned_from(&self) -> [u32; 2] {
        self.learned_from
    }

    pub fn wording(&self) -> Wording {
        let mut wording = Wording::default();
        // What a single turn holds counts if it was seen but once: a turn was written to say what it says.
        for (place, ratio) in self.turns.ratios(1, WRITTEN) {
            wording.weights[place as usize][0] = weight(ratio);
        }
        // What only one side has taught tells nothing apart.
        let both = self.talks.all.iter().all(|all| *all > 0);
        for (key, ratio) in self.talks.ratios(LEAST_CALLERS, 1).filter(|_| both) {
            // Of terms that share a place the one that says least counts.
            let told = &mut wording.weights[place(key)][1];
            let ratio = weight(ratio.clamp(-MOST_IN_TALK, MOST_IN_TALK));
            *told = match *told {
                0 => ratio,
                other if other.unsigned_abs() < ratio.unsigned_abs() => other,
                other if other.unsigned_abs() == ratio.unsigned_abs() => other.max(ratio),
                _ => ratio,
            };
        }
        for (word, _) in self.known.iter().filter(|(_, turns)| **turns > 0) {
            wording.known[*word as usize / 8] |= 1 << (word % 8);
        }
        wording
    }
}

#[cfg(test)]
mod tests {
    use super::super::normalize;
    use super::*;

    fn learned() -> (WordingCounts, WordingCounts) {
        let learn = |turns: &[(&str, bool)]| {
            let mut counts = WordingCounts::default();
            for (text, needs) in turns {
                counts.learn_turn(&normalize(text), *needs, WRITTEN);
                (0..LEAST_CALLERS).for_each(|_| counts.learn_talk([&normalize(text)], *needs, 1));
            }
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
        let of = |text| wording.evidence(&normalize(text), |_| false).value;
        assert!(of("something sits on his breastbone") > 0.5);
        assert!(of("move my appointment") < 0.0);
        assert_eq!(of("zebra"), 0.0);
        assert_eq!(of(""), 0.0);
        let text = "zebra, zebra: breastbone";
        let Evidence {
            loudest: (from, to),
            unknown,
            ..
        } = wording.evidence(&normalize(text), |_| false);
        assert_eq!(unknown, 2);
        assert_eq!(&text[from as usize..to as usize], "breastbone");
        assert_eq!(wording.spelled(&normalize("breastbone"))[0].0, "breastbone");
    }

    #[test]
    fn the_whole_talk_is_the_sum_of_its_turns() {
        let wording = learned().0.wording();
        let of = |text| wording.evidence(&normalize(text), |_| false).talk;
        assert!(of("an elephant sits there") > 0.0 && of("a refill") < 0.0);
        let together = of("an elephant. a refill. a refill");
        assert!(
            (together - of("an elephant") - 2.0 * of("a refill")).abs() < 1.0,
            "{together}"
        );
        assert_eq!(of("zebra"), 0.0);
        let named = |text| wording.evidence(&normalize(text), |at| at == 0).talk;
        assert_eq!(
            named("refill"),
            0.0,
            "the words that name a finding do not speak against need"
        );
        assert_eq!(named("elephant"), of("elephant"));
        assert!(named("refill pills") < 0.0, "the others do");
    }

    #[test]
    fn what_few_callers_say_and_what_only_one_side_says_tells_nothing() {
        let mut counts = WordingCounts::default();
        for (text, needs) in [
            ("elephant breastbone", true),
            ("elephant", true),
            ("refill pills", false),
        ] {
            counts.learn_talk([&normalize(text)], needs, 1);
        }
        let of = |counts: &WordingCounts, text| counts.wording().evidence(&normalize(text), |_| false).talk;
        assert!(of(&counts, "elephant") > 0.0);
        assert_eq!((of(&counts, "breastbone"), of(&counts, "refill")), (0.0, 0.0));
        let mut one_side = WordingCounts::default();
        (0..3).for_each(|_| one_side.learn_talk([&normalize("elephant")], true, 1));
        assert_eq!(of(&one_side, "elephant"), 0.0);
    }

    #[test]
    fn what_was_added_can_be_taken_out_again() {
        let (one, other) = learned();
        let mut both = one.clone();
        both.add(&other);
        assert_eq!(
            both.without(&other).wording(),
            one.wording(),
            "the words that only they said included"
        );
        assert_ne!(both.wording(), one.wording());
    }

    #[test]
    fn bytes_and_back() {
        let wording = learned().0.wording();
        assert_eq!(Wording::from_bytes(&wording.to_bytes()), Some(wording));
        assert_eq!(Wording::from_bytes(b"wording4short"), None);
    }
}
