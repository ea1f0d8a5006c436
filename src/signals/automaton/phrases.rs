//! Phrases of the lexicon, found in one pass over the words of a text.
//!
//! A known word is one look into a table: all phrases of one word that it is, whole or by its beginning, are one row of
//! phrases. Phrases of several words are a tree along which the pass walks.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::Part;
use super::rows::RowId;
use crate::signals::normalize::{Token, Tokens};

/// Where the phrases of a row stand: their first and last token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    pub first: u16,
    pub last: u16,
    pub row: RowId,
}

/// Stands for no row and no node.
const NONE: u32 = u32::MAX;

#[derive(Default)]
pub struct Phrases {
    words: FxHashMap<Box<str>, Word>,
    /// Beginnings of words, written with a star.
    stems: FxHashMap<Box<str>, Stem>,
    /// How many bytes the stems have, ascending.
    stem_lengths: Vec<usize>,
    /// Stems of the words of the table.
    stems_of: Vec<Symbol>,
    nodes: Vec<Node>,
    edges: FxHashMap<(u32, Symbol), u32>,
    /// From this number on (thousandths) the row that stands for it, ascending.
    numbers: Vec<(i64, RowId)>,
}

/// A word or a stem within phrases of several words.
type Symbol = u32;

#[derive(Clone, Copy)]
struct Word {
    /// The phrases of one word that it is.
    row: RowId,
    symbol: Symbol,
    /// The node of the phrases that begin with it.
    begins: u32,
    /// In [`Phrases::stems_of`]: those at which a phrase of several words ends.
    stems: Part,
}

#[derive(Clone, Copy)]
struct Stem {
    /// The phrase that it is by itself.
    row: RowId,
    symbol: Symbol,
}

/// Words that begin a phrase.
#[derive(Clone, Copy)]
struct Node {
    /// The phrase that ends here.
    row: RowId,
    /// The symbols with which a phrase goes on, by their numbers modulo 64, as bits: most words dismiss a node by it.
    next: u64,
    goes_on_with_stem: bool,
}

impl Node {
    fn goes_on_with(self, symbol: Symbol) -> bool {
        self.next >> (symbol % 64) & 1 == 1
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            row: NONE,
            next: 0,
            goes_on_with_stem: false,
        }
    }
}

/// Rows that were made, each once.
#[derive(Default)]
struct Rows {
    rows: Vec<Vec<u32>>,
    by_phrases: FxHashMap<Vec<u32>, RowId>,
}

impl Rows {
    fn of(&mut self, phrases: impl IntoIterator<Item = u32>) -> RowId {
        let phrases: BTreeSet<u32> = phrases.into_iter().collect();
        if phrases.is_empty() {
            return NONE;
        }
        let phrases: Vec<u32> = phrases.into_iter().collect();
        *self.by_phrases.entry(phrases.clone()).or_insert_with(|| {
            self.rows.push(phrases);
            self.rows.len() as u32 - 1
        })
    }
}

/// What a pass needs beside the text; kept from turn to turn.
#[derive(Default)]
pub struct Walk {
    /// Nodes that the last word reached, and where their phrases begin.
    reached: Vec<(u32, u16)>,
    next: Vec<(u32, u16)>,
    stems: Vec<Symbol>,
}

impl Phrases {
    /// Numbers the phrases by their place in `wordings`, then the ranges; returns each row's phrases beside them, by which
    /// the rows are numbered until [`Self::renumber`].
    pub fn new<'p>(
        wordings: impl IntoIterator<Item = &'p str>,
        ranges: &[(i64, i64)],
        common: impl IntoIterator<Item = &'p str>,
    ) -> (Self, Vec<Vec<u32>>) {
        let mut phrases = Self::default();
        let mut rows = Rows::default();
        // By their words: how the phrase is numbered.
        let (mut whole, mut begun) = (BTreeMap::<&str, u32>::new(), BTreeMap::<&str, u32>::new());
        let mut several: Vec<(Vec<&str>, u32)> = Vec::new();
        let mut vocabulary: BTreeSet<&str> = common.into_iter().collect();
        let mut count = 0;
        for (number, wording) in (0..).zip(wordings) {
            let words: Vec<&str> = wording.split(' ').collect();
            vocabulary.extend(words.iter().filter(|word| !word.ends_with('*')));
            match (&words[..], words[0].strip_suffix('*')) {
                ([_], Some(stem)) => drop(begun.insert(stem, number)),
                ([word], None) => drop(whole.insert(word, number)),
                _ => several.push((words, number)),
            }
            count = number + 1;
        }
        let ending_stems: BTreeSet<&str> = several
            .iter()
            .filter_map(|(words, _)| words.last()?.strip_suffix('*'))
            .collect();
        for (symbol, stem) in (0..).zip(begun.keys().copied().chain(ending_stems.iter().copied())) {
            let row = rows.of(begun.get(stem).copied());
            phrases.stems.entry(stem.into()).or_insert(Stem { row, symbol });
        }
        let lengths: BTreeSet<usize> = phrases.stems.keys().map(|stem| stem.len()).collect();
        phrases.stem_lengths = lengths.into_iter().collect();
        let stems = (begun.len() + ending_stems.len()) as u32;
        for (symbol, word) in (stems..).zip(&vocabulary) {
            let all = beginnings(word, &phrases.stem_lengths);
            let begun = all.clone().filter_map(|stem| begun.get(stem).copied());
            let row = rows.of(whole.get(word).copied().into_iter().chain(begun));
            let ending = all.filter(|stem| ending_stems.contains(stem));
            let ending = ending.map(|stem| phrases.stems[stem].symbol);
            let known = Word {
                row,
                symbol,
                begins: NONE,
                stems: Part::added(&mut phrases.stems_of, ending),
            };
            phrases.words.insert((*word).into(), known);
        }
        for (words, number) in several {
            phrases.plant(&words, rows.of([number]));
        }
        phrases.numbers = intervals(ranges, |holding| rows.of(holding.map(|range| count + range)));
        (phrases, rows.rows)
    }

    /// Calls each row by its new name.
    pub fn renumber(&mut self, rows: &[RowId]) {
        let words = self.words.values_mut().map(|word| &mut word.row);
        let stems = self.stems.values_mut().map(|stem| &mut stem.row);
        let nodes = self.nodes.iter_mut().map(|node| &mut node.row);
        let numbers = self.numbers.iter_mut().map(|(_, row)| row);
        for row in words
            .chain(stems)
            .chain(nodes)
            .chain(numbers)
            .filter(|row| **row != NONE)
        {
            *row = rows[*row as usize];
        }
    }

    /// Puts a phrase of several words into the tree.
    fn plant(&mut self, words: &[&str], row: RowId) {
        let first = self.words.get_mut(words[0]).expect("it is in the vocabulary");
        if first.begins == NONE {
            first.begins = self.nodes.len() as u32;
            self.nodes.push(Node::default());
        }
        let mut node = first.begins;
        for word in &words[1..] {
            let stem = word.strip_suffix('*');
            let symbol = stem.map_or_else(|| self.words[*word].symbol, |stem| self.stems[stem].symbol);
            self.nodes[node as usize].next |= 1 << (symbol % 64);
            self.nodes[node as usize].goes_on_with_stem |= stem.is_some();
            node = *self.edges.entry((node, symbol)).or_insert_with(|| {
                self.nodes.push(Node::default());
                self.nodes.len() as u32 - 1
            });
        }
        self.nodes[node as usize].row = row;
    }

    /// Puts all hits behind each other, in the order of their last tokens.
    pub fn find(&self, tokens: &Tokens, walk: &mut Walk, found: &mut Vec<Hit>) {
        walk.reached.clear();
        for (at, token) in (0u16..).zip(&tokens.tokens) {
            self.at_token(tokens.word(usize::from(at)), at, walk, found);
            if let Some(row) = self.of_number(token) {
                found.push(Hit {
                    first: at,
                    last: at,
                    row,
                });
            }
        }
    }

    fn at_token(&self, text: &str, at: u16, walk: &mut Walk, found: &mut Vec<Hit>) {
        let mut hit = |first: u16, row: RowId| {
            if row != NONE {
                found.push(Hit { first, last: at, row });
            }
        };
        walk.next.clear();
        let word = self.words.get(text);
        let stems: &[Symbol] = match word {
            Some(word) => {
                hit(at, word.row);
                word.stems.of(&self.stems_of)
            }
            None => {
                walk.stems.clear();
                for stem in beginnings(text, &self.stem_lengths).filter_map(|stem| self.stems.get(stem)) {
                    hit(at, stem.row);
                    walk.stems.push(stem.symbol);
                }
                &walk.stems
            }
        };
        for (at_node, first) in &walk.reached {
            let node = self.nodes[*at_node as usize];
            let mut reach = |symbol: Symbol| {
                if !node.goes_on_with(symbol) {
                    return;
                }
                if let Some(to) = self.edges.get(&(*at_node, symbol)) {
                    let to_node = self.nodes[*to as usize];
                    hit(*first, to_node.row);
                    if to_node.next != 0 {
                        walk.next.push((*to, *first));
                    }
                }
            };
            if let Some(word) = word {
                reach(word.symbol);
            }
            if node.goes_on_with_stem {
                stems.iter().for_each(|stem| reach(*stem));
            }
        }
        if let Some(word) = word.filter(|word| word.begins != NONE) {
            walk.next.push((word.begins, at));
        }
        std::mem::swap(&mut walk.reached, &mut walk.next);
    }

    fn of_number(&self, token: &Token) -> Option<RowId> {
        let thousandths = (f64::from(token.number?) * 1000.0).round() as i64;
        let after = self.numbers.partition_point(|(from, _)| *from <= thousandths);
        let (_, row) = self.numbers[..after].last()?;
        (*row != NONE).then_some(*row)
    }
}

/// The beginnings of a word that have one of these lengths, which ascend.
fn beginnings<'w>(word: &'w str, lengths: &[usize]) -> impl Iterator<Item = &'w str> + Clone {
    let fitting = lengths.iter().take_while(|length| **length <= word.len());
    fitting.filter_map(|length| word.get(..*length))
}

/// Cuts the line of numbers where a range begins or ends; `row` is asked for the ranges that hold each piece.
fn intervals(ranges: &[(i64, i64)], mut row: impl FnMut(&mut dyn Iterator<Item = u32>) -> RowId) -> Vec<(i64, RowId)> {
    let cuts: BTreeSet<i64> = ranges.iter().flat_map(|(low, high)| [*low, high + 1]).collect();
    let piece = |from: i64| {
        let holding = (0..)
            .zip(ranges)
            .filter(|(_, (low, high))| (*low..=*high).contains(&from));
        (from, row(&mut holding.map(|(range, _)| range)))
    };
    cuts.into_iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::normalize::normalize;

    #[test]
    fn words_stems_phrases_and_numbers_are_found_where_they_stand() {
        let wordings = ["pain", "bleed*", "blee*", "can not", "can not breath*", "not", "2"];
        let (phrases, rows) = Phrases::new(wordings, &[(1000, 5000), (2000, 9000)], ["bleeds"]);
        let of = |text: &str| {
            let mut found = Vec::new();
            phrases.find(&normalize(text), &mut Walk::default(), &mut found);
            let all = found.iter().flat_map(|hit| {
                let of_row = rows[hit.row as usize].iter();
                of_row.map(|phrase| (hit.first, hit.last, *phrase))
            });
            let mut all: Vec<_> = all.collect();
            all.sort_unstable();
            all
        };
        assert_eq!(of("pain"), [(0, 0, 0)]);
        assert_eq!(of("nothing"), []);
        // In the table and not in it.
        assert_eq!(of("bleeds"), [(0, 0, 1), (0, 0, 2)]);
        assert_eq!(of("bleeding bleep"), [(0, 0, 1), (0, 0, 2), (1, 1, 2)]);
        assert_eq!(of("can't breathe"), [(0, 1, 3), (0, 2, 4), (1, 1, 5)]);
        assert_eq!(
            of("can can not breathe pain"),
            [(1, 2, 3), (1, 3, 4), (2, 2, 5), (4, 4, 0)]
        );
        assert_eq!(of("two"), [(0, 0, 6), (0, 0, 7), (0, 0, 8)]);
        assert_eq!(of("9 10"), [(0, 0, 8)]);
        assert_eq!(of("0.5"), []);
    }
}
