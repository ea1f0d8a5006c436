//! Every expression of the lexicon must be read, every near-miss must stay silent.

use std::path::Path;
use std::sync::Arc;

use super::*;

fn source() -> Source {
    Source::read(Path::new("models/lexicon")).unwrap()
}

fn reader() -> Reader {
    Reader::new(Arc::new(Lexicon::compile(&source()).unwrap()))
}

/// Findings that are affirmed by this turn alone.
fn affirmed(reader: &Reader, text: &str) -> Vec<String> {
    let turn = reader.caller(text);
    let affirmed = turn
        .mentions
        .iter()
        .filter(|m| m.status == Status::Present && m.kind != Some(NearMiss::KnownStable));
    affirmed
        .map(|m| reader.lexicon().concept(m.concept).id.clone())
        .collect()
}

#[test]
fn expressions_are_read_as_present() {
    let reader = reader();
    let (mut missed, mut all) = (Vec::new(), 0);
    for group in &source().groups {
        for entry in group.findings.iter().chain(&group.symptoms) {
            for example in &entry.examples {
                all += 1;
                let found = affirmed(&reader, example);
                if !found.contains(&entry.id) {
                    let turn = reader.caller(example);
                    let seen: Vec<_> = turn
                        .mentions
                        .iter()
                        .map(|m| (reader.lexicon().concept(m.concept).id.as_str(), m.status, m.kind))
                        .collect();
                    missed.push(format!("{}: {example:?} read as {seen:?}", entry.id));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} of {all}:\n{}", missed.len(), missed.join("\n"));
}
