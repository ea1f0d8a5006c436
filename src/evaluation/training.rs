//! Labelled calls → a model: replay through the same step as live, chosen moments of each call, both stages out of
//! fold, thresholds for a budget of false pages.
//!
//! The first stage learns from one call of each case and from single turns. The second learns handling from calls in
//! which the agents act for themselves; a corpus whose endings were made up teaches nothing about handling and is left
//! out of it. Every writer's calls are judged by what the others taught of wordings and patterns, since a writer's tells
//! must not help.

use std::collections::HashSet;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};

use super::{CallResult, LabelledCall, share};
use crate::alert::{PolicyError, Settings};
use crate::features::{Handling, NEED, RISK};
use crate::pipeline::{Pipeline, Watched};
use crate::record::{Body, CallId, Event, Patient, Speaker, Started, Timestamp, Utterance};
use crate::risk::{Example, FOLDS, FitError, Fitted, Model, Stage, Thresholds, fit_need, fit_risk, folds_of};
use crate::signals::{
    ConceptId, Learned, LearnedCounts, Lexicon, REAL, REAL_TALK, Reader, Status, Tokens, WRITTEN, WordingCounts,
    normalize,
};

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
    pub learned: Learned,
    /// Turns that wordings were learned from: of those who need a clinician, and others.
    pub wording_turns: [u32; 2],
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
    #[error(
        "no threshold keeps the pages of calls without need at {asked}, out of fold: {least} is the least that is to be had; \
         ask for that, or give more calls without need"
    )]
    Budget { asked: f64, least: f64 },
}

/// The calls of one writer, or of one collection.
#[derive(Clone, Debug)]
pub struct Corpus {
    pub calls: Vec<LabelledCall>,
    /// Real talks whose endings were put on: nothing about handling is learned from them.
    pub made_up_endings: bool,
}

/// A single turn, written to state a finding or to sound like one.
#[derive(Clone, Debug, Deserialize)]
pub struct Phrase {
    pub finding: String,
    pub kind: String,
    pub agent: Option<String>,
    pub caller: String,
    /// Years; babies have fractions.
    pub age: Option<f32>,
}

impl Phrase {
    pub fn is_present(&self) -> bool {
        self.kind == "present"
    }

    /// The turn as the beginning of a call.
    pub fn events(&self, id: &CallId) -> Vec<Event> {
        let at = Timestamp::from_millis(1_777_881_600_000);
        let said = |speaker, text: &str| {
            Body::Utterance(Utterance {
                speaker,
                text: text.into(),
                cut: false,
                confidence: None,
                utterance_id: None,
                is_final: true,
            })
        };
        let started = Body::Started(Started {
            patient: Some(Patient {
                age: self.age.map(|age| age as u8),
                ..Patient::default()
            }),
            ..Started::default()
        });
        let question = self
            .agent
            .as_deref()
            .unwrap_or("thank you for calling how can i help you today");
        [
            started,
            said(Speaker::Agent, question),
            said(Speaker::Caller, &self.caller),
        ]
        .into_iter()
        .zip(0..)
        .map(|(body, seq)| Event {
            call_id: id.clone(),
            seq: Some(seq),
            event_id: None,
            at: at.plus_seconds(seq as u32 * 6),
            body,
        })
        .collect()
    }
}

/// One single turn in this many is learned from beside the calls: they are short of everything that surrounds a turn.
const PHRASES_KEPT: usize = 5;

/// Real talks are few beside written calls, so the first stage counts each of their moments this often.
const REAL_COUNTS: usize = 4;

struct Moment {
    need: [f32; NEED.len()],
    handling: Handling,
    needs: bool,
    unmet: bool,
    fold: usize,
    first: bool,
    handles: bool,
    /// Of a real talk.
    real: bool,
}

/// What the data teach, before a threshold is chosen.
pub(super) struct Taught {
    pub need: Fitted,
    pub risk: Fitted,
    rows: (usize, usize),
    pub counts: LearnedCounts,
    /// By corpus: what the others taught.
    by_others: Vec<Arc<Learned>>,
}

/// What calls and single turns teach of wordings and patterns.
pub fn counts(lexicon: &Arc<Lexicon>, corpora: &[Corpus], phrases: &[Vec<Phrase>]) -> LearnedCounts {
    let reader = Reader::new(lexicon.clone(), Arc::default());
    let mut all = LearnedCounts::default();
    let of_corpora = corpora.iter().map(|corpus| counts_of_calls(&reader, corpus));
    let of_phrases = phrases.iter().map(|phrases| counts_of(&reader, phrases));
    of_corpora.chain(of_phrases).for_each(|own| all.add(&own));
    all
}

pub(super) fn learn(
    lexicon: &Arc<Lexicon>,
    corpora: &[Corpus],
    phrases: &[Vec<Phrase>],
    recipe: &Recipe,
    blank: &Model,
    mut progress: impl FnMut(&str),
) -> Result<Taught, TrainError> {
    let mut random = StdRng::seed_from_u64(recipe.seed);
    let mut cases = HashSet::new();
    let mut moments = Vec::new();
    progress("counting wordings");
    let reader = Reader::new(lexicon.clone(), Arc::default());
    let of_corpora: Vec<LearnedCounts> = corpora.iter().map(|corpus| counts_of_calls(&reader, corpus)).collect();
    let of_phrases: Vec<LearnedCounts> = phrases.iter().map(|phrases| counts_of(&reader, phrases)).collect();
    let mut counts = LearnedCounts::default();
    of_corpora.iter().chain(&of_phrases).for_each(|own| counts.add(own));
    let by_others: Vec<Arc<Learned>> = of_corpora
        .iter()
        .map(|own| Arc::new(counts.without(own).learned(lexicon)))
        .collect();
    progress("reading calls");
    for (corpus, learned) in corpora.iter().zip(&by_others) {
        let pipeline = pipeline(lexicon, learned, blank.clone())?;
        for call in corpus.calls.iter().filter(|call| call.label.is_sure()) {
            let first = cases.insert(call.label.case().to_owned());
            let handles = !corpus.made_up_endings;
            if first || handles {
                moments.extend(moments_of(&pipeline, call, first, handles, recipe, &mut random));
            }
        }
    }
    for (phrases, own) in phrases.iter().zip(&of_phrases) {
        let pipeline = pipeline(lexicon, &Arc::new(counts.without(own).learned(lexicon)), blank.clone())?;
        for (number, phrase) in phrases.iter().enumerate().step_by(PHRASES_KEPT) {
            moments.push(moment_of_phrase(&pipeline, phrase, number / PHRASES_KEPT));
        }
    }
    progress("fitting need");
    let times = |moment: &Moment| if moment.real { REAL_COUNTS } else { 1 };
    let need_rows: Vec<&Moment> = moments
        .iter()
        .filter(|moment| moment.first)
        .flat_map(|moment| std::iter::repeat_n(moment, times(moment)))
        .collect();
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
    Ok(Taught {
        rows: (moments.iter().filter(|moment| moment.first).count(), risk_rows.len()),
        need,
        risk,
        counts,
        by_others,
    })
}

pub fn train(
    lexicon: &Arc<Lexicon>,
    corpora: &[Corpus],
    phrases: &[Vec<Phrase>],
    recipe: &Recipe,
    name: &str,
    version: &str,
    mut progress: impl FnMut(&str),
) -> Result<Trained, TrainError> {
    let blank = Model::blank(name, version, &lexicon.sha256);
    let learned = learn(lexicon, corpora, phrases, recipe, &blank, &mut progress)?;
    progress("choosing thresholds");
    let once = one_of_each_case(corpora);
    let (need, risk) = (&learned.need.fold_stages, &learned.risk.fold_stages);
    let folds: Vec<(Stage, Stage)> = need.iter().cloned().zip(risk.iter().cloned()).collect();
    let mut budget = Vec::new();
    for alert in GRID {
        let results = judge_out_of_fold(lexicon, &learned.by_others, &blank, &folds, &once, alert)?;
        budget.push(budget_row(alert, &results));
    }
    let chosen = budget.iter().find(|row| row.false_pages <= recipe.false_pages);
    let alert = chosen.map(|row| row.alert).ok_or_else(|| TrainError::Budget {
        asked: recipe.false_pages,
        least: budget.iter().map(|row| row.false_pages).fold(1.0, f64::min),
    })?;
    let out_of_fold = judge_out_of_fold(lexicon, &learned.by_others, &blank, &folds, &once, alert)?;
    Ok(Trained {
        learned: learned.counts.learned(lexicon),
        wording_turns: learned.counts.wording.learned_from(),
        rows: learned.rows,
        alphas: (learned.need.alpha, learned.risk.alpha),
        log_losses: (learned.need.log_loss, learned.risk.log_loss),
        model: Model {
            need: learned.need.stage,
            risk: learned.risk.stage,
            thresholds: Thresholds::of_alert(alert),
            ..blank
        },
        budget,
        out_of_fold,
    })
}

/// Alert thresholds that are tried, rising.
pub const GRID: [f64; 16] = [
    0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9,
];

pub(super) fn pipeline(lexicon: &Arc<Lexicon>, learned: &Arc<Learned>, model: Model) -> Result<Pipeline, PolicyError> {
    let policy = crate::alert::Policy::new(Settings::default(), model.thresholds)?;
    Ok(Pipeline::new(
        lexicon.clone(),
        learned.clone(),
        model,
        String::new(),
        policy,
    ))
}

/// Of twins with the same words, the one in which the matter was closed without a clinician, by corpus.
fn one_of_each_case(corpora: &[Corpus]) -> Vec<Vec<&LabelledCall>> {
    let mut cases = HashSet::new();
    let mut of = |corpus: &'_ Corpus| -> Vec<usize> {
        let own = (0..corpus.calls.len()).filter(|at| {
            let label = &corpus.calls[*at].label;
            label.is_sure() && !label.is_handed_over()
        });
        own.filter(|at| cases.insert(corpus.calls[*at].label.case().to_owned()))
            .collect()
    };
    corpora
        .iter()
        .map(|corpus| of(corpus).into_iter().map(|at| &corpus.calls[at]).collect())
        .collect()
}

fn counts_of_calls(reader: &Reader, corpus: &Corpus) -> LearnedCounts {
    let mut counts = LearnedCounts {
        wording: wordings_of_calls(corpus),
        ..LearnedCounts::default()
    };
    let mut cases = HashSet::new();
    for call in corpus.calls.iter().filter(|call| call.label.is_sure()) {
        // Twins have the same words.
        if !cases.insert(call.label.case()) {
            continue;
        }
        let mut stating: Vec<(ConceptId, u32)> = call
            .events
            .iter()
            .filter_map(said_by_caller)
            .flat_map(|text| reader.stating(text))
            .collect();
        stating.sort_unstable();
        stating.dedup();
        // In a call with need every pattern that spoke up was right to: the label names the weightiest finding alone.
        let found = stating.iter().map(|(_, pattern)| *pattern);
        counts.reliability.learn(found, call.label.needed.is_need());
    }
    counts
}

fn counts_of(reader: &Reader, phrases: &[Phrase]) -> LearnedCounts {
    let mut counts = LearnedCounts {
        wording: wordings_of(phrases),
        ..LearnedCounts::default()
    };
    for phrase in phrases {
        let mut stating = reader.stating(&phrase.caller);
        stating.sort_unstable();
        stating.dedup();
        let found = stating.iter().map(|(_, pattern)| *pattern);
        counts.reliability.learn(found, phrase.is_present());
    }
    counts
}

/// The turns of written calls: those that state a red flag of the label, and those before it or of calls without need.
/// What comes after the red flag tells nothing by itself. And the whole of what callers say until the matter is closed.
fn wordings_of_calls(corpus: &Corpus) -> WordingCounts {
    let mut counts = WordingCounts::default();
    let (weight, weight_of_talk) = if corpus.made_up_endings {
        (REAL, REAL_TALK)
    } else {
        (WRITTEN, 1)
    };
    let mut cases = HashSet::new();
    let untaken = |call: &&LabelledCall| call.label.is_sure() && !call.label.is_handed_over();
    for call in corpus.calls.iter().filter(untaken) {
        if !cases.insert(call.label.case()) {
            continue;
        }
        let label = &call.label;
        for event in &call.events {
            let (Body::Utterance(said), Some(seq)) = (&event.body, event.seq) else {
                continue;
            };
            if said.speaker != Speaker::Caller {
                continue;
            }
            let needs = label.needed.is_need() && label.states_red_flag(seq);
            if needs || !label.needed.is_need() || label.red_flag_seq.is_some_and(|flag| seq < flag) {
                counts.learn_turn(&normalize(&said.text), needs, weight);
            }
        }
        let turns: Vec<Tokens> = said_before_closing(call).map(normalize).collect();
        counts.learn_talk(&turns, label.needed.is_need(), weight_of_talk);
    }
    counts
}

/// What the caller says until the matter is closed: then they say goodbye, and how tells how it was closed.
fn said_before_closing(call: &LabelledCall) -> impl Iterator<Item = &str> {
    let closing = call.label.closing_seq;
    let is_open = move |event: &&Event| closing.zip(event.seq).is_none_or(|(closing, seq)| seq < closing);
    call.events.iter().take_while(is_open).filter_map(said_by_caller)
}

/// What is heard as the caller's, once: partial results have their final ones.
pub fn said_by_caller(event: &Event) -> Option<&str> {
    match &event.body {
        Body::Utterance(said) if said.is_final && matches!(said.speaker, Speaker::Caller | Speaker::Other) => {
            Some(&said.text)
        }
        Body::Answer(answer) => Some(&answer.answer),
        _ => None,
    }
}

fn wordings_of(phrases: &[Phrase]) -> WordingCounts {
    let mut counts = WordingCounts::default();
    phrases
        .iter()
        .for_each(|phrase| counts.learn_turn(&normalize(&phrase.caller), phrase.is_present(), WRITTEN));
    counts
}

fn moment_of_phrase(pipeline: &Pipeline, phrase: &Phrase, number: usize) -> Moment {
    let id = CallId::new("phrase").expect("a valid id");
    let mut watched = Watched::new(id.clone());
    let events = phrase.events(&id);
    events.iter().for_each(|event| pipeline.step(&mut watched, event, drop));
    let features = pipeline.extractor().need(pipeline.lexicon(), &watched.call);
    let last = events.last().expect("there are events");
    Moment {
        handling: pipeline.extractor().handling(&watched.call, &features, last.at),
        need: features.need,
        needs: phrase.is_present(),
        unmet: false,
        fold: number % FOLDS,
        first: true,
        handles: false,
        real: false,
    }
}

fn judge_out_of_fold(
    lexicon: &Arc<Lexicon>,
    by_others: &[Arc<Learned>],
    blank: &Model,
    folds: &[(Stage, Stage)],
    calls: &[Vec<&LabelledCall>],
    alert: f64,
) -> Result<Vec<CallResult>, PolicyError> {
    let mut results = Vec::new();
    for (fold, (need, risk)) in folds.iter().enumerate() {
        let thresholds = Thresholds::of_alert(alert);
        let model = Model {
            need: need.clone(),
            risk: risk.clone(),
            thresholds,
            ..blank.clone()
        };
        for (calls, learned) in calls.iter().zip(by_others) {
            let pipeline = pipeline(lexicon, learned, model.clone())?;
            for call in calls.iter().filter(|call| folds_of(call.label.case()) == fold) {
                results.push(CallResult::of(&pipeline, call));
            }
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
                real: !handles,
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
