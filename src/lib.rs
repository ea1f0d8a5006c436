//! Callward watches live calls for people who need a clinician now and are not being handed over.
//!
//! Modules stand in the order in which data flows; a module uses only those above it.

/// What the source said: events, checked once at the door.
pub mod record;

/// What the words mean: findings with their status, facts, and what the agent does.
pub mod signals;

/// What is known of one call.
pub mod call;

/// A call as named numbers.
pub mod features;

/// Features as probabilities.
pub mod risk;

/// What a person is told, and when.
pub mod alert;

/// One event through all of the above.
pub mod pipeline;

/// Models on disk: list, verify, load, promote.
pub mod registry;

/// What happened, as series and log lines.
pub mod telemetry;

/// Consume, step, commit.
pub mod stream;

/// Tell people.
pub mod delivery;

/// Metrics and health.
pub mod http;

/// Settings.
pub mod config;

/// Outcomes and labels → what a judge is worth.
pub mod evaluation;

/// Calls that were made up for the demo.
pub mod simulation;

/// The commands.
pub mod cli;
