//! Every expression of the lexicon raises its finding, every near-miss leaves it alone; exceptions are named in a file.
//! This is no measure of anything: it keeps what was understood once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use callward::call::{Bounds, Call};
use callward::record::{Body, CallId, Event, Speaker, Timestamp, Utterance};
use callward::signals::{Entry, Lexicon, Reader, Source};

/// Expressions and near-misses that are known to be read otherwise, a line each: `id<TAB>sentence`.
const EXCEPTIONS: &str = include_str!("../fixtures/lexicon-exceptions.tsv");

fn read(reader: &Reader, text: &str) -> Call {
    let mut call = Call::new(CallId::new("c").unwrap());
    let event = Event {
        call_id: call.id.clone(),
        seq: Some(0),
        event_id: None,
        at: Timestamp::parse("2026-05-04T09:00:00Z").unwrap(),
        body: Body::Utterance(Utterance {
            speaker: Speaker::Caller,
            text: text.into(),
            cut: false,
            confidence: None,
            utterance_id: None,
            is_final: true,
        }),
    };
    call.apply(reader, &event, &Bounds::default());
    call
}

fn affirms(reader: &Reader, entry: &Entry, text: &str) -> bool {
    let id = reader.lexicon().find(&entry.id).unwrap();
    read(reader, text)
        .heard()
        .find(id)
        .is_some_and(|known| known.evidence() >= AFFIRMED)
}

/// Evidence of a wording that nothing softened beyond once.
const AFFIRMED: f32 = 0.49;

fn check(of: impl Fn(&Entry) -> Vec<String>, wanted: bool) -> (usize, BTreeSet<String>) {
    let source = Source::read(Path::new("models/lexicon")).unwrap();
    let reader = Reader::new(Arc::new(Lexicon::compile(&source).unwrap()), Arc::default());
    let (mut all, mut wrong) = (0, BTreeSet::new());
    for entry in source
        .groups
        .iter()
        .flat_map(|group| group.findings.iter().chain(&group.symptoms))
    {
        for sentence in of(entry) {
            all += 1;
            if affirms(&reader, entry, &sentence) != wanted {
                wrong.insert(format!("{}\t{sentence}", entry.id));
            }
        }
    }
    (all, wrong)
}

fn unexpected(wrong: BTreeSet<String>) -> Vec<String> {
    let named: BTreeSet<&str> = EXCEPTIONS.lines().collect();
    wrong
        .into_iter()
        .filter(|line| !named.contains(line.as_str()))
        .collect()
}

#[test]
fn expressions_raise_their_finding() {
    let (all, wrong) = check(|entry| entry.examples.clone(), true);
    assert!(all > 1_000);
    let unexpected = unexpected(wrong);
    assert!(
        unexpected.is_empty(),
        "{} of {all}:\n{}",
        unexpected.len(),
        unexpected.join("\n")
    );
}

#[test]
fn near_misses_leave_it_alone() {
    let (all, wrong) = check(|entry| entry.near_misses.clone(), false);
    assert!(all > 400);
    let unexpected = unexpected(wrong);
    assert!(
        unexpected.is_empty(),
        "{} of {all}:\n{}",
        unexpected.len(),
        unexpected.join("\n")
    );
}
