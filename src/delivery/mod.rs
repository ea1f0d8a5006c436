//! Alerts reach somebody: read from `calls.alerts` by their own group, told at least once, with `alert_id` and revision
//! as the key against repeats.

mod webhook;

pub use webhook::{Courier, Secret, SecretProblem, Sent, WebhookSettings, signature};
