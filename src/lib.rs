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

/// Outcomes and labels → what a judge is worth.
pub mod evaluation;

/// The commands.
pub mod cli;
