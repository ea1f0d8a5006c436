//! How often words are said: used only to choose where to look first.

use std::collections::HashMap;

/// The commonest words of the written calls of models/data, as the reader takes them apart, each with how often it stands
/// in a million words. What stands here changes how fast a text is read, never what is read.
const COMMON: &str = include_str!("common.txt");

/// The words of the list, by how often they are said.
pub fn words() -> HashMap<&'static str, u32> {
    let pairs: Vec<&str> = COMMON.split_ascii_whitespace().collect();
    pairs
        .chunks_exact(2)
        .filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)))
        .collect()
}

/// A guess at how often a phrase turns up in a million words.
pub fn often(phrase: &str, common: &HashMap<&str, u32>) -> u32 {
    const RARE: u32 = 20;
    let of = |word: &str| match word.strip_suffix('*') {
        Some(stem) => {
            RARE + common
                .iter()
                .filter(|(word, _)| word.starts_with(stem))
                .map(|(_, often)| often)
                .sum::<u32>()
        }
        None => common.get(word).copied().unwrap_or(RARE),
    };
    let rarest = phrase.split(' ').map(of).min().unwrap_or(RARE);
    if phrase.contains(' ') {
        rarest.div_ceil(8)
    } else {
        rarest
    }
}
