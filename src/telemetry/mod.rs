//! What happened, as series and as log lines: read from outcomes, never counted in the middle of judgement.

mod logging;
mod metrics;
mod part;
mod tally;

pub use logging::{LogFormat, Settings as LogSettings, hush_panics, init};
pub use metrics::{Heartbeat, Metrics, SERIES, Series, wall_millis};
pub use part::Part;
pub use tally::Tally;
