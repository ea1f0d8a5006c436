//! One partition's calls: the unit of work and of ownership. Pure: records and times in, outputs out.
//!
//! The clock of a partition is the wall clock where everything in the log was read, else the time of the last record
//! read: after an outage the backlog is judged as it came in, and silence is not taken for what merely was not read
//! yet. A call's own time goes on from its last event as fast as that clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::task::Room;
use crate::call::SnapshotError;
use crate::pipeline::{Cause, Outcome, Pipeline, Watched};
use crate::record::{CallId, Event, Limits, Reason, Reject, Slip, Timestamp, decode};

/// A record of `calls.events`.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'r> {
    pub offset: i64,
    pub key: Option<&'r [u8]>,
    pub payload: &'r [u8],
    /// The record's own time, in milliseconds since 1970: when it reached Kafka.
    pub heard_at: i64,
}

/// What follows from a record or from time.
#[derive(Debug)]
pub enum Output<'o> {
    Judged(&'o Outcome),
    Refused(&'o Reject),
    Slipped(Slip),
    /// A call that was forgotten before its time, to make room.
    GivenUp(&'o Outcome),
    /// Its effect was in the restored state already.
    AlreadyApplied,
    Panicked,
}

/// A call and what the stream must remember beside it.
#[derive(Clone, Debug)]
struct Held {
    watched: Watched,
    /// Offset of the last record applied.
    last_offset: i64,
    /// When its last record reached Kafka.
    heard_at: i64,
    /// Wall time of the earliest entry in the queue of deadlines.
    queued: i64,
    /// Event time of the last deadline that the clock stepped.
    stepped_to: i64,
}

impl Held {
    /// A call of which this record is the first.
    fn new(id: &CallId, record: &Incoming<'_>) -> Self {
        Self {
            watched: Watched::new(id.clone()),
            last_offset: -1,
            heard_at: record.heard_at,
            queued: i64::MAX,
            stepped_to: i64::MIN,
        }
    }

    /// How far a call's own time has come by the clock of the partition.
    fn reached(&self, clock: i64) -> Timestamp {
        let last = self.watched.call.last_at.unwrap_or(Timestamp::from_millis(0));
        last.plus_millis((clock - self.heard_at).max(0))
    }

    fn to_bytes(&self, pipeline: &Pipeline) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATE_USUAL);
        bytes.push(STATE_FORMAT);
        bytes.extend_from_slice(&self.last_offset.to_le_bytes());
        bytes.extend_from_slice(&self.heard_at.to_le_bytes());
        self.watched.append_to(bytes, pipeline.reader())
    }

    fn from_bytes(id: &CallId, value: &[u8], pipeline: &Pipeline) -> Result<Self, SnapshotError> {
        let Some(state) = value.get(STATE_HEADER..) else {
            return Err(SnapshotError::Damaged("it is too short".to_owned()));
        };
        if value[0] > STATE_FORMAT {
            return Err(SnapshotError::Newer { found: value[0] });
        }
        Ok(Self {
            watched: Watched::from_bytes(id.clone(), state, pipeline.reader())?,
            last_offset: number(value, OFFSET_AT),
            heard_at: number(value, HEARD_AT),
            queued: i64::MAX,
            stepped_to: i64::MIN,
        })
    }
}

// Open calls are many: an allocator that has places of 640 bytes and then of 768 gives the next word a hundred more.
const _: () = assert!(size_of::<Held>() <= 640);

/// A call that is over, as it stands in the changelog.
#[derive(Debug)]
struct Past {
    value: Box<[u8]>,
    /// Wall time until which it is remembered.
    until: i64,
}

/// A number of the header.
fn number(value: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"))
}

/// Layout of a value of the changelog: `[1][last_offset i64 LE][heard_at i64 LE][Watched]`.
const STATE_FORMAT: u8 = 1;
const OFFSET_AT: usize = 1;
const HEARD_AT: usize = 9;
const STATE_HEADER: usize = 17;
/// Bytes that hold most values without growing.
const STATE_USUAL: usize = 2048;

#[derive(Debug, Default)]
pub struct Partition {
    /// Boxed: places of the map that are free then cost next to nothing, and a call changes places by its address.
    calls: HashMap<CallId, Box<Held>>,
    /// Calls that are over: kept for what comes late.
    past: HashMap<CallId, Past>,
    /// Deadlines by wall time; an entry may be older than what its call wants now.
    queue: BinaryHeap<Reverse<(i64, CallId)>>,
    /// Calls whose state the changelog does not hold yet.
    dirty: HashSet<CallId>,
    /// Time of the last record read.
    last_record: i64,
    /// Everything in the log was read.
    at_end: bool,
    active: usize,
}

impl Partition {
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Calls that are over and remembered.
    pub fn past(&self) -> usize {
        self.past.len()
    }

    /// Calls that have not ended.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Everything in the log was read.
    pub fn reached_end(&mut self) {
        self.at_end = true;
    }

    /// Takes in the last value of a key of the changelog.
    pub fn restore(&mut self, key: &[u8], value: &[u8], pipeline: &Pipeline) -> Result<(), SnapshotError> {
        let id = std::str::from_utf8(key)
            .ok()
            .and_then(CallId::new)
            .ok_or_else(|| SnapshotError::Damaged("its key is no call id".to_owned()))?;
        let held = Held::from_bytes(&id, value, pipeline)?;
        self.put(pipeline, id, Box::new(held));
        Ok(())
    }

    /// Offset of the last record whose effect any call holds.
    pub fn highest_offset(&self) -> Option<i64> {
        let past = self.past.values().map(|past| number(&past.value, OFFSET_AT));
        self.calls.values().map(|held| held.last_offset).chain(past).max()
    }

    /// Takes in one record.
    pub fn take(
        &mut self,
        pipeline: &Pipeline,
        limits: &Limits,
        record: &Incoming<'_>,
        mut out: impl FnMut(Output<'_>),
    ) {
        self.at_end = false;
        self.last_record = self.last_record.max(record.heard_at);
        let decoded = match catch_unwind(|| decode(record.payload, record.key, limits)) {
            Ok(Ok(decoded)) => decoded,
            Ok(Err(reject)) => return out(Output::Refused(&reject)),
            Err(_) => return panicked(out),
        };
        decoded.slips.iter().for_each(|slip| out(Output::Slipped(*slip)));
        self.step(pipeline, &decoded.event, record, out);
    }

    fn step(&mut self, pipeline: &Pipeline, event: &Event, record: &Incoming<'_>, mut out: impl FnMut(Output<'_>)) {
        let id = &event.call_id;
        let before = self.calls.get(id);
        let past = self.past.get(id).map(|past| number(&past.value, OFFSET_AT));
        if before.map(|held| held.last_offset).or(past) >= Some(record.offset) {
            return out(Output::AlreadyApplied);
        }
        // The step works on a copy: a panic leaves the call as it was.
        let mut held = before.map_or_else(
            || Box::new(self.past_call(id, pipeline).unwrap_or_else(|| Held::new(id, record))),
            Box::clone,
        );
        let came_late = held.stepped_to > event.at.millis();
        let mut outcomes: Vec<Outcome> = Vec::new();
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "fail-points")]
            assert!(!id.as_str().starts_with("fail-point-panic"), "a fail point was reached");
            pipeline.step(&mut held.watched, event, |outcome| outcomes.push(outcome));
        }));
        if stepped.is_err() {
            return panicked(out);
        }
        let applied = |outcome: &Outcome| outcome.cause == Cause::Event && outcome.was_applied();
        // A redelivery is no sign of life: silence is counted from what was new.
        if outcomes.iter().any(applied) {
            held.heard_at = record.heard_at;
        }
        for outcome in &mut outcomes {
            outcome.came_late = came_late;
            out(Output::Judged(outcome));
        }
        if let Some(past) = self.past.get_mut(id) {
            if held.watched.is_past() {
                // It came late, which changes nothing of the call.
                past.value[OFFSET_AT..HEARD_AT].copy_from_slice(&record.offset.to_le_bytes());
                self.dirty.insert(id.clone());
                return;
            }
            self.past.remove(id);
        }
        if held.watched.call.sequence.applied == 0 {
            // Of a call of which nothing is known but types that we do not know, nothing is kept.
            if self.take_out(id).is_some() {
                self.dirty.insert(id.clone());
            }
            return;
        }
        held.last_offset = record.offset;
        self.put(pipeline, id.clone(), held);
        self.dirty.insert(id.clone());
    }

    /// A call that is over.
    fn past_call(&self, id: &CallId, pipeline: &Pipeline) -> Option<Held> {
        let past = self.past.get(id)?;
        let mut held = Held::from_bytes(id, &past.value, pipeline).expect("this program wrote it, or read it before");
        // Its forgetting was the last deadline that was stepped.
        let remembered = i64::from(pipeline.policy().settings().remembered_seconds) * 1_000;
        held.stepped_to = held
            .watched
            .due()
            .map_or(i64::MIN, |(due, _)| due.millis() - remembered);
        Some(held)
    }

    /// Steps every deadline that is due by the clock of the partition. `now` is the wall clock.
    pub fn tick(&mut self, pipeline: &Pipeline, now: i64, mut out: impl FnMut(Output<'_>)) {
        let clock = if self.at_end { now } else { self.last_record };
        while let Some(Reverse((due, _))) = self.queue.peek()
            && *due <= clock
        {
            let Some(Reverse((queued, id))) = self.queue.pop() else {
                return;
            };
            let Some(mut held) = self.take_out(&id) else {
                // It need be remembered no longer.
                if self.past.get(&id).is_some_and(|past| past.until == queued) {
                    self.past.remove(&id);
                    self.dirty.insert(id);
                }
                continue;
            };
            if held.queued != queued {
                // An earlier entry stands for it.
                self.hold(id, held);
                continue;
            }
            held.queued = i64::MAX;
            if wall_due(&held).is_none_or(|due| due > clock) {
                // It had gone on since: its next deadline is queued instead.
                self.put(pipeline, id, held);
                continue;
            }
            let reached = held.reached(clock);
            let mut outcomes: Vec<Outcome> = Vec::new();
            // The step works on a copy: a panic leaves the call as it was, without this deadline.
            let mut watched = held.watched.clone();
            let ticked = catch_unwind(AssertUnwindSafe(|| {
                pipeline.tick(&mut watched, reached, |outcome| outcomes.push(outcome));
            }));
            if ticked.is_err() {
                out(Output::Panicked);
                self.hold(id, held);
                continue;
            }
            held.watched = watched;
            for outcome in &outcomes {
                held.stepped_to = held.stepped_to.max(outcome.at.millis());
                out(Output::Judged(outcome));
            }
            self.dirty.insert(id.clone());
            if !held.watched.is_gone(reached) {
                self.put(pipeline, id, held);
            }
        }
    }

    /// Makes room, forgetting `at_once` calls at most; how many it forgot. Of calls those that have ended go first, then those
    /// that have been silent longest, of which those that were handed over come last, and none in which a need is open. Of
    /// those that are over those that would go first. `now` is the wall clock.
    pub fn make_room(
        &mut self,
        pipeline: &Pipeline,
        room: Room,
        at_once: usize,
        now: i64,
        out: impl FnMut(Output<'_>),
    ) -> usize {
        let given_up = self.give_up(pipeline, room.calls, at_once, now, out);
        let forgotten = self.forget_past(room.past, at_once - given_up);
        if given_up + forgotten > 0 {
            self.tidy_queue();
        }
        given_up + forgotten
    }

    fn give_up(
        &mut self,
        pipeline: &Pipeline,
        most: usize,
        at_once: usize,
        now: i64,
        mut out: impl FnMut(Output<'_>),
    ) -> usize {
        if self.calls.len() <= most {
            return 0;
        }
        let clock = if self.at_end { now } else { self.last_record };
        let rank = |held: &Held| {
            let (call, watch) = (&held.watched.call, &held.watched.watch);
            (call.ended.is_none(), watch.is_settled(), held.heard_at)
        };
        let closed = self.calls.iter().filter(|(_, held)| !held.watched.watch.is_open());
        let mut going: Vec<_> = closed.map(|(id, held)| (rank(held), id.clone())).collect();
        going.sort_unstable();
        let mut given_up = 0;
        for (_, id) in going {
            if self.calls.len() <= most || given_up == at_once {
                break;
            }
            let Some(held) = self.calls.get(&id) else { continue };
            // A panic leaves the call as it was.
            let forgotten = catch_unwind(AssertUnwindSafe(|| {
                let now = held.reached(clock);
                pipeline.may_forget(&held.watched, now).then(|| {
                    let mut watched = held.watched.clone();
                    (pipeline.forget(&mut watched, now), watched)
                })
            }));
            match forgotten {
                Ok(None) => {}
                Ok(Some((outcome, watched))) => {
                    out(Output::GivenUp(&outcome));
                    given_up += 1;
                    let Some(mut held) = self.take_out(&id) else { continue };
                    held.watched = watched;
                    self.dirty.insert(id.clone());
                    self.put(pipeline, id, held);
                }
                Err(_) => out(Output::Panicked),
            }
        }
        given_up
    }

    fn forget_past(&mut self, most: usize, at_once: usize) -> usize {
        if self.past.len() <= most {
            return 0;
        }
        let mut going: Vec<(i64, CallId)> = self.past.iter().map(|(id, past)| (past.until, id.clone())).collect();
        going.sort_unstable();
        going.truncate((self.past.len() - most).min(at_once));
        for (_, id) in &going {
            self.past.remove(id);
            self.dirty.insert(id.clone());
        }
        going.len()
    }

    /// What was given up leaves its deadlines behind.
    fn tidy_queue(&mut self) {
        let (calls, past) = (&self.calls, &self.past);
        self.queue.retain(|Reverse((due, id))| {
            calls.get(id).is_some_and(|held| held.queued == *due) || past.get(id).is_some_and(|past| past.until == *due)
        });
    }

    /// Wall time at which the next deadline may be due.
    pub fn next_due(&self) -> Option<i64> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }

    /// What the changelog must learn: the last state of each call that changed, `None` where the call is gone.
    pub fn drain(&mut self, pipeline: &Pipeline, mut out: impl FnMut(&CallId, Option<Vec<u8>>)) {
        let mut changed: Vec<CallId> = self.dirty.drain().collect();
        changed.sort_unstable();
        for id in changed {
            let held = self.calls.get(&id).map(|held| held.to_bytes(pipeline));
            out(&id, held.or_else(|| self.past.get(&id).map(|past| past.value.to_vec())));
        }
    }

    fn put(&mut self, pipeline: &Pipeline, id: CallId, mut held: Box<Held>) {
        if held.watched.is_past() {
            self.take_out(&id);
            let (value, until) = (held.to_bytes(pipeline).into(), wall_due(&held).unwrap_or(i64::MIN));
            self.queue.push(Reverse((until, id.clone())));
            self.past.insert(id, Past { value, until });
            return;
        }
        if let Some(due) = wall_due(&held) {
            let queued = self.calls.get(&id).map_or(i64::MAX, |old| old.queued);
            if due < queued {
                self.queue.push(Reverse((due, id.clone())));
                held.queued = due;
            } else {
                held.queued = queued;
            }
        }
        self.hold(id, held);
    }

    fn hold(&mut self, id: CallId, held: Box<Held>) {
        self.active += usize::from(held.watched.call.ended.is_none());
        if let Some(old) = self.calls.insert(id, held) {
            self.active -= usize::from(old.watched.call.ended.is_none());
        }
    }

    fn take_out(&mut self, id: &CallId) -> Option<Box<Held>> {
        let held = self.calls.remove(id)?;
        self.active -= usize::from(held.watched.call.ended.is_none());
        Some(held)
    }
}

fn panicked(mut out: impl FnMut(Output<'_>)) {
    out(Output::Panicked);
    let message = "judging this event panicked: report it with its offset";
    out(Output::Refused(&Reject::new(Reason::Internal, None, message)));
}

/// When the next deadline of a call falls due by the clock of the partition.
fn wall_due(held: &Held) -> Option<i64> {
    let (due, _) = held.watched.due()?;
    let last = held.watched.call.last_at?;
    Some(held.heard_at + (due.millis() - last.millis()).max(0))
}
