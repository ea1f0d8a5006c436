//! The alert state of one call: everything that the policy must remember between events.

use serde::{Deserialize, Serialize};

use super::Level;
use crate::record::Timestamp;

/// Something that falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deadline {
    /// The agent's fair chance is over.
    Chance,
    /// A spoken hand-over was not confirmed.
    Handover,
    /// The risk has stayed low long enough.
    Clear,
    /// A need is open and nothing comes.
    Silence,
    /// The call is over or idle, and its memory may go.
    Forget,
}

impl Deadline {
    pub const ALL: [Self; 5] = [Self::Chance, Self::Handover, Self::Clear, Self::Silence, Self::Forget];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chance => "chance",
            Self::Handover => "handover",
            Self::Clear => "clear",
            Self::Silence => "silence",
            Self::Forget => "forget",
        }
    }
}

/// The agent may still hand over by himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chance {
    /// Whole turns of the agent that are left.
    pub turns: u8,
    pub due: Timestamp,
}

/// A hand-over was spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handover {
    pub first: Timestamp,
    pub due: Timestamp,
    pub seq: u64,
}

/// An open episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    pub level: Level,
    /// `seq` of the event (or the event before the deadline) that raised it.
    pub seq: u64,
    pub at: Timestamp,
    /// Contact was told to be lost; it is told once.
    pub lost_told: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Episodes so far, the open one included.
    pub episode: u32,
    /// Records so far in the last episode.
    pub revision: u32,
    pub raised: Option<Raised>,
    pub(super) chance: Option<Chance>,
    pub(super) handover: Option<Handover>,
    /// Until when the risk must stay low for an alert to clear.
    pub(super) clear_due: Option<Timestamp>,
    pub(super) silence_due: Option<Timestamp>,
    pub(super) forget_due: Option<Timestamp>,
    /// Scored events in a row at which weak evidence passed the threshold.
    pub(super) strikes: u8,
    /// `seq` up to which needs are settled: only a newer finding opens another.
    pub(super) settled: Option<u64>,
    /// First time at which a need was open, for the time to a clinician; kept until it is settled.
    pub need_since: Option<(Timestamp, u64)>,
}

impl Watch {
    /// The next thing that falls due.
    pub fn due(&self) -> Option<(Timestamp, Deadline)> {
        [
            self.chance.map(|chance| (chance.due, Deadline::Chance)),
            self.handover.map(|handover| (handover.due, Deadline::Handover)),
            self.clear_due.map(|due| (due, Deadline::Clear)),
            self.silence_due.map(|due| (due, Deadline::Silence)),
            self.forget_due.map(|due| (due, Deadline::Forget)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether something is told, or may be soon.
    pub fn is_open(&self) -> bool {
        self.raised.is_some()
            || self.chance.is_some()
            || self.handover.is_some()
            || self.silence_due.is_some()
            || self.need_since.is_some()
    }

    /// A need was handed over.
    pub fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// Keeps the number of its episodes, so that no alert of the call gets the name of another, until it may go.
    pub fn forget(&mut self, until: Timestamp) {
        *self = Self {
            episode: self.episode,
            forget_due: Some(until),
            ..Self::default()
        };
    }

    /// A call of the same id that begins when the one before is over.
    pub fn begin_anew(&mut self) {
        *self = Self {
            episode: self.episode,
            ..Self::default()
        };
    }

    /// What came by this event was handed over.
    pub(super) fn settles(&self, seq: u64) -> bool {
        self.settled.is_some_and(|settled| seq < settled)
    }

    /// Takes a deadline off, so that it is stepped once.
    pub(super) fn take(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Chance => self.chance = None,
            Deadline::Handover => self.handover = None,
            Deadline::Clear => self.clear_due = None,
            Deadline::Silence => self.silence_due = None,
            Deadline::Forget => self.forget_due = None,
        }
    }
}

/// [`Watch`] as plain data for the changelog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchRow {
    episode: u32,
    revision: u32,
    raised: Option<(Level, u64, i64, bool)>,
    chance: Option<(u8, i64)>,
    handover: Option<(i64, i64, u64)>,
    clear_due: Option<i64>,
    silence_due: Option<i64>,
    forget_due: Option<i64>,
    strikes: u8,
    settled: Option<u64>,
    need_since: Option<(i64, u64)>,
}

impl From<&Watch> for WatchRow {
    fn from(watch: &Watch) -> Self {
        Self {
            episode: watch.episode,
            revision: watch.revision,
            raised: watch.raised.map(|r| (r.level, r.seq, r.at.millis(), r.lost_told)),
            chance: watch.chance.map(|c| (c.turns, c.due.millis())),
            handover: watch.handover.map(|h| (h.first.millis(), h.due.millis(), h.seq)),
            clear_due: watch.clear_due.map(Timestamp::millis),
            silence_due: watch.silence_due.map(Timestamp::millis),
            forget_due: watch.forget_due.map(Timestamp::millis),
            strikes: watch.strikes,
            settled: watch.settled,
            need_since: watch.need_since.map(|(at, seq)| (at.millis(), seq)),
        }
    }
}

impl From<WatchRow> for Watch {
    fn from(row: WatchRow) -> Self {
        let time = Timestamp::from_millis;
        Self {
            episode: row.episode,
            revision: row.revision,
            raised: row.raised.map(|(level, seq, at, lost_told)| Raised {
                level,
                seq,
                at: time(at),
                lost_told,
            }),
            chance: row.chance.map(|(turns, due)| Chance { turns, due: time(due) }),
            handover: row.handover.map(|(first, due, seq)| Handover {
                first: time(first),
                due: time(due),
                seq,
            }),
            clear_due: row.clear_due.map(time),
            silence_due: row.silence_due.map(time),
            forget_due: row.forget_due.map(time),
            strikes: row.strikes,
            settled: row.settled,
            need_since: row.need_since.map(|(at, seq)| (time(at), seq)),
        }
    }
}
