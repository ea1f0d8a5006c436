//! Triage rules against vignettes: sets of facts with what a nurse would do. They were written with the rules, so this
//! keeps them in agreement and validates nothing.

use std::path::Path;

use callward::call::{Heard, Known};
use callward::features::urgencies;
use callward::signals::{ATTRIBUTE_BITS, Lexicon, Source};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vignette {
    why: String,
    need: String,
    present: Vec<String>,
    facts: Vec<String>,
}

#[test]
fn vignettes_are_as_urgent_as_they_should_be() {
    let lexicon = Lexicon::compile(&Source::read(Path::new("models/lexicon")).unwrap()).unwrap();
    let vignettes: Vec<Vignette> = include_str!("../fixtures/triage.ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(vignettes.len() > 100);
    for vignette in &vignettes {
        let ids: Vec<&str> = vignette.facts.iter().map(String::as_str).collect();
        let facts = lexicon.facts_of(&ids);
        let attributes = (facts & ((1 << ATTRIBUTE_BITS) - 1)) as u32;
        let known = vignette.present.iter().map(|id| {
            let concept = lexicon.find(id);
            Known::affirmed(
                concept.unwrap_or_else(|| panic!("{id} is not in the lexicon")),
                attributes,
            )
        });
        let heard = Heard::of(known.collect(), facts);
        let most = urgencies(&lexicon, &heard).first().map_or(0.0, |urgent| urgent.value);
        let right = match vignette.need.as_str() {
            "now" => most >= 0.6,
            "hour" => most >= 0.4,
            "today" => (0.15..0.6).contains(&most),
            _ => most <= 0.25,
        };
        assert!(right, "{}: {most:.2}, meant {}", vignette.why, vignette.need);
    }
}

#[test]
fn every_rule_has_a_reason_and_a_source() {
    let source = Source::read(Path::new("models/lexicon")).unwrap();
    let keys = include_str!("../../models/lexicon/SOURCES.md");
    let rules: Vec<_> = source.groups.iter().flat_map(|group| &group.triage).collect();
    assert!(rules.len() > 100);
    for rule in rules {
        assert!(!rule.reason.is_empty() && !rule.source.is_empty(), "{}", rule.id);
        for key in &rule.source {
            let is_key = key.len() <= 3 && key.starts_with('S');
            assert!(
                !is_key || keys.contains(&format!("| {key} ")) || keys.contains(&format!("| {key}†")),
                "{}: {key}",
                rule.id
            );
        }
    }
}
