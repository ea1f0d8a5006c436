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

use std::cell::RefCell;
use std::ops::Range;

pub use build::Builder;

use super::lexicon::ConceptId;
use super::normalize::{Token, Tokens};
use super::pattern::Gap;
use super::reliability::Reliability;
use phrases::{Hit, Phrases, RowId, Walk};

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

#[derive(Debug)]
struct Step {
    gap: Gap,
    class: u32,
    /// The rows of its class by their numbers modulo 64, as bits: what is not among them need not be looked up.
    sieve: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Where its steps begin in [`Automaton::steps`].
    steps: u32,
    /// Index of the pattern as written.
    written: u32,
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

/// Rules to look at that want the same class beside their anchor.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    class: u32,
    /// Where they begin in [`Automaton::anchors`]; they end where those of the next begin.
    anchors: u32,
}

/// A rule to look at, and the rarest class that it wants besides: most are dismissed by these alone, without a look at
/// the rule.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    rule: u32,
    wants: u32,
}

/// A class that is always there: what a rule wants that wants nothing else.
const ALWAYS: u32 = 0;

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

/// Phrases that stand at the same words.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// Classes that hold one of them, in [`Automaton::bits`]; those that are wanted end at `signs`.
    classes: Part,
    signs: u32,
    /// Rules to look at where it stands, by [`Audience`], in [`Automaton::wanted`].
    wanted: [Part; 2],
}

/// A word of a set of classes, and its place. Classes that share their commonest phrase have neighbouring numbers, so
/// the hundreds that hold "my" fill a few words.
type Bits = (u32, u32);

#[derive(Default)]
pub struct Automaton {
    phrases: Phrases,
    /// Words of a set of wanted classes.
    wanted_words: usize,
    rows: Vec<Row>,
    bits: Vec<Bits>,
    /// One more than there are, for the end of the last.
    wanted: Vec<Wanted>,
    anchors: Vec<Anchor>,
    rules: Vec<Rule>,
    steps: Vec<Step>,
    /// By concept.
    reach: Vec<Reach>,
    written: Vec<Written>,
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Automaton({} rows, {} rules)", self.rows.len(), self.rules.len())
    }
}

/// Hits of one text, to be found by their first token and by their last.
#[derive(Default)]
struct Hits {
    walk: Walk,
    found: Vec<Hit>,
    by_first: Placed,
    by_last: Placed,
    /// Classes that were hit in the part being read, as bits.
    present: Vec<u32>,
}

/// Hits in the order of a token of theirs, with the place where each token's begin.
#[derive(Default)]
struct Placed {
    hits: Vec<Hit>,
    begins: Vec<u32>,
}

thread_local! {
    /// Buffers that live from turn to turn, so that a turn allocates nothing here.
    static HITS: RefCell<Hits> = RefCell::default();
}

impl Placed {
    /// A counting sort.
    fn fill(&mut self, found: &[Hit], tokens: usize, token: impl Fn(&Hit) -> u16) {
        self.begins.clear();
        self.begins.resize(tokens + 2, 0);
        found
            .iter()
            .for_each(|hit| self.begins[usize::from(token(hit)) + 2] += 1);
        (1..self.begins.len()).for_each(|at| self.begins[at] += self.begins[at - 1]);
        self.hits.clear();
        self.hits.resize(found.len(), Hit::default());
        for hit in found {
            let next = &mut self.begins[usize::from(token(hit)) + 1];
            self.hits[*next as usize] = *hit;
            *next += 1;
        }
    }

    /// Hits whose token lies in this range, both ends included.
    fn within(&self, least: u16, most: u16) -> &[Hit] {
        &self.hits[self.places(least, most)]
    }

    fn places(&self, least: u16, most: u16) -> Range<usize> {
        let last = self.begins.len() - 2;
        let from = self.begins[usize::from(least).min(last)];
        let to = self.begins[(usize::from(most) + 1).min(last)];
        from as usize..to as usize
    }
}

impl Hits {
    fn has(&self, class: u32) -> bool {
        self.present[class as usize / 32] >> (class % 32) & 1 == 1
    }

    fn place(&mut self, tokens: usize) {
        self.by_first.fill(&self.found, tokens, |hit| hit.first);
        self.by_last.fill(&self.found, tokens, |hit| hit.last);
    }
}

impl Automaton {
    /// All matches, cancelled ones taken out, in the order of their last tokens.
    pub fn matches(&self, tokens: &Tokens, audience: Audience, reliability: &Reliability) -> Vec<Match> {
        HITS.with_borrow_mut(|hits| {
            hits.found.clear();
            self.phrases.find(tokens, &mut hits.walk, &mut hits.found);
            hits.place(tokens.tokens.len());
            let (mut found, mut cancelled) = (Vec::with_capacity(hits.found.len() / 2), Vec::new());
            let mut from = 0;
            while from < tokens.tokens.len() {
                let end = end_of_part(tokens, from, audience);
                self.read_part(
                    tokens,
                    from as u16..end as u16,
                    audience,
                    hits,
                    &mut found,
                    &mut cancelled,
                );
                from = end;
            }
            cancelled.sort_unstable_by_key(|c: &Match| c.concept);
            found.retain(|m: &Match| {
                let from = cancelled.partition_point(|c| c.concept < m.concept);
                let own = cancelled[from..].iter().take_while(|c| c.concept == m.concept);
                !own.into_iter().any(|c| self.meets(tokens, c, m))
            });
            for m in &mut found {
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
            found
        })
    }

    /// The matches within these tokens.
    fn read_part(
        &self,
        tokens: &Tokens,
        part: Range<u16>,
        audience: Audience,
        hits: &mut Hits,
        found: &mut Vec<Match>,
        cancelled: &mut Vec<Match>,
    ) {
        let inside = hits.by_last.places(part.start, part.end - 1);
        hits.present.clear();
        hits.present.resize(self.wanted_words, 0);
        hits.present[0] = 1 << ALWAYS;
        let within = |hit: &&Hit| hit.first >= part.start;
        for hit in hits.by_last.hits[inside.clone()].iter().filter(within) {
            let row = self.row(hit.row);
            let signs = Part {
                to: row.signs,
                ..row.classes
            };
            for (word, bits) in signs.of(&self.bits) {
                hits.present[*word as usize] |= bits;
            }
        }
        let hits = &*hits;
        for hit in hits.by_last.hits[inside].iter().filter(within) {
            let wanted = self.row(hit.row).wanted[audience as usize];
            for at in wanted.from as usize..wanted.to as usize {
                let [one, next] = [self.wanted[at], self.wanted[at + 1]];
                if !hits.has(one.class) {
                    continue;
                }
                let anchors = &self.anchors[one.anchors as usize..next.anchors as usize];
                for anchor in anchors.iter().filter(|anchor| hits.has(anchor.wants)) {
                    self.complete(anchor.rule, *hit, tokens, hits, found, cancelled);
                }
            }
        }
    }

    /// The number of the pattern that matched.
    pub fn pattern(&self, found: &Match) -> u32 {
        self.rules[found.rule as usize].written
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

    fn row(&self, row: RowId) -> &Row {
        &self.rows[row as usize]
    }

    fn complete(
        &self,
        at: u32,
        anchor: Hit,
        tokens: &Tokens,
        hits: &Hits,
        found: &mut Vec<Match>,
        cancelled: &mut Vec<Match>,
    ) {
        let rule = self.rules[at as usize];
        let steps = rule.steps(&self.steps);
        let base = anchor.first.saturating_sub(BEFORE_ANCHOR);
        let from = Reached {
            first: anchor.first,
            last: anchor.last,
            covered: span(base, anchor.first, anchor.last),
        };
        let (before, after) = (
            &steps[..=usize::from(rule.anchor)],
            &steps[usize::from(rule.anchor) + 1..],
        );
        let Some(begun) = self.backwards(before, from, base, hits) else {
            return;
        };
        let Some(whole) = self.forwards(after, begun, base, hits) else {
            return;
        };
        let token = |at: u16| &tokens.tokens[usize::from(at)];
        let (first, last) = (token(whole.first), token(whole.last));
        let sentence = self.reach[usize::from(rule.concept.0)] == Reach::Sentence;
        if first.stretch != last.stretch && !(sentence && first.sentence == last.sentence) {
            return;
        }
        let strength = if rule.force == Force::Hints { HINTS } else { SAYS };
        let into = if rule.force == Force::Cancels { cancelled } else { found };
        let covered = whole.covered >> whole.first.saturating_sub(base).min(63);
        into.push(Match {
            concept: rule.concept,
            strength,
            trust: 1.0,
            first: whole.first,
            last: whole.last,
            covered,
            rule: at,
        });
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
        if step.sieve >> (hit.row % 64) & 1 == 0 {
            return false;
        }
        let bits = self.row(hit.row).classes.of(&self.bits);
        let word = bits.binary_search_by_key(&(step.class / 32), |(word, _)| *word);
        word.is_ok_and(|at| bits[at].1 >> (step.class % 32) & 1 == 1)
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
