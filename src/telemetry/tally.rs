//! What was counted of outcomes and waits to be told: those of a transaction that is not committed come again, and must
//! not count twice.

use prometheus::Histogram;

use super::metrics::Metrics;
use crate::alert::{Level, State};
use crate::call::Fate;
use crate::pipeline::{Cause, Outcome};

/// A series of one label, or of none.
type Name = (&'static str, Option<&'static str>);

/// Whether both were written at the same place in the program: a series that is named at two is told in two parts, which
/// add up.
fn is_same(one: Name, other: Name) -> bool {
    std::ptr::eq(one.0, other.0)
        && match (one.1, other.1) {
            (Some(one), Some(other)) => std::ptr::eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
}

/// Counts by series, and values to be put into histograms.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Vec<(Name, f64)>,
    values: Vec<(Name, f64)>,
    /// Wall clock, in milliseconds since 1970.
    last_decision: Option<i64>,
}

impl Tally {
    pub fn count(&mut self, series: &'static str, label: &'static str) {
        self.add((series, Some(label)), 1.0);
    }

    /// Takes an outcome in. `now` is the wall clock, in milliseconds since 1970.
    pub fn observed(&mut self, outcome: &Outcome, now: i64) {
        if outcome.cause == Cause::Event {
            self.event(outcome, now);
        }
        self.count("decisions_total", outcome.decision.why.as_str());
        if let Some((seconds, needed)) = outcome.decision.settled_after {
            self.values
                .push((("time_to_clinician_seconds", Some(needed.as_str())), seconds));
        }
        if outcome.over {
            self.count("calls_total", "forgotten");
        }
        self.alert(outcome);
        self.last_decision = Some(now);
    }

    fn event(&mut self, outcome: &Outcome, now: i64) {
        self.count("events_total", outcome.applied.fate.as_str());
        if outcome.applied.lost > 0 {
            self.add(("events_lost_total", None), outcome.applied.lost as f64);
        }
        if outcome.came_late {
            self.add(("events_after_deadline_total", None), 1.0);
        }
        if outcome.applied.fate == Fate::Applied {
            if outcome.events == 1 {
                self.count("calls_total", "started");
            }
            if outcome.ended {
                self.count("calls_total", "ended");
                for reason in &outcome.trust_reasons {
                    self.count("not_understood_calls_total", reason);
                }
            }
            let latency = (now - outcome.at.millis()).max(0) as f64 / 1000.0;
            self.values.push((("decision_latency_seconds", None), latency));
            for (stage, score) in [("need", outcome.need), ("risk", outcome.risk)] {
                let scored = score.map(|score| (("score", Some(stage)), score));
                self.values.extend(scored);
            }
        }
    }

    fn alert(&mut self, outcome: &Outcome) {
        let Some(alert) = &outcome.alert else { return };
        let priority = alert.level.priority();
        self.count("alerts_updated_total", alert.state.as_str());
        // The first record of its level in its episode: most pages have been shown as a watch before.
        let before = outcome.decision.before;
        if alert.state != State::Cleared && before.is_none_or(|before| alert.level > before) {
            self.count("alerts_raised_total", priority);
            let elapsed = ("call_elapsed_at_alert_seconds", Some(priority));
            self.values.push((elapsed, alert.call_seconds));
            let first_page = alert.is_page() && !before.is_some_and(Level::pages);
            if first_page && alert.state == State::EndedUnescalated {
                self.count("alerts_after_call_end_total", priority);
            }
        }
        match alert.state {
            State::Cleared => self.count("alerts_cleared_total", priority),
            State::EndedUnescalated | State::ContactLost | State::HandoverUnconfirmed
                if alert.level != Level::Watch =>
            {
                self.count("unsettled_calls_total", alert.state.as_str());
            }
            _ => {}
        }
    }

    fn add(&mut self, name: Name, by: f64) {
        // A few dozen series at most: looking through them costs less than hashing their names.
        match self.counts.iter_mut().find(|(known, _)| is_same(*known, name)) {
            Some((_, sum)) => *sum += by,
            None => self.counts.push((name, by)),
        }
    }

    /// Tells all of it, now that it holds.
    pub fn tell(self, metrics: &Metrics) {
        for ((series, label), sum) in self.counts {
            metrics.add(series, label.as_slice(), sum);
        }
        let mut histograms: Vec<(Name, Histogram)> = Vec::new();
        for (name, value) in self.values {
            let known = histograms.iter().position(|(known, _)| is_same(*known, name));
            let place = known.unwrap_or_else(|| {
                histograms.push((name, metrics.histogram(name.0, name.1.as_slice())));
                histograms.len() - 1
            });
            histograms[place].1.observe(value);
        }
        if let Some(at) = self.last_decision {
            metrics.set("last_decision_timestamp_seconds", &[], at as f64 / 1000.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_committed_is_not_counted() {
        let metrics = Metrics::new();
        let tally = || {
            let mut tally = Tally::default();
            tally.count("events_total", "applied");
            tally.count("events_total", "applied");
            tally.count("events_total", "late");
            tally
        };
        drop(tally());
        assert!(metrics.text().contains("callward_events_total{fate=\"applied\"} 0"));
        tally().tell(&metrics);
        assert!(metrics.text().contains("callward_events_total{fate=\"applied\"} 2"));
        assert!(metrics.text().contains("callward_events_total{fate=\"late\"} 1"));
    }
}
