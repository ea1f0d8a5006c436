//! The model as data, and the score: two dot products.

use serde::{Deserialize, Serialize};

use super::{Platt, sigmoid};
use crate::features::{NEED, RISK, Spec, fingerprint};

/// Version of the layout of `model.json`.
pub const SCHEMA: u32 = 1;

/// One calibrated logistic stage over standardised features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub features: Vec<FeatureWeight>,
    pub intercept: f64,
    /// From the raw score to a probability, fitted out of fold.
    pub calibration: Platt,
}

/// A feature's place in its stage; one that was dropped for its sign has coefficient 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureWeight {
    pub name: String,
    pub mean: f64,
    pub scale: f64,
    pub coefficient: f64,
}

impl Stage {
    /// Knows nothing: every call is an even chance. What training starts from.
    pub fn blank(specs: &[Spec]) -> Self {
        let feature = |spec: &Spec| FeatureWeight {
            name: spec.name.into(),
            mean: 0.0,
            scale: 1.0,
            coefficient: 0.0,
        };
        Self {
            features: specs.iter().map(feature).collect(),
            intercept: 0.0,
            calibration: Platt::IDENTITY,
        }
    }

    /// Log odds before calibration.
    pub fn raw(&self, values: &[f32]) -> f64 {
        let moved: f64 = self
            .features
            .iter()
            .zip(values)
            .map(|(f, x)| f.coefficient * (f64::from(*x) - f.mean) / f.scale)
            .sum();
        self.intercept + moved
    }

    /// Calibrated log odds.
    pub fn logit(&self, values: &[f32]) -> f64 {
        self.calibration.logit(self.raw(values))
    }

    pub fn probability(&self, values: &[f32]) -> f64 {
        sigmoid(self.logit(values))
    }

    fn check(&self, stage: &'static str, specs: &[Spec]) -> Result<(), ModelError> {
        let names = self.features.iter().map(|feature| feature.name.as_str());
        if !names.eq(specs.iter().map(|spec| spec.name)) {
            return Err(ModelError::Features { stage });
        }
        let numbers = self.features.iter().flat_map(|f| [f.mean, f.scale, f.coefficient]);
        let all = numbers.chain([self.intercept, self.calibration.slope, self.calibration.offset]);
        if all.into_iter().any(|number| !number.is_finite()) || self.features.iter().any(|f| f.scale <= 0.0) {
            return Err(ModelError::NotFinite { stage });
        }
        Ok(())
    }
}

/// From which risk on which level begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    pub watch: f64,
    pub alert: f64,
}

impl Thresholds {
    /// Risk is shown from well below the level at which somebody is called.
    pub fn of_alert(alert: f64) -> Self {
        Self {
            watch: (alert * 0.6).max(0.02),
            alert,
        }
    }
}

/// `model.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub schema: u32,
    pub name: String,
    pub version: String,
    /// Names, order and signs of the features.
    pub fingerprint: String,
    pub lexicon_sha256: String,
    pub need: Stage,
    pub risk: Stage,
    pub thresholds: Thresholds,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    #[error("schema {found} of the model is not {SCHEMA}: train it again with this program")]
    Schema { found: u32 },
    #[error("the model was trained on other features ({found}, this program has {own}): train it again")]
    Fingerprint { found: String, own: String },
    #[error("the model belongs to another lexicon ({found})")]
    Lexicon { found: String },
    #[error("features of stage {stage} are not in the order of the schema")]
    Features { stage: &'static str },
    #[error("stage {stage} holds a number that is not finite or a scale that is not positive")]
    NotFinite { stage: &'static str },
    #[error("thresholds must rise from watch to alert between 0 and 1")]
    Thresholds,
}

impl Model {
    pub fn blank(name: &str, version: &str, lexicon_sha256: &str) -> Self {
        Self {
            schema: SCHEMA,
            name: name.to_owned(),
            version: version.to_owned(),
            fingerprint: fingerprint(),
            lexicon_sha256: lexicon_sha256.to_owned(),
            need: Stage::blank(&NEED),
            risk: Stage::blank(&RISK),
            thresholds: Thresholds {
                watch: 0.25,
                alert: 0.5,
            },
        }
    }

    /// Refuses whatever this program would score wrongly.
    pub fn check(&self, lexicon_sha256: &str) -> Result<(), ModelError> {
        if self.schema != SCHEMA {
            return Err(ModelError::Schema { found: self.schema });
        }
        let own = fingerprint();
        if self.fingerprint != own {
            return Err(ModelError::Fingerprint {
                found: self.fingerprint.clone(),
                own,
            });
        }
        if self.lexicon_sha256 != lexicon_sha256 {
            return Err(ModelError::Lexicon {
                found: self.lexicon_sha256.clone(),
            });
        }
        self.need.check("need", &NEED)?;
        self.risk.check("risk", &RISK)?;
        let Thresholds { watch, alert } = self.thresholds;
        if !(0.0 < watch && watch < alert && alert < 1.0) {
            return Err(ModelError::Thresholds);
        }
        Ok(())
    }

    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}
