//! Examples → stages, with linfa's logistic regression.
//!
//! Coefficients with the wrong sign are dropped and the rest fitted again; the strength of the penalty is chosen by
//! out-of-fold log loss over calls, and the calibration is fitted on the same out-of-fold scores. linfa calls the more
//! frequent class positive, so signs are read from its labels.

use linfa::prelude::*;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};

use super::model::FeatureWeight;
use super::{Platt, Stage, sigmoid};
use crate::features::{NEED, RISK, Sign, Spec};

/// One moment of one call.
#[derive(Clone, Debug)]
pub struct Example<const N: usize> {
    pub values: [f32; N],
    pub truth: bool,
    /// Calls of the same case never part.
    pub fold: usize,
}

/// A fitted stage with the out-of-fold probability of every example.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub stage: Stage,
    /// By fold: fitted on the others, calibrated as the whole.
    pub fold_stages: Vec<Stage>,
    pub out_of_fold: Vec<f64>,
    pub alpha: f64,
    pub log_loss: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum FitError {
    #[error("{stage}: {positives} positive and {negatives} negative examples: at least 20 of each are needed")]
    TooFew {
        stage: &'static str,
        positives: usize,
        negatives: usize,
    },
    #[error("{stage}: linfa found no fit: {error}")]
    Linfa { stage: &'static str, error: String },
}

const ALPHAS: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];
/// Folds of cases.
pub const FOLDS: usize = 5;
const FEWEST: usize = 20;

/// The fold of a case: by hash, so that it never changes.
pub fn folds_of(case: &str) -> usize {
    use sha2::{Digest, Sha256};
    Sha256::digest(case.as_bytes())[1] as usize % FOLDS
}

pub fn fit_need(examples: &[Example<{ NEED.len() }>]) -> Result<Fitted, FitError> {
    fit("need", &NEED, examples)
}

pub fn fit_risk(examples: &[Example<{ RISK.len() }>]) -> Result<Fitted, FitError> {
    fit("risk", &RISK, examples)
}

fn fit<const N: usize>(stage: &'static str, specs: &[Spec; N], examples: &[Example<N>]) -> Result<Fitted, FitError> {
    let positives = examples.iter().filter(|example| example.truth).count();
    let negatives = examples.len() - positives;
    if positives < FEWEST || negatives < FEWEST {
        return Err(FitError::TooFew {
            stage,
            positives,
            negatives,
        });
    }
    let truth: Vec<bool> = examples.iter().map(|example| example.truth).collect();
    let mut best: Option<(f64, f64, Vec<f64>, Vec<Stage>)> = None;
    for alpha in ALPHAS {
        let mut raw = vec![0.0; examples.len()];
        let mut stages = Vec::with_capacity(FOLDS);
        for fold in 0..FOLDS {
            let rest: Vec<&Example<N>> = examples.iter().filter(|example| example.fold != fold).collect();
            let fitted = fit_signed(stage, specs, &rest, alpha)?;
            for (z, example) in raw.iter_mut().zip(examples).filter(|(_, example)| example.fold == fold) {
                *z = fitted.raw(&example.values);
            }
            stages.push(fitted);
        }
        let loss = log_loss(&raw, &truth);
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, alpha, raw, stages));
        }
    }
    let (_, alpha, raw, mut fold_stages) = best.expect("there are alphas");
    let calibration = Platt::fit(&raw, &truth);
    fold_stages.iter_mut().for_each(|stage| stage.calibration = calibration);
    let all: Vec<&Example<N>> = examples.iter().collect();
    let stage = Stage {
        calibration,
        ..fit_signed(stage, specs, &all, alpha)?
    };
    let calibrated: Vec<f64> = raw.iter().map(|z| calibration.logit(*z)).collect();
    let log_loss = log_loss(&calibrated, &truth);
    Ok(Fitted {
        stage,
        fold_stages,
        out_of_fold: calibrated.into_iter().map(sigmoid).collect(),
        alpha,
        log_loss,
    })
}

fn log_loss(raw: &[f64], truth: &[bool]) -> f64 {
    let loss = raw.iter().zip(truth).map(|(z, yes)| {
        let p = sigmoid(*z).clamp(1e-9, 1.0 - 1e-9);
        if *yes { -p.ln() } else { -(1.0 - p).ln() }
    });
    loss.sum::<f64>() / raw.len().max(1) as f64
}

/// Fits, drops what is most against its sign, and fits again until nothing is.
fn fit_signed<const N: usize>(
    stage: &'static str,
    specs: &[Spec; N],
    examples: &[&Example<N>],
    alpha: f64,
) -> Result<Stage, FitError> {
    let (mean, scale) = moments(examples);
    let mut kept: Vec<usize> = (0..N).filter(|j| scale[*j] > 1e-9).collect();
    loop {
        let (coefficients, intercept) = fit_plain(stage, examples, &kept, &mean, &scale, alpha)?;
        let wrong = |j: usize, w: f64| match specs[j].sign {
            Sign::Up => w < 0.0,
            Sign::Down => w > 0.0,
            Sign::Free => false,
        };
        let mut against: Vec<(f64, usize)> = kept
            .iter()
            .zip(&coefficients)
            .filter(|(j, w)| wrong(**j, **w))
            .map(|(j, w)| (w.abs(), *j))
            .collect();
        if against.is_empty() {
            let weight = |j: usize| kept.iter().position(|k| *k == j).map_or(0.0, |at| coefficients[at]);
            let features = (0..N).map(|j| FeatureWeight {
                name: specs[j].name.to_owned(),
                mean: mean[j],
                scale: if scale[j] > 1e-9 { scale[j] } else { 1.0 },
                coefficient: weight(j),
            });
            return Ok(Stage {
                features: features.collect(),
                intercept,
                calibration: Platt::IDENTITY,
            });
        }
        // The most wrong go first and few at a time: what stands beside them may turn right.
        against.sort_by(|a, b| b.0.total_cmp(&a.0));
        against.truncate((against.len() / 4).max(1));
        kept.retain(|j| !against.iter().any(|(_, wrong)| wrong == j));
    }
}

fn moments<const N: usize>(examples: &[&Example<N>]) -> ([f64; N], [f64; N]) {
    let count = examples.len().max(1) as f64;
    let mut mean = [0.0; N];
    let mut scale = [0.0; N];
    for j in 0..N {
        mean[j] = examples.iter().map(|e| f64::from(e.values[j])).sum::<f64>() / count;
        let variance = examples
            .iter()
            .map(|e| (f64::from(e.values[j]) - mean[j]).powi(2))
            .sum::<f64>()
            / count;
        scale[j] = variance.sqrt();
    }
    (mean, scale)
}

fn fit_plain<const N: usize>(
    stage: &'static str,
    examples: &[&Example<N>],
    kept: &[usize],
    mean: &[f64; N],
    scale: &[f64; N],
    alpha: f64,
) -> Result<(Vec<f64>, f64), FitError> {
    let x = Array2::from_shape_fn((examples.len(), kept.len()), |(i, k)| {
        let j = kept[k];
        (f64::from(examples[i].values[j]) - mean[j]) / scale[j]
    });
    let y = Array1::from_iter(examples.iter().map(|example| example.truth));
    let dataset = Dataset::new(x, y);
    let mut strength = alpha;
    let mut attempt = 0;
    loop {
        // The tolerance is on the summed gradient, so it grows with the rows.
        let learner = LogisticRegression::default()
            .alpha(strength)
            .with_intercept(true)
            .max_iterations(500)
            .gradient_tolerance((2e-5 * examples.len() as f64).max(1e-4));
        match learner.fit(&dataset) {
            Ok(fitted) => {
                let flip = if fitted.labels().pos.class { 1.0 } else { -1.0 };
                return Ok((
                    fitted.params().iter().map(|w| flip * w).collect(),
                    flip * fitted.intercept(),
                ));
            }
            // The line search can fail on nearly separable data: a stronger penalty mends it.
            Err(_) if attempt < 2 => {
                strength *= 10.0;
                attempt += 1;
            }
            Err(error) => {
                return Err(FitError::Linfa {
                    stage,
                    error: error.to_string(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> [Spec; 2] {
        [
            Spec {
                name: "signal",
                sign: Sign::Up,
                meaning: "",
            },
            Spec {
                name: "reversed",
                sign: Sign::Up,
                meaning: "",
            },
        ]
    }

    /// Rare positives, so that linfa's own positive class is the other one.
    fn examples() -> Vec<Example<2>> {
        (0..1000)
            .map(|i| {
                let truth = i % 20 == 0;
                let noise = (i as f32 * 0.618).fract();
                let signal = noise + if truth { 0.8 } else { 0.0 };
                Example {
                    values: [signal, 1.0 - signal * 0.2],
                    truth,
                    fold: (i / 20) % FOLDS,
                }
            })
            .collect()
    }

    #[test]
    fn five_percent_of_positives_keep_their_sign_and_their_share() {
        let fitted = fit("test", &specs(), &examples()).unwrap();
        assert!(fitted.stage.features[0].coefficient > 0.0);
        assert_eq!(fitted.stage.features[1].coefficient, 0.0, "the wrong sign is dropped");
        let mean = fitted.out_of_fold.iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.05).abs() < 0.01, "{mean}");
        assert!(fitted.stage.probability(&[1.6, 0.0]) > fitted.stage.probability(&[0.2, 0.0]));
    }

    #[test]
    fn too_few_examples_are_told() {
        let error = fit("test", &specs(), &examples()[..30]).unwrap_err().to_string();
        assert!(error.contains("at least 20"), "{error}");
    }
}
