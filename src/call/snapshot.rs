//! A call ↔ versioned bytes for the changelog.
//!
//! ```text
//! [format u8][postcard of Snapshot]
//! ```
//! Concepts stand as keys made of their ids, so that a snapshot outlives a new version of the lexicon: a concept that
//! the lexicon no longer has is dropped. Readers know their own format and refuse a newer one.

use std::borrow::Cow;
use std::num::NonZero;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::heard::{Asked, Heard, Known, PackedFacts, Trust};
use super::loudest::LoudTurn;
use super::quote::{Quote, shared};
use super::{Call, Care, Context, End, Loudest, Open, Partial, Recognition, Sequence, Turn};
use crate::record::{Agent, CallId, Channel, Patient, Sex, Speaker, Started, Timestamp, Utterance};
use crate::signals::{ConceptId, FactMention, Kind, Lexicon, NearMiss, Question, Reader, Status};

/// The format that is written. The one before it is read as well: a group is upgraded process by process. Formats 1 to 4
/// held other things than are read now; no release wrote them.
pub const FORMAT: u8 = 6;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("state of format {found}, this program reads up to {FORMAT}: run the newer program, or reset the group")]
    Newer { found: u8 },
    #[error("state cannot be read: {0}")]
    Damaged(String),
}

/// A call as plain data, lent by the call where it is written.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<'c> {
    channel: Channel,
    queue: Option<Cow<'c, str>>,
    site: Option<Cow<'c, str>>,
    callback_ref: Option<Cow<'c, str>>,
    agent: Option<(Option<Cow<'c, str>>, bool, Option<u32>)>,
    patient: Option<PatientRow<'c>>,
    started_at: Option<i64>,
    first_at: Option<i64>,
    sequence: Cow<'c, Sequence>,
    recognition: (f32, u32, u16, u16, u32, u16),
    ended: Option<(i64, bool)>,
    last_at: Option<i64>,
    known: Vec<KnownRow>,
    facts: Vec<u32>,
    asked: Option<AskedRow>,
    topic: Vec<u32>,
    quotes: Vec<QuoteRow<'c>>,
    turns: u16,
    words: u32,
    unknown_words: u32,
    age: Option<u8>,
    last_new: Option<(u64, i64, u16)>,
    /// Evidence of the loudest turn and of the second, and the first where it is to be quoted: words, `seq`, time.
    loudest: LoudestRow<'c>,
    care: Cow<'c, Care>,
    partials: Vec<PartialRow<'c>>,
}

type LoudestRow<'c> = (f32, f32, Option<(Cow<'c, str>, u64, i64)>);

/// Age, sex, language, contacts within 72 hours.
type PatientRow<'c> = (Option<u8>, Option<Sex>, Option<Cow<'c, str>>, Option<u16>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct KnownRow {
    key: u32,
    status: u8,
    kind: u8,
    said: f32,
    follows: f32,
    attributes: Vec<u32>,
    trust: [Trust; 2],
    chief: bool,
    since: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct AskedRow {
    names: Vec<u32>,
    facts: Vec<u32>,
    contact: bool,
    history: bool,
    presupposes: bool,
    seq: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct QuoteRow<'c> {
    key: u32,
    /// `None` where they are those of the quote before.
    text: Option<Cow<'c, str>>,
    seq: u64,
    at: i64,
    asked_before: Option<NonZero<u32>>,
    strength: f32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PartialRow<'c> {
    speaker: Speaker,
    text: Cow<'c, str>,
    cut: bool,
    confidence: Option<f32>,
    utterance_id: Option<Cow<'c, str>>,
    seq: u64,
    at: i64,
}

const STATUSES: [Status; 7] = [
    Status::Present,
    Status::Denied,
    Status::Past,
    Status::OtherPerson,
    Status::Hypothetical,
    Status::Uncertain,
    Status::Retracted,
];
const KINDS: [NearMiss; 9] = [
    NearMiss::Old,
    NearMiss::Resolved,
    NearMiss::Denied,
    NearMiss::OtherPerson,
    NearMiss::Hypothetical,
    NearMiss::MedicationQuestion,
    NearMiss::Administrative,
    NearMiss::Figurative,
    NearMiss::KnownStable,
];

fn place_of<T: PartialEq>(all: &[T], value: &T) -> u8 {
    all.iter()
        .position(|one| one == value)
        .expect("every value stands in its table") as u8
}

fn lent(text: &Option<Box<str>>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

fn boxed(text: Option<Cow<'_, str>>) -> Option<Box<str>> {
    text.map(Into::into)
}

/// Bits → keys of the facts.
fn fact_keys(lexicon: &Lexicon, bits: u128) -> Vec<u32> {
    let mut left = bits;
    let mut keys = Vec::with_capacity(bits.count_ones() as usize);
    while left != 0 {
        let bit = left.trailing_zeros() as u8;
        left &= left - 1;
        keys.extend(lexicon.facts.get(&bit).map(|concept| lexicon.key(*concept)));
    }
    keys
}

fn fact_bits(lexicon: &Lexicon, keys: &[u32]) -> u128 {
    keys.iter()
        .filter_map(|key| fact_of(lexicon, *key))
        .fold(0, |bits, fact| bits | 1 << fact.bit)
}

fn fact_of(lexicon: &Lexicon, key: u32) -> Option<FactMention> {
    match lexicon.concept(lexicon.with_key(key)?).kind {
        Kind::Fact { of, bit } => Some(FactMention { bit, of, clause: 0 }),
        _ => None,
    }
}

impl<'c> Snapshot<'c> {
    pub fn of(call: &'c Call, lexicon: &Lexicon) -> Self {
        let (heard, care) = &call.settled;
        let started = &call.context.started;
        let keys = |concepts: &[ConceptId]| concepts.iter().map(|concept| lexicon.key(*concept)).collect();
        let r = &call.recognition;
        Self {
            channel: started.channel,
            queue: lent(&started.queue),
            site: lent(&started.site),
            callback_ref: lent(&started.callback_ref),
            agent: started
                .agent
                .as_ref()
                .map(|a| (lent(&a.role), a.contractor, a.tenure_days)),
            patient: started
                .patient
                .as_ref()
                .map(|p| (p.age, p.sex, lent(&p.language), p.contacts_72h)),
            started_at: call.context.started_at.map(Timestamp::millis),
            first_at: call.context.first_at.map(Timestamp::millis),
            sequence: Cow::Borrowed(&call.sequence),
            recognition: (
                r.confidence_sum,
                r.confidences,
                r.agent_turns,
                r.clinician_turns,
                r.lost_events,
                r.cut_texts,
            ),
            ended: call.ended.map(|end| (end.at.millis(), end.to_clinicians)),
            last_at: call.last_at.map(Timestamp::millis),
            known: heard
                .known
                .iter()
                .map(|known| known_row(heard, known, lexicon))
                .collect(),
            facts: fact_keys(lexicon, heard.facts()),
            asked: heard.asked.as_ref().map(|asked| AskedRow {
                names: keys(&asked.question.names),
                facts: asked
                    .question
                    .facts
                    .iter()
                    .map(|f| lexicon.key(lexicon.facts[&f.bit]))
                    .collect(),
                contact: asked.question.contact,
                history: asked.question.history,
                presupposes: asked.question.presupposes,
                seq: asked.seq,
            }),
            topic: keys(&heard.topic),
            quotes: quote_rows(&heard.quotes, lexicon),
            turns: heard.turns,
            words: heard.words.into(),
            unknown_words: heard.unknown_words.into(),
            age: heard.age,
            last_new: heard.last_new.map(|(seq, at, turn)| (seq, at.millis(), turn)),
            loudest: loudest_row(&heard.loudest),
            care: Cow::Borrowed(care),
            partials: call.partials().iter().map(partial_row).collect(),
        }
    }

    /// Milliseconds since 1970.
    pub fn started_at(&self) -> Option<i64> {
        self.started_at
    }

    /// `talk` is [`Heard::talk`].
    pub fn restore(self, id: CallId, talk: f32, reader: &Reader) -> Call {
        let lexicon = reader.lexicon();
        let time = Timestamp::from_millis;
        let count = |words: u32| u16::try_from(words).unwrap_or(u16::MAX);
        let concepts =
            |keys: &[u32]| -> Vec<ConceptId> { keys.iter().filter_map(|key| lexicon.with_key(*key)).collect() };
        let (confidence_sum, confidences, agent_turns, clinician_turns, lost_events, cut_texts) = self.recognition;
        let asked = |row: AskedRow| Asked {
            question: Question {
                names: concepts(&row.names),
                facts: row.facts.iter().filter_map(|key| fact_of(lexicon, *key)).collect(),
                contact: row.contact,
                history: row.history,
                presupposes: row.presupposes,
                asks: false,
            },
            seq: row.seq,
        };
        let first = self.known.iter().map(|row| row.since).min();
        let mut heard = Heard {
            known: Vec::new(),
            first: first.map_or(0, |first| first.min(self.sequence.last)),
            facts: PackedFacts(fact_bits(lexicon, &self.facts)),
            asked: self.asked.map(|row| Box::new(asked(row))),
            topic: self
                .topic
                .iter()
                .filter_map(|key| lexicon.with_key(*key))
                .take(4)
                .collect(),
            quotes: quotes_of(self.quotes, lexicon),
            turns: self.turns,
            words: count(self.words),
            unknown_words: count(self.unknown_words),
            talk,
            age: self.age,
            last_new: self.last_new.map(|(seq, at, turn)| (seq, time(at), turn)),
            loudest: Loudest::default(),
        };
        heard.known = self
            .known
            .iter()
            .filter_map(|row| known_of(row, &heard, lexicon))
            .collect();
        heard.loudest = loudest_of(self.loudest, &heard.quotes);
        let partials: Vec<Partial> = self.partials.into_iter().map(|row| partial_of(row, reader)).collect();
        let mut call = Call {
            id,
            context: Context {
                started: Started {
                    channel: self.channel,
                    queue: boxed(self.queue),
                    site: boxed(self.site),
                    callback_ref: boxed(self.callback_ref),
                    agent: self.agent.map(|(role, contractor, tenure_days)| Agent {
                        role: boxed(role),
                        contractor,
                        tenure_days,
                    }),
                    patient: self.patient.map(|(age, sex, language, contacts_72h)| Patient {
                        age,
                        sex,
                        language: boxed(language),
                        contacts_72h,
                    }),
                },
                started_at: self.started_at.map(time),
                first_at: self.first_at.map(time),
            },
            sequence: self.sequence.into_owned(),
            recognition: Recognition {
                confidence_sum,
                confidences,
                agent_turns,
                clinician_turns,
                lost_events,
                cut_texts,
            },
            ended: self.ended.map(|(at, to_clinicians)| End {
                at: time(at),
                to_clinicians,
            }),
            last_at: self.last_at.map(time),
            settled: (heard, self.care.into_owned()),
            open: (!partials.is_empty()).then(|| {
                let over = Default::default();
                Box::new(Open { partials, over })
            }),
        };
        call.lay_over(reader);
        call
    }
}

fn known_row(heard: &Heard, known: &Known, lexicon: &Lexicon) -> KnownRow {
    KnownRow {
        key: lexicon.key(known.concept),
        status: place_of(&STATUSES, &known.status),
        kind: known.kind.map_or(u8::MAX, |kind| place_of(&KINDS, &kind)),
        said: known.said,
        follows: known.follows,
        attributes: fact_keys(lexicon, u128::from(known.attributes)),
        trust: known.trust,
        chief: known.chief,
        since: heard.since(known),
    }
}

fn known_of(row: &KnownRow, heard: &Heard, lexicon: &Lexicon) -> Option<Known> {
    Some(Known {
        concept: lexicon.with_key(row.key)?,
        status: STATUSES.get(row.status as usize).copied().unwrap_or(Status::Uncertain),
        kind: KINDS.get(row.kind as usize).copied(),
        said: row.said,
        follows: row.follows,
        attributes: fact_bits(lexicon, &row.attributes) as u32,
        trust: row.trust,
        chief: row.chief,
        since: heard.after_first(row.since),
    })
}

fn quote_rows<'c>(quotes: &'c [Quote], lexicon: &Lexicon) -> Vec<QuoteRow<'c>> {
    let mut before: Option<&str> = None;
    let row = |quote: &'c Quote| QuoteRow {
        key: lexicon.key(quote.concept),
        text: (before.replace(&quote.text) != Some(&*quote.text)).then_some(Cow::Borrowed(&*quote.text)),
        seq: quote.seq,
        at: quote.at.millis(),
        asked_before: quote.asked_before.map(NonZero::from),
        strength: quote.strength,
    };
    quotes.iter().map(row).collect()
}

fn quotes_of(rows: Vec<QuoteRow<'_>>, lexicon: &Lexicon) -> Vec<Quote> {
    let mut quotes = Vec::with_capacity(rows.len());
    let mut text: Arc<str> = "".into();
    for row in rows {
        if let Some(own) = row.text {
            text = shared(&quotes, &own);
        }
        let Some(concept) = lexicon.with_key(row.key) else {
            continue;
        };
        quotes.push(Quote {
            concept,
            text: Arc::clone(&text),
            seq: row.seq,
            at: Timestamp::from_millis(row.at),
            asked_before: row.asked_before.and_then(|before| before.try_into().ok()),
            strength: row.strength,
        });
    }
    quotes
}

fn loudest_row(loudest: &Loudest) -> LoudestRow<'_> {
    let turn = loudest.turn.as_ref();
    let row = turn.map(|turn| (Cow::Borrowed(&*turn.text), turn.seq, turn.at.millis()));
    (loudest.evidence, loudest.second, row)
}

fn loudest_of((evidence, second, row): LoudestRow<'_>, quotes: &[Quote]) -> Loudest {
    let turn = row.map(|(text, seq, at)| {
        Box::new(LoudTurn {
            text: shared(quotes, &text),
            seq,
            at: Timestamp::from_millis(at),
        })
    });
    Loudest { evidence, second, turn }
}

fn partial_row(open: &Partial) -> PartialRow<'_> {
    PartialRow {
        speaker: open.said.speaker,
        text: Cow::Borrowed(&*open.said.text),
        cut: open.said.cut,
        confidence: open.said.confidence,
        utterance_id: lent(&open.said.utterance_id),
        seq: open.seq,
        at: open.at.millis(),
    }
}

fn partial_of(row: PartialRow<'_>, reader: &Reader) -> Partial {
    let said = Utterance {
        speaker: row.speaker,
        text: row.text.into(),
        cut: row.cut,
        confidence: row.confidence,
        utterance_id: boxed(row.utterance_id),
        is_final: false,
    };
    Partial {
        turn: Turn::of(reader, &said),
        said,
        seq: row.seq,
        at: Timestamp::from_millis(row.at),
    }
}
