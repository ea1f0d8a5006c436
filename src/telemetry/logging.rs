//! Log lines for people on a terminal, JSON elsewhere. Words of patients and ids of calls are never logged.

use std::io::{IsTerminal as _, Write as _};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// As in `info,callward=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter: "info,librdkafka=warn,rdkafka=warn".into(),
            format: LogFormat::default(),
        }
    }
}

impl Settings {
    /// What a filter that is none would be.
    pub fn check(&self) -> Result<(), String> {
        EnvFilter::try_new(&self.filter)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// A panic tells where it was and no more: its message may hold the words that were being read.
pub fn hush_panics() {
    std::panic::set_hook(Box::new(|info| {
        // `callward … | head`: a reader that has seen enough is no failure.
        let message = info.payload().downcast_ref::<String>();
        let closed =
            |message: &String| message.starts_with("failed printing to std") && message.contains("Broken pipe");
        if message.is_some_and(closed) {
            std::process::exit(0);
        }
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "a panic; its message may hold a caller's words and is not told");
        } else {
            let told = format!("callward: panicked at {place}; the message may hold a caller's words and is not told");
            // To print is to panic where nobody reads, and a panic here ends the process.
            let _ = writeln!(std::io::stderr(), "{told}");
        }
    }));
}

/// Begins to log to stderr. A second call changes nothing.
pub fn init(settings: &Settings) {
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let begun = if json {
        registry.with(layer.json()).try_init()
    } else {
        registry.with(layer).try_init()
    };
    drop(begun);
}
