//! Gauges of which each worker of a process holds a part.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Metrics;

/// One worker's part of gauges that all workers of a process add up in. It is taken out again when the worker goes.
#[derive(Debug)]
pub struct Part {
    metrics: Arc<Metrics>,
    /// Of the one topic that workers read, where a gauge has a label.
    topic: String,
    told: BTreeMap<&'static str, (bool, f64)>,
}

impl Part {
    pub fn new(metrics: &Arc<Metrics>, topic: &str) -> Self {
        Self {
            metrics: metrics.clone(),
            topic: topic.to_owned(),
            told: BTreeMap::new(),
        }
    }

    pub fn set(&mut self, name: &'static str, value: f64) {
        self.tell(name, false, value);
    }

    /// A gauge by topic.
    pub fn set_of_topic(&mut self, name: &'static str, value: f64) {
        self.tell(name, true, value);
    }

    fn tell(&mut self, name: &'static str, by_topic: bool, value: f64) {
        let (_, told) = self.told.entry(name).or_insert((by_topic, 0.0));
        let labels = [self.topic.as_str()];
        self.metrics
            .change(name, if by_topic { &labels } else { &[] }, value - *told);
        *told = value;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let told: Vec<(&'static str, bool)> = self
            .told
            .iter()
            .map(|(name, (by_topic, _))| (*name, *by_topic))
            .collect();
        for (name, by_topic) in told {
            self.tell(name, by_topic, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_one_that_goes_takes_its_part_along() {
        let metrics = Arc::new(Metrics::default());
        let shown = |line: &str| metrics.text().lines().any(|shown| shown == line);
        let mut one = Part::new(&metrics, "calls.events");
        let mut other = Part::new(&metrics, "calls.events");
        one.set("active_calls", 3.0);
        other.set("active_calls", 5.0);
        one.set("active_calls", 2.0);
        one.set_of_topic("assigned_partitions", 4.0);
        assert!(shown("callward_active_calls 7"));
        assert!(shown("callward_assigned_partitions{topic=\"calls.events\"} 4"));
        drop(one);
        assert!(shown("callward_active_calls 5"));
        assert!(shown("callward_assigned_partitions{topic=\"calls.events\"} 0"));
    }
}
