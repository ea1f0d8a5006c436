//! All phrases of the lexicon in one pass over the text, then the sequences that they complete.
//!
//! ```text
//! " my chest is so tight " ──► phrases (double-array Aho–Corasick) ──► hits of classes ──► sequences ──► matches
//! ```
//! Each sequence is looked at only where its rarest class was hit, so a turn costs what it holds, not what the
//! lexicon holds.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder};

use super::lexicon::ConceptId;
use super::normalize::Tokens;
use super::pattern::{self, Atoms, Class, Gap, PatternError};

/// Strength of a wording that states its concept by itself.
pub const SAYS: f32 = 0.9;
/// Strength of a weaker wording.
pub const HINTS: f32 = 0.55;

/// How far an expression runs, and where a wording that cancels it may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over clauses that run on; cancelled within its clauses.
    Clause,
    /// Over the whole sentence, in which "if" may stand far ahead: acts of agents.
    Sentence,
    /// Over clauses that run on; cancelled only by what overlaps it: cues.
    Overlap,
}

/// What a sequence stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Force {
    Says,
    Hints,
    Cancels,
}

/// A concept found in a text, at these tokens (both inclusive).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    pub concept: ConceptId,
    pub strength: f32,
    pub first: u16,
    pub last: u16,
    /// Tokens from the first on that its own phrases cover; the others stand in gaps. Beyond 64 all count as gaps.
    covered: u64,
    rule: u32,
}

impl Match {
    pub fn covers(&self, token: u16) -> bool {
        (self.first..=self.last).contains(&token) && u64::from(token - self.first) < 64 && self.covered >> (token - self.first) & 1 == 1
    }
}

/// Matches of one sequence in one text; more of the same carry no further knowledge.
const MAX_MATCHES: usize = 6;

#[derive(Debug)]
struct Step {
    gap: Gap,
    class: u32,
}

#[derive(Debug)]
struct Rule {
    concept: ConceptId,
    force: Force,
    steps: Box<[Step]>,
    /// Index of the pattern as written.
    written: u32,
}

#[derive(Default)]
pub struct Automaton {
    phrases: Option<DoubleArrayAhoCorasick<u32>>,
    /// By phrase: whether it is a beginning of words, and the classes that hold it.
    entries: Vec<(bool, Box<[u32]>)>,
    /// Numbers from, to (thousandths), and the class that wants them.
    ranges: Vec<(i64, i64, u32)>,
    rules: Vec<Rule>,
    /// By concept.
    reach: Vec<Reach>,
    /// Patterns as written, for those who ask what matched.
    written: Vec<String>,
    /// By class: the rules to look at when it was hit.
    anchored: Vec<Box<[u32]>>,
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Automaton({} phrases, {} rules)", self.entries.len(), self.rules.len())
    }
}

/// Collects the wordings of all concepts.
#[derive(Default)]
pub struct Builder {
    classes: HashMap<Class, u32>,
    rules: Vec<Rule>,
    reach: Vec<Reach>,
    written: Vec<String>,
}

impl Builder {
    pub fn concept(
        &mut self,
        concept: ConceptId,
        reach: Reach,
        [says, hints, not]: [&[String]; 3],
        atoms: &Atoms,
    ) -> Result<(), PatternError> {
        debug_assert_eq!(self.reach.len(), usize::from(concept.0), "concepts come in order");
        self.reach.push(reach);
        for (patterns, force) in [(says, Force::Says), (hints, Force::Hints), (not, Force::Cancels)] {
            for written in patterns {
                let place = self.written.len() as u32;
                self.written.push(written.clone());
                for sequence in pattern::parse(written, atoms)? {
                    let steps = sequence.0.into_iter().map(|(gap, class)| Step { gap, class: self.class(class) });
                    let steps = steps.collect();
                    self.rules.push(Rule { concept, force, steps, written: place });
                }
            }
        }
        Ok(())
    }

    fn class(&mut self, class: Class) -> u32 {
        let next = self.classes.len() as u32;
        *self.classes.entry(class).or_insert(next)
    }

    pub fn build(self) -> Automaton {
        let mut phrases: BTreeMap<String, (bool, Vec<u32>)> = BTreeMap::new();
        let mut ranges = Vec::new();
        let mut commonness = vec![0u32; self.classes.len()];
        for (class, id) in &self.classes {
            for phrase in &class.phrases {
                let (text, prefix) = match phrase.strip_suffix('*') {
                    Some(text) => (format!(" {text}"), true),
                    None => (format!(" {phrase} "), false),
                };
                commonness[*id as usize] += how_common(phrase);
                phrases.entry(text).or_insert((prefix, Vec::new())).1.push(*id);
            }
            ranges.extend(class.ranges.iter().map(|(low, high)| (*low, *high, *id)));
            commonness[*id as usize] += 20 * class.ranges.len() as u32;
        }
        let mut anchored = vec![Vec::new(); self.classes.len()];
        for (at, rule) in self.rules.iter().enumerate() {
            let rarest = rule.steps.iter().map(|step| step.class).min_by_key(|class| commonness[*class as usize]);
            anchored[rarest.expect("a sequence has a class") as usize].push(at as u32);
        }
        let patterns: Vec<&String> = phrases.keys().collect();
        let automaton = (!patterns.is_empty()).then(|| {
            DoubleArrayAhoCorasickBuilder::new()
                .build_with_values(patterns.iter().zip(0u32..))
                .expect("phrases are distinct and not empty")
        });
        Automaton {
            phrases: automaton,
            entries: phrases
                .into_values()
                .map(|(prefix, mut classes)| {
                    classes.sort_unstable();
                    (prefix, classes.into_boxed_slice())
                })
                .collect(),
            ranges,
            rules: self.rules,
            reach: self.reach,
            written: self.written,
            anchored: anchored.into_iter().map(Vec::into_boxed_slice).collect(),
        }
    }
}

/// A guess at how often a phrase turns up, used only to choose where to look first.
fn how_common(phrase: &str) -> u32 {
    const COMMON: [&str; 44] = [
        "i", "my", "the", "a", "it", "is", "and", "to", "of", "in", "not", "have", "am", "on", "he", "she", "her",
        "his", "was", "that", "so", "just", "for", "with", "up", "do", "can", "no", "me", "been", "this", "at", "out",
        "going", "feel*", "get", "got", "like", "they", "all", "one", "1", "him", "we",
    ];
    if COMMON.contains(&phrase) {
        200
    } else if phrase.contains(' ') {
        1
    } else {
        4
    }
}

const NONE: u32 = u32::MAX;

/// Hits of one text, by class, as chains.
#[derive(Default)]
struct Hits {
    head: Vec<u32>,
    seen: Vec<u32>,
    spans: Vec<(u16, u16, u32)>,
}

thread_local! {
    /// Buffers that live from turn to turn, so that a turn allocates nothing here.
    static HITS: RefCell<Hits> = RefCell::default();
}

impl Hits {
    fn clear(&mut self, classes: usize) {
        self.head.resize(classes.max(self.head.len()), NONE);
        for class in self.seen.drain(..) {
            self.head[class as usize] = NONE;
        }
        self.spans.clear();
    }

    fn add(&mut self, class: u32, first: usize, last: usize) {
        let head = &mut self.head[class as usize];
        if *head == NONE {
            self.seen.push(class);
        }
        let at = self.spans.len() as u32;
        self.spans.push((first as u16, last as u16, *head));
        *head = at;
    }

    fn of(&self, class: u32) -> impl Iterator<Item = (u16, u16)> {
        let mut at = self.head[class as usize];
        std::iter::from_fn(move || {
            let (first, last, next) = *self.spans.get(at as usize)?;
            at = next;
            Some((first, last))
        })
    }
}

impl Automaton {
    /// All matches, cancelled ones taken out, in the order of their last tokens.
    pub fn matches(&self, tokens: &Tokens) -> Vec<Match> {
        HITS.with_borrow_mut(|hits| {
            hits.clear(self.anchored.len());
            self.hit(tokens, hits);
            let mut found = Vec::new();
            let mut cancelled = Vec::new();
            for class in &hits.seen {
                for rule in &self.anchored[*class as usize] {
                    self.complete(*rule, tokens, hits, &mut found, &mut cancelled);
                }
            }
            found.retain(|m: &Match| !cancelled.iter().any(|c: &Match| c.concept == m.concept && self.meets(tokens, c, m)));
            found.sort_by(|a, b| {
                (a.last, a.concept, a.first).cmp(&(b.last, b.concept, b.first)).then(b.strength.total_cmp(&a.strength))
            });
            found.dedup_by(|a, b| a.concept == b.concept && a.last == b.last);
            found
        })
    }

    /// The pattern that matched, as it is written in the lexicon.
    pub fn written(&self, found: &Match) -> &str {
        &self.written[self.rules[found.rule as usize].written as usize]
    }

    /// Whether a cancelling match takes this one back.
    fn meets(&self, tokens: &Tokens, cancels: &Match, found: &Match) -> bool {
        let token = |at: u16| &tokens.tokens[usize::from(at)];
        match self.reach[usize::from(found.concept.0)] {
            Reach::Overlap => cancels.first <= found.last && found.first <= cancels.last,
            Reach::Clause => {
                token(cancels.first).clause <= token(found.last).clause
                    && token(found.first).clause <= token(cancels.last).clause
            }
            Reach::Sentence => token(cancels.first).sentence == token(found.first).sentence,
        }
    }

    fn hit(&self, tokens: &Tokens, hits: &mut Hits) {
        if let Some(phrases) = &self.phrases {
            for hit in phrases.find_overlapping_iter(&tokens.text) {
                let (prefix, classes) = &self.entries[hit.value() as usize];
                // A phrase begins with a space: its first word stands one byte later.
                let Some(first) = tokens.starting_at(hit.start() + 1) else { continue };
                let inside = if *prefix { hit.end() - 1 } else { hit.end() - 2 };
                let Some(last) = tokens.holding(inside) else { continue };
                for class in classes {
                    hits.add(*class, first, last);
                }
            }
        }
        if self.ranges.is_empty() {
            return;
        }
        for (at, token) in tokens.tokens.iter().enumerate() {
            let Some(number) = token.number else { continue };
            let thousandths = (f64::from(number) * 1000.0).round() as i64;
            for (low, high, class) in &self.ranges {
                if (*low..=*high).contains(&thousandths) {
                    hits.add(*class, at, at);
                }
            }
        }
    }

    fn complete(
        &self,
        at: u32,
        tokens: &Tokens,
        hits: &Hits,
        found: &mut Vec<Match>,
        cancelled: &mut Vec<Match>,
    ) {
        let rule = &self.rules[at as usize];
        if rule.steps.iter().any(|step| hits.head[step.class as usize] == NONE) {
            return;
        }
        let into = if rule.force == Force::Cancels { cancelled } else { found };
        let strength = if rule.force == Force::Hints { HINTS } else { SAYS };
        let before = into.len();
        let whole = self.reach[usize::from(rule.concept.0)] == Reach::Sentence;
        let token = |at: u16| &tokens.tokens[usize::from(at)];
        for (first, last) in hits.of(rule.steps[0].class) {
            if into.len() - before >= MAX_MATCHES {
                return;
            }
            let from = Reached { last, covered: span(first, first, last) };
            if let Some(Reached { last, covered }) = follow(&rule.steps[1..], first, from, hits)
                && (token(first).stretch == token(last).stretch
                    || (whole && token(first).sentence == token(last).sentence))
            {
                into.push(Match { concept: rule.concept, strength, first, last, covered, rule: at });
            }
        }
    }
}

/// How far a sequence has come.
#[derive(Clone, Copy)]
struct Reached {
    last: u16,
    covered: u64,
}

/// Tokens from `from` to `to` as bits, counted from `first`.
fn span(first: u16, from: u16, to: u16) -> u64 {
    (from..=to).map(|token| token - first).filter(|bit| *bit < 64).fold(0, |bits, bit| bits | 1 << bit)
}

/// The shortest way through the remaining steps.
fn follow(steps: &[Step], first: u16, from: Reached, hits: &Hits) -> Option<Reached> {
    let Some((step, rest)) = steps.split_first() else { return Some(from) };
    let (least, most) = (from.last + 1 + u16::from(step.gap.0), from.last + 1 + u16::from(step.gap.1));
    hits.of(step.class)
        .filter(|(start, _)| (least..=most).contains(start))
        .filter_map(|(start, last)| {
            follow(rest, first, Reached { last, covered: from.covered | span(first, start, last) }, hits)
        })
        .min_by_key(|reached| reached.last)
}
