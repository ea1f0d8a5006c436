//! Raw log odds → calibrated ones (Platt 1999, with the priors of Lin, Lin and Weng 2007, as in linfa).

use linfa::ParamGuard;
use linfa::composing::platt_scaling::PlattParams;
use linfa::composing::platt_scaling::platt_newton_method;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

/// `slope × z + offset`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    pub slope: f64,
    pub offset: f64,
}

/// Below this many of either class a slope cannot be learned, only the offset.
const ENOUGH: usize = 50;

impl Platt {
    pub const IDENTITY: Self = Self {
        slope: 1.0,
        offset: 0.0,
    };

    pub fn logit(&self, z: f64) -> f64 {
        self.slope * z + self.offset
    }

    /// Fits to out-of-fold log odds. With fewer than 50 of a class only the offset is fitted.
    pub fn fit(raw: &[f64], truth: &[bool]) -> Self {
        let positives = truth.iter().filter(|yes| **yes).count();
        if positives == 0 || positives == truth.len() {
            return Self::IDENTITY;
        }
        if positives.min(truth.len() - positives) < ENOUGH {
            return Self {
                slope: 1.0,
                offset: offset_for(raw, positives as f64),
            };
        }
        let params = PlattParams::<f64, ()>::default()
            .check()
            .expect("the defaults of linfa are valid");
        let labels = Array1::from_iter(truth.iter().copied());
        match platt_newton_method(Array1::from_iter(raw.iter().copied()).view(), labels.view(), &params) {
            // linfa's curve is 1 / (1 + exp(A z + B)).
            Ok((a, b)) if a < 0.0 && a.is_finite() && b.is_finite() => Self { slope: -a, offset: -b },
            _ => Self {
                slope: 1.0,
                offset: offset_for(raw, positives as f64),
            },
        }
    }
}

/// The offset at which the mean probability is the share of positives, by bisection.
fn offset_for(raw: &[f64], positives: f64) -> f64 {
    let expected = |offset: f64| raw.iter().map(|z| super::sigmoid(z + offset)).sum::<f64>();
    let (mut low, mut high) = (-20.0, 20.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if expected(middle) < positives {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibrated_scores_have_the_share_of_positives() {
        let raw: Vec<f64> = (0..400).map(|i| f64::from(i) / 40.0 - 5.0).collect();
        // truth follows σ(2z − 1), spread evenly
        let truth: Vec<bool> = raw
            .iter()
            .enumerate()
            .map(|(i, z)| (i as f64 * 0.618).fract() < super::super::sigmoid(2.0 * z - 1.0))
            .collect();
        let platt = Platt::fit(&raw, &truth);
        assert!((platt.slope - 2.0).abs() < 0.6, "{platt:?}");
        let few = Platt::fit(&raw[..60], &truth[..60]);
        assert_eq!(few.slope, 1.0);
    }
}
