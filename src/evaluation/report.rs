//! What a judge made of labelled calls, call by call and as a table.

use serde::Serialize;

use super::{Interval, LabelledCall, NeededLabel, auroc, bootstrap, recall_at, share};
use crate::pipeline::{Outcome, Pipeline, outcomes_of};
use crate::record::{Act, Body};

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
}

impl CallResult {
    pub fn of(call: &LabelledCall, outcomes: &[Outcome]) -> Self {
        let label = &call.label;
        let closing = closing(call);
        let end = closing.0;
        let need = outcomes
            .iter()
            .filter(|o| o.seq < end)
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
        }
    }

    pub fn is_need(&self) -> bool {
        self.needed.is_need()
    }

    pub fn paged_in_time(&self) -> bool {
        self.page.is_some_and(|page| page <= self.closing)
    }
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
    calls
        .into_iter()
        .map(|call| CallResult::of(call, &outcomes_of(pipeline, &call.events)))
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
