//! Calls that were made up for the demo, with their labels. No figure of quality may come from them.

use crate::evaluation::Label;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Limits, decode};

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
    }
}
