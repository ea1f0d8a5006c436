//! The words that raised a finding, kept to be shown.

use std::num::NonZero;
use std::sync::Arc;

use crate::record::Timestamp;
use crate::signals::ConceptId;

const MAX_CHARS: usize = 200;

/// The words that raised a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Quote {
    pub concept: ConceptId,
    /// Quotes of one turn share it.
    pub text: Arc<str>,
    pub seq: u64,
    pub at: Timestamp,
    pub strength: f32,
    /// How many numbers before it the question stands that it answers.
    pub asked_before: Option<NonZero<u16>>,
}

impl Quote {
    /// `seq` of the question that it answers.
    pub fn answer_to(&self) -> Option<u64> {
        self.seq.checked_sub(u64::from(self.asked_before?.get()))
    }
}

/// The text as these quotes hold it, else a new one.
pub(super) fn shared(quotes: &[Quote], text: &str) -> Arc<str> {
    let same = quotes.iter().find(|quote| *quote.text == *text);
    same.map_or_else(|| text.into(), |quote| Arc::clone(&quote.text))
}

/// At most 200 characters of the turn around the words, cut between words.
pub(super) fn excerpt(text: &str, (from, to): (u32, u32)) -> &str {
    let text = text.trim();
    if text.chars().nth(MAX_CHARS).is_none() {
        return text;
    }
    let mut middle = (from as usize).midpoint(to as usize).min(text.len());
    while !text.is_char_boundary(middle) {
        middle -= 1;
    }
    let place = |(at, _): (usize, char)| at;
    let mut low = text[..middle]
        .char_indices()
        .rev()
        .nth(MAX_CHARS / 2 - 1)
        .map_or(0, place);
    let high = text[low..].char_indices().nth(MAX_CHARS).map(|next| low + place(next));
    if high.is_none() {
        low = text.char_indices().rev().nth(MAX_CHARS - 1).map_or(0, place);
    }
    let window = &text[low..high.unwrap_or(text.len())];
    let begin = if low == 0 {
        0
    } else {
        window.find(' ').map_or(0, |at| at + 1)
    };
    let end = match high {
        Some(_) => window.rfind(' ').unwrap_or(window.len()),
        None => window.len(),
    };
    &window[begin..end.max(begin)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_keeps_the_words_and_the_limit() {
        let text = format!("{} my chest hurts {}", "word ".repeat(80), "more ".repeat(80));
        let at = text.find("chest").unwrap() as u32;
        let cut = excerpt(&text, (at, at + 11));
        assert!(
            cut.contains("my chest hurts") && cut.chars().count() <= MAX_CHARS,
            "{cut}"
        );
        assert_eq!(excerpt("  short  ", (0, 3)), "short");
        let wide = "ü".repeat(500);
        assert_eq!(excerpt(&wide, (0, 2)).chars().count(), MAX_CHARS);
    }
}
