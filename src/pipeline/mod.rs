//! One event through all of the above: the only place where they meet.
//!
//! ```text
//! Event ─► due deadlines first ─► call ─► features ─► need, risk ─► policy ─► Outcome
//! ```
//! Every driver calls [`Pipeline::step`]: the live stream, `score`, training, evaluation and the tests, so that what
//! was measured is what runs.

mod outcome;
mod replay;
mod watched;

use std::sync::Arc;

pub use outcome::{Cause, Outcome, Score};
pub use replay::{Replay, outcomes_of};
pub use watched::Watched;

use crate::alert::{Assessment, Deadline, Decision, Ground, Happening, Named, Policy, Quotes, Why, alert_of};
use crate::call::{Applied, Bounds, Fate, Known, PRESENT, Voice};
use crate::features::{Extractor, Features, GRAVE, RISK};
use crate::record::{Body, Event, Timestamp};
use crate::risk::Model;
use crate::signals::{Kind, Learned, Lexicon, Needed, Reader};

/// Caller's words from which it can be told whether they are understood.
const ENOUGH_WORDS: u32 = 15;
/// Turns of one side after which the silence of the other is odd.
const ONE_SIDED_TURNS: u16 = 6;

/// The judgement, immutable: share it.
#[derive(Debug)]
pub struct Pipeline {
    reader: Reader,
    extractor: Extractor,
    model: Model,
    policy: Policy,
    bounds: Bounds,
    quotes: Quotes,
    model_name: Named,
    model_label: String,
    lexicon_name: Named,
}

impl Pipeline {
    pub fn new(
        lexicon: Arc<Lexicon>,
        learned: Arc<Learned>,
        model: Model,
        model_sha256: String,
        policy: Policy,
    ) -> Self {
        Self {
            extractor: Extractor::new(&lexicon),
            model_name: Named {
                name: Some(model.name.clone()),
                version: model.version.clone(),
                sha256: model_sha256,
            },
            lexicon_name: Named {
                name: None,
                version: model.version.clone(),
                sha256: lexicon.sha256.clone(),
            },
            model_label: model.label(),
            reader: Reader::new(lexicon, learned),
            model,
            policy,
            bounds: Bounds::default(),
            quotes: Quotes::default(),
        }
    }

    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    pub fn with_quotes(mut self, quotes: Quotes) -> Self {
        self.quotes = quotes;
        self
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    pub fn lexicon(&self) -> &Lexicon {
        self.reader.lexicon()
    }

    pub fn extractor(&self) -> &Extractor {
        &self.extractor
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// `name@version`
    pub fn model_label(&self) -> &str {
        &self.model_label
    }

    /// Takes one event of a call to its consequences: first every deadline up to its time, in order, then itself.
    pub fn step(&self, watched: &mut Watched, event: &Event, mut found: impl FnMut(Outcome)) {
        self.tick(watched, event.at, &mut found);
        if watched.is_gone(event.at) {
            *watched = Watched::new(event.call_id.clone());
        }
        let begins = watched.is_past()
            && !matches!(event.body, Body::Unknown)
            && !watched
                .call
                .was_in_the_past(event, self.policy.settings().ended_seconds);
        if begins {
            watched.begin_anew();
        }
        found(self.event(watched, event));
    }

    /// Steps every deadline up to `now`: for a call in silence.
    pub fn tick(&self, watched: &mut Watched, now: Timestamp, mut found: impl FnMut(Outcome)) {
        while !watched.is_past()
            && let Some((due, deadline)) = watched.due()
            && due <= now
        {
            found(self.deadline(watched, due, deadline));
        }
    }

    /// Whether a call may be forgotten before its time, at event time `now`: nothing of it is open, and its closing would
    /// tell nothing.
    pub fn may_forget(&self, watched: &Watched, now: Timestamp) -> bool {
        let Weighed {
            features, need, risk, ..
        } = self.weigh(watched, now);
        let assessment = self.assess(watched, &features, need, risk);
        !watched.watch.is_open()
            && self
                .policy
                .closes_in_silence(&watched.watch, &assessment, watched.call.care())
    }

    /// Forgets a call, at event time `now`.
    pub fn forget(&self, watched: &mut Watched, now: Timestamp) -> Outcome {
        self.deadline(watched, now, Deadline::Forget)
    }

    fn event(&self, watched: &mut Watched, event: &Event) -> Outcome {
        let before = watched.call.last_at;
        let applied = watched.call.apply(&self.reader, event, &self.bounds);
        if applied.fate != Fate::Applied {
            // The call is as it was, and so is what is said of it: of one that is over nothing, as much of it as is still
            // remembered.
            let goes_on = watched.call.ended.is_none() && !watched.is_past();
            let level = watched.watch.raised.filter(|_| goes_on).map(|raised| raised.level);
            let decision = Decision {
                level,
                before: level,
                why: Why::NotApplied,
                tell: None,
                settled_after: None,
            };
            let weighed = goes_on.then(|| self.weigh(watched, before.unwrap_or(event.at)));
            let scored = weighed.and_then(|weighed| weighed.scored(watched));
            let mut outcome = self.outcome(watched, event.at, Cause::Event, applied, scored, decision, None);
            if goes_on {
                outcome.trust_reasons = self.trust_reasons(watched);
            }
            return outcome;
        }
        // Time in the call does not run backwards, though people speak at once.
        let at = before.map_or(event.at, |before| before.max(event.at));
        let ended = watched.call.ended.filter(|_| matches!(event.body, Body::Ended(_)));
        let (voice, deeds, whole_turn, seq) = (applied.voice, applied.deeds.clone(), applied.whole_turn, applied.seq);
        let happening = Happening::Event {
            seq,
            voice,
            deeds: &deeds,
            whole_turn,
            ended,
        };
        let mut outcome = self.judge(watched, at, event.at, Cause::Event, applied, happening);
        outcome.ended = ended.is_some();
        outcome
    }

    fn deadline(&self, watched: &mut Watched, due: Timestamp, deadline: Deadline) -> Outcome {
        let seq = watched.call.sequence.last;
        let applied = Applied {
            fate: Fate::Applied,
            seq,
            voice: Voice::Nobody,
            changes: Vec::new(),
            deeds: Vec::new(),
            lost: 0,
            whole_turn: false,
        };
        let happening = Happening::Due { deadline, seq };
        let mut outcome = self.judge(watched, due, due, Cause::Deadline(deadline), applied, happening);
        outcome.over = deadline == Deadline::Forget;
        if outcome.over {
            watched.forget(due.plus_seconds(self.policy.settings().remembered_seconds));
        }
        outcome
    }

    fn judge(
        &self,
        watched: &mut Watched,
        at: Timestamp,
        told_at: Timestamp,
        cause: Cause,
        applied: Applied,
        happening: Happening<'_>,
    ) -> Outcome {
        let weighed = self.weigh(watched, at);
        let scored = weighed.scored(watched);
        let Weighed {
            features,
            moved,
            need,
            risk,
        } = weighed;
        let assessment = self.assess(watched, &features, need, risk);
        let decision = self
            .policy
            .decide(&mut watched.watch, &assessment, watched.call.care(), happening, at);
        let seq = applied.seq;
        let trust = self.trust_reasons(watched);
        let alert = alert_of(&Ground {
            lexicon: self.lexicon(),
            call: &watched.call,
            watch: &watched.watch,
            assessment: &assessment,
            urgencies: &features.urgencies,
            decision: &decision,
            threshold: self.policy.crossed(&decision, &assessment),
            seq,
            at: told_at,
            quotes: self.quotes,
            model: &self.model_name,
            lexicon_name: &self.lexicon_name,
            trust_reasons: &trust,
        });
        let mut outcome = self.outcome(watched, told_at, cause, applied, scored, decision, alert);
        outcome.features = Some((features, moved));
        outcome.trust_reasons = trust;
        outcome
    }

    /// What the model makes of a call, at event time `at`.
    fn weigh(&self, watched: &Watched, at: Timestamp) -> Weighed {
        let features = self.extractor.need(self.lexicon(), &watched.call);
        let need = self.model.need.probability(&features.need);
        let moved = self.extractor.handling(&watched.call, &features, at).with(need);
        // Need that will not be met is need: learned apart, the second stage may say more, and would page on the handling
        // of calls without need.
        let risk = self.model.risk.probability(&moved).min(need);
        Weighed {
            features,
            moved,
            need,
            risk,
        }
    }

    fn assess(&self, watched: &Watched, features: &Features, need: f64, risk: f64) -> Assessment {
        let heard = watched.call.heard();
        let (mut emergency_evidence, mut proven, mut quiet_evidence, mut evidence) = (0.0f32, 0.0f32, 0.0f32, 0.0f32);
        let mut first_finding = None;
        for known in heard.known.iter().filter(|known| known.is_present()) {
            evidence = evidence.max(known.evidence());
            if matches!(self.lexicon().concept(known.concept).kind, Kind::Finding { .. }) {
                let since = heard.since(known);
                first_finding = Some(first_finding.map_or(since, |first: u64| first.min(since)));
            }
            if let Kind::Finding { needed, quiet, .. } = self.lexicon().concept(known.concept).kind
                && needed == Needed::Emergency
            {
                emergency_evidence = emergency_evidence.max(known.evidence());
                if quiet {
                    quiet_evidence = quiet_evidence.max(known.evidence());
                }
                if known.trusted() >= PRESENT {
                    proven = proven.max(known.evidence());
                }
            }
        }
        // Of tier emergency only where the facts leave it urgent: a known, stable, mild one is not.
        let emergency = features.urgencies.iter().any(|urgent| {
            self.lexicon().concept(urgent.concept).needed() == Some(Needed::Emergency)
                && heard.find(urgent.concept).is_some_and(Known::is_present)
                && urgent.plain >= GRAVE
        });
        Assessment {
            heard: heard.words > 0,
            words: heard.words.into(),
            need,
            risk,
            needed: if emergency { Needed::Emergency } else { Needed::Urgent },
            emergency,
            emergency_evidence: if emergency { emergency_evidence } else { 0.0 },
            proven_evidence: if emergency { proven } else { 0.0 },
            quiet_evidence: if emergency { quiet_evidence } else { 0.0 },
            evidence,
            first_finding,
            last_new: heard.last_new.map(|(seq, at, _)| (seq, at)),
            clinical_agent: watched.call.context.clinical_agent(),
        }
    }

    /// Why silence about this call means little. Never lowers a risk.
    fn trust_reasons(&self, watched: &Watched) -> Vec<&'static str> {
        let call = &watched.call;
        let (heard, recognition) = (call.heard(), &call.recognition);
        let language = call
            .context
            .started
            .patient
            .as_ref()
            .and_then(|patient| patient.language.as_deref());
        let enough = u32::from(heard.words) >= ENOUGH_WORDS;
        let unknown = f64::from(heard.unknown_words) >= f64::from(heard.words) * UNKNOWN_SHARE;
        let unsure = recognition.confidences >= 3
            && recognition.confidence_sum / (recognition.confidences as f32) < LOW_CONFIDENCE;
        let one_sided = (heard.turns >= ONE_SIDED_TURNS
            && recognition.agent_turns + recognition.clinician_turns == 0
            && !call.context.typed())
            || (recognition.agent_turns >= ONE_SIDED_TURNS && heard.turns == 0);
        [
            (
                language.is_some_and(|language| !is_english(language)) && enough,
                "language",
            ),
            (unknown && enough, "unknown_words"),
            (unsure, "recognition"),
            (one_sided, "one_sided"),
            (recognition.lost_events >= 3, "lost_events"),
        ]
        .into_iter()
        .filter_map(|(holds, reason)| holds.then_some(reason))
        .collect()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one outcome, gathered in one place"
    )]
    fn outcome(
        &self,
        watched: &Watched,
        at: Timestamp,
        cause: Cause,
        applied: Applied,
        scored: Option<(f64, f64)>,
        decision: Decision,
        alert: Option<crate::alert::Alert>,
    ) -> Outcome {
        Outcome {
            call_id: watched.call.id.clone(),
            at,
            seq: applied.seq,
            cause,
            applied,
            events: watched.call.sequence.applied,
            events_hash: watched.call.sequence.applied_hash,
            need: scored.map(|(need, _)| need),
            risk: scored.map(|(_, risk)| risk),
            features: None::<(Features, [f32; RISK.len()])>,
            decision,
            alert,
            trust_reasons: Vec::new(),
            ended: false,
            over: false,
            came_late: false,
        }
    }
}

/// What the model read, and what it made of it.
struct Weighed {
    features: Features,
    moved: [f32; RISK.len()],
    need: f64,
    risk: f64,
}

impl Weighed {
    /// Need and risk, once the caller has said a word.
    fn scored(&self, watched: &Watched) -> Option<(f64, f64)> {
        (watched.call.heard().words > 0).then_some((self.need, self.risk))
    }
}

/// By the first part of a tag of BCP 47, in which case means nothing.
fn is_english(language: &str) -> bool {
    language
        .split('-')
        .next()
        .is_some_and(|first| first.eq_ignore_ascii_case("en"))
}

const LOW_CONFIDENCE: f32 = 0.5;
/// Share of words that the model has never met from which a call counts as not understood: English stays well below it,
/// other languages well above.
const UNKNOWN_SHARE: f64 = 0.4;
