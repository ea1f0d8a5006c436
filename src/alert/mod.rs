//! What a person is told, and when: levels, the agent's fair chance, the last chance at booking, the safety floor,
//! hysteresis, episodes, deadlines. Pure: time enters as the times of events and of deadlines that the state itself
//! names.

mod policy;
mod record;
mod settings;
mod watch;
mod why;

pub use policy::{Assessment, Decision, Happening, Policy};
pub use record::{Against, Alert, AlertId, Ground, Minimum, Named, NotDone, Quotes, Said, State, alert_of, rounded};
pub use settings::{PolicyError, Settings};
pub use watch::{Deadline, Raised, Watch, WatchRow};
pub use why::Why;

use serde::{Deserialize, Serialize};

/// How loudly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Shown, never a page.
    Watch,
    Alert,
    Emergency,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Watch, Self::Alert, Self::Emergency];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }

    /// The word that metrics use.
    pub const fn priority(self) -> &'static str {
        match self {
            Self::Watch => "low",
            Self::Alert => "medium",
            Self::Emergency => "high",
        }
    }

    /// Whether somebody is called for it.
    pub const fn pages(self) -> bool {
        matches!(self, Self::Alert | Self::Emergency)
    }
}
