//! The alert as it is published: a record of `calls.alerts`, and part of a line of `callward score`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::policy::Assessment;
use super::{Decision, Level, Watch};
use crate::call::{Call, Deed, Done, Known, Minutes, PRESENT};
use crate::features::Urgent;
use crate::record::{CallId, Channel, Timestamp};
use crate::signals::{Lexicon, Needed, Status, hex};

/// What became of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Raised,
    Worsened,
    Cleared,
    EndedUnescalated,
    ContactLost,
    HandoverUnconfirmed,
}

impl State {
    pub const ALL: [Self; 6] = [
        Self::Raised,
        Self::Worsened,
        Self::Cleared,
        Self::EndedUnescalated,
        Self::ContactLost,
        Self::HandoverUnconfirmed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Worsened => "worsened",
            Self::Cleared => "cleared",
            Self::EndedUnescalated => "ended_unescalated",
            Self::ContactLost => "contact_lost",
            Self::HandoverUnconfirmed => "handover_unconfirmed",
        }
    }

    /// Whether a record in this state calls somebody, at a level that does.
    pub const fn pages(self) -> bool {
        !matches!(self, Self::Cleared)
    }
}

/// Equal on every path: made of the call and the number of the episode, never of topic, offset, clock or model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(pub String);

impl AlertId {
    pub fn of(call: &CallId, episode: u32) -> Self {
        let mut digest = Sha256::new();
        digest.update(call.as_str());
        digest.update([0]);
        digest.update(episode.to_be_bytes());
        Self(hex(&digest.finalize()[..16]))
    }
}

/// How much of the caller's words an alert carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quotes {
    /// The words that raised it, 200 characters each at most.
    #[default]
    Full,
    /// The names of the findings alone.
    Finding,
    /// Neither.
    None,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub finding: String,
    pub quote: Option<String>,
    pub seq: u64,
    pub call_seconds: f64,
    pub answer_to: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotDone {
    pub what: String,
    pub seq: Option<u64>,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    pub finding: String,
    pub status: String,
    pub quote: Option<String>,
    pub seq: u64,
}

/// The least that should happen now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minimum {
    pub action: String,
    pub text: String,
}

/// A model or a lexicon by name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub version: String,
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub v: u32,
    pub alert_id: AlertId,
    pub revision: u32,
    pub state: State,
    pub level: Level,
    pub call_id: String,
    pub callback_ref: Option<String>,
    pub site: Option<String>,
    pub queue: Option<String>,
    pub channel: Channel,
    pub agent_role: Option<String>,
    pub seq: u64,
    pub at: Timestamp,
    pub call_seconds: f64,
    pub needed: Needed,
    pub need: f64,
    pub risk: f64,
    pub threshold: f64,
    pub why: String,
    /// What a triage nurse would say of it: the reason of the rule that makes most of what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub said: Vec<Said>,
    pub not_done: Vec<NotDone>,
    pub against: Vec<Against>,
    pub minimum: Minimum,
    pub model: Named,
    pub lexicon: Named,
    pub trust: String,
    pub trust_reasons: Vec<String>,
}

impl Alert {
    pub fn is_page(&self) -> bool {
        self.level.pages() && self.state.pages()
    }
}

/// Findings quoted in an alert, at most.
const MAX_SAID: usize = 5;
const MAX_AGAINST: usize = 5;

/// What an alert is made of besides the call.
#[derive(Debug)]
pub struct Ground<'g> {
    pub lexicon: &'g Lexicon,
    pub call: &'g Call,
    pub watch: &'g Watch,
    pub assessment: &'g Assessment,
    pub urgencies: &'g [Urgent],
    pub decision: &'g Decision,
    pub threshold: f64,
    pub seq: u64,
    pub at: Timestamp,
    pub quotes: Quotes,
    pub model: &'g Named,
    pub lexicon_name: &'g Named,
    pub trust_reasons: &'g [&'static str],
}

/// The record that a decision asks for, if it asks for one.
pub fn alert_of(ground: &Ground<'_>) -> Option<Alert> {
    let (state, level, risk) = ground.decision.tell?;
    let started = &ground.call.context.started;
    let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let said = said(ground);
    let needed = match level {
        Level::Emergency => Needed::Emergency,
        _ => ground.assessment.needed,
    };
    Some(Alert {
        v: 1,
        alert_id: AlertId::of(&ground.call.id, ground.watch.episode),
        revision: ground.watch.revision,
        state,
        level,
        call_id: ground.call.id.as_str().to_owned(),
        callback_ref: owned(&started.callback_ref),
        site: owned(&started.site),
        queue: owned(&started.queue),
        channel: started.channel,
        agent_role: started.agent.as_ref().and_then(|agent| owned(&agent.role)),
        seq: ground.seq,
        at: ground.at,
        call_seconds: tenths(ground.call.context.seconds_at(ground.at)),
        needed,
        need: rounded(ground.assessment.need),
        risk: rounded(risk),
        threshold: rounded(ground.threshold),
        why: ground.decision.why.as_str().to_owned(),
        reason: reason(ground),
        not_done: not_done(ground, &said, state),
        said: shown(said, ground.quotes),
        against: against(ground),
        minimum: minimum(ground, needed),
        model: ground.model.clone(),
        lexicon: ground.lexicon_name.clone(),
        trust: if ground.trust_reasons.is_empty() { "ok" } else { "low" }.to_owned(),
        trust_reasons: ground.trust_reasons.iter().map(|reason| (*reason).to_owned()).collect(),
    })
}

/// Four decimals: what people compare, and equal on every path.
pub fn rounded(p: f64) -> f64 {
    (p * 10_000.0).round() / 10_000.0
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// The findings that count most, each with the words that raised it; a finding that merely repeats the words of one
/// before it is left out.
fn said(ground: &Ground<'_>) -> Vec<Said> {
    let heard = ground.call.heard();
    let mut findings: Vec<&Urgent> = ground
        .urgencies
        .iter()
        .filter(|u| heard.find(u.concept).is_some_and(Known::is_present))
        .collect();
    // Findings before the symptoms that they are made of, and what came after a hand-over before what was handed over.
    let is_settled = |u: &Urgent| {
        ground
            .watch
            .settles(heard.find(u.concept).map_or(0, |known| heard.since(known)))
    };
    findings.sort_by_key(|u| (ground.lexicon.concept(u.concept).needed().is_none(), is_settled(u)));
    let mut all: Vec<Said> = Vec::new();
    for urgent in findings {
        if all.len() == MAX_SAID {
            break;
        }
        let finding = &ground.lexicon.concept(urgent.concept).id;
        let is_symptom = ground.lexicon.concept(urgent.concept).needed().is_none();
        let words = heard.words_of(ground.lexicon, urgent.concept);
        if words.is_empty() && !is_symptom {
            all.push(unquoted(ground, urgent));
        }
        for quote in words.into_iter().take(2) {
            let text = Some(quote.text.to_string());
            if is_symptom && all.iter().any(|said| said.seq == quote.seq && said.quote == text) {
                continue;
            }
            all.push(Said {
                finding: finding.clone(),
                quote: text,
                seq: quote.seq,
                call_seconds: tenths(ground.call.context.seconds_at(quote.at)),
                answer_to: quote.answer_to(),
            });
        }
    }
    all.truncate(MAX_SAID);
    // Nothing has a name: then the turn whose wording raised it.
    if let Some(turn) = heard.loudest.turn.as_ref().filter(|_| all.is_empty()) {
        all.push(Said {
            finding: UNNAMED.to_owned(),
            quote: Some(turn.text.to_string()),
            seq: turn.seq,
            call_seconds: tenths(ground.call.context.seconds_at(turn.at)),
            answer_to: None,
        });
    }
    all
}

/// A finding of which no words were kept as its own: those of the turn by which it came to be present, where they were.
fn unquoted(ground: &Ground<'_>, urgent: &Urgent) -> Said {
    let heard = ground.call.heard();
    let since = heard
        .find(urgent.concept)
        .map_or(ground.seq, |known| heard.since(known));
    let loudest = heard
        .loudest
        .turn
        .as_deref()
        .map(|turn| (turn.seq, turn.at, &turn.text));
    let quotes = heard.quotes.iter().map(|quote| (quote.seq, quote.at, &quote.text));
    let last = quotes
        .chain(loudest)
        .filter(|(seq, ..)| *seq <= since)
        .max_by_key(|(seq, ..)| *seq);
    Said {
        finding: ground.lexicon.concept(urgent.concept).id.clone(),
        quote: last
            .filter(|(seq, ..)| *seq == since)
            .map(|(.., text)| text.to_string()),
        seq: since,
        // Where nothing of that turn was kept it was not before this.
        call_seconds: tenths(last.map_or(0.0, |(_, at, _)| ground.call.context.seconds_at(at))),
        answer_to: None,
    }
}

/// As much of it as an alert is to carry.
fn shown(mut said: Vec<Said>, quotes: Quotes) -> Vec<Said> {
    match quotes {
        Quotes::Full => {}
        Quotes::Finding => said.iter_mut().for_each(|said| said.quote = None),
        Quotes::None => said.clear(),
    }
    said
}

/// Stands for a finding where the wording of a turn raised the alert and no finding names it.
const UNNAMED: &str = "wording";

/// What the agent did instead since the first of these words, latest first, and that nobody was brought in.
fn not_done(ground: &Ground<'_>, said: &[Said], state: State) -> Vec<NotDone> {
    if state == State::Cleared {
        return Vec::new();
    }
    let first = said
        .iter()
        .filter(|said| !ground.watch.settles(said.seq))
        .min_by_key(|said| said.seq);
    let (since, from) = first.map_or((0, None), |first| (first.seq, Some(first.call_seconds)));
    let seconds = |at: Timestamp| {
        let after = from.map_or(0.0, |from| ground.call.context.seconds_at(at) - from);
        after.max(0.0).round()
    };
    let mut instead: Vec<&Done> = ground
        .call
        .care()
        .all()
        .iter()
        .filter(|done| done.seq >= since && done.seq <= ground.seq && counts_against(done.deed))
        .collect();
    instead.sort_by_key(|done| std::cmp::Reverse(done.seq));
    let mut all: Vec<NotDone> = instead
        .into_iter()
        .take(3)
        .map(|done| NotDone {
            what: deed_name(done.deed).to_owned(),
            seq: Some(done.seq),
            text: format!(
                "{}{}, {} s after it",
                done.deed.label(),
                ahead(done),
                seconds(done.at())
            ),
        })
        .collect();
    let text = match state {
        State::HandoverUnconfirmed => "a hand-over was spoken of and never confirmed".to_owned(),
        State::ContactLost => "nothing has been heard since, and nobody was brought in".to_owned(),
        State::EndedUnescalated => "the call ended without a hand-over or advice to call 911".to_owned(),
        _ => format!("no hand-over for {} s", seconds(ground.at)),
    };
    all.push(NotDone {
        what: "no_escalation".to_owned(),
        seq: None,
        text,
    });
    all
}

fn counts_against(deed: Deed) -> bool {
    deed.closes_the_matter()
        || matches!(
            deed,
            Deed::OwnDiagnosis
                | Deed::Soothing
                | Deed::Declining
                | Deed::Hold
                | Deed::OffersBooking
                | Deed::UrgentMessage
        )
}

fn deed_name(deed: Deed) -> &'static str {
    match deed {
        Deed::UrgentMessage => "urgent_message",
        other => other.act().unwrap_or("other"),
    }
}

fn ahead(done: &Done) -> String {
    match done.minutes.map(Minutes::get) {
        Some(minutes) if minutes >= 2_880 => format!(" in {} days", minutes / 1_440),
        Some(minutes) if minutes >= 120 => format!(" in {} hours", minutes / 60),
        Some(minutes) => format!(" in {minutes} minutes"),
        None => String::new(),
    }
}

/// What speaks against it: findings that were denied or are not about now.
fn against(ground: &Ground<'_>) -> Vec<Against> {
    if ground.quotes == Quotes::None {
        return Vec::new();
    }
    let heard = ground.call.heard();
    let mut all: Vec<&Known> = heard
        .known
        .iter()
        .filter(|known| known.evidence() < PRESENT && known.is_finding(ground.lexicon))
        .filter(|known| !matches!(known.status, Status::Present | Status::Retracted | Status::Uncertain))
        .collect();
    all.sort_by_key(|known| std::cmp::Reverse(heard.since(known)));
    all.into_iter()
        .take(MAX_AGAINST)
        .map(|known| Against {
            finding: ground.lexicon.concept(known.concept).id.clone(),
            status: known.status.as_str().to_owned(),
            quote: None,
            seq: heard.since(known),
        })
        .collect()
}

fn reason(ground: &Ground<'_>) -> Option<String> {
    if ground.quotes == Quotes::None {
        return None;
    }
    let heard = ground.call.heard();
    let is_present = |urgent: &&Urgent| heard.find(urgent.concept).is_some_and(Known::is_present);
    let first = ground.urgencies.iter().find(is_present)?;
    Some(ground.lexicon.triage[usize::from(first.rule)].reason.clone())
}

fn minimum(ground: &Ground<'_>, needed: Needed) -> Minimum {
    let special = ground
        .urgencies
        .iter()
        .map(|urgent| ground.lexicon.concept(urgent.concept))
        .find(|concept| concept.needed().is_some())
        .filter(|concept| concept.needed() >= Some(needed))
        .map_or("", |concept| concept.minimum.as_str());
    let (action, text) = match needed {
        Needed::Emergency => (
            "clinician_now",
            "Bring a clinician onto the call now, or have the caller ring 911.",
        ),
        Needed::Urgent => (
            "clinician_within_hour",
            "Have a clinician speak to the caller within the hour.",
        ),
    };
    Minimum {
        action: action.to_owned(),
        text: if special.is_empty() { text } else { special }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_of_call_and_episode() {
        let call = CallId::new("c-1").unwrap();
        assert_eq!(AlertId::of(&call, 1), AlertId::of(&call, 1));
        assert_ne!(AlertId::of(&call, 1), AlertId::of(&call, 2));
        assert_eq!(AlertId::of(&call, 1).0.len(), 32);
    }
}
