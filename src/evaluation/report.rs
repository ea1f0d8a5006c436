//! What a judge made of labelled calls, call by call and as a table.

use serde::Serialize;

use super::{Baselines, Interval, LabelledCall, NeededLabel, auroc, bootstrap, recall_at, share};
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

/// The measures of a set of calls; twins that were handed over at once stand apart.
pub fn table(name: &str, results: &[CallResult]) -> Vec<Row> {
    let (twins, own): (Vec<CallResult>, Vec<CallResult>) = results.iter().cloned().partition(|r| r.handed_over);
    let mut rows = Vec::new();
    let mut add = |measure: &str, calls: &[CallResult], f: &dyn Fn(&[&CallResult]) -> f64| {
        if !calls.is_empty() {
            rows.push(Row {
                measure: format!("{name}: {measure}"),
                figure: bootstrap(calls, f),
            });
        }
    };
    let split = |calls: &[&CallResult]| -> (Vec<f64>, Vec<f64>) {
        let pick = |need: bool| calls.iter().filter(|c| c.is_need() == need).map(|c| c.need).collect();
        (pick(true), pick(false))
    };
    add("AUROC of need", &own, &|calls| {
        let (positives, negatives) = split(calls);
        auroc(&positives, &negatives)
    });
    add("recall at 10 % false alarms", &own, &|calls| {
        let (positives, negatives) = split(calls);
        recall_at(&positives, &negatives, 0.1)
    });
    for needed in [NeededLabel::Emergency, NeededLabel::Urgent] {
        let calls: Vec<CallResult> = own.iter().filter(|c| c.needed == needed).cloned().collect();
        add(
            &format!("{}, paged by the closing", needed.as_str()),
            &calls,
            &|calls| share(calls.iter().map(|c| c.paged_in_time())),
        );
    }
    let harmless: Vec<CallResult> = own.iter().filter(|c| !c.is_need()).cloned().collect();
    add("no need, paged", &harmless, &|calls| {
        share(calls.iter().map(|c| c.page.is_some()))
    });
    add("handed over, paged all the same", &twins, &|calls| {
        share(calls.iter().map(|c| c.page.is_some()))
    });
    let told: Vec<CallResult> = own
        .iter()
        .filter(|c| c.is_need() && c.page.zip(c.red_flag).is_some_and(|(page, flag)| page >= flag))
        .cloned()
        .collect();
    add("events from red flag to page, median", &told, &|calls| {
        let mut waits: Vec<u64> = calls
            .iter()
            .filter_map(|c| c.page.zip(c.red_flag).map(|(page, flag)| page - flag))
            .collect();
        waits.sort_unstable();
        waits.get(waits.len() / 2).map_or(f64::NAN, |wait| *wait as f64)
    });
    rows
}
