//! All phrases of the lexicon in one pass over the text, then the sequences that they complete.
//!
//! ```text
//! " my chest is so tight " ──► phrases (double-array Aho–Corasick) ──► anchors ──► sequences around them ──► matches
//! ```
//! A match never leaves its part of the text, so each part is read by itself. There a sequence is looked at only where
//! its rarest class was hit and all its others were hit too, and from there outwards: a turn costs what it holds, not
//! what the lexicon holds.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder};

use super::common;
use super::lexicon::ConceptId;
use super::normalize::{Token, Tokens};
use super::pattern::{self, Atoms, Class, Gap, PatternError};
use super::reliability::Reliability;

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
    /// The phrases of its class by their numbers modulo 64, as bits: what is not among them need not be looked up.
    sieve: u64,
}

#[derive(Debug)]
struct Rule {
    concept: ConceptId,
    force: Force,
    /// The step at which the rule is looked for.
    anchor: u16,
    /// In [`Automaton::steps`].
    steps: Part,
    /// Index of the pattern as written.
    written: u32,
}

/// A rule to look at, and the rarest other classes that it wants: most are dismissed by these alone, without a look at
/// the rule.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    rule: u32,
    wants: [u32; 2],
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

/// A phrase of the lexicon, or a range of numbers.
#[derive(Debug)]
struct Phrase {
    /// Any ending may follow.
    prefix: bool,
    /// Words of it.
    words: u16,
    /// Classes that hold it, in [`Automaton::bits`].
    classes: Part,
    /// Rules to look at where it stands, by [`Audience`], in [`Automaton::anchors`].
    anchors: [Part; 2],
}

/// A 64-bit word of a set of classes, and its place. Classes that share their commonest phrase have neighbouring
/// numbers, so the hundreds that hold "my" fill a few words.
type Bits = (u32, u64);

/// Takes ascending classes to the words of their set.
fn bits_of(classes: &[u32]) -> Vec<Bits> {
    let mut words: Vec<Bits> = Vec::new();
    for class in classes {
        let bit = 1 << (class % 64);
        match words.last_mut() {
            Some((word, bits)) if *word == class / 64 => *bits |= bit,
            _ => words.push((class / 64, bit)),
        }
    }
    words
}

#[derive(Default)]
pub struct Automaton {
    found_by: Option<DoubleArrayAhoCorasick<u32>>,
    /// Classes that are looked for beside an anchor: numbers 1 to this.
    looked_for: u32,
    /// Words first, in the order of the automaton's values; then ranges.
    phrases: Vec<Phrase>,
    /// Numbers from, to (thousandths), and the phrase that stands for them.
    ranges: Vec<(i64, i64, u32)>,
    bits: Vec<Bits>,
    anchors: Vec<Anchor>,
    rules: Vec<Rule>,
    steps: Vec<Step>,
    /// By concept.
    reach: Vec<Reach>,
    written: Vec<Written>,
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Automaton({} phrases, {} rules)",
            self.phrases.len(),
            self.rules.len()
        )
    }
}

/// Collects the wordings of all concepts.
#[derive(Default)]
pub struct Builder {
    classes: HashMap<Class, u32>,
    rules: Vec<Rule>,
    steps: Vec<Step>,
    reach: Vec<Reach>,
    audience: Vec<&'static [Audience]>,
    written: Vec<Written>,
}

impl Builder {
    pub fn concept(
        &mut self,
        concept: ConceptId,
        reach: Reach,
        audience: &'static [Audience],
        [says, hints, not]: [&[String]; 3],
        atoms: &Atoms,
    ) -> Result<(), PatternError> {
        debug_assert_eq!(self.reach.len(), usize::from(concept.0), "concepts come in order");
        self.reach.push(reach);
        self.audience.push(audience);
        for (patterns, force) in [(says, Force::Says), (hints, Force::Hints), (not, Force::Cancels)] {
            for written in patterns {
                let place = self.written.len() as u32;
                self.written.push(Written {
                    pattern: written.clone(),
                    concept,
                    states: force != Force::Cancels,
                });
                for sequence in pattern::parse(written, atoms)? {
                    let steps = sequence.0.into_iter().map(|(gap, class)| Step {
                        gap,
                        class: self.class(class),
                        sieve: 0,
                    });
                    let steps: Vec<Step> = steps.collect();
                    self.rules.push(Rule {
                        concept,
                        force,
                        anchor: 0,
                        steps: Part::added(&mut self.steps, steps),
                        written: place,
                    });
                }
            }
        }
        Ok(())
    }

    fn class(&mut self, mut class: Class) -> u32 {
        class.prune();
        let next = self.classes.len() as u32;
        *self.classes.entry(class).or_insert(next)
    }

    /// By class.
    fn commonness(&self) -> Vec<u32> {
        let common = common::words();
        let mut commonness = vec![0; self.classes.len()];
        for (class, id) in &self.classes {
            let phrases: u32 = class.phrases.iter().map(|phrase| common::often(phrase, &common)).sum();
            commonness[*id as usize] = phrases + 30 * class.ranges.len() as u32;
        }
        commonness
    }

    /// Numbers the classes anew: first, from 1 on, those that are looked for beside an anchor, those beside each other
    /// that share their commonest phrase. Returns the new numbers by the old, and how many are looked for.
    fn renumber(&mut self, looked_for: &[bool]) -> (Vec<u32>, u32) {
        let mut spread: HashMap<&str, usize> = HashMap::new();
        for class in self.classes.keys() {
            class
                .phrases
                .iter()
                .for_each(|phrase| *spread.entry(phrase).or_default() += 1);
        }
        let commonest_first = |class: &Class| {
            let phrases = class.phrases.iter();
            let mut phrases: Vec<_> = phrases
                .map(|phrase| (Reverse(spread[phrase.as_str()]), phrase.clone()))
                .collect();
            phrases.sort();
            phrases
        };
        let mut order: Vec<_> = self
            .classes
            .iter()
            .map(|(class, id)| (!looked_for[*id as usize], commonest_first(class), &class.ranges, *id))
            .collect();
        order.sort();
        let mut renumbered = vec![0; order.len()];
        (1..)
            .zip(&order)
            .for_each(|(new, (.., old))| renumbered[*old as usize] = new);
        let count = looked_for.iter().filter(|looked_for| **looked_for).count();
        self.classes.values_mut().for_each(|id| *id = renumbered[*id as usize]);
        self.steps
            .iter_mut()
            .for_each(|step| step.class = renumbered[step.class as usize]);
        (renumbered, count as u32)
    }

    pub fn build(mut self) -> Automaton {
        let commonness = self.commonness();
        let mut looked_for = vec![false; commonness.len()];
        let mut anchors_of = Vec::with_capacity(self.rules.len());
        for rule in &mut self.rules {
            let steps = rule.steps.of(&self.steps);
            let mut rarest_first: Vec<usize> = (0..steps.len()).collect();
            rarest_first.sort_by_key(|step| commonness[steps[*step].class as usize]);
            rule.anchor = rarest_first[0] as u16;
            let class = |place: usize| rarest_first.get(place).map(|step| steps[*step].class);
            rarest_first[1..]
                .iter()
                .for_each(|step| looked_for[steps[*step].class as usize] = true);
            anchors_of.push((class(0), [class(1), class(2)]));
        }
        let (renumbered, looked_for) = self.renumber(&looked_for);
        let new = |class: Option<u32>| class.map_or(ALWAYS, |class| renumbered[class as usize]);
        let classes = renumbered.len() + 1;
        let mut anchored = [vec![Vec::new(); classes], vec![Vec::new(); classes]];
        for (rule, (class, wants)) in (0..).zip(anchors_of) {
            let concept = self.rules[rule as usize].concept;
            for audience in self.audience[usize::from(concept.0)] {
                let wants = wants.map(new);
                anchored[*audience as usize][new(class) as usize].push(Anchor { rule, wants });
            }
        }
        let mut words: BTreeMap<String, (bool, Vec<u32>)> = BTreeMap::new();
        let mut numbers: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
        for (class, id) in &self.classes {
            for phrase in &class.phrases {
                let (text, prefix) = match phrase.strip_suffix('*') {
                    Some(text) => (format!(" {text}"), true),
                    None => (format!(" {phrase} "), false),
                };
                words.entry(text).or_insert((prefix, Vec::new())).1.push(*id);
            }
            for range in &class.ranges {
                numbers.entry(*range).or_default().push(*id);
            }
        }
        let mut sieves = vec![0u64; classes];
        for (phrase, classes) in words
            .values()
            .map(|(_, classes)| classes)
            .chain(numbers.values())
            .enumerate()
        {
            classes
                .iter()
                .for_each(|class| sieves[*class as usize] |= 1 << (phrase % 64));
        }
        self.steps
            .iter_mut()
            .for_each(|step| step.sieve = sieves[step.class as usize]);
        let found_by = (!words.is_empty()).then(|| {
            DoubleArrayAhoCorasickBuilder::new()
                .build_with_values(words.keys().zip(0u32..))
                .expect("phrases are distinct and not empty")
        });
        let (mut bits, mut anchors) = (Vec::new(), Vec::new());
        let mut phrase = |prefix: bool, words: u16, mut classes: Vec<u32>| {
            classes.sort_unstable();
            let looked_for = classes.partition_point(|class| *class <= looked_for);
            Phrase {
                prefix,
                words,
                classes: Part::added(&mut bits, bits_of(&classes[..looked_for])),
                anchors: anchored.each_ref().map(|anchored| {
                    let here = classes.iter().flat_map(|class| &anchored[*class as usize]);
                    Part::added(&mut anchors, here.copied())
                }),
            }
        };
        let mut phrases: Vec<Phrase> = words
            .into_iter()
            .map(|(text, (prefix, classes))| phrase(prefix, text.split_ascii_whitespace().count() as u16, classes))
            .collect();
        let mut ranges = Vec::with_capacity(numbers.len());
        for ((low, high), classes) in numbers {
            ranges.push((low, high, phrases.len() as u32));
            phrases.push(phrase(false, 1, classes));
        }
        Automaton {
            found_by,
            looked_for,
            phrases,
            ranges,
            bits,
            anchors,
            rules: self.rules,
            steps: self.steps,
            reach: self.reach,
            written: self.written,
        }
    }
}

/// Where a phrase stands.
#[derive(Clone, Copy, Default)]
struct Hit {
    first: u16,
    last: u16,
    phrase: u32,
    /// Its classes, at hand for the many looks at them.
    classes: Part,
}

/// Hits of one text, to be found by their first token and by their last.
#[derive(Default)]
struct Hits {
    found: Vec<Hit>,
    by_first: Placed,
    by_last: Placed,
    /// Classes that were hit in the part being read, as bits.
    present: Vec<u64>,
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
        self.present[class as usize / 64] >> (class % 64) & 1 == 1
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
            self.hit(tokens, &mut hits.found);
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
        hits.present.resize(self.looked_for as usize / 64 + 1, 0);
        hits.present[0] = 1 << ALWAYS;
        let within = |hit: &&Hit| hit.first >= part.start;
        for hit in hits.by_last.hits[inside.clone()].iter().filter(within) {
            for (word, bits) in hit.classes.of(&self.bits) {
                hits.present[*word as usize] |= bits;
            }
        }
        let hits = &*hits;
        for hit in hits.by_last.hits[inside].iter().filter(within) {
            for anchor in self.phrases[hit.phrase as usize].anchors[audience as usize].of(&self.anchors) {
                if hits.has(anchor.wants[0]) && hits.has(anchor.wants[1]) {
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

    fn hit(&self, tokens: &Tokens, found: &mut Vec<Hit>) {
        if let Some(found_by) = &self.found_by {
            // Hits come in the order of their ends: one look along the tokens finds the last of each.
            let mut last = 0;
            for hit in found_by.find_overlapping_iter(&tokens.text) {
                let phrase = &self.phrases[hit.value() as usize];
                // A whole phrase ends with a space.
                let inside = hit.end() - if phrase.prefix { 1 } else { 2 };
                while tokens.tokens[last].end as usize <= inside {
                    last += 1;
                }
                found.push(Hit {
                    first: (last + 1) as u16 - phrase.words,
                    last: last as u16,
                    phrase: hit.value(),
                    classes: phrase.classes,
                });
            }
        }
        for (at, token) in tokens.tokens.iter().enumerate() {
            let Some(number) = token.number else { continue };
            let thousandths = (f64::from(number) * 1000.0).round() as i64;
            for (low, high, phrase) in &self.ranges {
                if (*low..=*high).contains(&thousandths) {
                    found.push(Hit {
                        first: at as u16,
                        last: at as u16,
                        phrase: *phrase,
                        classes: self.phrases[*phrase as usize].classes,
                    });
                }
            }
        }
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
        let rule = &self.rules[at as usize];
        let steps = rule.steps.of(&self.steps);
        let others = || (0..steps.len()).filter(|step| *step != usize::from(rule.anchor));
        if steps.len() > 3 && !others().all(|step| hits.has(steps[step].class)) {
            return;
        }
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
        hits.by_last
            .within(least, most)
            .iter()
            .filter(|hit| self.is_of(hit, before))
            .filter_map(|hit| {
                let covered = from.covered | span(base, hit.first, hit.last);
                self.backwards(
                    rest,
                    Reached {
                        first: hit.first,
                        covered,
                        ..from
                    },
                    base,
                    hits,
                )
            })
            .max_by_key(|reached| reached.first)
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
        hits.by_first
            .within(least, most)
            .iter()
            .filter(|hit| self.is_of(hit, step))
            .filter_map(|hit| {
                let covered = from.covered | span(base, hit.first, hit.last);
                self.forwards(
                    rest,
                    Reached {
                        last: hit.last,
                        covered,
                        ..from
                    },
                    base,
                    hits,
                )
            })
            .min_by_key(|reached| reached.last)
    }

    fn is_of(&self, hit: &Hit, step: &Step) -> bool {
        if step.sieve >> (hit.phrase % 64) & 1 == 0 {
            return false;
        }
        let bits = hit.classes.of(&self.bits);
        let word = bits.binary_search_by_key(&(step.class / 64), |(word, _)| *word);
        word.is_ok_and(|at| bits[at].1 >> (step.class % 64) & 1 == 1)
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
    (from..=to)
        .filter_map(|token| token.checked_sub(base))
        .filter(|bit| *bit < 64)
        .fold(0, |bits, bit| bits | 1 << bit)
}
