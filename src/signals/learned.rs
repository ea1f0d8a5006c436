//! What reading has learned from labelled calls and turns, beside the lexicon that people wrote.

use super::lexicon::Lexicon;
use super::reliability::{Reliability, ReliabilityCounts};
use super::wording::{Wording, WordingCounts};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// How callers put it when they needed a clinician.
    pub wording: Wording,
    /// How far each pattern of the lexicon is to be trusted.
    pub reliability: Reliability,
}

/// What it was learned from can be taken out again, so that every writer's calls are judged by what the others taught.
#[derive(Clone, Debug, Default)]
pub struct LearnedCounts {
    pub wording: WordingCounts,
    pub reliability: ReliabilityCounts,
}

impl LearnedCounts {
    pub fn add(&mut self, others: &Self) {
        self.wording.add(&others.wording);
        self.reliability.add(&others.reliability);
    }

    pub fn without(&self, others: &Self) -> Self {
        Self {
            wording: self.wording.without(&others.wording),
            reliability: self.reliability.without(&others.reliability),
        }
    }

    pub fn learned(&self, lexicon: &Lexicon) -> Learned {
        Learned {
            wording: self.wording.wording(),
            reliability: self.reliability.reliability(lexicon),
        }
    }
}
