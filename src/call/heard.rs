//! What the caller has said so far: running evidence of findings and symptoms with the facts that belong to them.

use std::cmp::Reverse;
use std::num::NonZero;

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::follows::{Table, value_of};
use super::quote::{Quote, excerpt, shared};
use super::{Loudest, grow};
use crate::record::{Patient, Timestamp};
use crate::signals::{
    CallerTurn, ConceptId, FactMention, Facts, Kind, Known as Condition, Lexicon, Mention, NearMiss, Question, Reply,
    Status,
};

/// A finding or symptom that came up.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub concept: ConceptId,
    pub status: Status,
    pub kind: Option<NearMiss>,
    /// From words about itself, 0 to 1.
    pub said: f32,
    /// From what else is known, 0 to 1; made anew on every turn.
    pub follows: f32,
    /// Facts of onset, course, severity and ability that belong to it.
    pub attributes: u32,
    /// How much of `said`, and of `follows`, is left where each wording counts by its record.
    pub trust: [Trust; 2],
    /// Said within the first turns: what the call is about.
    pub chief: bool,
    /// How many numbers after [`Heard::first`] the event stands by which it came to be present, or was denied last.
    pub(super) since: u32,
}

/// Of what was neither.
const NEVER: u32 = u32::MAX;

impl Known {
    /// Affirmed with full force in the first words.
    pub fn affirmed(concept: ConceptId, attributes: u32) -> Self {
        Self {
            concept,
            status: Status::Present,
            kind: None,
            said: 1.0,
            follows: 0.0,
            attributes,
            trust: [Trust::FULL; 2],
            chief: true,
            since: 0,
        }
    }

    pub fn evidence(&self) -> f32 {
        self.said.max(self.follows)
    }

    /// Evidence where each wording counts by its record: what need is learned from.
    pub fn trusted(&self) -> f32 {
        self.trust[0].of(self.said).max(self.trust[1].of(self.follows))
    }

    /// Affirmed with enough force to count as there.
    pub fn is_present(&self) -> bool {
        self.evidence() >= PRESENT
    }
}

/// A share in 250ths, kept small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust(u8);

impl Trust {
    pub const FULL: Self = Self(250);

    fn share(part: f32, whole: f32) -> Self {
        if whole <= 0.0 {
            return Self::FULL;
        }
        Self((part / whole * 250.0).round().clamp(0.0, 250.0) as u8)
    }

    pub(super) fn of(self, whole: f32) -> f32 {
        whole * f32::from(self.0) / 250.0
    }
}

/// Evidence from which a finding counts as present.
pub const PRESENT: f32 = 0.4;
/// Evidence that a mention leaves which is not about the patient's now (measured on dialogues; `typed` for channels in
/// which "should I be worried" means now).
fn share(status: Status, typed: bool) -> f32 {
    match status {
        Status::Present => 1.0,
        Status::Past => 0.2,
        Status::Hypothetical => {
            if typed {
                0.6
            } else {
                0.25
            }
        }
        Status::Uncertain => 0.4,
        Status::OtherPerson => 0.05,
        Status::Denied | Status::Retracted => 0.0,
    }
}

/// Strength with which a bare yes affirms what was asked: one finding, or each of a list.
const YES_TO_ONE: f32 = 0.85;
const YES_TO_LIST: f32 = 0.55;
const YES_AND_MORE: f32 = 0.3;
/// Strength with which any answer but no affirms what the question takes for granted.
const PRESUPPOSED: f32 = 0.7;
const PRESUPPOSED_IN_LIST: f32 = 0.4;
/// What a denial leaves of earlier evidence.
const DENIAL_KEEPS: f32 = 0.75;
const CHIEF_TURNS: u16 = 3;
/// Kept words, at most.
const MAX_QUOTES: usize = 8;

/// Something that an event settled or took back.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub concept: ConceptId,
    pub status: Status,
    pub kind: Option<NearMiss>,
    /// The event whose words did it.
    pub seq: u64,
    /// By an answer rather than by words of its own.
    pub answered: bool,
}

/// The agent's question, until the caller has spoken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub question: Question,
    pub seq: u64,
}

/// Where and when a turn stands.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub seq: u64,
    pub at: Timestamp,
    pub typed: bool,
}

/// Facts without the alignment of their sixteen bytes, which would pad every open call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, packed(8))]
pub(super) struct PackedFacts(pub(super) Facts);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub known: Vec<Known>,
    /// `seq` of the event in which the first of these was heard.
    pub(super) first: u64,
    pub(super) facts: PackedFacts,
    pub asked: Option<Box<Asked>>,
    /// What the last turns were about, for facts that name no symptom.
    pub topic: ArrayVec<ConceptId, 4>,
    pub quotes: Vec<Quote>,
    pub turns: u16,
    /// Up to 65,535, some seven hours of talk; more counts as that many.
    pub words: u16,
    /// Words among them that the model has never met: of another language, or misheard.
    pub unknown_words: u16,
    /// What the wording of all turns together says of need.
    pub talk: f32,
    pub age: Option<u8>,
    /// Event, time and turn at which a finding was last newly present, or a wording newly the loudest.
    pub last_new: Option<(u64, Timestamp, u16)>,
    pub loudest: Loudest,
}

impl Heard {
    /// What is known, without the turns that told it.
    pub fn of(known: Vec<Known>, facts: Facts) -> Self {
        Self {
            known,
            facts: PackedFacts(facts),
            ..Self::default()
        }
    }

    /// Takes in a turn of the agent: only its question matters here.
    pub fn agent(&mut self, mut question: Question, seq: u64) {
        let asks = std::mem::take(&mut question.asks);
        match &mut self.asked {
            // Two turns of the agent in a row are one question.
            Some(asked) => {
                asked.seq = seq;
                let old = &mut asked.question;
                if !question.names.is_empty() || question.contact || question.history {
                    *old = question;
                } else {
                    // "Any illnesses before? All right. And what is going on today?"
                    if asks {
                        (old.contact, old.history) = (false, false);
                    }
                    old.facts.extend(question.facts);
                    old.facts.truncate(8);
                    old.presupposes |= question.presupposes;
                }
            }
            None => self.asked = Some(Box::new(Asked { question, seq })),
        }
    }

    /// Takes in a turn of the caller.
    pub fn caller(&mut self, lexicon: &Lexicon, turn: &CallerTurn, text: &str, moment: Moment) -> Vec<Change> {
        self.turns = self.turns.saturating_add(1);
        self.words = self.words.saturating_add(turn.words);
        self.unknown_words = self.unknown_words.saturating_add(turn.wording.unknown);
        self.talk += turn.wording.talk;
        let facts = self.facts();
        if self.age.is_none() {
            self.set_age(lexicon, turn.age);
        }
        let asked = self.asked.take();
        self.begin_at(moment.seq);
        let said = self.with_answer(turn, asked.as_deref());
        let attached = self.attach(turn, &said, asked.as_deref());
        let mut changes = Vec::new();
        for mention in &said {
            if let Some(change) = self.mention(mention, moment) {
                changes.push(change);
            }
            if mention.mention.status == Status::Present && mention.mention.strength >= PRESENT {
                let asked_before = asked
                    .as_ref()
                    .filter(|_| mention.answered)
                    .and_then(|asked| moment.seq.checked_sub(asked.seq)?.try_into().ok())
                    .and_then(NonZero::new);
                self.quote(lexicon, &mention.mention, text, moment, asked_before);
            }
        }
        // What follows is made of what is known alone: where nothing is new, neither is that.
        if !said.is_empty() || attached || self.facts() != facts {
            self.follow(lexicon, moment, &mut changes);
        }
        let quotes = &self.quotes;
        let words = || shared(quotes, excerpt(text, turn.wording.loudest));
        if self.loudest.hear(turn.wording.value, moment, words) {
            self.last_new = Some((moment.seq, moment.at, self.turns));
        }
        changes
    }

    /// Takes in what the record of the patient says.
    pub fn patient(&mut self, lexicon: &Lexicon, patient: &Patient, moment: Moment) -> Vec<Change> {
        self.begin_at(moment.seq);
        let facts = self.facts();
        self.set_age(lexicon, patient.age);
        if patient.contacts_72h.is_some_and(|contacts| contacts > 0)
            && let Some(bit) = lexicon.fact("second_call")
        {
            self.has_now(bit);
        }
        let mut changes = Vec::new();
        // A transfer leg may tell more about a patient who has already spoken.
        if self.turns > 0 && self.facts() != facts {
            self.follow(lexicon, moment, &mut changes);
        }
        changes
    }

    pub fn find(&self, concept: ConceptId) -> Option<&Known> {
        self.known.iter().find(|known| known.concept == concept)
    }

    pub fn facts(&self) -> Facts {
        self.facts.0
    }

    pub fn has(&self, fact: u8) -> bool {
        self.facts() >> fact & 1 == 1
    }

    fn has_now(&mut self, fact: u8) {
        self.facts.0 |= 1 << fact;
    }

    /// What comes late may have a number below all before.
    fn begin_at(&mut self, seq: u64) {
        if self.known.is_empty() {
            self.first = seq;
        }
        if seq < self.first {
            let lower = u32::try_from(self.first - seq).unwrap_or(NEVER);
            for known in self.known.iter_mut().filter(|known| known.since != NEVER) {
                known.since = known.since.saturating_add(lower).min(NEVER - 1);
            }
            self.first = seq;
        }
    }

    /// Numbers after [`Self::first`]; what never was stays so.
    pub(super) fn after_first(&self, seq: u64) -> u32 {
        match seq {
            u64::MAX => NEVER,
            seq => seq.saturating_sub(self.first).min(u64::from(NEVER - 1)) as u32,
        }
    }

    /// `seq` of the event by which it came to be present, or was denied last; the highest of all where neither was.
    pub fn since(&self, known: &Known) -> u64 {
        match known.since {
            NEVER => u64::MAX,
            after => self.first.saturating_add(u64::from(after)),
        }
    }

    fn set_age(&mut self, lexicon: &Lexicon, age: Option<u8>) {
        let Some(age) = age else { return };
        self.age = Some(age);
        let holds = [age >= 65, age >= 50, age < 5, age < 1];
        for (name, holds) in crate::signals::AGE_FACTS.iter().zip(holds) {
            if let Some(bit) = lexicon.fact(name).filter(|_| holds) {
                self.has_now(bit);
            }
        }
    }

    /// The caller's own mentions, corrected by the question, and those that the question alone names.
    fn with_answer(&self, turn: &CallerTurn, asked: Option<&Asked>) -> Vec<Said> {
        let mut said: Vec<Said> = turn
            .mentions
            .iter()
            .map(|mention| Said {
                mention: mention.clone(),
                answered: false,
            })
            .collect();
        let Some(Asked { question, .. }) = asked else {
            return said;
        };
        if question.contact || question.history {
            for own in &mut said {
                if own.mention.status == Status::Present && own.mention.kind.is_none() && !turn.is_about_now() {
                    own.mention.status = if question.contact {
                        Status::OtherPerson
                    } else {
                        Status::Past
                    };
                    own.mention.kind = Some(if question.contact {
                        NearMiss::OtherPerson
                    } else {
                        NearMiss::Old
                    });
                }
            }
        }
        if question.contact || !turn.is_short() {
            return said;
        }
        let list = question.names.len() > 1;
        let names_one_itself = question
            .names
            .iter()
            .any(|name| turn.mentions.iter().any(|m| m.concept == *name));
        for name in &question.names {
            if turn.mentions.iter().any(|m| m.concept == *name) {
                continue;
            }
            let answer = match turn.reply {
                Reply::Yes if question.history => Some((Status::Past, 1.0)),
                // "Yes, the headache": of the list that one.
                Reply::Yes if list && names_one_itself => None,
                // "Yeah, he just ate": a yes that goes on about something else affirms little of a list.
                Reply::Yes if list && turn.words > 3 => Some((Status::Present, YES_AND_MORE)),
                Reply::Yes => Some((Status::Present, if list { YES_TO_LIST } else { YES_TO_ONE })),
                Reply::No if question.presupposes => None,
                Reply::No => Some((Status::Denied, 1.0)),
                Reply::Neither if question.presupposes && !question.history => {
                    let strength = if question.names.len() > 2 {
                        PRESUPPOSED_IN_LIST
                    } else {
                        PRESUPPOSED
                    };
                    Some((Status::Present, strength))
                }
                Reply::Neither => None,
            };
            let Some((status, strength)) = answer else { continue };
            let kind = match status {
                Status::Denied => Some(NearMiss::Denied),
                Status::Past => Some(NearMiss::Old),
                _ => None,
            };
            let mention = Mention {
                concept: *name,
                status,
                kind,
                strength,
                trust: 1.0,
                clause: u16::MAX,
                words: (0, u32::MAX),
            };
            said.push(Said {
                mention,
                answered: true,
            });
        }
        said
    }

    /// Facts go to the symptoms of their clause, else of the turn, else of the question, else of the topic. Whether any
    /// went to a symptom.
    fn attach(&mut self, turn: &CallerTurn, said: &[Said], asked: Option<&Asked>) -> bool {
        let present = |s: &&Said| s.mention.status == Status::Present;
        let spoken: Vec<(ConceptId, u16)> = said
            .iter()
            .filter(present)
            .map(|s| (s.mention.concept, s.mention.clause))
            .collect();
        if !spoken.is_empty() {
            self.topic = spoken.iter().map(|(concept, _)| *concept).take(4).collect();
        } else if let Some(asked) = asked
            && !asked.question.names.is_empty()
            && turn.reply != Reply::No
        {
            self.topic = asked.question.names.iter().copied().take(4).collect();
        }
        let elsewhere = asked.is_some_and(|asked| asked.question.contact || asked.question.history);
        let mut facts: Vec<FactMention> = turn.facts.clone();
        if let Some(asked) = asked
            && turn.reply == Reply::Yes
            && turn.is_short()
        {
            facts.extend(
                asked
                    .question
                    .facts
                    .iter()
                    .copied()
                    .filter(|fact| fact.of != crate::signals::FactKind::Alarm),
            );
        }
        let mut attached = false;
        for fact in facts {
            let denied = turn.reply == Reply::No && turn.words < 8 && !fact.of.of_symptom();
            if denied || (elsewhere && fact.of.of_symptom()) {
                continue;
            }
            self.has_now(fact.bit);
            if !fact.of.of_symptom() {
                continue;
            }
            let same_clause: Vec<ConceptId> = spoken
                .iter()
                .filter(|(_, clause)| *clause == fact.clause)
                .map(|(concept, _)| *concept)
                .collect();
            let to = if same_clause.is_empty() {
                self.topic.to_vec()
            } else {
                same_clause
            };
            for concept in to {
                // The mention itself comes after: a place is kept for it.
                self.entry(concept).attributes |= 1 << fact.bit;
                attached = true;
            }
        }
        attached
    }

    /// The place of a concept, made where there was none.
    fn entry(&mut self, concept: ConceptId) -> &mut Known {
        let at = self
            .known
            .iter()
            .position(|known| known.concept == concept)
            .unwrap_or_else(|| {
                grow(&mut self.known);
                self.known.push(Known {
                    concept,
                    status: Status::Uncertain,
                    kind: None,
                    said: 0.0,
                    follows: 0.0,
                    attributes: 0,
                    trust: [Trust::FULL; 2],
                    chief: false,
                    since: NEVER,
                });
                self.known.len() - 1
            });
        &mut self.known[at]
    }

    fn mention(&mut self, said: &Said, moment: Moment) -> Option<Change> {
        let Said { mention, answered } = said;
        let (turns, now) = (self.turns, self.after_first(moment.seq));
        let known = self.entry(mention.concept);
        let (was_present, was_there) = (known.said >= PRESENT, known.is_present());
        if mention.status == Status::Denied {
            // A bare no to a question denies what the question adds ("also at rest?"), not what was told before.
            if !(*answered && was_present) {
                known.said *= DENIAL_KEEPS;
            }
        } else {
            let value = mention.strength * share(mention.status, moment.typed);
            if value > 0.0 {
                let trusted = repeated(known.trust[0].of(known.said), value * mention.trust);
                known.said = repeated(known.said, value);
                known.trust[0] = Trust::share(trusted, known.said);
            }
        }
        known.chief |= turns <= CHIEF_TURNS && mention.status == Status::Present;
        // What was affirmed stays so until its evidence is gone.
        let settled = if was_present && known.said >= PRESENT {
            Status::Present
        } else {
            mention.status
        };
        known.status = settled;
        known.kind = mention.kind;
        let (is_new, is_gone) = (
            !was_present && known.said >= PRESENT && mention.status == Status::Present,
            !known.is_present(),
        );
        if is_gone || (is_new && !was_there) {
            known.since = now;
        }
        if is_new {
            self.last_new = Some((moment.seq, moment.at, turns));
        }
        if is_gone {
            self.quotes.retain(|quote| quote.concept != mention.concept);
        }
        Some(Change {
            concept: mention.concept,
            status: mention.status,
            kind: mention.kind,
            seq: moment.seq,
            answered: *answered,
        })
    }

    /// Findings that follow from what is known by now, made anew.
    fn follow(&mut self, lexicon: &Lexicon, moment: Moment, changes: &mut Vec<Change>) {
        let mut follows: Vec<(ConceptId, [f32; 2])> = Vec::new();
        Table::with(&self.known, lexicon, |table| {
            for combination in lexicon.combinations_of(&table.present, self.facts()) {
                let value = value_of(combination, table, self.facts());
                if value[0] > 0.0 {
                    follows.push((combination.finding, value));
                }
            }
        });
        // The best of each finding, in the order of the lexicon.
        follows.sort_by(|a, b| a.0.cmp(&b.0).then(b.1[0].total_cmp(&a.1[0])));
        follows.dedup_by(|next, best| {
            best.1[1] = best.1[1].max(if next.0 == best.0 { next.1[1] } else { 0.0 });
            next.0 == best.0
        });
        self.take_conclusions(&follows, moment, changes);
    }

    fn take_conclusions(&mut self, follows: &[(ConceptId, [f32; 2])], moment: Moment, changes: &mut Vec<Change>) {
        for known in &mut self.known {
            if !follows.iter().any(|(finding, _)| *finding == known.concept) {
                known.follows = 0.0;
            }
        }
        for (finding, [value, trusted]) in follows {
            let (turns, now) = (self.turns, self.after_first(moment.seq));
            let known = self.entry(*finding);
            let was_present = known.is_present();
            known.follows = *value;
            known.trust[1] = Trust::share(*trusted, *value);
            if was_present || !known.is_present() {
                continue;
            }
            known.status = Status::Present;
            known.kind = None;
            known.chief |= turns <= CHIEF_TURNS;
            known.since = now;
            self.last_new = Some((moment.seq, moment.at, turns));
            let told = changes
                .iter()
                .any(|c| c.concept == *finding && c.status == Status::Present);
            if !told {
                changes.push(Change {
                    concept: *finding,
                    status: Status::Present,
                    kind: None,
                    seq: moment.seq,
                    answered: false,
                });
            }
        }
    }

    fn quote(
        &mut self,
        lexicon: &Lexicon,
        mention: &Mention,
        text: &str,
        moment: Moment,
        asked_before: Option<NonZero<u16>>,
    ) {
        if let Some(old) = self.quotes.iter().position(|old| old.concept == mention.concept) {
            if self.quotes[old].strength + 0.2 >= mention.strength {
                return;
            }
            self.quotes[old] = self.new_quote(mention, text, moment, asked_before);
            return;
        }
        if self.quotes.len() >= MAX_QUOTES {
            // Words of emergencies first, of symptoms last; of equals the newer.
            let weight = |concept, strength: f32| (lexicon.concept(concept).needed(), (strength * 100.0) as i32);
            let weigh = |quote: &Quote| weight(quote.concept, quote.strength);
            let least = (0..self.quotes.len()).min_by_key(|at| weigh(&self.quotes[*at]));
            let least = least.expect("there are quotes");
            if weigh(&self.quotes[least]) > weight(mention.concept, mention.strength) {
                return;
            }
            self.quotes.remove(least);
        }
        let new = self.new_quote(mention, text, moment, asked_before);
        grow(&mut self.quotes);
        self.quotes.push(new);
    }

    fn new_quote(&self, mention: &Mention, text: &str, moment: Moment, asked_before: Option<NonZero<u16>>) -> Quote {
        Quote {
            concept: mention.concept,
            text: shared(&self.quotes, excerpt(text, mention.words)),
            seq: moment.seq,
            at: moment.at,
            asked_before,
            strength: mention.strength,
        }
    }

    /// The words that raised a finding: its own, else those of what it follows from.
    pub fn words_of(&self, lexicon: &Lexicon, finding: ConceptId) -> Vec<&Quote> {
        let own: Vec<&Quote> = self.quotes.iter().filter(|quote| quote.concept == finding).collect();
        if !own.is_empty() {
            return own;
        }
        Table::with(&self.known, lexicon, |table| {
            let best = lexicon
                .combinations_for(finding)
                .iter()
                .max_by(|a, b| value_of(a, table, self.facts())[0].total_cmp(&value_of(b, table, self.facts())[0]));
            let Some(best) = best else { return Vec::new() };
            let parts: Vec<ConceptId> = best
                .all
                .iter()
                .chain(&best.any)
                .filter_map(|condition| match condition {
                    Condition::Present(concept) | Condition::With(concept, _) => Some(*concept),
                    Condition::Fact(_) => None,
                })
                .collect();
            let mut words: Vec<&Quote> = self.quotes.iter().filter(|q| parts.contains(&q.concept)).collect();
            // What made it follow came last.
            words.sort_by_key(|quote| Reverse(quote.seq));
            words
        })
    }
}

/// A mention, and whether the question gave it its name.
struct Said {
    mention: Mention,
    answered: bool,
}

impl CallerTurn {
    fn is_about_now(&self) -> bool {
        self.facts.iter().any(|fact| fact.of == crate::signals::FactKind::Onset)
    }
}

/// Repetition adds a little, never up to certainty.
fn repeated(before: f32, new: f32) -> f32 {
    let (more, less) = (before.max(new), before.min(new));
    1.0 - (1.0 - more) * (1.0 - 0.25 * less)
}

impl Known {
    /// Whether it is one of the red flags rather than a symptom.
    pub fn is_finding(&self, lexicon: &Lexicon) -> bool {
        matches!(lexicon.concept(self.concept).kind, Kind::Finding { .. })
    }
}
