//! When to speak: one pure function from an assessment and what happened to a decision.
//!
//! ```text
//!            risk ≥ alert                agent's turns or seconds are over        handed over
//!  Quiet ───────────────► fair chance ────────────────────────────────► Raised ──────────────► Quiet, next episode
//!    └── booking, message, call back, advice, closing, hold at 0.9 of the threshold ─►┘  └─ end, silence: told again
//! ```

use super::Level;
use super::record::State;
use super::settings::{PolicyError, Settings};
use super::watch::{Chance, Deadline, Handover, Raised, Watch};
use super::why::Why;
use crate::call::{Care, Deed, End, Voice};
use crate::record::Timestamp;
use crate::risk::Thresholds;
use crate::signals::Needed;

/// Settings that are known to make sense, and the model's thresholds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    settings: Settings,
    thresholds: Thresholds,
}

/// What the policy concludes of one event or deadline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The level that is open now, if any.
    pub level: Option<Level>,
    /// The level that was open before.
    pub before: Option<Level>,
    pub why: Why,
    /// What is to be told now, if anything, at which level, and the risk that was crossed.
    pub tell: Option<(State, Level, f64)>,
    /// Where this settled a need: seconds since it was first open, and what it was.
    pub settled_after: Option<(f64, Needed)>,
}

/// The call as judged now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assessment {
    /// Something was heard that could matter.
    pub heard: bool,
    /// Words of the caller.
    pub words: u32,
    pub need: f64,
    /// The model's, before anything was settled.
    pub risk: f64,
    pub needed: Needed,
    /// An affirmed finding of tier emergency.
    pub emergency: bool,
    /// Evidence of the strongest affirmed emergency finding.
    pub emergency_evidence: f32,
    /// … of those whose wordings have no bad record.
    pub proven_evidence: f32,
    /// … of those that are said without alarm.
    pub quiet_evidence: f32,
    /// Strongest evidence of all.
    pub evidence: f32,
    /// `seq` of the first finding that is present.
    pub first_finding: Option<u64>,
    /// `seq` and time of the last newly present finding.
    pub last_new: Option<(u64, Timestamp)>,
    pub clinical_agent: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'h> {
    Event {
        seq: u64,
        voice: Voice,
        deeds: &'h [Deed],
        whole_turn: bool,
        ended: Option<End>,
    },
    Due {
        deadline: Deadline,
        seq: u64,
    },
}

impl Policy {
    pub fn new(settings: Settings, thresholds: Thresholds) -> Result<Self, PolicyError> {
        let share = [
            ("last_chance_share", settings.last_chance_share),
            ("last_chance_share_brief", settings.last_chance_share_brief),
            ("clear_share", settings.clear_share),
            ("floor_evidence", f64::from(settings.floor_evidence)),
            ("floor_need", settings.floor_need),
            ("floor_alone", f64::from(settings.floor_alone)),
            ("weak_evidence", f64::from(settings.weak_evidence)),
        ];
        for (field, value) in share {
            if !(0.0..=1.0).contains(&value) {
                return Err(PolicyError::Range {
                    field,
                    value,
                    low: 0.0,
                    high: 1.0,
                });
            }
        }
        // A slip of the pen must not put an emergency off until the call is over.
        let bounds = [
            ("contact_lost_seconds", settings.contact_lost_seconds, 5, 600),
            ("fair_turns_emergency", settings.fair_turns_emergency.into(), 0, 5),
            ("fair_turns_urgent", settings.fair_turns_urgent.into(), 0, 10),
            ("fair_seconds_emergency", settings.fair_seconds_emergency, 0, 300),
            ("fair_seconds_urgent", settings.fair_seconds_urgent, 0, 600),
            ("handover_seconds", settings.handover_seconds, 1, 600),
            ("handover_seconds_at_most", settings.handover_seconds_at_most, 1, 3_600),
            ("handover_covers_seconds", settings.handover_covers_seconds, 0, 300),
            ("remembered_seconds", settings.remembered_seconds, 0, 86_400),
        ];
        for (field, value, low, high) in bounds {
            if !(low..=high).contains(&value) {
                return Err(PolicyError::Range {
                    field,
                    value: value.into(),
                    low: low.into(),
                    high: high.into(),
                });
            }
        }
        for (field, value) in [
            ("last_chance_share", settings.last_chance_share),
            ("last_chance_share_brief", settings.last_chance_share_brief),
        ] {
            // At nothing every call would page at its closing.
            if value < 0.01 {
                return Err(PolicyError::Range {
                    field,
                    value,
                    low: 0.01,
                    high: 1.0,
                });
            }
        }
        if settings.idle_seconds <= settings.contact_lost_seconds {
            return Err(PolicyError::ForgetsFirst {
                idle: settings.idle_seconds,
                lost: settings.contact_lost_seconds,
            });
        }
        Ok(Self { settings, thresholds })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Decides, and moves the alert state on.
    pub fn decide(
        &self,
        watch: &mut Watch,
        assessment: &Assessment,
        care: &Care,
        happening: Happening<'_>,
        at: Timestamp,
    ) -> Decision {
        let before = watch.raised.map(|raised| raised.level);
        let mut decision = match happening {
            Happening::Event {
                seq,
                voice,
                deeds,
                whole_turn,
                ended,
            } => {
                let turn = Turn {
                    seq,
                    voice,
                    deeds,
                    whole_turn,
                    ended,
                };
                self.event(watch, assessment, care, turn, at)
            }
            Happening::Due { deadline, seq } => self.due(watch, assessment, care, deadline, seq, at),
        };
        decision.before = before;
        decision.level = watch.raised.map(|raised| raised.level);
        self.set_silence(watch, assessment, happening, at);
        decision
    }

    fn event(
        &self,
        watch: &mut Watch,
        assessment: &Assessment,
        care: &Care,
        turn: Turn<'_>,
        at: Timestamp,
    ) -> Decision {
        watch.forget_due = Some(at.plus_seconds(self.settings.idle_seconds));
        if let Some(end) = turn.ended {
            return self.end(watch, assessment, care, turn.seq, end, at);
        }
        if let Some(decision) = self.settle(watch, assessment, care, &turn, at) {
            return decision;
        }
        let risk = self.open_risk(watch, assessment, care);
        let floor = self.floor(watch, assessment, care);
        let at_any_time = floor && self.is_quiet(assessment);
        if (risk >= self.thresholds.alert || at_any_time) && watch.need_since.is_none() {
            watch.need_since = Some((at, turn.seq));
        }
        let closing = turn
            .deeds
            .iter()
            .any(|deed| deed.closes_the_matter() || *deed == Deed::Hold);
        if watch.raised.is_some_and(|raised| raised.level.pages()) {
            return self.while_raised(watch, assessment, risk, at);
        }
        if !assessment.heard {
            return quiet(Why::NothingHeard);
        }
        if closing && watch.handover.is_none() {
            let last = risk >= self.last_chance(assessment);
            if last || floor {
                let why = if last { Why::LastChance } else { Why::SafetyFloor };
                return self.raise(watch, assessment, risk, turn.seq, at, why);
            }
        }
        if watch.handover.is_some() {
            return quiet(Why::HandoverSpoken);
        }
        if risk < self.thresholds.alert && !at_any_time {
            if risk < self.thresholds.alert * self.settings.clear_share {
                watch.strikes = 0;
                watch.chance = None;
            } else if let Some(chance) = &mut watch.chance {
                // A question lowers the risk for a moment: the chance that was given is used up by it all the same.
                chance.turns = chance.turns.saturating_sub(u8::from(turn.is_whole_turn_of_agent()));
            }
            return self.maybe_watch(watch, risk, turn.seq, at);
        }
        self.give_chance(watch, assessment, risk, &turn, at)
    }

    /// The risk that is still open: nothing where it was settled and nothing new came, half where an emergency only
    /// got an urgent message.
    fn open_risk(&self, watch: &Watch, assessment: &Assessment, care: &Care) -> f64 {
        if assessment.clinical_agent || !self.unsettled(watch, assessment, care) {
            return 0.0;
        }
        let since = assessment.last_new.map_or(0, |(seq, _)| seq);
        // A hand-over was spoken of and did not come in its time: what lowered the risk has turned out to be words.
        let only_words = care.since(Deed::HandoverSpoken, since) && watch.handover.is_none();
        let risk = if only_words { assessment.need } else { assessment.risk };
        if care.since(Deed::UrgentMessage, since) && assessment.emergency {
            return risk / 2.0;
        }
        risk
    }

    fn unsettled(&self, watch: &Watch, assessment: &Assessment, care: &Care) -> bool {
        match (watch.settled, assessment.last_new) {
            // A source that numbers some events and leaves others to us may give a number twice.
            (Some(settled), Some((new, at))) => new >= settled && !self.is_covered(assessment, care, at),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// What is said while a hand-over that was reported is under way is for whoever takes over: where there was something
    /// to hand over for, and the matter is not closed all the same.
    fn is_covered(&self, assessment: &Assessment, care: &Care, at: Timestamp) -> bool {
        care.last(Deed::Escalated).is_some_and(|done| {
            let closed = |deed: Deed| deed.closes_the_matter() && care.since(deed, done.seq);
            !done.inferred
                && at <= done.at().plus_seconds(self.settings.handover_covers_seconds)
                && assessment.first_finding.is_some_and(|first| first < done.seq)
                && !Deed::ALL.into_iter().any(closed)
        })
    }

    fn floor(&self, watch: &Watch, assessment: &Assessment, care: &Care) -> bool {
        // One match of a wording may be a slip of the lexicon: it needs a sign from the model, or to be said again.
        let backed =
            assessment.need >= self.settings.floor_need || assessment.proven_evidence >= self.settings.floor_alone;
        assessment.emergency
            && assessment.emergency_evidence >= self.settings.floor_evidence
            && backed
            && self.unsettled(watch, assessment, care)
            && !assessment.clinical_agent
    }

    /// What is said without alarm, as of a plan to die, and affirmed: with the floor it waits for no closing, after which
    /// the caller may be gone.
    fn is_quiet(&self, assessment: &Assessment) -> bool {
        assessment.quiet_evidence >= self.settings.floor_evidence && assessment.need >= self.settings.floor_need
    }

    /// Hand-overs, spoken and done.
    fn settle(
        &self,
        watch: &mut Watch,
        assessment: &Assessment,
        care: &Care,
        turn: &Turn<'_>,
        at: Timestamp,
    ) -> Option<Decision> {
        let did = |deed: Deed| turn.deeds.contains(&deed);
        let weak = did(Deed::UrgentMessage) && !assessment.emergency;
        if did(Deed::Escalated) || did(Deed::EmergencyAdvised) || weak || assessment.clinical_agent {
            let why = if turn.deeds.is_empty() {
                Why::ClinicalAgent
            } else {
                Why::HandedOver
            };
            if turn.deeds.is_empty() && watch.raised.is_none() {
                return None;
            }
            return Some(self.settled(watch, assessment, turn.seq, at, why));
        }
        if did(Deed::HandoverSpoken) && care.last(Deed::HandoverSpoken).is_some() {
            let first = watch.handover.map_or(at, |handover| handover.first);
            let limit = first.plus_seconds(self.settings.handover_seconds_at_most);
            let due = at.plus_seconds(self.settings.handover_seconds).min(limit);
            watch.handover = Some(Handover {
                first,
                due,
                seq: turn.seq,
            });
            watch.chance = None;
            return Some(quiet(Why::HandoverSpoken));
        }
        None
    }

    fn settled(&self, watch: &mut Watch, assessment: &Assessment, seq: u64, at: Timestamp, why: Why) -> Decision {
        watch.settled = Some(seq);
        watch.chance = None;
        watch.handover = None;
        watch.clear_due = None;
        watch.strikes = 0;
        let settled_after = watch
            .need_since
            .take()
            .map(|(since, _)| (at.seconds_since(since).max(0.0), assessment.needed));
        let tell = watch.raised.take().map(|raised| {
            watch.revision += 1;
            (State::Cleared, raised.level, assessment.risk)
        });
        Decision {
            tell,
            settled_after,
            ..quiet(why)
        }
    }

    fn while_raised(&self, watch: &mut Watch, assessment: &Assessment, risk: f64, at: Timestamp) -> Decision {
        let raised = watch.raised.expect("called while raised");
        let level = self.level(assessment);
        if level > raised.level && risk >= self.thresholds.alert && watch.handover.is_none() {
            watch.raised = Some(Raised { level, ..raised });
            watch.revision += 1;
            let tell = Some((State::Worsened, level, risk));
            return Decision {
                tell,
                ..quiet(Why::Worsened)
            };
        }
        let low = risk < self.thresholds.alert * self.settings.clear_share;
        // An emergency is never cleared by second thoughts of the model.
        if raised.level == Level::Alert && low && watch.handover.is_none() {
            let due = at.plus_seconds(self.settings.clear_seconds);
            watch.clear_due.get_or_insert(due);
        } else {
            watch.clear_due = None;
        }
        quiet(if watch.handover.is_some() {
            Why::HandoverSpoken
        } else {
            Why::StillRaised
        })
    }

    fn maybe_watch(&self, watch: &mut Watch, risk: f64, seq: u64, at: Timestamp) -> Decision {
        match watch.raised {
            Some(raised) if risk < self.thresholds.watch * self.settings.clear_share => {
                watch.raised = None;
                watch.revision += 1;
                let tell = Some((State::Cleared, raised.level, risk));
                Decision {
                    tell,
                    ..quiet(Why::RiskFell)
                }
            }
            Some(_) => quiet(Why::StillRaised),
            None if risk >= self.thresholds.watch => {
                self.open_episode(watch, Level::Watch, risk, seq, at, Why::RiskRaised)
            }
            None => quiet(if watch.settled.is_some() {
                Why::HandedOver
            } else {
                Why::RiskLow
            }),
        }
    }

    fn give_chance(
        &self,
        watch: &mut Watch,
        assessment: &Assessment,
        risk: f64,
        turn: &Turn<'_>,
        at: Timestamp,
    ) -> Decision {
        if let Some(mut chance) = watch.chance {
            if chance.turns > 0 && !turn.is_whole_turn_of_agent() {
                return quiet(Why::FairChance);
            }
            chance.turns = chance.turns.saturating_sub(1);
            // What has become an emergency meanwhile waits no longer than an emergency.
            if assessment.emergency && self.settings.fair_turns_emergency < self.settings.fair_turns_urgent {
                chance.turns = chance.turns.min(self.settings.fair_turns_emergency.saturating_sub(1));
            }
            if chance.turns > 0 {
                watch.chance = Some(chance);
                return quiet(Why::FairChance);
            }
            return self.raise(watch, assessment, risk, turn.seq, at, self.passed(risk));
        }
        if assessment.evidence < self.settings.weak_evidence && watch.strikes == 0 {
            watch.strikes = 1;
            return quiet(Why::Persistence);
        }
        let (turns, seconds) = if assessment.emergency {
            (self.settings.fair_turns_emergency, self.settings.fair_seconds_emergency)
        } else {
            (self.settings.fair_turns_urgent, self.settings.fair_seconds_urgent)
        };
        // The agent has just spoken without handing over: that was a turn of the chance.
        let used = u8::from(turn.is_whole_turn_of_agent());
        if turns <= used {
            return self.raise(watch, assessment, risk, turn.seq, at, self.passed(risk));
        }
        watch.chance = Some(Chance {
            turns: turns - used,
            due: at.plus_seconds(seconds),
        });
        quiet(Why::FairChance)
    }

    /// The agent's chance has passed: what told the need is the risk, else the evidence.
    fn passed(&self, risk: f64) -> Why {
        if risk >= self.thresholds.alert {
            Why::ChancePassed
        } else {
            Why::SafetyFloor
        }
    }

    fn level(&self, assessment: &Assessment) -> Level {
        if assessment.emergency {
            Level::Emergency
        } else {
            Level::Alert
        }
    }

    fn raise(
        &self,
        watch: &mut Watch,
        assessment: &Assessment,
        risk: f64,
        seq: u64,
        at: Timestamp,
        why: Why,
    ) -> Decision {
        watch.chance = None;
        watch.need_since.get_or_insert((at, seq));
        self.open_episode(watch, self.level(assessment), risk, seq, at, why)
    }

    /// Opens an episode, or raises the level of the open one.
    fn open_episode(&self, watch: &mut Watch, level: Level, risk: f64, seq: u64, at: Timestamp, why: Why) -> Decision {
        let state = if watch.raised.is_some() {
            State::Worsened
        } else {
            State::Raised
        };
        self.tell(watch, state, level, risk, seq, at, why)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record, told in one place")]
    fn tell(
        &self,
        watch: &mut Watch,
        state: State,
        level: Level,
        risk: f64,
        seq: u64,
        at: Timestamp,
        why: Why,
    ) -> Decision {
        match &mut watch.raised {
            Some(raised) => {
                raised.level = raised.level.max(level);
                watch.revision += 1;
            }
            None => {
                watch.episode += 1;
                watch.revision = 1;
                watch.raised = Some(Raised {
                    level,
                    seq,
                    at,
                    lost_told: false,
                });
            }
        }
        let level = watch.raised.map_or(level, |raised| raised.level);
        Decision {
            tell: Some((state, level, risk)),
            ..quiet(why)
        }
    }

    fn due(
        &self,
        watch: &mut Watch,
        assessment: &Assessment,
        care: &Care,
        deadline: Deadline,
        seq: u64,
        at: Timestamp,
    ) -> Decision {
        watch.take(deadline);
        let risk = self.open_risk(watch, assessment, care);
        match deadline {
            Deadline::Chance
                if risk >= self.thresholds.alert
                    || (self.is_quiet(assessment) && self.floor(watch, assessment, care)) =>
            {
                self.raise(watch, assessment, risk, seq, at, self.passed(risk))
            }
            Deadline::Chance => quiet(Why::RiskLow),
            Deadline::Handover if self.need_is_open(watch, assessment, care, risk) => {
                // That contact is lost is told later, and not with it.
                if let Some(silence) = &mut watch.silence_due {
                    *silence = at.plus_seconds(self.settings.contact_lost_seconds);
                }
                self.tell(
                    watch,
                    State::HandoverUnconfirmed,
                    self.level(assessment),
                    risk,
                    seq,
                    at,
                    Why::HandoverUnconfirmed,
                )
            }
            Deadline::Handover => quiet(Why::RiskLow),
            Deadline::Clear => match watch.raised {
                Some(raised) if raised.level == Level::Alert => {
                    watch.raised = None;
                    watch.need_since = None;
                    watch.revision += 1;
                    let tell = Some((State::Cleared, raised.level, risk));
                    Decision {
                        tell,
                        ..quiet(Why::RiskFell)
                    }
                }
                _ => quiet(Why::StillRaised),
            },
            Deadline::Silence if self.need_is_open(watch, assessment, care, risk) => {
                let decision = self.tell(
                    watch,
                    State::ContactLost,
                    self.level(assessment),
                    risk,
                    seq,
                    at,
                    Why::ContactLost,
                );
                watch.chance = None;
                if let Some(raised) = &mut watch.raised {
                    raised.lost_told = true;
                }
                decision
            }
            Deadline::Silence => quiet(Why::RiskLow),
            Deadline::Forget => quiet(Why::CallOver),
        }
    }

    /// Whether the closing of a call would tell nothing.
    pub fn closes_in_silence(&self, watch: &Watch, assessment: &Assessment, care: &Care) -> bool {
        let last = self.open_risk(watch, assessment, care) >= self.last_chance(assessment);
        !last && !self.floor(watch, assessment, care)
    }

    /// A page is open, or the risk is such that one would be.
    fn need_is_open(&self, watch: &Watch, assessment: &Assessment, care: &Care, risk: f64) -> bool {
        let raised = watch.raised.is_some_and(|raised| raised.level.pages());
        raised || risk >= self.thresholds.alert || (self.floor(watch, assessment, care) && risk > 0.0)
    }

    fn end(
        &self,
        watch: &mut Watch,
        assessment: &Assessment,
        care: &Care,
        seq: u64,
        end: End,
        at: Timestamp,
    ) -> Decision {
        // A transfer leg that comes just in time is still of this call.
        watch.forget_due = Some(at.plus_seconds(self.settings.ended_seconds).plus_millis(1));
        let spoken = watch.handover.take();
        let risk = self.open_risk(watch, assessment, care);
        watch.chance = None;
        watch.clear_due = None;
        if end.to_clinicians {
            return self.settled(watch, assessment, seq, at, Why::HandedOver);
        }
        let last = risk >= self.last_chance(assessment);
        if !(self.need_is_open(watch, assessment, care, risk) || (last && assessment.heard)) {
            if let Some(raised) = watch.raised.take() {
                watch.revision += 1;
                return Decision {
                    tell: Some((State::Cleared, raised.level, risk)),
                    ..quiet(Why::CallOver)
                };
            }
            return quiet(Why::CallOver);
        }
        let (state, why) = match spoken {
            Some(_) => (State::HandoverUnconfirmed, Why::HandoverUnconfirmed),
            None => (State::EndedUnescalated, Why::Ended),
        };
        self.tell(watch, state, self.level(assessment), risk, seq, at, why)
    }

    /// The risk from which on a decision told what it told.
    pub fn crossed(&self, decision: &Decision, assessment: &Assessment) -> f64 {
        match decision.tell {
            Some((_, Level::Watch, _)) => self.thresholds.watch,
            _ if matches!(decision.why, Why::LastChance | Why::Ended) => self.last_chance(assessment),
            // A hand-over that was only spoken of: at the end of the call less is enough.
            Some((_, _, risk)) if decision.why == Why::HandoverUnconfirmed && risk < self.thresholds.alert => {
                self.last_chance(assessment)
            }
            _ => self.thresholds.alert,
        }
    }

    /// The risk that suffices when the matter is about to close: less where the caller has hardly been heard.
    fn last_chance(&self, assessment: &Assessment) -> f64 {
        let share = if assessment.words < self.settings.brief_words {
            self.settings.last_chance_share_brief
        } else {
            self.settings.last_chance_share
        };
        self.thresholds.alert * share
    }

    fn set_silence(&self, watch: &mut Watch, assessment: &Assessment, happening: Happening<'_>, at: Timestamp) {
        let Happening::Event { ended, .. } = happening else {
            return;
        };
        let told = watch.raised.is_some_and(|raised| raised.lost_told);
        let open = watch.raised.is_some_and(|raised| raised.level.pages())
            || watch.chance.is_some()
            || watch.need_since.is_some()
            || (watch.handover.is_some() && assessment.need >= self.thresholds.alert);
        // A caller who is being handed over waits in silence.
        let due = at.plus_seconds(self.settings.contact_lost_seconds);
        let due = watch.handover.map_or(due, |handover| due.max(handover.due));
        watch.silence_due = (ended.is_none() && open && !told).then_some(due);
    }
}

#[derive(Clone, Copy)]
struct Turn<'t> {
    seq: u64,
    voice: Voice,
    deeds: &'t [Deed],
    whole_turn: bool,
    ended: Option<End>,
}

impl Turn<'_> {
    /// A turn in which the agent could have handed over.
    fn is_whole_turn_of_agent(&self) -> bool {
        self.voice == Voice::Agent && self.whole_turn
    }
}

fn quiet(why: Why) -> Decision {
    Decision {
        level: None,
        before: None,
        why,
        tell: None,
        settled_after: None,
    }
}
