//! Outcomes and labels → what a judge is worth: ranking, timely pages, false pages, each with its interval and count.
//!
//! The unit is the call; intervals are 95 %: of shares by Wilson, of all else by bootstrap over cases, seeded. Definitions follow the labels' page: a
//! page is timely where it comes by the sentence that closes the matter or the action behind it.

mod baselines;
mod compare;
mod curve;
mod html;
mod labels;
mod measures;
mod report;
mod training;

pub use baselines::Baselines;
pub use compare::{Disagreement, Paired, Verdict, compare};
pub use curve::{CurvePoint, learning_curve};
pub use html::{Section, page};
pub use labels::{FindingLabel, Label, LabelledCall, NeededLabel, is_unread};
pub use measures::{Interval, auroc, bootstrap, difference_of_shares, recall_at, share, share_of};
pub use report::{CallResult, Row, judge, sweep, table, table_by_style};
pub use training::{BudgetRow, Corpus, GRID, Phrase, Recipe, TrainError, Trained, counts, said_by_caller, train};
