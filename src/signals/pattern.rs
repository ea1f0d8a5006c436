//! The small language in which wordings are written, and what it comes down to.
//!
//! | element | means |
//! | --- | --- |
//! | `word` | that word |
//! | `squeez*` | any word that begins so |
//! | `<pain>` | an atom: a class of wordings |
//! | `(a\|b c\|d*)` | any of these |
//! | `x?` | x may be missing |
//! | `_` | one word, whatever it is |
//! | `..`, `..N` | up to four, up to N words |
//! | `#50-91` | a number in that range |
//! | `A & B`, `A &8 B` | both, in either order, with up to five (eight) words between |
//!
//! A pattern comes down to one or more [`Sequence`]s of [`Class`]es of phrases with gaps between them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::normalize::normalize;

/// Atoms by name, as written.
pub type Atoms = BTreeMap<String, Vec<String>>;

/// Interchangeable wordings and ranges of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// Normalised words with single spaces; a trailing `*` stands for any ending.
    pub phrases: BTreeSet<String>,
    /// Inclusive, in thousandths, so that classes can be compared.
    pub ranges: BTreeSet<(i64, i64)>,
}

/// One class after another; a gap is the least and the most number of words before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence(pub Vec<(Gap, Class)>);

/// A sequence on its way into a longer one: it may begin and end with words that are not looked at.
#[derive(Clone, Debug, Default, PartialEq)]
struct Part {
    steps: Vec<(Gap, Class)>,
    /// Words behind the last step.
    tail: Gap,
}

pub type Gap = (u8, u8);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("pattern {pattern:?}: brackets do not close")]
    Unbalanced { pattern: String },
    #[error("pattern {pattern:?}: no atom is called {name:?}")]
    UnknownAtom { pattern: String, name: String },
    #[error("pattern {pattern:?}: atoms go round in a circle at {name:?}")]
    Circle { pattern: String, name: String },
    #[error("pattern {pattern:?}: {element:?} is no number range, write #50-91")]
    BadRange { pattern: String, element: String },
    #[error("pattern {pattern:?}: {element:?} holds no word")]
    Empty { pattern: String, element: String },
    #[error("pattern {pattern:?}: more than one &")]
    ManyAnds { pattern: String },
    #[error("pattern {pattern:?}: comes down to more than {MAX_SEQUENCES} sequences, write it as several")]
    TooMany { pattern: String },
    #[error("pattern {pattern:?}: more than 255 steps, write it as several")]
    TooLong { pattern: String },
    #[error("pattern {pattern:?}: the lexicon has over 65,000 different sets of words by now: share atoms")]
    TooManyClasses { pattern: String },
}

/// More steps than a sequence may have.
pub fn too_long(pattern: &str) -> PatternError {
    PatternError::TooLong {
        pattern: pattern.to_owned(),
    }
}

/// More sets of words than can be numbered.
pub fn too_many_classes(pattern: &str) -> PatternError {
    PatternError::TooManyClasses {
        pattern: pattern.to_owned(),
    }
}

const MAX_SEQUENCES: usize = 512;
const DEFAULT_GAP: u8 = 4;
const DEFAULT_AND_GAP: u8 = 5;
const MAX_ATOM_DEPTH: usize = 6;

/// Takes a pattern to its sequences; any of them is a match.
pub fn parse(pattern: &str, atoms: &Atoms) -> Result<Vec<Sequence>, PatternError> {
    let parser = Parser { pattern, atoms };
    let elements = parser.split(pattern, ' ')?;
    let ands: Vec<usize> = (0..elements.len())
        .filter(|i| and_gap(elements[*i]).is_some())
        .collect();
    let sequences = match ands[..] {
        [] => parser.sequence(&elements, 0)?,
        [at] => {
            let most = and_gap(elements[at]).unwrap_or(DEFAULT_AND_GAP);
            let (left, right) = (
                parser.sequence(&elements[..at], 0)?,
                parser.sequence(&elements[at + 1..], 0)?,
            );
            let mut both = Vec::new();
            for (one, other) in left.iter().flat_map(|l| right.iter().map(move |r| (l, r))) {
                both.push(one.followed_by(other, (0, most)));
                both.push(other.followed_by(one, (0, most)));
            }
            both
        }
        _ => {
            return Err(PatternError::ManyAnds {
                pattern: pattern.to_owned(),
            });
        }
    };
    if sequences.iter().any(|part| part.steps.is_empty()) {
        return Err(PatternError::Empty {
            pattern: pattern.to_owned(),
            element: pattern.to_owned(),
        });
    }
    if sequences.len() > MAX_SEQUENCES {
        return Err(PatternError::TooMany {
            pattern: pattern.to_owned(),
        });
    }
    Ok(merged(sequences.into_iter().map(Part::whole).collect()))
}

/// Sequences that differ in one class alone are one sequence with both classes in it: fewer to look at.
fn merged(mut sequences: Vec<Sequence>) -> Vec<Sequence> {
    let longest = sequences.iter().map(|sequence| sequence.0.len()).max().unwrap_or(0);
    for place in 0..longest {
        let mut kept: Vec<Sequence> = Vec::with_capacity(sequences.len());
        let mut by_rest: HashMap<Vec<(Gap, Class)>, usize> = HashMap::new();
        for sequence in sequences {
            let mut rest = sequence.0.clone();
            let Some(step) = rest.get_mut(place) else {
                kept.push(sequence);
                continue;
            };
            let class = std::mem::take(&mut step.1);
            match by_rest.entry(rest) {
                Entry::Occupied(first) => {
                    let into = &mut kept[*first.get()].0[place].1;
                    into.phrases.extend(class.phrases);
                    into.ranges.extend(class.ranges);
                }
                Entry::Vacant(new) => {
                    new.insert(kept.len());
                    kept.push(sequence);
                }
            }
        }
        sequences = kept;
    }
    sequences
}

fn and_gap(element: &str) -> Option<u8> {
    match element.strip_prefix('&')? {
        "" => Some(DEFAULT_AND_GAP),
        most => most.parse().ok(),
    }
}

impl Part {
    fn of(class: Class) -> Self {
        Self {
            steps: vec![((0, 0), class)],
            tail: (0, 0),
        }
    }

    fn followed_by(&self, next: &Self, gap: Gap) -> Self {
        let between = sum(self.tail, gap);
        let mut both = self.clone();
        let Some(((own, class), rest)) = next.steps.split_first() else {
            both.tail = sum(between, next.tail);
            return both;
        };
        both.steps.push((sum(between, *own), class.clone()));
        both.steps.extend(rest.iter().cloned());
        both.tail = next.tail;
        both
    }

    /// As a whole pattern, which begins and ends with words that are looked at.
    fn whole(self) -> Sequence {
        let mut steps = self.joined().steps;
        if let Some((gap, _)) = steps.first_mut() {
            *gap = (0, 0);
        }
        Sequence(steps)
    }

    /// Words that follow each other directly become one phrase, which the automaton finds at once.
    fn joined(self) -> Self {
        let mut joined: Vec<(Gap, Class)> = Vec::with_capacity(self.steps.len());
        for (gap, class) in self.steps {
            if gap == (0, 0)
                && let Some((_, before)) = joined.last_mut()
                && let (Some(first), Some(second)) = (before.only_phrase(), class.only_phrase())
                && !first.ends_with('*')
            {
                let phrase = format!("{first} {second}");
                *before = Class {
                    phrases: BTreeSet::from([phrase]),
                    ranges: BTreeSet::new(),
                };
                continue;
            }
            joined.push((gap, class));
        }
        Self {
            steps: joined,
            tail: self.tail,
        }
    }
}

fn sum(one: Gap, other: Gap) -> Gap {
    (one.0.saturating_add(other.0), one.1.saturating_add(other.1))
}

impl Class {
    fn only_phrase(&self) -> Option<&str> {
        (self.phrases.len() == 1 && self.ranges.is_empty()).then(|| self.phrases.first().map(String::as_str))?
    }

    /// Takes out what another of its phrases finds as well: beside `pain*`, `painful` says nothing new.
    pub fn prune(&mut self) {
        let stems: Vec<String> = self
            .phrases
            .iter()
            .filter_map(|phrase| Some(phrase.strip_suffix('*')?.to_owned()))
            .collect();
        self.phrases.retain(|phrase| {
            let text = phrase.strip_suffix('*').unwrap_or(phrase);
            let is_found = |stem: &String| {
                (text.len() > stem.len() || !phrase.ends_with('*'))
                    && text.strip_prefix(stem.as_str()).is_some_and(|rest| !rest.contains(' '))
            };
            !stems.iter().any(is_found)
        });
    }

    fn is_empty(&self) -> bool {
        self.phrases.is_empty() && self.ranges.is_empty()
    }
}

struct Parser<'p> {
    pattern: &'p str,
    atoms: &'p Atoms,
}

impl<'p> Parser<'p> {
    /// Parts at a separator that stands outside of brackets.
    fn split<'t>(&self, text: &'t str, separator: char) -> Result<Vec<&'t str>, PatternError> {
        let (mut parts, mut depth, mut start) = (Vec::new(), 0i32, 0);
        for (at, c) in text.char_indices() {
            match c {
                '(' | '<' => depth += 1,
                ')' | '>' => depth -= 1,
                // "(up )?in": an optional group may lean on the next word
                '?' if depth == 0 && separator == ' ' && text[..at].ends_with(')') => {
                    parts.push(&text[start..=at]);
                    start = at + 1;
                }
                _ if c == separator && depth == 0 => {
                    parts.push(&text[start..at]);
                    start = at + c.len_utf8();
                }
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
        if depth != 0 {
            return Err(PatternError::Unbalanced {
                pattern: self.pattern.to_owned(),
            });
        }
        parts.push(&text[start..]);
        parts.retain(|part| !part.trim().is_empty());
        Ok(parts)
    }

    fn sequence(&self, elements: &[&str], depth: usize) -> Result<Vec<Part>, PatternError> {
        let mut parts = vec![Part::default()];
        let mut gap: Gap = (0, 0);
        for element in elements {
            if *element == "_" {
                gap = sum(gap, (1, 1));
                continue;
            }
            if let Some(most) = element.strip_prefix("..") {
                let most = if most.is_empty() {
                    DEFAULT_GAP
                } else {
                    most.parse().unwrap_or(0)
                };
                gap = sum(gap, (0, most));
                continue;
            }
            let (element, optional) = match element.strip_suffix('?') {
                Some(inner) => (inner, true),
                None => (*element, false),
            };
            let alternatives = self.element(element, depth)?;
            // A gap before what is missing is missing with it.
            let mut longer = if optional { parts.clone() } else { Vec::new() };
            for part in &parts {
                longer.extend(
                    alternatives
                        .iter()
                        .map(|alternative| part.followed_by(alternative, gap)),
                );
            }
            if longer.len() > MAX_SEQUENCES {
                return Err(PatternError::TooMany {
                    pattern: self.pattern.to_owned(),
                });
            }
            parts = longer;
            gap = (0, 0);
        }
        parts.iter_mut().for_each(|part| part.tail = sum(part.tail, gap));
        Ok(parts)
    }

    /// What one element may be: a class of all its plain phrases, and each wording that has gaps of its own.
    fn element(&self, element: &str, depth: usize) -> Result<Vec<Part>, PatternError> {
        if let Some(range) = element.strip_prefix('#') {
            return self.range(element, range).map(|class| vec![Part::of(class)]);
        }
        if let Some(name) = element.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            let Some(wordings) = self.atoms.get(name) else {
                return Err(PatternError::UnknownAtom {
                    pattern: self.pattern.to_owned(),
                    name: name.to_owned(),
                });
            };
            if depth >= MAX_ATOM_DEPTH {
                return Err(PatternError::Circle {
                    pattern: self.pattern.to_owned(),
                    name: name.to_owned(),
                });
            }
            return self.alternatives(wordings.iter().map(String::as_str), depth + 1);
        }
        if let Some(inner) = element.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            return self.alternatives(self.split(inner, '|')?.into_iter(), depth);
        }
        let Some(phrase) = self.phrase(element)? else {
            return Ok(vec![Part::default()]);
        };
        Ok(vec![Part::of(Class {
            phrases: BTreeSet::from([phrase]),
            ranges: BTreeSet::new(),
        })])
    }

    fn alternatives<'t>(
        &self,
        wordings: impl Iterator<Item = &'t str>,
        depth: usize,
    ) -> Result<Vec<Part>, PatternError> {
        let mut plain = Class::default();
        let mut all = Vec::new();
        for wording in wordings {
            let elements = self.split(wording.trim(), ' ')?;
            for part in self.sequence(&elements, depth)? {
                let mut joined = part.joined();
                match joined.steps.as_slice() {
                    [((0, 0), _)] if joined.tail == (0, 0) => {
                        let (_, class) = joined.steps.remove(0);
                        plain.phrases.extend(class.phrases);
                        plain.ranges.extend(class.ranges);
                    }
                    // A filler, which vanishes from what is said as well.
                    [] if joined.tail == (0, 0) => {}
                    _ => all.push(joined),
                }
            }
        }
        if !plain.is_empty() {
            all.push(Part::of(plain));
        }
        Ok(all)
    }

    /// `None` for a filler, which vanishes from what is said as well.
    fn phrase(&self, element: &str) -> Result<Option<String>, PatternError> {
        let (word, star) = match element.strip_suffix('*') {
            Some(word) => (word, "*"),
            None => (element, ""),
        };
        let tokens = normalize(word);
        let text = tokens.text.trim();
        if text.is_empty() && !word.is_empty() && word.chars().all(char::is_alphabetic) {
            return Ok(None);
        }
        if text.is_empty() || word.contains(['*', '(', ')', '<', '>', '&']) {
            return Err(PatternError::Empty {
                pattern: self.pattern.to_owned(),
                element: element.to_owned(),
            });
        }
        Ok(Some(format!("{text}{star}")))
    }

    fn range(&self, element: &str, range: &str) -> Result<Class, PatternError> {
        let bad = || PatternError::BadRange {
            pattern: self.pattern.to_owned(),
            element: element.to_owned(),
        };
        let (low, high) = range.split_once('-').ok_or_else(bad)?;
        let thousandths = |text: &str| text.parse::<f64>().map(|value| (value * 1000.0).round() as i64);
        let (low, high) = (
            thousandths(low).map_err(|_| bad())?,
            thousandths(high).map_err(|_| bad())?,
        );
        if low > high {
            return Err(bad());
        }
        Ok(Class {
            phrases: BTreeSet::new(),
            ranges: BTreeSet::from([(low, high)]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pattern: &str) -> Vec<String> {
        let atoms = Atoms::from([
            ("pain".to_owned(), vec!["pain*".to_owned(), "hurts".to_owned()]),
            (
                "breath".to_owned(),
                vec!["catch ..2 breath".to_owned(), "breathe".to_owned()],
            ),
        ]);
        let sequences = parse(pattern, &atoms).unwrap();
        let class = |class: &Class| class.phrases.iter().cloned().collect::<Vec<_>>().join("/");
        let mut all: Vec<String> = sequences
            .iter()
            .map(|s| {
                s.0.iter()
                    .map(|((low, high), c)| format!("{low}-{high} {}", class(c)))
                    .collect::<Vec<_>>()
                    .join(", ")
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn words_that_follow_each_other_are_one_phrase() {
        assert_eq!(written("stress test"), ["0-0 stress test"]);
        assert_eq!(written("can't breathe"), ["0-0 can not breathe"]);
    }

    #[test]
    fn gaps_options_and_either_order() {
        assert_eq!(
            written("chest & <pain>"),
            ["0-0 chest, 0-5 hurts/pain*", "0-0 hurts/pain*, 0-5 chest"]
        );
        assert_eq!(written("a ..2 b"), ["0-0 a, 0-2 b"]);
        assert_eq!(written("a _ b"), ["0-0 a, 1-1 b"]);
        assert_eq!(written("a b? c"), ["0-0 a b c/a c"]);
        assert_eq!(written("(dr _|she) said"), ["0-0 dr, 1-1 said", "0-0 she said"]);
        assert_eq!(written("a (_ b|c) d"), ["0-0 a c d", "0-0 a, 1-1 b d"]);
        assert_eq!(written("a (_|_ _)? b"), ["0-0 a b", "0-0 a, 1-1 b", "0-0 a, 2-2 b"]);
        // Sequences that differ in one class alone are one.
        assert_eq!(written("(a ..2 b|a ..2 c) ..3 (d|e)"), ["0-0 a, 0-2 b/c, 0-3 d/e"]);
        assert_eq!(
            written("can't <breath>"),
            ["0-0 can not breathe", "0-0 can not catch, 0-2 breath"]
        );
    }

    #[test]
    fn slips_of_the_pen_are_told() {
        let no_atoms = Atoms::new();
        for (pattern, part) in [
            ("(a|b", "do not close"),
            ("<nothing> a", "no atom"),
            ("#9", "number range"),
            ("a & b & c", "more than one"),
            ("...", "holds no word"),
        ] {
            let error = parse(pattern, &no_atoms).unwrap_err().to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }
}
