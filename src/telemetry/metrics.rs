//! The metric catalogue: one table, from which series are registered, filled and tested. Every label is a closed set of
//! words (or the topic and the partitions that this process holds), and every series exists at zero from the start.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Counter, CounterVec, Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder,
};

/// What kind of series it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

/// One row of the catalogue; names stand without the prefix.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    pub name: &'static str,
    kind: Type,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// Label values that exist from the start.
    start: Start,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    /// No labels.
    Plain,
    /// Every value of the closed set.
    Each(&'static [&'static str]),
    /// Made when a partition or topic is known.
    Later,
}

const PREFIX: &str = "callward_";

/// Bounds of latencies; each threshold of an objective is a bound that is no whole number.
const LATENCY: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.5, 2.5, 5.5, 10.5, 30.5, 60.5,
];
const MICROS: &[f64] = &[1e-6, 2.5e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2];
const SHARE: &[f64] = &[
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0,
];
const CARE: &[f64] = &[5.5, 15.5, 30.5, 60.5, 120.5, 300.5, 600.5, 1800.5, 3600.5];
const PRIORITIES: &[&str] = &["high", "medium", "low"];
const NEEDED: &[&str] = &["emergency", "urgent"];

const fn counter(name: &'static str, labels: &'static [&'static str], start: Start, help: &'static str) -> Series {
    Series {
        name,
        kind: Type::Counter,
        labels,
        help,
        start,
    }
}
const fn gauge(name: &'static str, labels: &'static [&'static str], start: Start, help: &'static str) -> Series {
    Series {
        name,
        kind: Type::Gauge,
        labels,
        help,
        start,
    }
}
const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    start: Start,
    bounds: &'static [f64],
    help: &'static str,
) -> Series {
    Series {
        name,
        kind: Type::Histogram(bounds),
        labels,
        help,
        start,
    }
}

/// The catalogue.
pub const SERIES: [Series; 56] = [
    counter(
        "records_consumed_total",
        &["topic"],
        Start::Later,
        "Records read from Kafka.",
    ),
    counter(
        "bytes_consumed_total",
        &["topic"],
        Start::Later,
        "Bytes of the values of records read from Kafka.",
    ),
    counter(
        "records_rejected_total",
        &["reason"],
        Start::Each(REASONS),
        "Records refused and sent to the dead-letter topic.",
    ),
    counter(
        "field_slips_total",
        &["field"],
        Start::Each(SLIPS),
        "Optional fields that were dropped or read as other.",
    ),
    counter(
        "events_total",
        &["fate"],
        Start::Each(FATES),
        "Accepted events by what became of them.",
    ),
    counter(
        "events_lost_total",
        &[],
        Start::Plain,
        "Events missing in the numbering of their calls.",
    ),
    counter(
        "events_after_deadline_total",
        &[],
        Start::Plain,
        "Events that came in later than a deadline that they should have preceded.",
    ),
    counter(
        "records_already_applied_total",
        &[],
        Start::Plain,
        "Records whose effect was restored already: 0 in a healthy run.",
    ),
    gauge(
        "consumer_lag_records",
        &["topic", "partition"],
        Start::Later,
        "Records not read yet.",
    ),
    gauge(
        "consumer_lag_seconds",
        &["topic", "partition"],
        Start::Later,
        "Age of the last record read while others wait, at most since they began to; 0 where none waits.",
    ),
    gauge(
        "watermark_timestamp_seconds",
        &["topic", "partition"],
        Start::Later,
        "Time of the last record read, in Unix seconds.",
    ),
    gauge(
        "assigned_partitions",
        &["topic"],
        Start::Later,
        "Partitions that this process holds.",
    ),
    gauge(
        "topic_partitions",
        &["topic"],
        Start::Later,
        "Partitions that the topic has.",
    ),
    counter(
        "rebalances_total",
        &["kind"],
        Start::Each(&["assign", "revoke", "lost"]),
        "Changes of the assignment.",
    ),
    counter(
        "commits_total",
        &["result"],
        Start::Each(&["ok", "aborted", "failed"]),
        "Transactions by how they ended.",
    ),
    histogram(
        "commit_duration_seconds",
        &[],
        Start::Plain,
        LATENCY,
        "Time from the drain of a transaction to its commit.",
    ),
    histogram(
        "commit_phase_seconds",
        &["phase"],
        Start::Each(&["drain", "offsets", "end"]),
        LATENCY,
        "Parts of a commit: outputs delivered, offsets taken in, transaction ended.",
    ),
    counter(
        "rebuilds_total",
        &[],
        Start::Plain,
        "Clients made anew after an error that left their state unclear.",
    ),
    counter(
        "rewinds_total",
        &[],
        Start::Plain,
        "Transactions aborted, their state read back and their records read again.",
    ),
    counter(
        "producer_renewals_total",
        &[],
        Start::Plain,
        "Producers made anew after a commit in which a request may have been sent twice.",
    ),
    counter(
        "orphans_ended_total",
        &[],
        Start::Plain,
        "Open transactions of vanished workers, ended by taking their names.",
    ),
    histogram(
        "poll_gap_seconds",
        &[],
        Start::Plain,
        LATENCY,
        "Time between two polls.",
    ),
    counter(
        "kafka_errors_total",
        &["kind"],
        Start::Each(&["consume", "produce", "transaction", "offset_out_of_range", "webhook"]),
        "Errors of the Kafka client.",
    ),
    gauge(
        "kafka_brokers_connected",
        &[],
        Start::Plain,
        "Brokers that the client is connected to.",
    ),
    histogram(
        "decision_latency_seconds",
        &[],
        Start::Plain,
        LATENCY,
        "From the time of an utterance to the decision about it.",
    ),
    histogram(
        "step_duration_seconds",
        &[],
        Start::Plain,
        MICROS,
        "Time that the judgement of one record took.",
    ),
    gauge(
        "last_decision_timestamp_seconds",
        &[],
        Start::Plain,
        "When the last decision was made, in Unix seconds.",
    ),
    gauge("active_calls", &[], Start::Plain, "Calls that have not ended."),
    gauge(
        "state_entries",
        &[],
        Start::Plain,
        "Calls held in memory, those that just ended included.",
    ),
    gauge(
        "state_capacity_entries",
        &[],
        Start::Plain,
        "Calls that memory is planned for: beyond it calls without an open need are given up.",
    ),
    gauge(
        "remembered_calls",
        &[],
        Start::Plain,
        "Calls that are over and remembered for what comes late.",
    ),
    counter(
        "calls_total",
        &["event"],
        Start::Each(&["started", "ended", "forgotten", "given_up"]),
        "Calls by what happened to them; those that were given up are among the forgotten.",
    ),
    gauge(
        "restore_in_progress",
        &[],
        Start::Plain,
        "Workers that are reading state back.",
    ),
    histogram(
        "restore_duration_seconds",
        &[],
        Start::Plain,
        LATENCY,
        "Time to read the state of newly assigned partitions.",
    ),
    counter(
        "restored_records_total",
        &[],
        Start::Plain,
        "Records of the changelog that were read back.",
    ),
    histogram(
        "score",
        &["stage"],
        Start::Each(&["need", "risk"]),
        SHARE,
        "Scores of applied events.",
    ),
    counter(
        "decisions_total",
        &["why"],
        Start::Each(WHYS),
        "Decisions by their reason, silence included.",
    ),
    counter(
        "alerts_raised_total",
        &["priority"],
        Start::Each(PRIORITIES),
        "Levels reached by alerts: one that goes from watch to emergency counts at both.",
    ),
    counter(
        "alerts_updated_total",
        &["state"],
        Start::Each(STATES),
        "Alert records by their state.",
    ),
    counter(
        "alerts_cleared_total",
        &["priority"],
        Start::Each(PRIORITIES),
        "Episodes cleared.",
    ),
    histogram(
        "alert_latency_seconds",
        &["priority"],
        Start::Each(PRIORITIES),
        LATENCY,
        "From the time of the event to the commit of its alert.",
    ),
    histogram(
        "call_elapsed_at_alert_seconds",
        &["priority"],
        Start::Each(PRIORITIES),
        CARE,
        "How far into the call a level was reached.",
    ),
    counter(
        "alerts_after_call_end_total",
        &["priority"],
        Start::Each(PRIORITIES),
        "Episodes that began only when the call had ended.",
    ),
    histogram(
        "time_to_clinician_seconds",
        &["needed"],
        Start::Each(NEEDED),
        CARE,
        "From the red flag to the hand-over.",
    ),
    counter(
        "unsettled_calls_total",
        &["how"],
        Start::Each(&["ended_unescalated", "contact_lost", "handover_unconfirmed"]),
        "Records that told a need as not handed over.",
    ),
    counter(
        "not_understood_calls_total",
        &["reason"],
        Start::Each(&["language", "unknown_words", "recognition", "one_sided", "lost_events"]),
        "Calls in which silence means little.",
    ),
    gauge(
        "model_info",
        &["model", "version", "role"],
        Start::Later,
        "1 for the model in use.",
    ),
    gauge(
        "model_loaded_timestamp_seconds",
        &[],
        Start::Plain,
        "When the model was loaded, in Unix seconds.",
    ),
    counter(
        "delivery_attempts_total",
        &["channel", "result"],
        Start::Later,
        "Attempts to tell people, by channel and result.",
    ),
    histogram(
        "delivery_duration_seconds",
        &["channel"],
        Start::Later,
        LATENCY,
        "Time from reading an alert to its delivery.",
    ),
    counter(
        "alerts_undelivered_total",
        &["channel", "reason"],
        Start::Later,
        "Alerts that were not told, by channel and reason.",
    ),
    gauge(
        "refused_partitions",
        &[],
        Start::Plain,
        "Partitions that are given to this process and cannot be served: their calls go unjudged.",
    ),
    gauge(
        "deliveries_pending",
        &["channel"],
        Start::Later,
        "Alerts that were taken in and are not settled yet.",
    ),
    counter(
        "http_requests_total",
        &["path", "status"],
        Start::Later,
        "Requests to the metrics and health listener.",
    ),
    gauge("build_info", &["version"], Start::Later, "1 for the program that runs."),
    counter(
        "panics_total",
        &[],
        Start::Plain,
        "Panics caught while judging an event: 0 in a healthy run.",
    ),
];

const REASONS: &[&str] = &[
    "not_json",
    "not_utf8",
    "too_large",
    "too_deep",
    "missing_field",
    "wrong_type",
    "bad_time",
    "bad_call_id",
    "key_mismatch",
    "internal",
];
const SLIPS: &[&str] = &[
    "channel",
    "speaker",
    "action",
    "age",
    "confidence",
    "to",
    "disposition",
    "field",
    "text_cut",
];
const FATES: &[&str] = &["applied", "duplicate", "late", "ignored"];
const STATES: &[&str] = &[
    "raised",
    "worsened",
    "cleared",
    "ended_unescalated",
    "contact_lost",
    "handover_unconfirmed",
];
const WHYS: &[&str] = &[
    "nothing_heard",
    "risk_low",
    "risk_raised",
    "persistence",
    "fair_chance",
    "chance_passed",
    "last_chance",
    "safety_floor",
    "still_raised",
    "worsened",
    "handover_spoken",
    "handover_unconfirmed",
    "handed_over",
    "clinical_agent",
    "risk_fell",
    "contact_lost",
    "ended",
    "not_applied",
    "call_over",
];

/// All series of one process.
pub struct Metrics {
    registry: Registry,
    counters: HashMap<&'static str, CounterVec>,
    gauges: HashMap<&'static str, GaugeVec>,
    histograms: HashMap<&'static str, HistogramVec>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Metrics({} series)", SERIES.len())
    }
}

impl Metrics {
    /// # Panics
    /// Where the table above names a series twice or against Prometheus' rules: a test would have told.
    pub fn new() -> Self {
        let registry = Registry::new();
        let mut metrics = Self {
            registry,
            counters: HashMap::new(),
            gauges: HashMap::new(),
            histograms: HashMap::new(),
        };
        for series in &SERIES {
            metrics
                .register(series)
                .expect("the catalogue follows Prometheus' rules");
        }
        #[cfg(target_os = "linux")]
        drop(
            metrics
                .registry
                .register(Box::new(prometheus::process_collector::ProcessCollector::for_self())),
        );
        metrics.set("build_info", &[env!("CARGO_PKG_VERSION")], 1.0);
        metrics
    }

    fn register(&mut self, series: &Series) -> prometheus::Result<()> {
        let name = format!("{PREFIX}{}", series.name);
        let start: Vec<Vec<&str>> = match series.start {
            Start::Plain => vec![Vec::new()],
            Start::Each(values) => values.iter().map(|value| vec![*value]).collect(),
            Start::Later => Vec::new(),
        };
        match series.kind {
            Type::Counter => {
                let made = CounterVec::new(Opts::new(name, series.help), series.labels)?;
                self.registry.register(Box::new(made.clone()))?;
                start
                    .iter()
                    .for_each(|labels| made.with_label_values(labels).inc_by(0.0));
                self.counters.insert(series.name, made);
            }
            Type::Gauge => {
                let made = GaugeVec::new(Opts::new(name, series.help), series.labels)?;
                self.registry.register(Box::new(made.clone()))?;
                start.iter().for_each(|labels| made.with_label_values(labels).set(0.0));
                self.gauges.insert(series.name, made);
            }
            Type::Histogram(bounds) => {
                let made = HistogramVec::new(
                    HistogramOpts::new(name, series.help).buckets(bounds.to_vec()),
                    series.labels,
                )?;
                self.registry.register(Box::new(made.clone()))?;
                start.iter().for_each(|labels| drop(made.with_label_values(labels)));
                self.histograms.insert(series.name, made);
            }
        }
        Ok(())
    }

    /// # Panics
    /// Where the name is not in the catalogue.
    pub fn add(&self, name: &'static str, labels: &[&str], by: f64) {
        self.counter(name, labels).inc_by(by);
    }

    pub fn count(&self, name: &'static str, labels: &[&str]) {
        self.add(name, labels, 1.0);
    }

    /// # Panics
    /// Where the name is not in the catalogue.
    pub fn set(&self, name: &'static str, labels: &[&str], value: f64) {
        self.gauges[name].with_label_values(labels).set(value);
    }

    /// What a gauge without labels stands at.
    ///
    /// # Panics
    /// Where the name is not in the catalogue.
    pub fn value(&self, name: &'static str) -> f64 {
        self.gauges[name].with_label_values::<&str>(&[]).get()
    }

    /// # Panics
    /// Where the name is not in the catalogue.
    pub fn change(&self, name: &'static str, labels: &[&str], by: f64) {
        self.gauges[name].with_label_values(labels).add(by);
    }

    /// # Panics
    /// Where the name is not in the catalogue.
    pub fn observe(&self, name: &'static str, labels: &[&str], value: f64) {
        self.histogram(name, labels).observe(value);
    }

    /// A series to be observed often: looking it up costs more than observing it.
    ///
    /// # Panics
    /// Where the name is not in the catalogue.
    pub fn histogram(&self, name: &'static str, labels: &[&str]) -> Histogram {
        self.histograms[name].with_label_values(labels)
    }

    /// A series to be counted often.
    ///
    /// # Panics
    /// Where the name is not in the catalogue.
    pub fn counter(&self, name: &'static str, labels: &[&str]) -> Counter {
        self.counters[name].with_label_values(labels)
    }

    /// Forgets the series of a partition that is held no longer.
    pub fn drop_partition(&self, topic: &str, partition: i32) {
        let partition = partition.to_string();
        for name in [
            "consumer_lag_records",
            "consumer_lag_seconds",
            "watermark_timestamp_seconds",
        ] {
            drop(self.gauges[name].remove_label_values(&[topic, &partition]));
        }
    }

    /// The classic text format.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut bytes)
            .expect("series encode");
        String::from_utf8(bytes).expect("the text format is UTF-8")
    }
}

/// The wall clock in milliseconds since 1970: for shells alone, pure code is told the time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where shells read the wall clock"
)]
pub fn wall_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{State, Why};
    use crate::call::Fate;
    use crate::record::{Reason, Slip};

    #[test]
    fn every_series_exists_from_the_start_where_its_labels_are_known() {
        let text = Metrics::new().text();
        for series in SERIES.iter().filter(|series| series.start != Start::Later) {
            assert!(text.contains(&format!("{PREFIX}{}", series.name)), "{}", series.name);
        }
        assert!(text.contains("callward_records_rejected_total{reason=\"not_json\"} 0"));
    }

    #[test]
    fn label_sets_are_those_of_the_code() {
        assert!(
            Reason::ALL
                .iter()
                .map(|reason| reason.as_str())
                .eq(REASONS.iter().copied())
        );
        assert!(Slip::ALL.iter().map(|slip| slip.as_str()).eq(SLIPS.iter().copied()));
        assert!(Fate::ALL.iter().map(|fate| fate.as_str()).eq(FATES.iter().copied()));
        assert!(State::ALL.iter().map(|state| state.as_str()).eq(STATES.iter().copied()));
        assert!(Why::ALL.iter().map(|why| why.as_str()).eq(WHYS.iter().copied()));
    }

    #[test]
    fn counters_end_in_total_and_help_is_given() {
        for series in &SERIES {
            assert_eq!(
                series.name.ends_with("_total"),
                series.kind == Type::Counter,
                "{}",
                series.name
            );
            assert!(series.help.ends_with('.') && series.help.len() > 10, "{}", series.name);
        }
    }
}
