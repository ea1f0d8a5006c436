//! What is known of one call: its place in the source's numbering, what was heard, the care given.
//!
//! ```text
//! Event ──► place (fresh, duplicate, late) ──► partial results laid over ──► Heard, Care ──► Applied
//! ```
//! Time is the event's own. Memory is bounded: every list here has a limit.

mod care;
mod follows;
mod heard;
mod loudest;
mod quote;
mod sequence;
mod snapshot;

pub use care::{Care, Deed, Done, Minutes};
pub use heard::{Change, Heard, Known, Moment, PRESENT, Trust};
pub use loudest::Loudest;
pub use quote::Quote;
pub use sequence::{Place, Sequence, mix};
pub use snapshot::{FORMAT, Snapshot, SnapshotError};

use crate::record::{Act, Action, Body, CallId, Channel, Event, Speaker, Started, Timestamp, Utterance};
use crate::signals::{AgentTurn, CallerTurn, ConceptId, Kind, Lexicon, Reader, Status};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Applied,
    /// A redelivery.
    Duplicate,
    /// After the end of the call.
    Late,
    /// A type that we do not know, or speech beyond the bound of events.
    Ignored,
}

impl Fate {
    pub const ALL: [Self; 4] = [Self::Applied, Self::Duplicate, Self::Late, Self::Ignored];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Ignored => "ignored",
        }
    }
}

/// Who spoke or acted in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Caller,
    Agent,
    Clinician,
    Nobody,
}

/// What an event did to its call.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub fate: Fate,
    /// The event's number in the call.
    pub seq: u64,
    pub voice: Voice,
    /// Findings that it settled or took back.
    pub changes: Vec<Change>,
    /// What the agent did in it, by action or by word.
    pub deeds: Vec<Deed>,
    /// Events that seem to be missing before it.
    pub lost: u64,
    /// A whole turn of the agent, as opposed to a partial result.
    pub whole_turn: bool,
}

/// Where the call comes from, as the source told it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    pub started: Started,
    pub started_at: Option<Timestamp>,
    pub first_at: Option<Timestamp>,
}

impl Context {
    pub fn typed(&self) -> bool {
        matches!(self.started.channel, Channel::Chat | Channel::Questionnaire)
    }

    /// Seconds from the start of the call; 0 where that is not known.
    pub fn seconds_at(&self, at: Timestamp) -> f64 {
        self.started_at
            .or(self.first_at)
            .map_or(0.0, |start| at.seconds_since(start).max(0.0))
    }

    /// The agent is a clinician: then nobody is being put off.
    pub fn clinical_agent(&self) -> bool {
        let role = self
            .started
            .agent
            .as_ref()
            .and_then(|agent| agent.role.as_deref())
            .unwrap_or("");
        matches!(
            role,
            "nurse" | "physician" | "doctor" | "clinician" | "paramedic" | "triage_nurse" | "nurse_practitioner"
        )
    }
}

/// How the call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub at: Timestamp,
    /// Its disposition says that it went to clinical staff.
    pub to_clinicians: bool,
}

/// What somebody said, read.
#[derive(Clone, Debug, PartialEq)]
enum Turn {
    Caller(CallerTurn),
    Agent(AgentTurn),
    /// Of a clinician or a machine: that they spoke is all that matters.
    Other,
}

impl Turn {
    fn of(reader: &Reader, said: &Utterance) -> Self {
        match said.speaker {
            // Whoever it is, it may be the patient: unknown speakers are read as the caller.
            Speaker::Caller | Speaker::Other => Self::Caller(reader.caller(&said.text)),
            Speaker::Agent => Self::Agent(reader.agent(&said.text)),
            Speaker::Clinician | Speaker::System => Self::Other,
        }
    }
}

/// A partial result that waits for its successor. It is read once, however many events come meanwhile.
#[derive(Clone, Debug, PartialEq)]
struct Partial {
    said: Utterance,
    turn: Turn,
    seq: u64,
    at: Timestamp,
}

/// How sure the recogniser was, and whether both sides are heard.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recognition {
    pub confidence_sum: f32,
    pub confidences: u32,
    pub agent_turns: u16,
    pub clinician_turns: u16,
    pub lost_events: u32,
    pub cut_texts: u16,
}

/// Bounds of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Events of one call; further speech is counted and ignored, what is done and the end of the call are not.
    pub max_events: u32,
    /// Partial results open at a time, by different ids.
    pub max_partials: usize,
    /// Seconds after the end within which a transfer leg opens the call again.
    pub transfer_leg_seconds: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_events: 20_000,
            max_partials: 4,
            transfer_leg_seconds: 120,
        }
    }
}

/// Makes room for one more and hardly more than that: open calls are many and their lists short.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1);
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub id: CallId,
    pub context: Context,
    pub sequence: Sequence,
    pub recognition: Recognition,
    pub ended: Option<End>,
    pub last_at: Option<Timestamp>,
    settled: (Heard, Care),
    open: Option<Box<Open>>,
}

/// Partial results, one at least, and the settled state with them laid over it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Open {
    partials: Vec<Partial>,
    over: (Heard, Care),
}

impl Call {
    pub fn new(id: CallId) -> Self {
        Self {
            id,
            context: Context::default(),
            sequence: Sequence::default(),
            recognition: Recognition::default(),
            ended: None,
            last_at: None,
            settled: Default::default(),
            open: None,
        }
    }

    /// [`Heard::talk`] without partial results.
    pub(crate) fn settled_talk(&self) -> f32 {
        self.settled.0.talk
    }

    pub fn heard(&self) -> &Heard {
        &self.now().0
    }

    pub fn care(&self) -> &Care {
        &self.now().1
    }

    fn now(&self) -> &(Heard, Care) {
        self.open.as_deref().map_or(&self.settled, |open| &open.over)
    }

    fn partials(&self) -> &[Partial] {
        self.open.as_deref().map_or(&[], |open| &open.partials)
    }

    /// Takes an event in.
    pub fn apply(&mut self, reader: &Reader, event: &Event, bounds: &Bounds) -> Applied {
        let mut applied = Applied {
            fate: Fate::Applied,
            seq: self.sequence.number(event.seq),
            voice: Voice::Nobody,
            changes: Vec::new(),
            deeds: Vec::new(),
            lost: 0,
            whole_turn: false,
        };
        let leg = self.ended.is_some_and(|end| self.is_leg(event, end, bounds));
        if leg {
            self.sequence.begin_leg(event.seq, event.event_id.as_deref());
            applied.seq = self.sequence.number(event.seq);
        } else if self.sequence.base > 0 && self.sequence.leg_began.is_some_and(|began| event.at < began) {
            // Of the leg before, whose numbers are those of this one.
            applied.fate = Fate::Late;
            return applied;
        }
        match self.sequence.place(event.seq, event.event_id.as_deref()) {
            Place::Duplicate => {
                applied.fate = Fate::Duplicate;
                return applied;
            }
            Place::Fresh { lost } => applied.lost = lost,
        }
        if self.ended.is_some() && !leg {
            applied.fate = Fate::Late;
            return applied;
        }
        self.ended = None;
        // What was done and that it ended is taken in, however much was said before.
        let bounded = !matches!(event.body, Body::Action(_) | Body::Ended(_));
        if matches!(event.body, Body::Unknown) || (bounded && self.sequence.applied >= bounds.max_events) {
            // It was there, so it is no gap.
            self.sequence.skip(event.seq, event.event_id.as_deref());
            applied.fate = Fate::Ignored;
            return applied;
        }
        applied.seq = self.sequence.take(event.seq, event.event_id.as_deref());
        self.recognition.lost_events = self
            .recognition
            .lost_events
            .saturating_add(applied.lost.min(1000) as u32);
        self.context.first_at.get_or_insert(event.at);
        self.last_at = Some(self.last_at.map_or(event.at, |last| last.max(event.at)));
        self.take(reader, event, bounds, &mut applied);
        applied
    }

    /// Whether an event opens a call again that has ended: a transfer.
    fn is_leg(&self, event: &Event, end: End, bounds: &Bounds) -> bool {
        // The beginning of the leg that ended comes again, or late, with its own time and number.
        let began = self.sequence.leg_began.unwrap_or(end.at);
        let goes_on = event.at > began || event.seq.is_some_and(|seq| self.sequence.is_ahead(seq));
        matches!(event.body, Body::Started(_))
            && goes_on
            && event.at.seconds_since(end.at) <= f64::from(bounds.transfer_leg_seconds)
    }

    /// Nothing is left of it but that it was: what comes now is late, or begins a call anew.
    pub fn is_past(&self) -> bool {
        self.sequence.applied > 0 && self.context.first_at.is_none()
    }

    /// Keeps what tells late events from those of a new call, and how to ring back whoever goes on in it.
    pub fn forget(&mut self) {
        let started = std::mem::take(&mut self.context.started);
        *self = Self {
            context: Context {
                started,
                ..Context::default()
            },
            ended: self.ended,
            last_at: self.last_at,
            sequence: std::mem::take(&mut self.sequence),
            ..Self::new(self.id.clone())
        };
    }

    /// Whether an event is one of a call that is over, rather than of another that has its id: up to so many seconds after
    /// its end, or where it had none, one that was there before.
    pub fn was_in_the_past(&self, event: &Event, ended_seconds: u32) -> bool {
        let Some(last) = self.last_at else { return false };
        match self.ended {
            Some(_) => event.at <= last.plus_seconds(ended_seconds),
            None => {
                let place = self.sequence.place(event.seq, event.event_id.as_deref());
                event.at <= last && place == Place::Duplicate
            }
        }
    }

    /// Begins anew, as another call, or as what is left of one that was in silence for long.
    pub fn begin_anew(&mut self) {
        let mut anew = Self::new(self.id.clone());
        if self.ended.is_none() {
            anew.context.started = std::mem::take(&mut self.context.started);
        }
        *self = anew;
    }

    fn take(&mut self, reader: &Reader, event: &Event, bounds: &Bounds, applied: &mut Applied) {
        let moment = Moment {
            seq: applied.seq,
            at: event.at,
            typed: self.context.typed(),
        };
        let mut before = None;
        match &event.body {
            Body::Started(started) => applied.changes = self.start(reader, started, moment),
            Body::Utterance(said) => before = self.utterance(reader, said, moment, bounds, applied),
            Body::Answer(answer) => {
                applied.voice = Voice::Caller;
                let (heard, _) = &mut self.settled;
                let asked = reader.agent(&answer.question);
                heard.asked = None;
                heard.agent(asked.question, moment.seq);
                let turn = reader.caller(&answer.answer);
                applied.changes = heard.caller(reader.lexicon(), &turn, &answer.answer, moment);
            }
            Body::Action(action) => {
                applied.voice = Voice::Agent;
                self.action(action, moment, applied);
            }
            Body::Ended(ended) => {
                let disposition = ended.disposition.as_deref();
                // A partial result that nobody replaced was said all the same.
                self.settle_partials(reader, |_| true, applied);
                self.ended = Some(End {
                    at: event.at,
                    // "Transferred" may be to the billing desk.
                    to_clinicians: matches!(disposition, Some("escalated" | "emergency")),
                });
            }
            Body::Unknown => {}
        }
        self.lay_over(reader);
        if let Some(before) = before {
            self.tell_difference(&before, moment.seq, applied);
        }
    }

    fn start(&mut self, reader: &Reader, started: &Started, moment: Moment) -> Vec<Change> {
        self.context.started_at.get_or_insert(moment.at);
        self.sequence.leg_began = Some(moment.at);
        self.context.started.go_on_with(started);
        let patient = started.patient.as_ref();
        patient.map_or_else(Vec::new, |patient| {
            self.settled.0.patient(reader.lexicon(), patient, moment)
        })
    }

    /// Where a partial result came or went: the findings that were present before.
    fn utterance(
        &mut self,
        reader: &Reader,
        said: &Utterance,
        moment: Moment,
        bounds: &Bounds,
        applied: &mut Applied,
    ) -> Option<Vec<ConceptId>> {
        applied.voice = match said.speaker {
            Speaker::Caller => Voice::Caller,
            Speaker::Agent => Voice::Agent,
            Speaker::Clinician => Voice::Clinician,
            Speaker::Other => Voice::Caller,
            Speaker::System => Voice::Nobody,
        };
        applied.whole_turn = said.is_final;
        self.recognition.cut_texts = self.recognition.cut_texts.saturating_add(u16::from(said.cut));
        let id = said.utterance_id.as_deref();
        let replaces = self
            .partials()
            .iter()
            .position(|open| id.is_some() && open.said.utterance_id.as_deref() == id);
        let before = (replaces.is_some() || !said.is_final).then(|| self.present());
        if let (Some(at), Some(open)) = (replaces, &mut self.open) {
            open.partials.remove(at);
        }
        let turn = Turn::of(reader, said);
        if said.is_final {
            // A speaker who begins a new turn has ended the one before, where no other word can come for it.
            let ended = |open: &Partial| open.said.utterance_id.is_none() && open.said.speaker == said.speaker;
            self.settle_partials(reader, ended, applied);
            if applied.voice == Voice::Caller {
                self.ask_what_is_being_asked();
            }
            hear(
                &mut self.settled,
                &mut self.recognition,
                reader.lexicon(),
                said,
                turn,
                moment,
                applied,
            );
        } else {
            if let Some(oldest) = self.partials().first().map(|open| open.seq)
                && self.partials().len() >= bounds.max_partials
            {
                self.settle_partials(reader, |open| open.seq == oldest, applied);
            }
            self.open.get_or_insert_default().partials.push(Partial {
                said: said.clone(),
                turn,
                seq: moment.seq,
                at: moment.at,
            });
        }
        before
    }

    /// A caller may answer before the question is final.
    fn ask_what_is_being_asked(&mut self) {
        let Self { open, settled, .. } = self;
        for partial in open.iter().flat_map(|open| &open.partials) {
            if let Turn::Agent(turn) = &partial.turn {
                settled.0.agent(turn.question.clone(), partial.seq);
            }
        }
    }

    /// Findings that are present now.
    fn present(&self) -> Vec<ConceptId> {
        self.heard()
            .known
            .iter()
            .filter(|known| known.is_present())
            .map(|known| known.concept)
            .collect()
    }

    /// What a partial result added, or what its successor took back.
    fn tell_difference(&self, before: &[ConceptId], seq: u64, applied: &mut Applied) {
        let change = |concept, status| Change {
            concept,
            status,
            kind: None,
            seq,
            answered: false,
        };
        for known in self.heard().known.iter().filter(|known| known.is_present()) {
            let told = applied.changes.iter().any(|change| change.concept == known.concept);
            if !before.contains(&known.concept) && !told {
                applied.changes.push(change(known.concept, Status::Present));
            }
        }
        for concept in before {
            if !self.heard().find(*concept).is_some_and(Known::is_present) {
                applied.changes.retain(|change| change.concept != *concept);
                applied.changes.push(change(*concept, Status::Retracted));
            }
        }
    }

    fn settle_partials(&mut self, reader: &Reader, which: impl Fn(&Partial) -> bool, applied: &mut Applied) {
        let typed = self.context.typed();
        let Some(open) = &mut self.open else { return };
        for open in open.partials.extract_if(.., |open| which(open)) {
            let moment = Moment {
                seq: open.seq,
                at: open.at,
                typed,
            };
            hear(
                &mut self.settled,
                &mut self.recognition,
                reader.lexicon(),
                &open.said,
                open.turn,
                moment,
                applied,
            );
        }
    }

    fn lay_over(&mut self, reader: &Reader) {
        let Some(open) = self.open.as_mut().filter(|open| !open.partials.is_empty()) else {
            self.open = None;
            return;
        };
        open.over = self.settled.clone();
        let typed = self.context.typed();
        let mut recognition = self.recognition;
        for partial in &open.partials {
            let moment = Moment {
                seq: partial.seq,
                at: partial.at,
                typed,
            };
            let mut ignored = Applied {
                fate: Fate::Applied,
                seq: partial.seq,
                voice: Voice::Nobody,
                changes: Vec::new(),
                deeds: Vec::new(),
                lost: 0,
                whole_turn: false,
            };
            let turn = partial.turn.clone();
            hear(
                &mut open.over,
                &mut recognition,
                reader.lexicon(),
                &partial.said,
                turn,
                moment,
                &mut ignored,
            );
        }
    }

    fn action(&mut self, action: &Action, moment: Moment, applied: &mut Applied) {
        let care = &mut self.settled.1;
        let to_clinicians = matches!(
            action.to.as_deref(),
            None | Some("nurse" | "physician" | "clinical_queue" | "emergency_services")
        );
        let to_others = matches!(
            action.to.as_deref(),
            Some("front_desk" | "billing" | "pharmacy" | "scheduling")
        );
        let deed = match action.act {
            Act::Escalated if to_others => return,
            Act::Escalated if action.mode.as_deref() == Some("urgent_message") => Deed::UrgentMessage,
            Act::Escalated if to_clinicians && !action.inferred => Deed::Escalated,
            // An adapter that only read the words knows no more than we do, and a queue that nobody named may be any: what
            // settles a need is a clinician on the line.
            Act::Escalated => Deed::HandoverSpoken,
            Act::Other => return,
            Act::EmergencyAdvised => Deed::EmergencyAdvised,
            Act::AppointmentBooked => Deed::Booked,
            Act::MessageTaken => Deed::MessageTaken,
            Act::CallbackPromised => Deed::CallbackPromised,
            Act::AdviceGiven => Deed::AdviceGiven,
            Act::HoldStarted => {
                care.on_hold = true;
                Deed::Hold
            }
            Act::HoldEnded => {
                care.on_hold = false;
                return;
            }
            Act::ProtocolOpened => Deed::ProtocolOpened,
        };
        care.did(Done {
            deed,
            seq: moment.seq,
            at_ms: moment.at.millis(),
            minutes: action.starts_in_minutes.or(action.within_minutes).map(Minutes::from),
            inferred: action.inferred,
        });
        applied.deeds.push(deed);
    }
}

/// Takes in what somebody said.
fn hear(
    (heard, care): &mut (Heard, Care),
    recognition: &mut Recognition,
    lexicon: &Lexicon,
    said: &Utterance,
    turn: Turn,
    moment: Moment,
    applied: &mut Applied,
) {
    let inferred = |deed| Done {
        deed,
        seq: moment.seq,
        at_ms: moment.at.millis(),
        minutes: None,
        inferred: true,
    };
    match turn {
        Turn::Caller(turn) => {
            if let Some(confidence) = said.confidence {
                recognition.confidence_sum += confidence;
                recognition.confidences += 1;
            }
            applied.changes.extend(heard.caller(lexicon, &turn, &said.text, moment));
        }
        Turn::Agent(turn) => {
            recognition.agent_turns = recognition.agent_turns.saturating_add(1);
            for act in &turn.acts {
                debug_assert!(matches!(lexicon.concept(*act).kind, Kind::Act));
                let id = lexicon.concept(*act).id.as_str();
                let Some(deed) = Deed::of_act(id) else { continue };
                care.did(inferred(deed));
                applied.deeds.push(deed);
            }
            heard.agent(turn.question, moment.seq);
        }
        Turn::Other if said.speaker == Speaker::Clinician => {
            recognition.clinician_turns = recognition.clinician_turns.saturating_add(1);
            care.did(inferred(Deed::Escalated));
            applied.deeds.push(Deed::Escalated);
        }
        Turn::Other => {}
    }
}
