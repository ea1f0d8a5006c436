//! What a speech recogniser or a chat wrote → comparable tokens.
//!
//! Lower case; contractions are written out (`can't` → `can not`); number words become digits (`one ninety over one
//! ten` → `190 over 110`); fillers vanish; marks of sentences and some conjunctions begin a new clause. Patterns of
//! the lexicon pass through the same function, so that both sides are written naturally.

use std::borrow::Cow;

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
    let mut words = split(text);
    join_numbers(&mut words);
    lay_out(words)
}

/// A word on its way: its mark tells what stood before it.
struct Word<'t> {
    text: Cow<'t, str>,
    source: (u32, u32),
    mark: Mark,
    number: Option<f32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    None,
    Comma,
    Sentence,
    Question,
}

fn split(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::with_capacity(text.len() / 4);
    let mut mark = Mark::None;
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let start = at;
        at += first.len_utf8();
        if !first.is_alphanumeric() {
            let seen = match first {
                ' ' => continue,
                '?' => Mark::Question,
                '.' if text[at..].starts_with('.') || ends_a_title(&words) => Mark::None,
                // Three dots are a pause for breath, not an end.
                '.' if text[..start].ends_with('.') => Mark::Comma,
                '.' | '!' | ';' | ':' | '\n' => Mark::Sentence,
                ',' | '–' | '—' | '(' | ')' | '…' => Mark::Comma,
                '/' if between_digits(text, start) => {
                    push(&mut words, "over", (start, at), &mut mark);
                    continue;
                }
                _ => continue,
            };
            mark = mark.max(seen);
            continue;
        }
        at = if first.is_ascii_digit() {
            end_of_number(text, at)
        } else {
            end_of_word(text, at)
        };
        push(&mut words, &text[start..at], (start, at), &mut mark);
    }
    if mark == Mark::Question
        && let Some(last) = words.last_mut()
    {
        // The mark belongs before the next word; at the end there is none, so an empty word carries it.
        let end = last.source.1;
        words.push(Word {
            text: Cow::Borrowed(""),
            source: (end, end),
            mark,
            number: None,
        });
    }
    words
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
    loop {
        let rest = &text[at..];
        at += rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let mut next = text[at..].chars();
        match next.next() {
            Some(c) if c.is_alphabetic() => at += c.len_utf8(),
            Some(c) if is_apostrophe(c) && next.next().is_some_and(char::is_alphabetic) => at += c.len_utf8(),
            _ => return at,
        }
    }
}

/// "Dr." and its kin end no sentence.
fn ends_a_title(words: &[Word<'_>]) -> bool {
    matches!(
        words.last().map(|word| &*word.text),
        Some("dr" | "mr" | "mrs" | "ms" | "st" | "prof")
    )
}

fn between_digits(text: &str, at: usize) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    digit(text[..at].chars().next_back()) && digit(text[at + 1..].chars().next())
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`')
}

fn push<'t>(words: &mut Vec<Word<'t>>, raw: &'t str, source: (usize, usize), mark: &mut Mark) {
    let plain = raw
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.');
    let word: Cow<'t, str> = if plain {
        raw.into()
    } else if raw.is_ascii() {
        raw.to_ascii_lowercase().replace('`', "'").into()
    } else {
        raw.nfkc()
            .flat_map(char::to_lowercase)
            .map(|c| if is_apostrophe(c) { '\'' } else { c })
            .collect()
    };
    // "to the er" is a place
    let place = word == "er" && matches!(words.last().map(|w| &*w.text), Some("the" | "an" | "to" | "nearest"));
    if is_filler(&word) && !place {
        return;
    }
    let source = (source.0 as u32, source.1 as u32);
    let mut add = |text: Cow<'t, str>| {
        words.push(Word {
            text,
            source,
            mark: *mark,
            number: None,
        });
        *mark = Mark::None;
    };
    if let Some(parts) = written_out(&word) {
        parts.iter().for_each(|part| add(Cow::Borrowed(part)));
        return;
    }
    const ENDINGS: [(&str, &str); 7] = [
        ("n't", "not"),
        ("'s", "is"),
        ("'m", "am"),
        ("'ve", "have"),
        ("'re", "are"),
        ("'ll", "will"),
        ("'d", "would"),
    ];
    for (ending, full) in ENDINGS.into_iter().filter(|_| word.contains('\'')) {
        if word.len() > ending.len() && word.ends_with(ending) {
            add(front(word, ending.len()));
            add(Cow::Borrowed(full));
            return;
        }
    }
    add(word);
}

/// All but the last bytes.
fn front(word: Cow<'_, str>, without: usize) -> Cow<'_, str> {
    let keep = word.len() - without;
    match word {
        Cow::Borrowed(word) => Cow::Borrowed(&word[..keep]),
        Cow::Owned(mut word) => {
            word.truncate(keep);
            Cow::Owned(word)
        }
    }
}

fn is_filler(word: &str) -> bool {
    matches!(
        word,
        "um" | "uh" | "er" | "erm" | "hmm" | "mm" | "uhm" | "umm" | "ah" | "eh"
    )
}

fn written_out(word: &str) -> Option<&'static [&'static str]> {
    Some(match word {
        "can't" | "cannot" | "cant" => &["can", "not"],
        "won't" | "wont" => &["will", "not"],
        "shan't" => &["shall", "not"],
        "ain't" | "aint" => &["is", "not"],
        "dont" => &["do", "not"],
        "doesnt" => &["does", "not"],
        "didnt" => &["did", "not"],
        "isnt" => &["is", "not"],
        "wasnt" => &["was", "not"],
        "arent" => &["are", "not"],
        "werent" => &["were", "not"],
        "hasnt" => &["has", "not"],
        "havent" => &["have", "not"],
        "hadnt" => &["had", "not"],
        "couldnt" => &["could", "not"],
        "wouldnt" => &["would", "not"],
        "shouldnt" => &["should", "not"],
        "im" => &["i", "am"],
        "ive" => &["i", "have"],
        "gonna" => &["going", "to"],
        "wanna" => &["want", "to"],
        "gotta" => &["got", "to"],
        "kinda" => &["kind", "of"],
        "sorta" => &["sort", "of"],
        "lotta" => &["lot", "of"],
        "outta" => &["out", "of"],
        "theyre" => &["they", "are"],
        "youre" => &["you", "are"],
        "hes" => &["he", "is"],
        "shes" => &["she", "is"],
        "thats" => &["that", "is"],
        "whats" => &["what", "is"],
        "theres" => &["there", "is"],
        "'em" => &["them"],
        _ => return None,
    })
}

fn unit(word: &str) -> Option<f32> {
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
    // Number words begin with one of these letters: most words are none and leave at once.
    if !word.starts_with(['z', 'o', 't', 'f', 's', 'e', 'n']) {
        return None;
    }
    UNITS.iter().position(|unit| *unit == word).map(|value| value as f32)
}

fn ten(word: &str) -> Option<f32> {
    const TENS: [&str; 8] = [
        "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ];
    if !word.ends_with("ty") {
        return None;
    }
    TENS.iter()
        .position(|ten| *ten == word)
        .map(|value| (value as f32 + 2.0) * 10.0)
}

/// Number words and digits → one numeric word each, in the readings that people use on the telephone.
fn join_numbers(words: &mut Vec<Word<'_>>) {
    let mut out = 0;
    let mut at = 0;
    while at < words.len() {
        if let Some((value, next)) = read_number(words, at) {
            let source = (words[at].source.0, words[next - 1].source.1);
            let mark = words[at].mark;
            words[out] = Word {
                text: Cow::Owned(format!("{value}")),
                source,
                mark,
                number: Some(value),
            };
            at = next;
        } else {
            words.swap(out, at);
            at += 1;
        }
        out += 1;
    }
    words.truncate(out);
}

/// The number that begins at `at`, and where it ends.
fn read_number(words: &[Word<'_>], at: usize) -> Option<(f32, usize)> {
    // A number does not run over a mark.
    let word = |i: usize| match words.get(i) {
        Some(word) if i == at || word.mark == Mark::None => &*word.text,
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

/// Conjunctions that begin a clause wherever they stand.
fn turns(word: &str) -> bool {
    matches!(
        word,
        "but" | "however" | "although" | "though" | "except" | "because" | "cause" | "unless" | "until"
    )
}

/// "and", "so" or "now" before one of these begins a clause as well.
fn begins_anew(word: &str) -> bool {
    matches!(
        word,
        "i" | "my" | "now" | "he" | "she" | "his" | "her" | "it" | "they" | "then" | "the" | "we" | "today"
    )
}

/// After a comma these begin a clause; other words go on in it, so that lists stay whole.
fn begins_after_comma(word: &str) -> bool {
    begins_anew(word)
        || matches!(
            word,
            "you" | "there" | "this" | "that" | "just" | "so" | "since" | "yesterday"
        )
}

/// Into these a sentence may run on: "my chest, it hurts".
fn runs_on(word: &str) -> bool {
    matches!(word, "it" | "they" | "that" | "just" | "so" | "and" | "now")
}

fn lay_out(words: Vec<Word<'_>>) -> Tokens {
    let mut laid = Tokens {
        text: String::with_capacity(words.len() * 6),
        tokens: Vec::with_capacity(words.len()),
        ..Tokens::default()
    };
    laid.text.push(' ');
    let (mut clause, mut stretch, mut sentence) = (0u16, 0u16, 0u16);
    for (i, word) in words.iter().enumerate() {
        let text = &*word.text;
        let next = words.get(i + 1).map_or("", |next| &*next.text);
        let new = i > 0
            && (word.mark >= Mark::Sentence
                || (word.mark == Mark::Comma && begins_after_comma(text))
                || turns(text)
                || (matches!(text, "and" | "so" | "now") && begins_anew(next)));
        sentence += u16::from(i > 0 && word.mark >= Mark::Sentence);
        if new {
            if word.mark == Mark::Question {
                laid.questions.push(clause);
            }
            clause = clause.saturating_add(1);
            if !runs_on(text) {
                stretch = clause;
            }
        }
        if text.is_empty() {
            continue;
        }
        let start = laid.text.len() as u32;
        laid.text.push_str(text);
        let end = laid.text.len() as u32;
        laid.text.push(' ');
        laid.tokens.push(Token {
            start,
            end,
            source: word.source,
            clause,
            stretch,
            sentence,
            number: word.number,
            after_comma: word.mark == Mark::Comma,
        });
    }
    laid
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
