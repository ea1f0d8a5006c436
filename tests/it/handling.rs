//! What agents do, understood from their words. A third of the sentences was kept apart when the expressions were
//! written: its share tells how they hold on words that nobody looked at.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use callward::call::Deed;
use callward::signals::{Lexicon, Reader, Source};

const SENTENCES: &str = include_str!("../fixtures/handling.ndjson");

#[derive(serde::Deserialize)]
struct Sentence {
    act: String,
    text: String,
    kept: bool,
}

#[test]
fn acts_are_understood_from_words_that_nobody_looked_at() {
    let source = Source::read(Path::new("models/lexicon")).unwrap();
    let lexicon = Arc::new(Lexicon::compile(&source).unwrap());
    let reader = Reader::new(lexicon.clone(), Arc::default());
    // By act and whether it was kept apart: understood, all.
    let mut shares: BTreeMap<(String, bool), (usize, usize)> = BTreeMap::new();
    for line in SENTENCES.lines() {
        let sentence: Sentence = serde_json::from_str(line).unwrap();
        let turn = reader.agent(&sentence.text);
        let acts: Vec<&str> = turn.acts.iter().map(|act| lexicon.concept(*act).id.as_str()).collect();
        let right = match sentence.act.as_str() {
            // Small talk and questions, near to acts: none of those that close a matter or hand it over.
            "none" => !acts.iter().any(|act| {
                [
                    "booked",
                    "message_taken",
                    "callback_promised",
                    "handover_spoken",
                    "clinician_rings_now",
                    "emergency_advised",
                ]
                .contains(act)
            }),
            // Several acts may be one deed: a clinician who rings at once is a hand-over.
            act => {
                let deed = Deed::of_act(act);
                acts.iter()
                    .any(|found| *found == act || (deed.is_some() && Deed::of_act(found) == deed))
            }
        };
        let share = shares.entry((sentence.act, sentence.kept)).or_default();
        share.0 += usize::from(right);
        share.1 += 1;
    }
    for ((act, kept), (right, all)) in &shares {
        println!(
            "{act:20} {} {right} of {all}",
            if *kept { "kept apart" } else { "looked at " }
        );
    }
    for kept in [true, false] {
        let (right, all) = shares
            .iter()
            .filter(|((act, k), _)| *k == kept && act != "none")
            .fold((0, 0), |sum, (_, (right, all))| (sum.0 + right, sum.1 + all));
        println!("together, kept apart {kept}: {right} of {all}");
    }
    for ((act, _), (right, all)) in shares.iter().filter(|((_, kept), _)| *kept) {
        assert!(right * 2 >= *all, "{act}: {right} of {all}");
    }
}
