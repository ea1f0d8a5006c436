//! What simpler judges would have done with the same calls: what the model must be worth more than.

use serde::Serialize;

use crate::call::{Deed, PRESENT};
use crate::pipeline::{Pipeline, Watched};
use crate::record::{Body, Event, Speaker};
use crate::signals::{Status, normalize};

/// Words at which a list of alarm words would page: the plain list that such systems begin with. `*` is any ending.
const ALARM_WORDS: [&str; 35] = [
    "chest",
    "heart",
    "breath*",
    "stroke",
    "numb",
    "numbness",
    "weak*",
    "slur*",
    "droop*",
    "blood*",
    "bleed*",
    "faint*",
    "passed out",
    "blacked out",
    "unconscious",
    "collaps*",
    "seiz*",
    "worst headache",
    "severe",
    "sudden*",
    "clot",
    "swollen",
    "swelling",
    "overdos*",
    "suicid*",
    "kill myself",
    "allerg*",
    "confus*",
    "stiff neck",
    "vision",
    "vomit*",
    "throwing up",
    "fever",
    "pregnan*",
    "choking",
];

/// The event at which each simpler judge pages, if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Baselines {
    /// At the first alarm word.
    pub alarm_words: Option<u64>,
    /// At the first finding, whatever its status.
    pub lexicon_without_scope: Option<u64>,
    /// When need alone passes the alert threshold.
    pub need_only: Option<u64>,
    /// At the closing of a call in which any finding was present.
    pub booking_after_finding: Option<u64>,
}

impl Baselines {
    pub const NAMES: [&str; 4] = [
        "a list of alarm words",
        "any finding, whatever its scope",
        "need alone, without the agent's part",
        "a closing after any finding",
    ];

    pub fn all(&self) -> [Option<u64>; 4] {
        [
            self.alarm_words,
            self.lexicon_without_scope,
            self.need_only,
            self.booking_after_finding,
        ]
    }

    pub fn of(pipeline: &Pipeline, events: &[Event]) -> Self {
        let mut pages = Self::default();
        let Some(id) = events.first().map(|event| event.call_id.clone()) else {
            return pages;
        };
        let mut watched = Watched::new(id);
        let alert = pipeline.policy().thresholds().alert;
        for event in events {
            if let Some(text) = caller_words(event) {
                let text = normalize(text).text;
                let stands = |word: &&str| match word.strip_suffix('*') {
                    Some(stem) => text.contains(&format!(" {stem}")),
                    None => text.contains(&format!(" {word} ")),
                };
                if ALARM_WORDS.iter().any(stands) {
                    pages.alarm_words.get_or_insert(event.seq.unwrap_or(0));
                }
            }
            pipeline.step(&mut watched, event, |outcome| {
                let mut page = |holds: bool, slot: fn(&mut Self) -> &mut Option<u64>| {
                    if holds {
                        slot(&mut pages).get_or_insert(outcome.seq);
                    }
                };
                let heard = outcome.applied.changes.iter().any(|change| {
                    pipeline.lexicon().concept(change.concept).needed().is_some() && change.status != Status::Retracted
                });
                page(heard, |pages| &mut pages.lexicon_without_scope);
                let needs = outcome.need.is_some_and(|need| need >= alert);
                page(outcome.was_applied() && needs, |pages| &mut pages.need_only);
            });
            let present = watched.call.heard().known.iter().any(|known| {
                known.evidence() >= PRESENT && pipeline.lexicon().concept(known.concept).needed().is_some()
            });
            let closed = Deed::ALL
                .into_iter()
                .any(|deed| deed.closes_the_matter() && watched.call.care().last(deed).is_some());
            if present && closed {
                pages.booking_after_finding.get_or_insert(event.seq.unwrap_or(0));
            }
        }
        pages
    }
}

fn caller_words(event: &Event) -> Option<&str> {
    match &event.body {
        Body::Utterance(said) if said.speaker == Speaker::Caller => Some(&said.text),
        Body::Answer(answer) => Some(&answer.answer),
        _ => None,
    }
}
