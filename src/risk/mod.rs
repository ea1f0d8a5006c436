//! Features as probabilities: the trained model, how it is fitted, calibrated, explained and kept.

mod calibrate;
mod explain;
mod model;
mod train;

pub use calibrate::Platt;
pub use explain::{Contribution, explain};
pub use model::{Model, ModelError, SCHEMA, Stage, Thresholds};
pub use train::{Example, FOLDS, FitError, Fitted, fit_need, fit_risk, folds_of};

/// σ(z)
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}
