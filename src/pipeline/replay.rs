//! Many events through the step, in event time: files, training, evaluation, tests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Outcome, Pipeline, Watched};
use crate::alert::Deadline;
use crate::record::{CallId, Event};

/// All calls of a file.
#[derive(Debug)]
pub struct Replay<'p> {
    pipeline: &'p Pipeline,
    calls: HashMap<CallId, (usize, Watched)>,
}

impl<'p> Replay<'p> {
    pub fn new(pipeline: &'p Pipeline) -> Self {
        Self {
            pipeline,
            calls: HashMap::new(),
        }
    }

    pub fn step(&mut self, event: &Event, mut found: impl FnMut(Outcome)) {
        let next = self.calls.len();
        let (_, watched) = match self.calls.entry(event.call_id.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert((next, Watched::new(event.call_id.clone()))),
        };
        self.pipeline.step(watched, event, &mut found);
    }

    /// The silence after the last event: every deadline that is left but that of forgetting, in the order of calls.
    pub fn finish(self, mut found: impl FnMut(Outcome)) {
        let mut calls: Vec<(usize, Watched)> = self.calls.into_values().collect();
        calls.sort_by_key(|(at, _)| *at);
        for (_, mut watched) in calls {
            while let Some((due, deadline)) = watched.due()
                && deadline != Deadline::Forget
            {
                self.pipeline.tick(&mut watched, due, &mut found);
            }
        }
    }
}

/// All outcomes of one call, its silence included.
pub fn outcomes_of(pipeline: &Pipeline, events: &[Event]) -> Vec<Outcome> {
    let mut all = Vec::with_capacity(events.len());
    let mut replay = Replay::new(pipeline);
    for event in events {
        replay.step(event, |outcome| all.push(outcome));
    }
    replay.finish(|outcome| all.push(outcome));
    all
}
