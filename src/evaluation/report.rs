//! What a judge made of labelled calls, call by call and as a table.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Baselines, Interval, LabelledCall, NeededLabel, auroc, bootstrap, recall_at, share, share_of};
use crate::pipeline::{Outcome, Pipeline, outcomes_of};
use crate::record::{Act, Body};
use crate::signals::Status;

/// One call as judged.
#[derive(Clone, Debug, Serialize)]
pub struct CallResult {
    pub call_id: String,
    pub source: String,
    pub style: String,
    pub needed: NeededLabel,
    pub handed_over: bool,
    /// Strongest need before the matter was closed.
    pub need: f64,
    /// `seq` of the first page.
    pub page: Option<u64>,
    /// The last event at which a page is still in time.
    pub closing: u64,
    pub red_flag: Option<u64>,
    pub channel: &'static str,
    pub age: Option<u8>,
    pub sex: Option<&'static str>,
    /// Findings as labelled, and findings that were present when the matter was closed.
    pub labelled: Vec<String>,
    pub read: Vec<String>,
    pub baselines: Baselines,
}

impl CallResult {
    pub fn of(pipeline: &Pipeline, call: &LabelledCall) -> Self {
        let outcomes = outcomes_of(pipeline, &call.events);
        let label = &call.label;
        let started = call.events.iter().find_map(|event| match &event.body {
            Body::Started(started) => Some(started),
            _ => None,
        });
        let patient = started.and_then(|started| started.patient.as_ref());
        let closing = closing(call);
        let end = closing.0;
        let need = outcomes
            .iter()
            .filter(|o| o.was_applied() && o.seq < end)
            .filter_map(|o| o.need)
            .fold(0.0, f64::max);
        let page = outcomes
            .iter()
            .filter(|o| o.alert.as_ref().is_some_and(|a| a.is_page()))
            .map(|o| o.seq)
            .min();
        Self {
            call_id: label.call_id.clone(),
            source: label.source.clone().unwrap_or_default(),
            style: label.style.clone().unwrap_or_default(),
            needed: label.needed,
            handed_over: label.is_handed_over(),
            need,
            page,
            closing: closing.1,
            red_flag: label.red_flag_seq,
            channel: started.map_or("phone", |started| started.channel.as_str()),
            age: patient.and_then(|patient| patient.age),
            sex: patient.and_then(|patient| patient.sex).map(crate::record::Sex::as_str),
            labelled: label
                .findings
                .iter()
                .map(|f| format!("{} {}", f.finding, f.status))
                .collect(),
            read: read(pipeline, &outcomes, end),
            baselines: Baselines::of(pipeline, &call.events),
        }
    }

    pub fn is_need(&self) -> bool {
        self.needed.is_need()
    }

    pub fn paged_in_time(&self) -> bool {
        self.page.is_some_and(|page| page <= self.closing)
    }

    /// Events from the red flag to the page; `None` where it paged before, or not at all.
    pub fn wait(&self) -> Option<u64> {
        self.page?.checked_sub(self.red_flag?)
    }
}

/// Findings that were read as present before this event and not taken back.
fn read(pipeline: &Pipeline, outcomes: &[Outcome], end: u64) -> Vec<String> {
    let mut present: Vec<&str> = Vec::new();
    for change in outcomes.iter().filter(|o| o.seq < end).flat_map(|o| &o.applied.changes) {
        let concept = pipeline.lexicon().concept(change.concept);
        if concept.needed().is_none() {
            continue;
        }
        present.retain(|id| *id != concept.id);
        if change.status == Status::Present {
            present.push(&concept.id);
        }
    }
    present.into_iter().map(str::to_owned).collect()
}

/// The sentence that closes the matter, and the action behind it where there is one.
fn closing(call: &LabelledCall) -> (u64, u64) {
    let number = |at: usize| call.events[at].seq.unwrap_or(at as u64);
    let last = call.events.len().saturating_sub(1);
    let closes = |act: Act| {
        matches!(
            act,
            Act::AppointmentBooked | Act::MessageTaken | Act::CallbackPromised | Act::AdviceGiven
        )
    };
    let action = (0..call.events.len())
        .find(|at| matches!(&call.events[*at].body, Body::Action(action) if closes(action.act)))
        .map(number);
    match (call.label.closing_seq, action) {
        (Some(closing), action) => {
            let behind = call
                .events
                .iter()
                .any(|event| event.seq == Some(closing + 1) && matches!(event.body, Body::Action(_)));
            (closing.min(action.unwrap_or(closing)), closing + u64::from(behind))
        }
        (None, Some(action)) => (action, action),
        (None, None) => (number(last), number(last)),
    }
}

/// Runs every call through the pipeline.
pub fn judge<'c>(pipeline: &Pipeline, calls: impl IntoIterator<Item = &'c LabelledCall>) -> Vec<CallResult> {
    calls.into_iter().map(|call| CallResult::of(pipeline, call)).collect()
}

/// By alert threshold: the share of calls without need that page, and of needy calls paged in time.
pub fn sweep(pipelines: impl Iterator<Item = (f64, Pipeline)>, calls: &[&LabelledCall]) -> Vec<(f64, f64, f64)> {
    pipelines
        .map(|(threshold, pipeline)| {
            let own = calls.iter().copied().filter(|call| !call.label.is_handed_over());
            let results = judge(&pipeline, own);
            let others = share(results.iter().filter(|r| !r.is_need()).map(|r| r.page.is_some()));
            let needy = share(results.iter().filter(|r| r.is_need()).map(CallResult::paged_in_time));
            (threshold, others, needy)
        })
        .collect()
}

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub measure: String,
    #[serde(flatten)]
    pub figure: Interval,
}

/// What a set of calls is measured by.
pub(super) struct Measure {
    pub name: &'static str,
    /// The calls that it rests on; twins that were handed over at once stand apart.
    pub of: fn(&CallResult) -> bool,
    pub value: Value,
}

#[derive(Clone, Copy)]
pub(super) enum Value {
    /// How many of the calls do.
    Share(fn(&CallResult) -> bool),
    Of(fn(&[&CallResult]) -> f64),
}

impl Value {
    pub fn of(self, calls: &[&CallResult]) -> f64 {
        match self {
            Self::Share(does) => share(calls.iter().map(|call| does(call))),
            Self::Of(value) => value(calls),
        }
    }

    fn with_interval(self, calls: &[&CallResult]) -> Interval {
        match self {
            Self::Share(does) => share_of(calls.iter().map(|call| does(call))),
            Self::Of(value) => bootstrap(calls, |drawn| {
                value(&drawn.iter().map(|call| **call).collect::<Vec<_>>())
            }),
        }
    }
}

/// Needy calls in a hundred of the day on which it is told how many pages are right.
const NEEDY_OF_A_DAY: f64 = 0.02;

pub(super) const MEASURES: [Measure; 8] = [
    Measure {
        name: "AUROC of need",
        of: |call| !call.handed_over,
        value: Value::Of(|calls| {
            let (positives, negatives) = needs(calls);
            auroc(&positives, &negatives)
        }),
    },
    Measure {
        name: "recall at 10 % false alarms",
        of: |call| !call.handed_over,
        value: Value::Of(|calls| {
            let (positives, negatives) = needs(calls);
            recall_at(&positives, &negatives, 0.1)
        }),
    },
    Measure {
        name: "emergency, paged by the closing",
        of: |call| !call.handed_over && call.needed == NeededLabel::Emergency,
        value: Value::Share(CallResult::paged_in_time),
    },
    Measure {
        name: "urgent, paged by the closing",
        of: |call| !call.handed_over && call.needed == NeededLabel::Urgent,
        value: Value::Share(CallResult::paged_in_time),
    },
    Measure {
        name: "no need, paged",
        of: |call| !call.handed_over && !call.is_need(),
        value: Value::Share(|call| call.page.is_some()),
    },
    Measure {
        name: "pages that are right on a day with 2 needy calls in 100",
        of: |call| !call.handed_over,
        value: Value::Of(|calls| pages_of_a_day(calls, NEEDY_OF_A_DAY).1),
    },
    Measure {
        name: "handed over, paged all the same",
        of: |call| call.handed_over,
        value: Value::Share(|call| call.page.is_some()),
    },
    Measure {
        name: "events from red flag to page, median",
        of: |call| !call.handed_over && call.is_need() && call.wait().is_some(),
        value: Value::Of(|calls| {
            let mut waits: Vec<u64> = calls.iter().filter_map(|call| call.wait()).collect();
            waits.sort_unstable();
            waits.get(waits.len() / 2).map_or(f64::NAN, |wait| *wait as f64)
        }),
    },
];

/// Pages for each call, and the share of them that is right, if this share of the day's calls were in need and all were
/// like these.
pub(super) fn pages_of_a_day(calls: &[&CallResult], needy: f64) -> (f64, f64) {
    let paged = |need: bool| {
        let calls = calls.iter().filter(|call| call.is_need() == need);
        share(calls.map(|call| call.page.is_some()))
    };
    let (right, wrong) = (needy * paged(true), (1.0 - needy) * paged(false));
    (right + wrong, right / (right + wrong))
}

/// Needs of the calls with need, and of the others.
fn needs(calls: &[&CallResult]) -> (Vec<f64>, Vec<f64>) {
    let of = |need: bool| {
        let calls = calls.iter().filter(|call| call.is_need() == need);
        calls.map(|call| call.need).collect()
    };
    (of(true), of(false))
}

/// The measures of a set of calls, those left out that rest on none or are not defined on these.
pub fn table(name: &str, results: &[CallResult]) -> Vec<Row> {
    let rows = MEASURES.iter().map(|measure| {
        let calls: Vec<&CallResult> = results.iter().filter(|call| (measure.of)(call)).collect();
        Row {
            measure: format!("{name}: {}", measure.name),
            figure: measure.value.with_interval(&calls),
        }
    });
    rows.filter(|row| !row.figure.value.is_nan()).collect()
}

/// The same for each style of talk apart, where there are several: one figure for all of them hides the worst.
pub fn table_by_style(name: &str, results: &[CallResult]) -> Vec<Row> {
    let styles: BTreeSet<&str> = results.iter().map(|call| call.style.as_str()).collect();
    if styles.len() < 2 {
        return Vec::new();
    }
    let rows = styles.into_iter().flat_map(|style| {
        let own: Vec<CallResult> = results.iter().filter(|call| call.style == style).cloned().collect();
        let style = if style.is_empty() { "no style" } else { style };
        table(&format!("{name}, {style}"), &own)
    });
    rows.collect()
}

#[cfg(test)]
impl CallResult {
    /// A call that tests make up: its matter was closed at 10.
    pub fn made(id: &str, needed: NeededLabel, page: Option<u64>) -> Self {
        Self {
            call_id: id.into(),
            source: String::new(),
            style: String::new(),
            needed,
            handed_over: false,
            need: 0.5,
            page,
            closing: 10,
            red_flag: needed.is_need().then_some(4),
            channel: "phone",
            age: None,
            sex: None,
            labelled: Vec::new(),
            read: Vec::new(),
            baselines: Baselines::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(style: &str, needed: NeededLabel, page: Option<u64>) -> CallResult {
        CallResult {
            style: style.into(),
            ..CallResult::made("", needed, page)
        }
    }

    #[test]
    fn pages_of_a_day_are_weighed_by_how_many_are_in_need() {
        use NeededLabel::{None as NoNeed, Urgent};
        let calls = [
            call("", Urgent, Some(3)),
            call("", NoNeed, Some(3)),
            call("", NoNeed, None),
        ];
        let (pages, right) = pages_of_a_day(&calls.iter().collect::<Vec<_>>(), 0.02);
        assert!((pages - (0.02 + 0.98 * 0.5)).abs() < 1e-12 && (right - 0.02 / 0.51).abs() < 1e-12);
        // Where nothing pages no share is right or wrong: the row is left out, and a manifest holds numbers alone.
        let silent = [call("", Urgent, None), call("", NoNeed, None)];
        let rows = table("silent", &silent);
        assert!(rows.len() > 3 && rows.iter().all(|row| row.figure.value.is_finite()));
    }

    #[test]
    fn styles_are_told_apart_where_there_are_several() {
        let calls = [
            call("dialogue", NeededLabel::Urgent, None),
            call("letter", NeededLabel::Urgent, Some(2)),
        ];
        assert!(table_by_style("all", &calls[..1]).is_empty());
        let rows = table_by_style("all", &calls);
        let of = |name: &str| rows.iter().find(|row| row.measure == name).map(|row| row.figure.value);
        assert_eq!(of("all, dialogue: urgent, paged by the closing"), Some(0.0));
        assert_eq!(of("all, letter: urgent, paged by the closing"), Some(1.0));
    }
}
