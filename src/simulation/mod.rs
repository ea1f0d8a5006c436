//! Calls that were made up for the demo, with their labels. No figure of quality may come from them.

use std::collections::HashMap;

use crate::evaluation::{Label, LabelledCall};
use crate::record::{Event, Limits, decode};

/// Events, one a line; calls overlap in time.
pub const CALLS: &str = include_str!("calls.ndjson");
const LABELS: &str = include_str!("labels.ndjson");

/// # Panics
/// Never: a test reads them all.
pub fn labels() -> Vec<Label> {
    LABELS
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("labels of the demo are in order"))
        .collect()
}

/// Each call with its label, its events in their order.
///
/// # Panics
/// Never: a test reads them all.
pub fn labelled() -> Vec<LabelledCall> {
    let mut events: HashMap<String, Vec<Event>> = HashMap::new();
    for line in CALLS.lines().filter(|line| !line.is_empty()) {
        let decoded = decode(line.as_bytes(), None, &Limits::default()).expect("events of the demo are in order");
        let id = decoded.event.call_id.as_str().to_owned();
        events.entry(id).or_default().push(decoded.event);
    }
    labels()
        .into_iter()
        .map(|label| LabelledCall {
            events: events.remove(&label.call_id).unwrap_or_default(),
            label,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_calls_are_read_and_labelled() {
        let mut calls = std::collections::HashSet::new();
        for line in CALLS.lines() {
            let decoded = decode(line.as_bytes(), None, &Limits::default()).unwrap();
            assert!(decoded.slips.is_empty(), "{line}");
            calls.insert(decoded.event.call_id.as_str().to_owned());
        }
        let labels = labels();
        assert!(labels.iter().all(|label| calls.contains(&label.call_id)));
        assert_eq!(labels.len(), calls.len());
        assert!(calls.len() >= 36, "several dozen");
        assert!(labelled().iter().all(|call| call.events.len() > 1));
    }
}
