//! What happened, as series and as log lines: read from outcomes, never counted in the middle of judgement.

mod heartbeat;
mod logging;
mod metrics;
mod part;
mod tally;

pub use heartbeat::Heartbeat;
pub use logging::{LogFormat, Settings as LogSettings, hush_panics, init};
pub use metrics::{Metrics, SERIES, Series, wall_millis};
pub use part::Part;
pub use tally::Tally;
