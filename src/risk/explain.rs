//! Which features moved a stage, and how far: exact, since a stage is linear.

use super::Stage;

/// What one feature added to the calibrated log odds, against its mean in training.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Contribution {
    pub feature: String,
    pub value: f32,
    pub logit: f64,
}

/// Contributions by size, and the log odds of a call with all features at their means. They add up to the score.
pub fn explain(stage: &Stage, values: &[f32]) -> (f64, Vec<Contribution>) {
    let base = stage.calibration.logit(stage.intercept);
    let mut all: Vec<Contribution> = stage
        .features
        .iter()
        .zip(values)
        .filter(|(feature, _)| feature.coefficient != 0.0)
        .map(|(feature, value)| Contribution {
            feature: feature.name.clone(),
            value: *value,
            logit: stage.calibration.slope * feature.coefficient * (f64::from(*value) - feature.mean) / feature.scale,
        })
        .collect();
    all.sort_by(|a, b| b.logit.abs().total_cmp(&a.logit.abs()));
    (base, all)
}

#[cfg(test)]
mod tests {
    use super::super::{Platt, model::FeatureWeight};
    use super::*;

    #[test]
    fn contributions_add_up_to_the_score() {
        let feature = |name: &str, coefficient| FeatureWeight {
            name: name.into(),
            mean: 0.3,
            scale: 0.5,
            coefficient,
        };
        let stage = Stage {
            features: vec![feature("a", 1.5), feature("b", -0.7), feature("c", 0.0)],
            intercept: -1.0,
            calibration: Platt {
                slope: 0.8,
                offset: 0.2,
            },
        };
        let values = [0.9, 0.1, 5.0];
        let (base, all) = explain(&stage, &values);
        let sum: f64 = base + all.iter().map(|c| c.logit).sum::<f64>();
        assert!((sum - stage.logit(&values)).abs() < 1e-9);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].feature, "a");
    }
}
