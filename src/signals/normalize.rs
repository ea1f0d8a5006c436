//! What a speech recogniser or a chat wrote → comparable tokens.
//!
//! Lower case; contractions are written out (`can't` → `can not`); number words become digits (`one ninety over one
//! ten` → `190 over 110`); fillers vanish; marks of sentences and some conjunctions begin a new clause. Patterns of
//! the lexicon pass through the same function, so that both sides are written naturally.

use std::fmt::Write as _;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use unicode_normalization::UnicodeNormalization;

/// One word of the normalised text.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Bytes of [`Tokens::text`].
    pub start: u32,
    pub end: u32,
    /// Bytes of the text as it came.
    pub source: (u32, u32),
    /// Clauses are numbered from 0.
    pub clause: u16,
    /// Clauses over which one expression may run on share a stretch.
    pub stretch: u16,
    /// Sentences end at their marks alone.
    pub sentence: u16,
    pub number: Option<f32>,
    /// A comma stands before it.
    pub after_comma: bool,
}

/// The normalised text: each word has a space before and behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    pub text: String,
    pub tokens: Vec<Token>,
    /// Clauses that end in a question mark.
    pub questions: Vec<u16>,
}

impl Tokens {
    pub fn word(&self, index: usize) -> &str {
        let token = &self.tokens[index];
        &self.text[token.start as usize..token.end as usize]
    }
}

pub fn normalize(text: &str) -> Tokens {
    let mut said = Said::with_room_for(text);
    said.split(text);
    if said.words.iter().any(|word| word.means & NUMBER != 0) {
        said.join_numbers();
    }
    said.lay_out()
}

/// A word on its way: its mark tells what stood before it.
#[derive(Clone, Copy)]
struct Word {
    /// Bytes of [`Said::text`].
    start: u32,
    end: u32,
    source: (u32, u32),
    mark: Mark,
    /// What the word does here, as bits.
    means: u16,
    number: Option<f32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    None,
    Comma,
    Sentence,
    Question,
}

/// "Dr." and its kin end no sentence.
const TITLE: u16 = 1;
/// A number may begin with it.
const NUMBER: u16 = 2;
/// Begins a clause wherever it stands.
const TURNS: u16 = 4;
/// "and", "so" or "now" before one of these begins a clause as well, and so does a comma.
const BEGINS_ANEW: u16 = 8;
/// After a comma these begin a clause besides; other words go on in it, so that lists stay whole.
const BEGINS_AFTER_COMMA: u16 = 16;
/// Into these a sentence may run on: "my chest, it hurts".
const RUNS_ON: u16 = 32;
/// Begins a clause before a word that begins anew.
const JOINS: u16 = 64;

const WORDS_THAT: [(u16, &str); 7] = [
    (TITLE, "dr mr mrs ms st prof"),
    (NUMBER, "a"),
    (TURNS, "but however although though except because cause unless until"),
    (BEGINS_ANEW, "i my now he she his her it they then the we today"),
    (BEGINS_AFTER_COMMA, "you there this that just so since yesterday"),
    (RUNS_ON, "it they that just so and now"),
    (JOINS, "and so now"),
];

const FILLERS: &str = "um uh er erm hmm mm uhm umm ah eh";

const WRITTEN_OUT: [(&str, &[&str]); 38] = [
    ("can't", &["can", "not"]),
    ("cannot", &["can", "not"]),
    ("cant", &["can", "not"]),
    ("won't", &["will", "not"]),
    ("wont", &["will", "not"]),
    ("shan't", &["shall", "not"]),
    ("ain't", &["is", "not"]),
    ("aint", &["is", "not"]),
    ("dont", &["do", "not"]),
    ("doesnt", &["does", "not"]),
    ("didnt", &["did", "not"]),
    ("isnt", &["is", "not"]),
    ("wasnt", &["was", "not"]),
    ("arent", &["are", "not"]),
    ("werent", &["were", "not"]),
    ("hasnt", &["has", "not"]),
    ("havent", &["have", "not"]),
    ("hadnt", &["had", "not"]),
    ("couldnt", &["could", "not"]),
    ("wouldnt", &["would", "not"]),
    ("shouldnt", &["should", "not"]),
    ("im", &["i", "am"]),
    ("ive", &["i", "have"]),
    ("gonna", &["going", "to"]),
    ("wanna", &["want", "to"]),
    ("gotta", &["got", "to"]),
    ("kinda", &["kind", "of"]),
    ("sorta", &["sort", "of"]),
    ("lotta", &["lot", "of"]),
    ("outta", &["out", "of"]),
    ("theyre", &["they", "are"]),
    ("youre", &["you", "are"]),
    ("hes", &["he", "is"]),
    ("shes", &["she", "is"]),
    ("thats", &["that", "is"]),
    ("whats", &["what", "is"]),
    ("theres", &["there", "is"]),
    ("'em", &["them"]),
];

/// "Neck's" is "neck is".
const ENDINGS: [(&str, &str); 7] = [
    ("n't", "not"),
    ("'s", "is"),
    ("'m", "am"),
    ("'ve", "have"),
    ("'re", "are"),
    ("'ll", "will"),
    ("'d", "would"),
];

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

/// What is to be done with a word of its own kind; most words are of none.
#[derive(Clone, Copy, Default)]
struct Known {
    filler: bool,
    written_out: &'static [&'static str],
    means: u16,
}

static KNOWN: LazyLock<FxHashMap<&'static str, Known>> = LazyLock::new(|| {
    let mut known: FxHashMap<&str, Known> = FxHashMap::default();
    for filler in FILLERS.split(' ') {
        known.entry(filler).or_default().filler = true;
    }
    for (word, parts) in WRITTEN_OUT {
        known.entry(word).or_default().written_out = parts;
    }
    for (means, words) in WORDS_THAT {
        for word in words.split(' ') {
            known.entry(word).or_default().means |= means;
        }
    }
    for number in UNITS.into_iter().chain(TENS) {
        known.entry(number).or_default().means |= NUMBER;
    }
    known
});

/// The text as it is being normalised.
struct Said {
    text: String,
    words: Vec<Word>,
    /// The mark behind the last word.
    mark: Mark,
}

impl Said {
    fn with_room_for(text: &str) -> Self {
        let mut said = Self {
            text: String::with_capacity(text.len() + text.len() / 8 + 16),
            words: Vec::with_capacity(text.len() / 4 + 2),
            mark: Mark::None,
        };
        said.text.push(' ');
        said
    }

    fn word(&self, at: usize) -> &str {
        let word = &self.words[at];
        &self.text[word.start as usize..word.end as usize]
    }

    fn last(&self) -> &str {
        self.words.len().checked_sub(1).map_or("", |last| self.word(last))
    }

    fn split(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            if bytes[at].is_ascii_alphabetic() {
                at = end_of_word(text, at + 1);
                self.read(&text[start..at], (start, at));
                continue;
            }
            if bytes[at] == b' ' {
                at += 1;
                continue;
            }
            let first = text[at..].chars().next().expect("it is not the end");
            at += first.len_utf8();
            if first.is_alphanumeric() {
                at = if first.is_ascii_digit() {
                    end_of_number(text, at)
                } else {
                    end_of_word(text, at)
                };
                self.read(&text[start..at], (start, at));
                continue;
            }
            let seen = match first {
                '?' => Mark::Question,
                '.' if text[at..].starts_with('.') || self.ends_in_title() => Mark::None,
                // Three dots are a pause for breath, not an end.
                '.' if text[..start].ends_with('.') => Mark::Comma,
                '.' | '!' | ';' | ':' | '\n' => Mark::Sentence,
                ',' | '–' | '—' | '(' | ')' | '…' => Mark::Comma,
                '/' if between_digits(text, start) => {
                    self.read("over", (start, at));
                    continue;
                }
                _ => Mark::None,
            };
            self.mark = self.mark.max(seen);
        }
    }

    fn ends_in_title(&self) -> bool {
        self.words.last().is_some_and(|word| word.means & TITLE != 0)
    }

    /// Takes in a word as it came.
    fn read(&mut self, raw: &str, source: (usize, usize)) {
        let start = self.text.len();
        let plain = raw
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.');
        if plain {
            self.text.push_str(raw);
        } else if raw.is_ascii() {
            let lower = raw.bytes().map(|byte| match byte {
                b'`' => '\'',
                byte => byte.to_ascii_lowercase().into(),
            });
            self.text.extend(lower);
        } else {
            let lower = raw
                .nfkc()
                .flat_map(char::to_lowercase)
                .map(|c| if is_apostrophe(c) { '\'' } else { c });
            self.text.extend(lower);
        }
        let word = &self.text[start..];
        let known = KNOWN.get(word).copied().unwrap_or_default();
        // "to the er" is a place
        let place = || word == "er" && matches!(self.last(), "the" | "an" | "to" | "nearest");
        let source = (source.0 as u32, source.1 as u32);
        if known.filler && !place() {
            self.text.truncate(start);
        } else if !known.written_out.is_empty() {
            self.text.truncate(start);
            for part in known.written_out {
                self.append(part, source);
            }
        } else if let Some((ending, full)) = (!plain).then(|| ending(word)).flatten() {
            self.text.truncate(self.text.len() - ending.len());
            let front = KNOWN.get(&self.text[start..]).map_or(0, |known| known.means);
            self.close(start, source, front);
            self.append(full, source);
        } else {
            let digit = raw.as_bytes()[0].is_ascii_digit();
            self.close(start, source, known.means | if digit { NUMBER } else { 0 });
        }
    }

    fn append(&mut self, word: &str, source: (u32, u32)) {
        let start = self.text.len();
        self.text.push_str(word);
        let means = KNOWN.get(word).map_or(0, |known| known.means);
        self.close(start, source, means);
    }

    /// The text from `start` on is a word.
    fn close(&mut self, start: usize, source: (u32, u32), means: u16) {
        self.words.push(Word {
            start: start as u32,
            end: self.text.len() as u32,
            source,
            mark: self.mark,
            means,
            number: None,
        });
        self.text.push(' ');
        self.mark = Mark::None;
    }

    /// Number words and digits → one numeric word each, in the readings that people use on the telephone.
    fn join_numbers(&mut self) {
        let mut joined = Self {
            text: String::with_capacity(self.text.len() + 8),
            words: Vec::with_capacity(self.words.len()),
            mark: self.mark,
        };
        joined.text.push(' ');
        let mut at = 0;
        while at < self.words.len() {
            let start = joined.text.len();
            let mut word = self.words[at];
            let read = (word.means & NUMBER != 0).then(|| self.read_number(at)).flatten();
            if let Some((value, next)) = read {
                write!(joined.text, "{value}").expect("a text takes all");
                word.source.1 = self.words[next - 1].source.1;
                word.number = Some(value);
                word.means = 0;
                at = next;
            } else {
                joined.text.push_str(self.word(at));
                at += 1;
            }
            (word.start, word.end) = (start as u32, joined.text.len() as u32);
            joined.text.push(' ');
            joined.words.push(word);
        }
        *self = joined;
    }

    /// The number that begins at `at`, and where it ends.
    fn read_number(&self, at: usize) -> Option<(f32, usize)> {
        // A number does not run over a mark.
        let word = |i: usize| match self.words.get(i) {
            Some(word) if i == at || word.mark == Mark::None => self.word(i),
            _ => "",
        };
        if word(at).starts_with(|c: char| c.is_ascii_digit()) {
            return word(at).parse().ok().map(|value| (value, at + 1));
        }
        let small = |i: usize| -> Option<(f32, usize)> {
            if let Some(tens) = ten(word(i)) {
                return match unit(word(i + 1)) {
                    Some(ones) if (1.0..10.0).contains(&ones) => Some((tens + ones, i + 2)),
                    _ => Some((tens, i + 1)),
                };
            }
            unit(word(i)).map(|value| (value, i + 1))
        };
        let (mut value, mut next) = if word(at) == "a" && word(at + 1) == "hundred" {
            (1.0, at + 1)
        } else {
            small(at)?
        };
        let single = next == at + 1 && unit(word(at)).is_some();
        if word(next) == "hundred" {
            value *= 100.0;
            next += 1;
            let rest = if word(next) == "and" { next + 1 } else { next };
            if let Some((more, end)) = small(rest) {
                value += more;
                next = end;
            }
        } else if single && (1.0..10.0).contains(&value) && matches!(word(next), "oh" | "o") {
            if let Some(ones) = unit(word(next + 1)) {
                value = value * 100.0 + ones;
                next += 2;
            }
        } else if (value == 19.0 || value == 20.0) && next == at + 1 {
            // "twenty nineteen", "nineteen eighty five": a year
            if let Some((more, end)) = small(next)
                && (10.0..100.0).contains(&more)
            {
                value = value * 100.0 + more;
                next = end;
            }
        } else if single && (1.0..=6.0).contains(&value) {
            // "one ninety", "two ten": a reading of a pressure or a sugar
            if let Some((more, end)) = small(next)
                && (10.0..100.0).contains(&more)
            {
                value = value * 100.0 + more;
                next = end;
            }
        }
        if word(next) == "point"
            && let Some(tenths) = unit(word(next + 1)).filter(|tenths| *tenths < 10.0)
        {
            value += tenths / 10.0;
            next += 2;
        }
        Some((value, next))
    }

    fn lay_out(self) -> Tokens {
        let mut tokens = Vec::with_capacity(self.words.len());
        let mut questions = Vec::new();
        let (mut clause, mut stretch, mut sentence) = (0u16, 0u16, 0u16);
        for (i, word) in self.words.iter().enumerate() {
            let next = self.words.get(i + 1).map_or(0, |next| next.means);
            let after_comma = word.mark == Mark::Comma;
            let new = i > 0
                && (word.mark >= Mark::Sentence
                    || (after_comma && word.means & (BEGINS_ANEW | BEGINS_AFTER_COMMA) != 0)
                    || word.means & TURNS != 0
                    || (word.means & JOINS != 0 && next & BEGINS_ANEW != 0));
            sentence += u16::from(i > 0 && word.mark >= Mark::Sentence);
            if new {
                if word.mark == Mark::Question {
                    questions.push(clause);
                }
                clause = clause.saturating_add(1);
                if word.means & RUNS_ON == 0 {
                    stretch = clause;
                }
            }
            tokens.push(Token {
                start: word.start,
                end: word.end,
                source: word.source,
                clause,
                stretch,
                sentence,
                number: word.number,
                after_comma,
            });
        }
        if self.mark == Mark::Question && !self.words.is_empty() {
            questions.push(clause);
        }
        Tokens {
            text: self.text,
            tokens,
            questions,
        }
    }
}

fn end_of_number(text: &str, mut at: usize) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    while digit(at) || (bytes.get(at) == Some(&b'.') && digit(at + 1)) {
        at += 1;
    }
    at
}

fn end_of_word(text: &str, mut at: usize) -> usize {
    let bytes = text.as_bytes();
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_lowercase) {
            at += 1;
        }
        if matches!(bytes.get(at), None | Some(b' ' | b',' | b'.')) {
            return at;
        }
        let mut next = text[at..].chars();
        match next.next() {
            Some(c) if c.is_alphabetic() => at += c.len_utf8(),
            Some(c) if is_apostrophe(c) && next.next().is_some_and(char::is_alphabetic) => at += c.len_utf8(),
            _ => return at,
        }
    }
}

fn between_digits(text: &str, at: usize) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    digit(text[..at].chars().next_back()) && digit(text[at + 1..].chars().next())
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`')
}

/// The contracted word at the end of this one, and what it stands for.
fn ending(word: &str) -> Option<(&'static str, &'static str)> {
    let fits = |ending: &str| word.len() > ending.len() && word.ends_with(ending);
    if !word.contains('\'') {
        return None;
    }
    ENDINGS.into_iter().find(|(ending, _)| fits(ending))
}

fn unit(word: &str) -> Option<f32> {
    UNITS.iter().position(|unit| *unit == word).map(|value| value as f32)
}

fn ten(word: &str) -> Option<f32> {
    if !word.ends_with("ty") {
        return None;
    }
    TENS.iter()
        .position(|ten| *ten == word)
        .map(|value| (value as f32 + 2.0) * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        normalize(text).text.trim().to_owned()
    }

    #[test]
    fn contractions_are_written_out_with_and_without_apostrophe() {
        assert_eq!(plain("I can’t, it's—I dont"), "i can not it is i do not");
        assert_eq!(plain("cannot won't neck's"), "can not will not neck is");
    }

    #[test]
    fn spoken_numbers_become_digits() {
        for (said, meant) in [
            ("one ninety over one ten", "190 over 110"),
            ("190/110", "190 over 110"),
            ("sats of eighty six", "sats of 86"),
            ("a hundred and three point five", "103.5"),
            ("one hundred and four", "104"),
            ("one oh four", "104"),
            ("two-ten over one-twenty", "210 over 120"),
            ("it reads 38.5.", "it reads 38.5"),
            ("two of my three pills", "2 of my 3 pills"),
            ("page one, two pages", "page 1 2 pages"),
            ("in twenty nineteen or nineteen eighty five", "in 2019 or 1985"),
            ("twenty pills at twenty five", "20 pills at 25"),
        ] {
            assert_eq!(plain(said), meant, "{said}");
        }
    }

    #[test]
    fn clauses_end_at_marks_and_conjunctions() {
        let clauses = |text: &str| normalize(text).tokens.last().unwrap().clause;
        assert_eq!(clauses("no fever, chills or cough"), 0);
        assert_eq!(clauses("no fever but my chest hurts"), 1);
        assert_eq!(clauses("no fever and my chest hurts"), 1);
        assert_eq!(clauses("It hurts. A lot. Really?"), 2);
        assert_eq!(normalize("is it bad? it hurts").questions, [0]);
        assert_eq!(normalize("should I worry?").questions, [0]);
    }

    #[test]
    fn pauses_titles_and_places_end_nothing() {
        let clauses = |text: &str| normalize(text).tokens.last().unwrap().clause;
        assert_eq!(clauses("I can't... get my... breath"), 0);
        assert_eq!(clauses("bringing Dr. Shah to the phone"), 0);
        assert_eq!(plain("er, go to the ER"), "go to the er");
    }

    #[test]
    fn tokens_know_where_they_came_from() {
        let text = "Ähm, my chest’s TIGHT";
        let tokens = normalize(text);
        let last = tokens.tokens.last().unwrap();
        assert_eq!(&text[last.source.0 as usize..last.source.1 as usize], "TIGHT");
    }
}
