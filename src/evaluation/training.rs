//! Labelled calls → a model: replay through the same step as live, chosen moments of each call, both stages out of
//! fold, thresholds for a budget of false pages.
//!
//! The first stage learns from one call of each case. The second learns handling from calls in which the agents act
//! for themselves; a corpus whose endings were made up teaches nothing about handling and is left out of it.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use serde::Serialize;

use super::{CallResult, LabelledCall, share};
use crate::alert::{PolicyError, Settings};
use crate::features::{Handling, NEED, RISK};
use crate::pipeline::{Pipeline, Watched, outcomes_of};
use crate::record::{Body, Event};
use crate::risk::{Example, FitError, Model, Stage, Thresholds, fit_need, fit_risk, folds_of};
use crate::signals::{Lexicon, Status};
use std::collections::HashSet;
use std::sync::Arc;

/// How training goes about it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Recipe {
    pub seed: u64,
    /// Moments of one call at most; a call with need may give half as many more.
    pub moments: usize,
    /// Share of calls without need that may page, by which the alert threshold is chosen.
    pub false_pages: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            seed: 7,
            moments: 8,
            false_pages: 0.16,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Trained {
    pub model: Model,
    pub rows: (usize, usize),
    pub alphas: (f64, f64),
    pub log_losses: (f64, f64),
    /// Policy over calls that were not trained on, by threshold.
    pub budget: Vec<BudgetRow>,
    /// Every call of the first stage as judged by the fold that had not seen it.
    pub out_of_fold: Vec<CallResult>,
}

/// What one threshold costs and brings, out of fold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BudgetRow {
    pub alert: f64,
    pub false_pages: f64,
    pub emergency_in_time: f64,
    pub urgent_in_time: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Fit(#[from] FitError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

struct Moment {
    need: [f32; NEED.len()],
    handling: Handling,
    needs: bool,
    unmet: bool,
    fold: usize,
    first: bool,
    handles: bool,
}

pub fn train(
    lexicon: &Arc<Lexicon>,
    calls: &[LabelledCall],
    handling: impl Fn(&LabelledCall) -> bool,
    recipe: &Recipe,
    name: &str,
    version: &str,
    mut progress: impl FnMut(&str),
) -> Result<Trained, TrainError> {
    let blank = Model::blank(name, version, &lexicon.sha256);
    let pipeline = pipeline(lexicon, blank.clone())?;
    let mut random = StdRng::seed_from_u64(recipe.seed);
    let mut cases = HashSet::new();
    let mut moments = Vec::new();
    progress("reading calls");
    for call in calls.iter().filter(|call| call.label.is_sure()) {
        let first = cases.insert(call.label.case().to_owned());
        let handles = handling(call);
        if first || handles {
            moments.extend(moments_of(&pipeline, call, first, handles, recipe, &mut random));
        }
    }
    progress("fitting need");
    let need_rows: Vec<&Moment> = moments.iter().filter(|moment| moment.first).collect();
    let examples: Vec<Example<{ NEED.len() }>> = need_rows
        .iter()
        .map(|m| Example {
            values: m.need,
            truth: m.needs,
            fold: m.fold,
        })
        .collect();
    let need = fit_need(&examples)?;
    progress("fitting risk");
    let risk_rows: Vec<Example<{ RISK.len() }>> = moments
        .iter()
        .filter(|moment| moment.handles)
        .map(|m| Example {
            // Need as judged by a fold that has not seen the call: in-fold scores would double the confidence.
            values: m.handling.with(need.fold_stages[m.fold].probability(&m.need)),
            truth: m.unmet,
            fold: m.fold,
        })
        .collect();
    let risk = fit_risk(&risk_rows)?;
    progress("choosing thresholds");
    let once: Vec<&LabelledCall> = one_of_each_case(calls);
    let folds: Vec<(Stage, Stage)> = need
        .fold_stages
        .iter()
        .cloned()
        .zip(risk.fold_stages.iter().cloned())
        .collect();
    let mut budget = Vec::new();
    for alert in GRID {
        let results = judge_out_of_fold(lexicon, &blank, &folds, &once, alert)?;
        budget.push(budget_row(alert, &results));
    }
    let chosen = budget
        .iter()
        .find(|row| row.false_pages <= recipe.false_pages)
        .or(budget.last());
    let alert = chosen.map_or(0.5, |row| row.alert);
    let out_of_fold = judge_out_of_fold(lexicon, &blank, &folds, &once, alert)?;
    let model = Model {
        need: need.stage,
        risk: risk.stage,
        thresholds: Thresholds {
            watch: (alert * 0.6).max(0.02),
            alert,
        },
        ..blank
    };
    Ok(Trained {
        model,
        rows: (examples.len(), risk_rows.len()),
        alphas: (need.alpha, risk.alpha),
        log_losses: (need.log_loss, risk.log_loss),
        budget,
        out_of_fold,
    })
}

/// Alert thresholds that are tried, rising.
const GRID: [f64; 14] = [
    0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9,
];

fn pipeline(lexicon: &Arc<Lexicon>, model: Model) -> Result<Pipeline, PolicyError> {
    let policy = crate::alert::Policy::new(Settings::default(), model.thresholds)?;
    Ok(Pipeline::new(lexicon.clone(), model, String::new(), policy))
}

/// Of twins with the same words, the one in which the matter was closed without a clinician.
fn one_of_each_case(calls: &[LabelledCall]) -> Vec<&LabelledCall> {
    let mut cases = HashSet::new();
    let own = calls
        .iter()
        .filter(|call| call.label.is_sure() && !call.label.is_handed_over());
    own.filter(|call| cases.insert(call.label.case().to_owned())).collect()
}

fn judge_out_of_fold(
    lexicon: &Arc<Lexicon>,
    blank: &Model,
    folds: &[(Stage, Stage)],
    calls: &[&LabelledCall],
    alert: f64,
) -> Result<Vec<CallResult>, PolicyError> {
    let mut results = Vec::with_capacity(calls.len());
    for (fold, (need, risk)) in folds.iter().enumerate() {
        let thresholds = Thresholds {
            watch: alert * 0.6,
            alert,
        };
        let model = Model {
            need: need.clone(),
            risk: risk.clone(),
            thresholds,
            ..blank.clone()
        };
        let pipeline = pipeline(lexicon, model)?;
        for call in calls.iter().filter(|call| folds_of(call.label.case()) == fold) {
            results.push(CallResult::of(call, &outcomes_of(&pipeline, &call.events)));
        }
    }
    Ok(results)
}

fn budget_row(alert: f64, results: &[CallResult]) -> BudgetRow {
    use super::NeededLabel::{Emergency, Urgent};
    let in_time = |needed| {
        share(
            results
                .iter()
                .filter(|r| r.needed == needed)
                .map(CallResult::paged_in_time),
        )
    };
    BudgetRow {
        alert,
        false_pages: share(results.iter().filter(|r| !r.is_need()).map(|r| r.page.is_some())),
        emergency_in_time: in_time(Emergency),
        urgent_in_time: in_time(Urgent),
    }
}

fn moments_of(
    pipeline: &Pipeline,
    call: &LabelledCall,
    first: bool,
    handles: bool,
    recipe: &Recipe,
    random: &mut StdRng,
) -> Vec<Moment> {
    let label = &call.label;
    let Some(id) = call.events.first().map(|event| event.call_id.clone()) else {
        return Vec::new();
    };
    let mut watched = Watched::new(id);
    let mut all: Vec<(bool, Moment)> = Vec::new();
    let mut last_before_closing = None;
    for event in &call.events {
        if is_settling(&watched) || matches!(event.body, Body::Ended(_)) {
            break;
        }
        let mut telling = false;
        pipeline.step(&mut watched, event, |outcome| {
            telling |= outcome
                .applied
                .changes
                .iter()
                .any(|change| change.status == Status::Present);
            telling |= !outcome.applied.deeds.is_empty();
        });
        if watched.call.heard().turns == 0 || is_settling(&watched) {
            continue;
        }
        let seq = event_seq(event, &watched);
        let needs = label.needed.is_need() && label.red_flag_seq.is_none_or(|flag| seq >= flag);
        let features = pipeline.extractor().need(pipeline.lexicon(), &watched.call);
        let handling = pipeline.extractor().handling(&watched.call, &features, event.at);
        if label.closing_seq.is_none_or(|closing| seq < closing) {
            last_before_closing = Some(all.len());
        }
        all.push((
            telling,
            Moment {
                need: features.need,
                handling,
                needs,
                unmet: needs && label.under_escalated,
                fold: folds_of(label.case()),
                first,
                handles,
            },
        ));
    }
    let most = if label.needed.is_need() {
        recipe.moments * 3 / 2
    } else {
        recipe.moments
    };
    let mut chosen: Vec<usize> = (0..all.len()).filter(|at| all[*at].0).collect();
    if chosen.len() > most.saturating_sub(3) {
        let keep = sample(random, chosen.len(), most.saturating_sub(3));
        let mut kept: Vec<usize> = keep.into_iter().map(|at| chosen[at]).collect();
        kept.sort_unstable();
        chosen = kept;
    }
    chosen.extend(last_before_closing);
    chosen.extend(all.len().checked_sub(1));
    chosen.extend(sample(random, all.len(), all.len().min(2)));
    chosen.sort_unstable();
    chosen.dedup();
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        chosen.binary_search(&(at - 1)).is_ok()
    });
    all.into_iter().map(|(_, moment)| moment).collect()
}

fn event_seq(event: &Event, watched: &Watched) -> u64 {
    event.seq.unwrap_or(watched.call.sequence.last)
}

/// Handed over: what comes after tells nothing about need that was not met.
fn is_settling(watched: &Watched) -> bool {
    use crate::call::Deed::{EmergencyAdvised, Escalated};
    [Escalated, EmergencyAdvised]
        .into_iter()
        .any(|deed| watched.call.care().last(deed).is_some())
}
