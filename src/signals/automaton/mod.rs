//! All phrases of the lexicon in one pass over the text, then the sequences that they complete.
//!
//! ```text
//! " my chest is so tight " ──► rows of phrases ──► anchors ──► sequences around them ──► matches
//! ```
//! A match never leaves its part of the text, so each part is read by itself. There a sequence is looked at only where
//! its rarest class was hit and all its others were hit too, and from there outwards: a turn costs what it holds, not
//! what the lexicon holds.

mod build;
mod phrases;
mod rows;

use std::cell::RefCell;

pub use build::Builder;

use super::lexicon::ConceptId;
use super::normalize::{Token, Tokens};
use super::pattern::Gap;
use super::reliability::Reliability;
use super::triage::{Present, is_set, set};
use phrases::{Hit, Phrases, Walk};
use rows::{Look, Rows, Wanted};

/// Strength of a wording that states its concept by itself.
pub const SAYS: f32 = 0.9;
/// Strength of a weaker wording.
pub const HINTS: f32 = 0.55;

/// Whose words are read: acts are the agent's, and the scope of what is said matters in the caller's words alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Caller,
    Agent,
}

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

/// A pattern as it is written in the lexicon.
#[derive(Debug)]
pub struct Written {
    pub pattern: String,
    pub concept: ConceptId,
    /// It states its concept, rather than cancel it.
    pub states: bool,
}

/// A concept found in a text, at these tokens (both inclusive).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    pub concept: ConceptId,
    pub strength: f32,
    /// How far the pattern is to be trusted by its record.
    pub trust: f32,
    pub first: u16,
    pub last: u16,
    /// Tokens from the first on that its own phrases cover; the others stand in gaps. Beyond 64 all count as gaps.
    covered: u64,
    rule: u32,
}

impl Match {
    pub fn covers(&self, token: u16) -> bool {
        (self.first..=self.last).contains(&token)
            && u64::from(token - self.first) < 64
            && self.covered >> (token - self.first) & 1 == 1
    }
}

/// Classes that dismiss a rule by their absence have the lowest numbers, classes that are anchors alone the highest.
type ClassId = u16;

#[derive(Debug)]
struct Step {
    gap: Gap,
    class: ClassId,
    /// The rows of its class by their numbers modulo 64, as bits: what is not among them need not be looked up.
    sieve: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Where its steps begin in [`Automaton::steps`].
    steps: u32,
    concept: ConceptId,
    force: Force,
    count: u8,
    /// The step at which the rule is looked for.
    anchor: u8,
}

impl Rule {
    fn steps(self, all: &[Step]) -> &[Step] {
        &all[self.steps as usize..][..usize::from(self.count)]
    }
}

/// A class that is always there: what a rule wants that wants nothing else.
const ALWAYS: ClassId = 0;

/// A part of one of the long lists below. All that a turn looks at lies in a few of these, for the sake of the caches.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    from: u32,
    to: u32,
}

impl Part {
    /// Puts items at the end of a list.
    fn added<T>(list: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Self {
        let from = list.len() as u32;
        list.extend(items);
        let to = list.len() as u32;
        Self { from, to }
    }

    fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.from as usize..self.to as usize]
    }
}

#[derive(Default)]
pub struct Automaton {
    phrases: Phrases,
    rows: Rows,
    rules: Vec<Rule>,
    steps: Vec<Step>,
    /// By rule: the pattern as it is written.
    pattern_of: Vec<u32>,
    /// By concept.
    reach: Vec<Reach>,
    written: Vec<Written>,
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Automaton({} rules)", self.rules.len())
    }
}

/// Hits of one text, to be found by their first token and by their last.
#[derive(Default)]
struct Hits {
    by_first: Placed,
    by_last: Placed,
}

/// Hits in the order of a token of theirs.
#[derive(Default)]
struct Placed {
    hits: Vec<Hit>,
    /// By token: how many hits stand before its own.
    begins: Vec<u32>,
}

/// A rule that may be completed around a hit.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    rule: u32,
    anchor: Hit,
}

/// What reading needs beside the text; kept from turn to turn, so that a turn allocates nothing here.
#[derive(Default)]
struct Buffers {
    walk: Walk,
    hits: Hits,
    wanted: Wanted,
    candidates: Vec<Candidate>,
    found: Vec<Match>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Placed {
    /// Hits whose token lies in this range, both ends included.
    fn within(&self, least: u16, most: u16) -> &[Hit] {
        let last = self.begins.len() - 1;
        let from = self.begins[usize::from(least).min(last)];
        let to = self.begins[(usize::from(most) + 1).min(last)];
        &self.hits[from as usize..to as usize]
    }
}

impl Hits {
    fn find(&mut self, phrases: &Phrases, tokens: &Tokens, walk: &mut Walk) {
        let Self { by_first, by_last } = self;
        by_last.hits.clear();
        phrases.find(tokens, walk, &mut by_last.hits);
        let count = tokens.tokens.len();
        begins(&mut by_last.begins, &by_last.hits, count, |hit| hit.last);
        begins(&mut by_first.begins, &by_last.hits, count, |hit| hit.first);
        // A counting sort, which leaves each beginning where the next one was.
        by_first.hits.clear();
        by_first.hits.resize(by_last.hits.len(), Hit::default());
        for hit in by_last.hits.iter().rev() {
            let end = &mut by_first.begins[usize::from(hit.first) + 1];
            *end -= 1;
            by_first.hits[*end as usize] = *hit;
        }
        by_first.begins.remove(0);
        by_first.begins.push(by_last.hits.len() as u32);
    }
}

/// Counts how many hits stand before each token, and before the end.
fn begins(begins: &mut Vec<u32>, hits: &[Hit], tokens: usize, token: impl Fn(&Hit) -> u16) {
    begins.clear();
    begins.resize(tokens + 1, 0);
    hits.iter().for_each(|hit| begins[usize::from(token(hit)) + 1] += 1);
    let mut before = 0;
    for begin in begins {
        before += *begin;
        *begin = before;
    }
}

impl Automaton {
    /// All matches, cancelled ones taken out, in the order of their last tokens.
    pub fn matches(&self, tokens: &Tokens, audience: Audience, reliability: &Reliability) -> Vec<Match> {
        BUFFERS.with_borrow_mut(|buffers| {
            let Buffers {
                walk,
                hits,
                wanted,
                candidates,
                found,
            } = buffers;
            hits.find(&self.phrases, tokens, walk);
            candidates.clear();
            let mut from = 0;
            while from < tokens.tokens.len() {
                let end = end_of_part(tokens, from, audience);
                let inside = hits.by_last.within(from as u16, end as u16 - 1).iter();
                let inside = inside.filter(|hit| usize::from(hit.first) >= from);
                self.look(inside.copied(), audience, wanted, candidates);
                from = end;
            }
            found.clear();
            let states = |candidate: &&Candidate| self.rules[candidate.rule as usize].force != Force::Cancels;
            let stating = candidates.iter().filter(states);
            found.extend(stating.filter_map(|candidate| self.complete(*candidate, tokens, hits)));
            self.take_back(tokens, hits, candidates, found);
            for m in &mut *found {
                m.trust = reliability.of(self.pattern(m));
            }
            found.sort_by(|a, b| {
                (a.last, a.concept, a.first)
                    .cmp(&(b.last, b.concept, b.first))
                    .then(b.strength.total_cmp(&a.strength))
            });
            found.dedup_by(|a, b| {
                let same = a.concept == b.concept && a.last == b.last;
                // The words of the longer, the record of the more trusted.
                if same && a.trust > b.trust {
                    (b.trust, b.rule) = (a.trust, a.rule);
                }
                same
            });
            found.clone()
        })
    }

    /// Gathers the rules that the hits of one part of the text may complete.
    fn look(
        &self,
        hits: impl Iterator<Item = Hit> + Clone,
        audience: Audience,
        wanted: &mut Wanted,
        candidates: &mut Vec<Candidate>,
    ) {
        wanted.clear();
        hits.clone().for_each(|hit| wanted.add(&self.rows, hit.row));
        for anchor in hits {
            let looks = self.rows.looks(anchor.row, audience);
            let mut count = candidates.len();
            candidates.resize(count + looks.len(), Candidate::default());
            // Each is written, and kept where it may be completed: whether it may cannot be foreseen, by a processor
            // neither.
            for Look { rule, wants } in looks {
                candidates[count] = Candidate { rule, anchor };
                count += usize::from(wanted.has(wants[0]) & wanted.has(wants[1]));
            }
            candidates.truncate(count);
        }
    }

    /// Takes out what a cancelling rule meets. Most of them cancel what nobody said, so they are completed last.
    fn take_back(&self, tokens: &Tokens, hits: &Hits, candidates: &[Candidate], found: &mut Vec<Match>) {
        let mut stated = Present::default();
        found.iter().for_each(|m| set(&mut stated, m.concept));
        let may_cancel = |candidate: &&Candidate| {
            let rule = self.rules[candidate.rule as usize];
            rule.force == Force::Cancels && is_set(&stated, rule.concept)
        };
        let mut cancelled: Vec<Match> = candidates
            .iter()
            .filter(may_cancel)
            .filter_map(|candidate| self.complete(*candidate, tokens, hits))
            .collect();
        if cancelled.is_empty() {
            return;
        }
        cancelled.sort_unstable_by_key(|c| c.concept);
        found.retain(|m| {
            let from = cancelled.partition_point(|c| c.concept < m.concept);
            let own = cancelled[from..].iter().take_while(|c| c.concept == m.concept);
            !own.into_iter().any(|c| self.meets(tokens, c, m))
        });
    }

    /// The number of the pattern that matched.
    pub fn pattern(&self, found: &Match) -> u32 {
        self.pattern_of[found.rule as usize]
    }

    /// All patterns, in the order of their numbers.
    pub fn written(&self) -> &[Written] {
        &self.written
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

    /// The shortest match of a rule around its anchor.
    fn complete(&self, candidate: Candidate, tokens: &Tokens, hits: &Hits) -> Option<Match> {
        let Candidate { rule: number, anchor } = candidate;
        let rule = self.rules[number as usize];
        let base = anchor.first.saturating_sub(BEFORE_ANCHOR);
        let (before, after) = rule.steps(&self.steps).split_at(usize::from(rule.anchor) + 1);
        let from = Reached {
            first: anchor.first,
            last: anchor.last,
            covered: span(base, anchor.first, anchor.last),
        };
        let begun = self.backwards(before, from, base, hits)?;
        let whole = self.forwards(after, begun, base, hits)?;
        let token = |at: u16| &tokens.tokens[usize::from(at)];
        let (first, last) = (token(whole.first), token(whole.last));
        let sentence = self.reach[usize::from(rule.concept.0)] == Reach::Sentence;
        let runs_on = first.stretch == last.stretch || (sentence && first.sentence == last.sentence);
        runs_on.then(|| Match {
            concept: rule.concept,
            strength: if rule.force == Force::Hints { HINTS } else { SAYS },
            trust: 1.0,
            first: whole.first,
            last: whole.last,
            covered: whole.covered >> whole.first.saturating_sub(base).min(63),
            rule: number,
        })
    }

    /// The shortest way from the last of these steps, which was reached, back to the first.
    fn backwards(&self, steps: &[Step], from: Reached, base: u16, hits: &Hits) -> Option<Reached> {
        let [.., before, step] = steps else { return Some(from) };
        let most = from.first.checked_sub(1 + u16::from(step.gap.0))?;
        let least = most.saturating_sub(u16::from(step.gap.1 - step.gap.0));
        let rest = &steps[..steps.len() - 1];
        let mut best: Option<Reached> = None;
        for hit in hits.by_last.within(least, most).iter().rev() {
            // What ends before the best begins cannot begin later.
            if best.is_some_and(|best| hit.last < best.first) {
                break;
            }
            if !self.is_of(hit, before) {
                continue;
            }
            let next = Reached {
                first: hit.first,
                covered: from.covered | span(base, hit.first, hit.last),
                ..from
            };
            let way = self.backwards(rest, next, base, hits);
            best = way
                .filter(|way| best.is_none_or(|best| way.first > best.first))
                .or(best);
        }
        best
    }

    /// The shortest way through the remaining steps.
    fn forwards(&self, steps: &[Step], from: Reached, base: u16, hits: &Hits) -> Option<Reached> {
        let Some((step, rest)) = steps.split_first() else {
            return Some(from);
        };
        let (least, most) = (
            from.last + 1 + u16::from(step.gap.0),
            from.last + 1 + u16::from(step.gap.1),
        );
        let mut best: Option<Reached> = None;
        for hit in hits.by_first.within(least, most) {
            if best.is_some_and(|best| hit.first > best.last) {
                break;
            }
            if !self.is_of(hit, step) {
                continue;
            }
            let next = Reached {
                last: hit.last,
                covered: from.covered | span(base, hit.first, hit.last),
                ..from
            };
            let way = self.forwards(rest, next, base, hits);
            best = way.filter(|way| best.is_none_or(|best| way.last < best.last)).or(best);
        }
        best
    }

    fn is_of(&self, hit: &Hit, step: &Step) -> bool {
        step.sieve >> (hit.row % 64) & 1 == 1 && self.rows.is_of(hit.row, step.class)
    }
}

/// Where the part ends that begins at this token: expressions of callers stay within a stretch, those of agents within
/// a stretch or a sentence, whichever is longer.
fn end_of_part(tokens: &Tokens, from: usize, audience: Audience) -> usize {
    let goes_on = |pair: &[Token]| {
        pair[0].stretch == pair[1].stretch || (audience == Audience::Agent && pair[0].sentence == pair[1].sentence)
    };
    let rest = &tokens.tokens[from..];
    from + 1 + rest.windows(2).take_while(|pair| goes_on(pair)).count()
}

/// How far a sequence has come, both ways.
#[derive(Clone, Copy)]
struct Reached {
    first: u16,
    last: u16,
    /// Tokens that its phrases cover, as bits counted from a base.
    covered: u64,
}

/// Tokens before the anchor that a match can tell apart.
const BEFORE_ANCHOR: u16 = 32;

/// Tokens as bits, counted from `base`.
fn span(base: u16, from: u16, to: u16) -> u64 {
    let Some(last) = to.checked_sub(base) else { return 0 };
    let first = from.saturating_sub(base);
    if first >= 64 {
        return 0;
    }
    (u64::MAX << first) & (u64::MAX >> (63 - last.min(63)))
}
