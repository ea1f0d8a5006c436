//! What more data would bring: a model learned from ever more of them, measured on calls that were kept apart.

use std::sync::Arc;

use serde::Serialize;

use super::training::{learn, pipeline};
use super::{Corpus, Interval, LabelledCall, Phrase, Recipe, TrainError, auroc, bootstrap, judge, recall_at};
use crate::risk::{FitError, Model};
use crate::signals::Lexicon;

/// What a model is worth on calls that were kept apart, learned from ever more corpora.
#[derive(Clone, Debug, Serialize)]
pub struct CurvePoint {
    /// Calls that it was learned from.
    pub calls: usize,
    pub auroc: Interval,
    pub recall_at_10: Interval,
}

/// Learns from the first corpus, the first two, and so on; the phrases are there from the beginning. Where the curve
/// still rises, more calls pay. Points with too few calls to learn from are left out.
pub fn learning_curve(
    lexicon: &Arc<Lexicon>,
    corpora: &[Corpus],
    phrases: &[Vec<Phrase>],
    held: &[&LabelledCall],
    recipe: &Recipe,
    mut progress: impl FnMut(&str),
) -> Result<Vec<CurvePoint>, TrainError> {
    let mut points = Vec::new();
    for count in 1..=corpora.len() {
        // Parts of one file come together.
        let part = |at: usize| corpora.get(at).is_some_and(|corpus: &Corpus| corpus.made_up_endings);
        if part(count - 1) && part(count) {
            continue;
        }
        let corpora = &corpora[..count];
        let blank = Model::blank("curve", "0", &lexicon.sha256);
        let learned = match learn(lexicon, corpora, phrases, recipe, &blank, &mut progress) {
            Err(TrainError::Fit(FitError::TooFew { .. })) => continue,
            learned => learned?,
        };
        let reading = Arc::new(learned.counts.learned(lexicon));
        let model = Model {
            need: learned.need.stage,
            risk: learned.risk.stage,
            ..blank
        };
        let results = judge(&pipeline(lexicon, &reading, model)?, held.iter().copied());
        let figure = |of: fn(&[f64], &[f64]) -> f64| {
            bootstrap(&results, |drawn| {
                let pick = |need: bool| -> Vec<f64> {
                    let own = drawn.iter().filter(|result| result.is_need() == need);
                    own.map(|result| result.need).collect()
                };
                of(&pick(true), &pick(false))
            })
        };
        points.push(CurvePoint {
            calls: corpora.iter().map(|corpus| corpus.calls.len()).sum(),
            auroc: figure(auroc),
            recall_at_10: figure(|positives, negatives| recall_at(positives, negatives, 0.1)),
        });
    }
    Ok(points)
}
