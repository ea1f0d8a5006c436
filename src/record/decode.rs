//! Bytes → [`Event`], or a [`Reject`] that names the field, the reason and the fix and holds no word of the payload.
//!
//! Required fields are checked strictly; a slip in an optional one is dropped as a field and counted, because it must
//! not silence a caller with chest pain.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::loose::{Loose, Name, Nested, loose_object};
use super::{
    Act, Action, Agent, Answer, Body, CallId, Channel, Ended, Event, Patient, Sex, Speaker, Started, Timestamp,
    Utterance,
};

/// Bounds on what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one event; a larger one is refused as `too_large`.
    pub max_event_bytes: usize,
    /// Characters of one text; the rest is cut off, marked and counted.
    pub max_text_chars: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_event_bytes: 262_144,
            max_text_chars: 4_000,
        }
    }
}

/// Why a record was refused: the closed set of the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    NotJson,
    NotUtf8,
    TooLarge,
    TooDeep,
    MissingField,
    WrongType,
    BadTime,
    BadCallId,
    KeyMismatch,
    Internal,
}

impl Reason {
    pub const ALL: [Self; 10] = [
        Self::NotJson,
        Self::NotUtf8,
        Self::TooLarge,
        Self::TooDeep,
        Self::MissingField,
        Self::WrongType,
        Self::BadTime,
        Self::BadCallId,
        Self::KeyMismatch,
        Self::Internal,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotUtf8 => "not_utf8",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::BadTime => "bad_time",
            Self::BadCallId => "bad_call_id",
            Self::KeyMismatch => "key_mismatch",
            Self::Internal => "internal",
        }
    }
}

/// A record that cannot be read, and what its sender should change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", reason.as_str(), field.map(|f| format!(" ({f})")).unwrap_or_default())]
pub struct Reject {
    pub reason: Reason,
    pub field: Option<&'static str>,
    pub message: String,
}

impl Reject {
    pub fn new(reason: Reason, field: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            reason,
            field,
            message: message.into(),
        }
    }
}

/// A field that was dropped or read as `other`, counted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slip {
    Channel,
    Speaker,
    Action,
    Age,
    Confidence,
    To,
    Disposition,
    /// Another optional field of the wrong type or range.
    Field,
    /// A text beyond the limit, cut.
    TextCut,
}

impl Slip {
    pub const ALL: [Self; 9] = [
        Self::Channel,
        Self::Speaker,
        Self::Action,
        Self::Age,
        Self::Confidence,
        Self::To,
        Self::Disposition,
        Self::Field,
        Self::TextCut,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Speaker => "speaker",
            Self::Action => "action",
            Self::Age => "age",
            Self::Confidence => "confidence",
            Self::To => "to",
            Self::Disposition => "disposition",
            Self::Field => "field",
            Self::TextCut => "text_cut",
        }
    }
}

/// An accepted event and what was dropped from it.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub event: Event,
    pub slips: Vec<Slip>,
}

loose_object!(Raw {
    call_id,
    seq,
    event_id,
    at,
    kind = "type",
    channel,
    queue,
    site,
    callback_ref,
    agent: RawAgent,
    patient: RawPatient,
    speaker,
    text,
    confidence,
    utterance_id,
    is_final,
    question,
    answer,
    action,
    to,
    mode,
    priority,
    starts_in_minutes,
    within_minutes,
    inferred,
    disposition,
});
loose_object!(RawAgent {
    role,
    employment,
    tenure_days
});
loose_object!(RawPatient {
    age,
    sex,
    language,
    contacts_72h
});

/// Checks one record. `key` is the Kafka key where there is one.
pub fn decode(bytes: &[u8], key: Option<&[u8]>, limits: &Limits) -> Result<Decoded, Reject> {
    if bytes.len() > limits.max_event_bytes {
        let message = format!(
            "{} bytes, at most {} are read: split the event",
            bytes.len(),
            limits.max_event_bytes
        );
        return Err(Reject::new(Reason::TooLarge, None, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Reject::new(
            Reason::NotUtf8,
            None,
            format!("invalid UTF-8 after {} bytes: send UTF-8", e.valid_up_to()),
        )
    })?;
    // A file that some editors write begins so.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if too_deep(text) {
        let message = format!("nested deeper than {MAX_DEPTH} levels: flatten the event");
        return Err(Reject::new(Reason::TooDeep, None, message));
    }
    let mut door = Door {
        slips: Vec::new(),
        limits,
    };
    let repaired;
    let raw: Raw<'_> = match serde_json::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            repaired = without_half_pairs(text).ok_or_else(|| not_an_object(&error))?;
            door.slips.push(Slip::Field);
            serde_json::from_str(&repaired).map_err(|e| not_an_object(&e))?
        }
    };
    let event = door.event(raw)?;
    if key.is_some_and(|key| key != event.call_id.as_str().as_bytes()) {
        let message = "the Kafka key is not the call_id of the event: key every record by its call_id";
        return Err(Reject::new(Reason::KeyMismatch, Some("call_id"), message));
    }
    Ok(Decoded {
        event,
        slips: door.slips,
    })
}

/// To whom a caller may be handed.
const RECEIVERS: [&str; 8] = [
    "nurse",
    "physician",
    "clinical_queue",
    "emergency_services",
    "front_desk",
    "billing",
    "pharmacy",
    "scheduling",
];
const DISPOSITIONS: [&str; 8] = [
    "appointment",
    "escalated",
    "emergency",
    "message",
    "callback",
    "information",
    "abandoned",
    "transferred",
];

/// Levels of arrays and objects that are read; below what serde_json itself allows, so that our stack is bounded.
const MAX_DEPTH: usize = 64;
/// Bytes of an identifier or a name, at most.
const MAX_NAME: usize = 256;

fn too_deep(text: &str) -> bool {
    // Few events hold so many brackets at all: only those are looked at closely.
    let brackets = memchr::memchr2_iter(b'[', b'{', text.as_bytes()).take(MAX_DEPTH + 1);
    brackets.count() > MAX_DEPTH && depth(text) > MAX_DEPTH
}

/// Half of a pair of surrogates, as a chat writes that cut an emoji in two, read as the sign for what is lost. `None` where
/// there is none.
fn without_half_pairs(text: &str) -> Option<String> {
    let code = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(escape, 16).ok()
    };
    let mut repaired = String::with_capacity(text.len());
    let (mut at, mut kept) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &text.as_bytes()[at..]) {
        at += found;
        match (code(at), code(at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => at += 12,
            (Some(0xd800..0xe000), _) => {
                repaired.push_str(&text[kept..at]);
                repaired.push_str("\\ufffd");
                at += 6;
                kept = at;
            }
            (Some(_), _) => at += 6,
            // An escape of one sign, which may be a backslash itself.
            (None, _) => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    (kept > 0).then(|| repaired + &text[kept..])
}

fn not_an_object(error: &serde_json::Error) -> Reject {
    let place = format!("line {} column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => Reject::new(
            Reason::WrongType,
            None,
            format!("not an object ({place}): an event is one JSON object"),
        ),
        _ => Reject::new(
            Reason::NotJson,
            None,
            format!("not JSON ({place}): send one JSON object a record"),
        ),
    }
}

/// Deepest nesting of arrays and objects, text aside.
fn depth(text: &str) -> usize {
    let (mut deepest, mut now, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Where loose fields become typed ones.
struct Door<'l> {
    slips: Vec<Slip>,
    limits: &'l Limits,
}

impl Door<'_> {
    fn event(&mut self, raw: Raw<'_>) -> Result<Event, Reject> {
        let call_id = CallId::new(&required_text("call_id", &raw.call_id)?).ok_or_else(|| {
            let message = format!("must have 1 to {} bytes and no control characters", CallId::MAX_BYTES);
            Reject::new(Reason::BadCallId, Some("call_id"), message)
        })?;
        let at = Timestamp::parse(&required_text("at", &raw.at)?).ok_or_else(|| {
            Reject::new(
                Reason::BadTime,
                Some("at"),
                "must be an RFC 3339 time between the years 2000 and 2100",
            )
        })?;
        let kind = required_text("type", &raw.kind)?.into_owned();
        let seq = self.integer(&raw.seq);
        let event_id = self.short_text(&raw.event_id);
        let body = match kind.as_str() {
            "call_started" => Body::Started(self.started(raw)),
            "utterance" => Body::Utterance(self.utterance(&raw)?),
            "answer" => Body::Answer(Answer {
                question: self.words(&required_text("question", &raw.question)?).0,
                answer: self.words(&required_text("answer", &raw.answer)?).0,
            }),
            "action" => Body::Action(self.action(&raw)?),
            "call_ended" => Body::Ended(Ended {
                disposition: self.one_of(&raw.disposition, Slip::Disposition, &DISPOSITIONS),
            }),
            _ => Body::Unknown,
        };
        Ok(Event {
            call_id,
            seq,
            event_id,
            at,
            body,
        })
    }

    fn started(&mut self, raw: Raw<'_>) -> Started {
        let channel = self.word(&raw.channel, Slip::Channel, Channel::known);
        let agent = match raw.agent {
            Nested::Object(agent) => Some(Agent {
                role: self.short_text(&agent.role),
                contractor: matches!(&agent.employment, Loose::Text(word) if word == "contractor"),
                tenure_days: self.integer(&agent.tenure_days),
            }),
            Nested::Other => self.slip(Slip::Field),
            Nested::Absent => None,
        };
        let patient = match raw.patient {
            Nested::Object(patient) => Some(Patient {
                age: self.age(&patient.age),
                sex: match &patient.sex {
                    Loose::Absent | Loose::Null => None,
                    sex => Some(self.word(sex, Slip::Field, Sex::known)),
                },
                language: self.short_text(&patient.language),
                contacts_72h: self.integer(&patient.contacts_72h),
            }),
            Nested::Other => self.slip(Slip::Field),
            Nested::Absent => None,
        };
        Started {
            channel,
            queue: self.short_text(&raw.queue),
            site: self.short_text(&raw.site),
            callback_ref: self.short_text(&raw.callback_ref),
            agent,
            patient,
        }
    }

    fn utterance(&mut self, raw: &Raw<'_>) -> Result<Utterance, Reject> {
        let text = required_text("text", &raw.text)?;
        if matches!(raw.speaker, Loose::Absent | Loose::Null) {
            return Err(missing("speaker"));
        }
        let (text, cut) = self.words(&text);
        Ok(Utterance {
            speaker: self.word(&raw.speaker, Slip::Speaker, Speaker::known),
            text,
            cut,
            confidence: self.confidence(&raw.confidence),
            utterance_id: self.short_text(&raw.utterance_id),
            is_final: self.flag(&raw.is_final).unwrap_or(true),
        })
    }

    fn action(&mut self, raw: &Raw<'_>) -> Result<Action, Reject> {
        if matches!(raw.action, Loose::Absent | Loose::Null) {
            return Err(missing("action"));
        }
        let act = self.word(&raw.action, Slip::Action, Act::known);
        Ok(Action {
            act,
            // A message may be for anybody.
            to: match act {
                Act::Escalated => self.receiver(&raw.to),
                _ => self.short_text(&raw.to),
            },
            mode: self.short_text(&raw.mode),
            starts_in_minutes: self.integer(&raw.starts_in_minutes),
            within_minutes: self.integer(&raw.within_minutes),
            urgent: matches!(&raw.priority, Loose::Text(word) if word == "urgent"),
            // What cannot be read must not count for more than an understanding from words.
            inferred: match &raw.inferred {
                Loose::Absent | Loose::Null => false,
                unclear => self.flag(unclear).unwrap_or(true),
            },
        })
    }

    /// To whom a caller was handed: what is there and cannot be read may be anybody.
    fn receiver(&mut self, loose: &Loose<'_>) -> Option<Box<str>> {
        match loose {
            Loose::Absent | Loose::Null => None,
            Loose::Text(word) if word.len() <= MAX_NAME => self.one_of(loose, Slip::To, &RECEIVERS),
            _ => {
                self.slips.push(Slip::To);
                Some("other".into())
            }
        }
    }

    /// A word that is kept as it stands, and counted where it is none of those that are known.
    fn one_of(&mut self, loose: &Loose<'_>, slip: Slip, known: &[&str]) -> Option<Box<str>> {
        let word = self.short_text(loose)?;
        if !known.contains(&word.as_ref()) {
            self.slips.push(slip);
        }
        Some(word)
    }

    fn slip<T>(&mut self, slip: Slip) -> Option<T> {
        self.slips.push(slip);
        None
    }

    fn word<T: Default>(&mut self, loose: &Loose<'_>, slip: Slip, known: fn(&str) -> Option<T>) -> T {
        let word = match loose {
            Loose::Absent | Loose::Null => return T::default(),
            Loose::Text(word) => known(word),
            _ => None,
        };
        word.or_else(|| self.slip(slip)).unwrap_or_default()
    }

    /// An optional text of at most [`MAX_NAME`] bytes: identifiers and names, never what people said.
    fn short_text(&mut self, loose: &Loose<'_>) -> Option<Box<str>> {
        match loose {
            Loose::Absent | Loose::Null => None,
            Loose::Text(text) if text.len() <= MAX_NAME => Some(text.as_ref().into()),
            _ => self.slip(Slip::Field),
        }
    }

    fn integer<T: TryFrom<i64>>(&mut self, loose: &Loose<'_>) -> Option<T> {
        match loose {
            Loose::Absent | Loose::Null => None,
            Loose::Integer(value) => T::try_from(*value).ok().or_else(|| self.slip(Slip::Field)),
            Loose::Real(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                T::try_from(*value as i64).ok().or_else(|| self.slip(Slip::Field))
            }
            _ => self.slip(Slip::Field),
        }
    }

    fn age(&mut self, loose: &Loose<'_>) -> Option<u8> {
        match loose {
            Loose::Absent | Loose::Null => None,
            Loose::Integer(age @ 0..=120) => Some(*age as u8),
            Loose::Real(age) if (0.0..=120.0).contains(age) => Some(*age as u8),
            _ => self.slip(Slip::Age),
        }
    }

    fn confidence(&mut self, loose: &Loose<'_>) -> Option<f32> {
        match loose {
            Loose::Absent | Loose::Null => None,
            Loose::Integer(value @ 0..=1) => Some(*value as f32),
            Loose::Real(value) if (0.0..=1.0).contains(value) => Some(*value as f32),
            _ => self.slip(Slip::Confidence),
        }
    }

    fn flag(&mut self, loose: &Loose<'_>) -> Option<bool> {
        match loose {
            Loose::Absent | Loose::Null => None,
            Loose::Flag(value) => Some(*value),
            _ => self.slip(Slip::Field),
        }
    }

    /// What people said, cut at the limit; true where something was cut.
    fn words(&mut self, text: &str) -> (Box<str>, bool) {
        let most = self.limits.max_text_chars;
        // Of no more bytes than characters are allowed nothing can be cut.
        let end = (text.len() > most).then(|| text.char_indices().nth(most)).flatten();
        match end {
            Some((end, _)) => {
                self.slips.push(Slip::TextCut);
                (text[..end].into(), true)
            }
            None => (text.into(), false),
        }
    }
}

fn missing(field: &'static str) -> Reject {
    Reject::new(Reason::MissingField, Some(field), "is required: add it")
}

fn required_text<'t>(field: &'static str, loose: &'t Loose<'_>) -> Result<Cow<'t, str>, Reject> {
    match loose {
        Loose::Text(text) => Ok(Cow::Borrowed(text.as_ref())),
        Loose::Absent | Loose::Null => Err(missing(field)),
        _ => Err(Reject::new(Reason::WrongType, Some(field), "must be a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Decoded, Reject> {
        decode(text.as_bytes(), None, &Limits::default())
    }

    fn reason(text: &str) -> (Reason, Option<&'static str>) {
        let reject = read(text).unwrap_err();
        (reject.reason, reject.field)
    }

    #[test]
    fn a_refusal_names_the_field_and_the_reason() {
        let cases = [
            ("", Reason::NotJson, None),
            ("{", Reason::NotJson, None),
            ("[]", Reason::WrongType, None),
            ("17", Reason::WrongType, None),
            (
                r#"{"at":"2026-01-01T00:00:00Z","type":"call_ended"}"#,
                Reason::MissingField,
                Some("call_id"),
            ),
            (
                r#"{"call_id":"","at":"2026-01-01T00:00:00Z","type":"x"}"#,
                Reason::BadCallId,
                Some("call_id"),
            ),
            (
                r#"{"call_id":7,"at":"2026-01-01T00:00:00Z","type":"x"}"#,
                Reason::WrongType,
                Some("call_id"),
            ),
            (r#"{"call_id":"c","at":"noon","type":"x"}"#, Reason::BadTime, Some("at")),
            (
                r#"{"call_id":"c","at":"2026-01-01T00:00:00Z"}"#,
                Reason::MissingField,
                Some("type"),
            ),
            (
                r#"{"call_id":"c","at":"2026-01-01T00:00:00Z","type":"utterance","speaker":"caller","text":5}"#,
                Reason::WrongType,
                Some("text"),
            ),
            (
                r#"{"call_id":"c","at":"2026-01-01T00:00:00Z","type":"utterance","text":"hi"}"#,
                Reason::MissingField,
                Some("speaker"),
            ),
        ];
        for (text, expected, field) in cases {
            assert_eq!(reason(text), (expected, field), "{text}");
        }
        let deep = format!(r#"{{"call_id":"c","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(reason(&deep).0, Reason::TooDeep);
        let bytes = [b'{', 0xff, 0xfe];
        assert_eq!(
            decode(&bytes, None, &Limits::default()).unwrap_err().reason,
            Reason::NotUtf8
        );
        let limits = Limits {
            max_event_bytes: 3,
            ..Limits::default()
        };
        assert_eq!(decode(b"{  }", None, &limits).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn a_slip_in_an_optional_field_keeps_the_event() {
        let decoded = read(
            r#"{"call_id":"c","seq":"first","at":"2026-01-01T00:00:00Z","type":"utterance","speaker":"robot",
                "text":"my chest hurts","confidence":7,"is_final":"maybe","patient":[1]}"#,
        )
        .unwrap();
        assert_eq!(
            decoded.slips,
            [Slip::Field, Slip::Speaker, Slip::Confidence, Slip::Field]
        );
        let Body::Utterance(said) = decoded.event.body else {
            panic!("an utterance")
        };
        assert_eq!(
            (said.speaker, &*said.text, said.confidence),
            (Speaker::Other, "my chest hurts", None)
        );
        assert!(said.is_final);
    }

    #[test]
    fn an_emoji_that_was_cut_in_two_costs_its_sign_alone() {
        let event = |text: &str| {
            let line = format!(
                r#"{{"call_id":"a","at":"2026-05-04T09:00:00Z","type":"utterance","speaker":"caller","text":"{text}"}}"#
            );
            decode(line.as_bytes(), None, &Limits::default())
        };
        for (written, read) in [
            (r"my chest hurts \ud83d", "my chest hurts \u{fffd}"),
            (r"\udc00 and \ud83d\ude00 \\ud83d", "\u{fffd} and 😀 \\ud83d"),
            (r"\ud83d\ud83d\ude00\n", "\u{fffd}😀\n"),
            (r"ü\ud83dü\u00fc", "ü\u{fffd}üü"),
        ] {
            let decoded = event(written).unwrap();
            assert!(
                matches!(&decoded.event.body, Body::Utterance(said) if *said.text == *read),
                "{written}"
            );
            assert_eq!(decoded.slips, [Slip::Field]);
        }
        assert!(event(r"\ud83d\ude00").unwrap().slips.is_empty());
        assert_eq!(event(r"\x \ud83d").unwrap_err().reason, Reason::NotJson);
    }

    #[test]
    fn the_key_must_be_the_call() {
        let text = br#"{"call_id":"c","at":"2026-01-01T00:00:00Z","type":"call_ended"}"#;
        assert!(decode(text, Some(b"c"), &Limits::default()).is_ok());
        assert_eq!(
            decode(text, Some(b"d"), &Limits::default()).unwrap_err().reason,
            Reason::KeyMismatch
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let limits = Limits {
            max_text_chars: 2,
            ..Limits::default()
        };
        let text = r#"{"call_id":"c","at":"2026-01-01T00:00:00Z","type":"utterance","speaker":"caller","text":"äöü"}"#;
        let decoded = decode(text.as_bytes(), None, &limits).unwrap();
        assert_eq!(decoded.slips, [Slip::TextCut]);
        let Body::Utterance(said) = decoded.event.body else {
            panic!("an utterance")
        };
        assert_eq!((&*said.text, said.cut), ("äö", true));
    }
}
