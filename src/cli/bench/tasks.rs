//! What the benchmarks put in the place of judgement, in the same worker: nothing at all, and a mere count.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::alert::Level;
use crate::call::SnapshotError;
use crate::record::{CallId, decode};
use crate::simulation;
use crate::stream::{Incoming, Output, Outputs, Partition, Plan, Raised, Task};

/// The floor: for each record it sends what judging the made-up calls once sent, in turn: the same number of records of
/// the same sizes, and a value of state for each call of the transaction. It neither reads a record nor decides.
#[derive(Debug, Default)]
pub struct Floor {
    calls: HashMap<Vec<u8>, usize>,
    dirty: HashSet<Vec<u8>>,
    turn: usize,
}

/// What judging one event sent.
struct Sent {
    score: Option<Vec<u8>>,
    alert: Option<(Level, Vec<u8>)>,
    state: Option<Vec<u8>>,
}

fn sent(plan: &Plan) -> &'static [Sent] {
    static SENT: OnceLock<Vec<Sent>> = OnceLock::new();
    SENT.get_or_init(|| {
        let mut partition = Partition::default();
        let lines = simulation::CALLS.lines().filter(|line| !line.is_empty());
        lines
            .enumerate()
            .map(|(offset, line)| judge(plan, &mut partition, offset as i64, line))
            .collect()
    })
}

fn judge(plan: &Plan, partition: &mut Partition, offset: i64, line: &str) -> Sent {
    let pipeline = &plan.pipeline;
    let mut sent = Sent {
        score: None,
        alert: None,
        state: None,
    };
    let record = Incoming {
        offset,
        key: None,
        payload: line.as_bytes(),
        heard_at: 0,
    };
    partition.take(pipeline, &plan.limits, &record, |output| {
        if let Output::Judged(outcome) = output {
            let score = outcome.score(pipeline.lexicon(), pipeline.model_label());
            sent.score = outcome
                .has_line()
                .then(|| serde_json::to_vec(&score).expect("a score is plain data"));
            sent.alert = outcome
                .alert
                .as_ref()
                .map(|alert| (alert.level, serde_json::to_vec(alert).expect("an alert is plain data")));
        }
    });
    partition.drain(pipeline, |_, value| sent.state = value);
    sent
}

impl Task for Floor {
    fn restore(&mut self, _: &Plan, key: &[u8], _: &[u8]) -> Result<(), SnapshotError> {
        self.calls.insert(key.to_vec(), 0);
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, _: i64, outputs: &mut Outputs<'_>) {
        let plan = outputs.plan;
        let key = message.key().unwrap_or_default();
        let all = sent(plan);
        let turn = self.turn % all.len();
        self.turn += 1;
        if let Some((level, value)) = &all[turn].alert {
            let raised = Raised {
                alert_id: "00000000000000000000000000000000",
                level: *level,
                at: message.timestamp().to_millis().unwrap_or_default(),
            };
            outputs.alert(key, value, raised);
        }
        if let Some(value) = &all[turn].score {
            outputs.send(&plan.topics.scores, key, Some(value), None);
        }
        self.calls.insert(key.to_vec(), turn);
        self.dirty.insert(key.to_vec());
    }

    fn drain(&mut self, outputs: &mut Outputs<'_>) {
        let plan = outputs.plan;
        for key in self.dirty.drain() {
            let state = &sent(plan)[self.calls[&key]].state;
            outputs.send(&plan.topics.state, &key, state.as_deref(), None);
            if state.is_none() {
                self.calls.remove(&key);
            }
        }
    }

    fn calls(&self) -> usize {
        self.calls.len()
    }
}

/// A running count of each call's events, one output an event: what other stream processors are measured with.
#[derive(Debug, Default)]
pub struct Count {
    counts: HashMap<CallId, u64>,
    dirty: HashSet<CallId>,
}

impl Task for Count {
    fn restore(&mut self, _: &Plan, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        let damaged = || SnapshotError::Damaged("it is no count".into());
        let id = std::str::from_utf8(key)
            .ok()
            .and_then(CallId::new)
            .ok_or_else(damaged)?;
        let count = u64::from_le_bytes(value.try_into().map_err(|_| damaged())?);
        self.counts.insert(id, count);
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, _: i64, outputs: &mut Outputs<'_>) {
        let plan = outputs.plan;
        let Ok(decoded) = decode(message.payload().unwrap_or_default(), message.key(), &plan.limits) else {
            return;
        };
        let id = decoded.event.call_id;
        let count = self.counts.entry(id.clone()).or_default();
        *count += 1;
        let value = format!("{{\"call_id\":\"{id}\",\"count\":{count}}}");
        outputs.send(
            &plan.topics.scores,
            id.as_str().as_bytes(),
            Some(value.as_bytes()),
            None,
        );
        self.dirty.insert(id);
    }

    fn drain(&mut self, outputs: &mut Outputs<'_>) {
        let plan = outputs.plan;
        for id in self.dirty.drain() {
            let count = self.counts.get(&id).copied().unwrap_or_default();
            outputs.send(
                &plan.topics.state,
                id.as_str().as_bytes(),
                Some(&count.to_le_bytes()),
                None,
            );
        }
    }

    fn calls(&self) -> usize {
        self.counts.len()
    }
}
