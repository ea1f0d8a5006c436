//! What the words mean: text → findings, symptoms and facts with their status, and what an agent is doing.
//!
//! ```text
//! text ──► normalise ──► all phrases in one pass ──► scope by clause ──► CallerTurn | AgentTurn
//! ```

mod assertion;
mod automaton;
mod common;
mod learned;
mod lexicon;
mod normalize;
mod pattern;
mod reliability;
mod triage;
mod wording;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

pub use learned::{Learned, LearnedCounts};
pub(crate) use lexicon::hex;
pub use lexicon::{
    AGE_FACTS, ATTRIBUTE_BITS, Combination, Concept, ConceptId, Entry, FactKind, Facts, Group, Kind, Known, Lexicon,
    LexiconError, Needed, Source,
};
pub use normalize::{Tokens, normalize};
pub use reliability::{Reliability, ReliabilityCounts};
pub use triage::{Present, Rule, Triage, is_set, set};
pub use wording::{Evidence, REAL, REAL_TALK, WRITTEN, Wording, WordingCounts};

use assertion::{Cues, Scope};
use automaton::{Audience, Match};

/// Whether a finding is there: the words of the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Present,
    Denied,
    Past,
    OtherPerson,
    Hypothetical,
    Uncertain,
    Retracted,
}

impl Status {
    /// Which of two mentions in one turn counts: "no chest pain at rest, but chest pain on the stairs".
    const fn weight(self) -> u8 {
        match self {
            Self::Present => 6,
            Self::Uncertain => 5,
            Self::Past => 4,
            Self::Hypothetical => 3,
            Self::Denied => 2,
            Self::OtherPerson | Self::Retracted => 1,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Denied => "denied",
            Self::Past => "past",
            Self::OtherPerson => "other_person",
            Self::Hypothetical => "hypothetical",
            Self::Uncertain => "uncertain",
            Self::Retracted => "retracted",
        }
    }
}

/// What a finding that raises nothing was instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NearMiss {
    Old,
    Resolved,
    Denied,
    OtherPerson,
    Hypothetical,
    MedicationQuestion,
    Administrative,
    Figurative,
    KnownStable,
}

/// A finding or symptom in one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Mention {
    pub concept: ConceptId,
    pub status: Status,
    pub kind: Option<NearMiss>,
    /// 0 to 1, softened by what surrounds it.
    pub strength: f32,
    /// 0 to 1: how far the wording is to be trusted by its record and by the turn in which it stands. Need is learned from
    /// what is trusted; whether a finding is there, and the policy's safety floor, know nothing of it.
    pub trust: f32,
    pub clause: u16,
    /// Bytes of the turn's text from which it was read.
    pub words: (u32, u32),
}

/// A fact in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactMention {
    pub bit: u8,
    pub of: FactKind,
    pub clause: u16,
}

/// One match and the pattern that made it.
#[derive(Clone, Debug, Serialize)]
pub struct Matched {
    pub concept: String,
    /// Of findings and symptoms.
    pub status: Option<Status>,
    pub strength: f32,
    /// By the record of its pattern.
    pub trust: f32,
    pub words: String,
    pub pattern: String,
}

/// What an answer says by its first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Yes,
    No,
    /// Decides nothing by itself.
    Neither,
}

/// What the caller said.
#[derive(Clone, Debug, PartialEq)]
pub struct CallerTurn {
    pub mentions: Vec<Mention>,
    pub facts: Vec<FactMention>,
    pub reply: Reply,
    pub words: u16,
    /// Years, where the caller told an age.
    pub age: Option<u8>,
    /// Of need, by the wording alone.
    pub wording: Evidence,
}

/// What a question is about, beyond the findings that it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// Findings and symptoms that it names.
    pub names: Vec<ConceptId>,
    /// Facts that it names.
    pub facts: Vec<FactMention>,
    /// About family or contacts: the answer is about other people.
    pub contact: bool,
    /// About earlier illnesses: the answer is about the past.
    pub history: bool,
    /// Takes the finding for granted: "when did the pain start".
    pub presupposes: bool,
    /// It is put as a question: what was asked before it is not what is answered. Of a turn that was just spoken.
    pub asks: bool,
}

/// What the agent said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentTurn {
    /// Acts understood from the words.
    pub acts: Vec<ConceptId>,
    pub question: Question,
}

/// Reads turns with one lexicon.
#[derive(Debug)]
pub struct Reader {
    lexicon: Arc<Lexicon>,
    learned: Arc<Learned>,
    cues: Cues,
    contact: Option<ConceptId>,
    history: Option<ConceptId>,
    presupposes: Option<ConceptId>,
    asks_any: Option<ConceptId>,
    better: Option<ConceptId>,
}

/// An answer longer than this is a story of its own.
const SHORT_ANSWER_WORDS: usize = 30;
/// So many signs of an act more than against it make one. Of 168 hand-overs in sentences kept apart that no listed wording
/// tells, 68 have as many (`callward gaps --acts`).
const SIGNS_NEEDED: i32 = 3;

impl Reader {
    pub fn new(lexicon: Arc<Lexicon>, learned: Arc<Learned>) -> Self {
        Self {
            cues: Cues::of(&lexicon),
            contact: lexicon.find("contact_question"),
            history: lexicon.find("history_question"),
            presupposes: lexicon.find("presupposes"),
            asks_any: lexicon.find("asks_any"),
            better: lexicon.find("better"),
            lexicon,
            learned,
        }
    }

    pub fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    pub fn caller(&self, text: &str) -> CallerTurn {
        let tokens = normalize(text);
        let matches = self.matches(&tokens, Audience::Caller);
        let scope = Scope::new(&self.lexicon, &self.cues, &tokens, &matches);
        let mut mentions: Vec<Mention> = Vec::new();
        let mut facts = Vec::new();
        // By token: whether it names a finding that is there.
        let mut named = vec![false; tokens.tokens.len()];
        for found in &matches {
            match self.lexicon.concept(found.concept).kind {
                Kind::Finding { .. } | Kind::Symptom => {
                    let mention = self.mention(&scope, found);
                    if matches!(mention.status, Status::Present | Status::Uncertain) {
                        let covered = (found.first..=found.last).filter(|at| found.covers(*at));
                        covered.for_each(|at| named[usize::from(at)] = true);
                    }
                    take(&mut mentions, mention);
                }
                Kind::Fact { of, bit } => {
                    if self.fact_holds(&scope, found, of) {
                        facts.push(FactMention {
                            bit,
                            of,
                            clause: tokens.tokens[found.last as usize].clause,
                        });
                    }
                }
                Kind::Act | Kind::Sign { .. } | Kind::Cue => {}
            }
        }
        let wording = self.learned.wording.evidence(&tokens, |at| named[at]);
        for mention in &mut mentions {
            let symptom = matches!(self.lexicon.concept(mention.concept).kind, Kind::Symptom);
            let least = if symptom { LEAST_OF_SYMPTOM } else { LEAST_OF_FINDING };
            mention.trust *= borne_out(&wording, tokens.tokens.len(), least);
        }
        CallerTurn {
            mentions,
            facts,
            reply: reply(&tokens),
            words: tokens.tokens.len() as u16,
            age: age(&tokens),
            wording,
        }
    }

    /// What matched where, for those who write the lexicon: concept, status, words, pattern.
    pub fn matched(&self, text: &str) -> Vec<Matched> {
        let tokens = normalize(text);
        let matches = self.matches(&tokens, Audience::Caller);
        let scope = Scope::new(&self.lexicon, &self.cues, &tokens, &matches);
        let automaton = &self.lexicon.automaton;
        let row = |found: &Match| Matched {
            concept: self.lexicon.concept(found.concept).id.clone(),
            status: matches!(
                self.lexicon.concept(found.concept).kind,
                Kind::Finding { .. } | Kind::Symptom
            )
            .then(|| scope.of(found).status),
            strength: found.strength,
            trust: found.trust,
            words: (found.first..=found.last)
                .map(|at| tokens.word(usize::from(at)))
                .collect::<Vec<_>>()
                .join(" "),
            pattern: automaton.written()[automaton.pattern(found) as usize].pattern.clone(),
        };
        matches.iter().map(row).collect()
    }

    /// The patterns by which a caller's turn states findings and symptoms as present, with what they stand for.
    pub fn stating(&self, text: &str) -> Vec<(ConceptId, u32)> {
        let tokens = normalize(text);
        let matches = self.matches(&tokens, Audience::Caller);
        let scope = Scope::new(&self.lexicon, &self.cues, &tokens, &matches);
        let states = |found: &&Match| {
            let kind = self.lexicon.concept(found.concept).kind;
            matches!(kind, Kind::Finding { .. } | Kind::Symptom)
                && matches!(scope.of(found).status, Status::Present | Status::Uncertain)
        };
        let pattern = |found: &Match| (found.concept, self.lexicon.automaton.pattern(found));
        matches.iter().filter(states).map(pattern).collect()
    }

    /// The terms of a caller's turn by what its wording says of need: as a turn, and as part of the whole talk.
    pub fn spelled(&self, text: &str) -> Vec<(String, [f32; 2])> {
        self.learned.wording.spelled(&normalize(text))
    }

    pub fn agent(&self, text: &str) -> AgentTurn {
        let tokens = normalize(text);
        let matches = self.matches(&tokens, Audience::Agent);
        let has = |cue: Option<ConceptId>| cue.is_some() && matches.iter().any(|m| Some(m.concept) == cue);
        let mut turn = AgentTurn::default();
        for found in &matches {
            match self.lexicon.concept(found.concept).kind {
                Kind::Act if !turn.acts.contains(&found.concept) => turn.acts.push(found.concept),
                // "No stiff neck? Not too sleepy?": neither a yes nor a no to it says that it is there.
                Kind::Finding { .. } | Kind::Symptom
                    if !turn.question.names.contains(&found.concept) && !is_ruled_out(&tokens, found) =>
                {
                    turn.question.names.push(found.concept);
                }
                Kind::Fact { of, bit } => turn.question.facts.push(FactMention { bit, of, clause: 0 }),
                _ => {}
            }
        }
        for act in self.acts_by_signs(&matches) {
            if !turn.acts.contains(&act) {
                turn.acts.push(act);
            }
        }
        turn.question.contact = has(self.contact);
        turn.question.history = has(self.history);
        turn.question.presupposes = has(self.presupposes) && !has(self.asks_any);
        turn.question.asks = !tokens.questions.is_empty();
        turn
    }

    /// Acts told in words of their own, for which the signs outnumber those against them. A sign counts once.
    fn acts_by_signs(&self, matches: &[Match]) -> impl Iterator<Item = ConceptId> {
        let is_sign = |concept: &ConceptId| matches!(self.lexicon.concept(*concept).kind, Kind::Sign { .. });
        let mut signs: Vec<ConceptId> = matches.iter().map(|found| found.concept).filter(is_sign).collect();
        signs.sort_unstable();
        signs.dedup();
        let mut balance: BTreeMap<ConceptId, i32> = BTreeMap::new();
        for sign in signs {
            if let Kind::Sign { of, against } = self.lexicon.concept(sign).kind {
                *balance.entry(of).or_default() += if against { -1 } else { 1 };
            }
        }
        let enough = balance.into_iter().filter(|(_, balance)| *balance >= SIGNS_NEEDED);
        enough.map(|(act, _)| act)
    }

    fn matches(&self, tokens: &Tokens, audience: Audience) -> Vec<Match> {
        self.lexicon
            .automaton
            .matches(tokens, audience, &self.learned.reliability)
    }

    fn mention(&self, scope: &Scope<'_>, found: &Match) -> Mention {
        let assertion = scope.of(found);
        let tokens = &scope.tokens.tokens;
        let (first, last) = (&tokens[found.first as usize], &tokens[found.last as usize]);
        Mention {
            concept: found.concept,
            status: assertion.status,
            kind: assertion.kind,
            strength: found.strength * assertion.keeps,
            trust: found.trust,
            clause: last.clause,
            words: (first.source.0, last.source.1),
        }
    }

    /// A fact holds unless it was denied, said of somebody else, or only feared: "if it gets worse". For "better" any
    /// near not denies: "it's not feeling much better".
    fn fact_holds(&self, scope: &Scope<'_>, found: &Match, of: FactKind) -> bool {
        if Some(found.concept) == self.better {
            let first = found.first as usize;
            return (first.saturating_sub(4)..first).all(|at| !matches!(scope.tokens.word(at), "not" | "no" | "never"));
        }
        match of {
            FactKind::Alarm => true,
            FactKind::Onset => !scope.is_elsewhere(found),
            FactKind::Course | FactKind::Severity | FactKind::Ability => {
                !scope.is_elsewhere(found) && !scope.denied(found)
            }
            FactKind::Condition | FactKind::Medicine | FactKind::Person => {
                !scope.is_of_another(found) && !scope.denied(found)
            }
        }
    }
}

impl CallerTurn {
    pub fn is_short(&self) -> bool {
        usize::from(self.words) <= SHORT_ANSWER_WORDS
    }
}

/// How far the wording of the whole turn bears out what a pattern finds in it. A pattern that speaks up in a turn that
/// sounds like small talk is more often wrong: of findings read in long interviews of writers who taught neither, 4 in
/// 100 were the labelled ones where the wording spoke against need, 17 in 100 where it spoke loudly for it. A symptom is
/// said in plain words and needs less of this. Words that were never met bear out nothing and speak against nothing.
fn borne_out(wording: &Evidence, words: usize, least: f32) -> f32 {
    let share = ((wording.value - NOT_AT_ALL) / (IN_FULL - NOT_AT_ALL)).clamp(0.0, 1.0);
    let met = 1.0 - f32::from(wording.unknown) / words.max(1) as f32;
    1.0 - (1.0 - least) * (1.0 - share) * met
}

/// Evidence of a turn's wording at which it bears out nothing, and at which it bears out all.
const NOT_AT_ALL: f32 = -1.0;
const IN_FULL: f32 = 3.0;
const LEAST_OF_FINDING: f32 = 0.15;
const LEAST_OF_SYMPTOM: f32 = 0.5;

/// One mention a concept: that of the weightier status, then the stronger.
fn take(mentions: &mut Vec<Mention>, new: Mention) {
    match mentions.iter_mut().find(|old| old.concept == new.concept) {
        Some(old) => {
            let rank = |m: &Mention| (m.status.weight(), m.strength);
            let trust = if old.status == new.status {
                old.trust.max(new.trust)
            } else if rank(&new) > rank(old) {
                new.trust
            } else {
                old.trust
            };
            if rank(&new) > rank(old) {
                *old = new;
            }
            old.trust = trust;
        }
        None => mentions.push(new),
    }
}

/// Whether a no stands right before these words.
fn is_ruled_out(tokens: &Tokens, found: &Match) -> bool {
    let first = usize::from(found.first);
    (first.saturating_sub(3)..first)
        .filter(|at| tokens.tokens[*at].clause == tokens.tokens[first].clause)
        .any(|at| matches!(tokens.word(at), "no" | "not" | "without" | "never"))
}

fn reply(tokens: &Tokens) -> Reply {
    let word = |at: usize| if at < tokens.tokens.len() { tokens.word(at) } else { "" };
    let mut at = 0;
    while matches!(word(at), "oh" | "well" | "so" | "and" | "hm") {
        at += 1;
    }
    // "yeah no" means no, "no yeah" means yes
    if matches!(word(at), "yeah" | "yes") && matches!(word(at + 1), "no" | "nope") {
        return Reply::No;
    }
    if word(at) == "no" && matches!(word(at + 1), "yeah" | "yes") {
        return Reply::Yes;
    }
    // "I don't know" answers nothing, "it's, no, nothing" does.
    let unsure = matches!(word(at + 3), "know" | "remember" | "recall") && word(at + 2) == "not";
    match (word(at), word(at + 1), word(at + 2)) {
        _ if unsure => Reply::Neither,
        ("it" | "that" | "there", "is" | "was", "no" | "nothing") => Reply::No,
        ("no" | "nope" | "nah" | "none" | "never" | "negative" | "neither" | "nothing", ..) => Reply::No,
        ("not", "really" | "at" | "that" | "yet" | "so" | "now", _) => Reply::No,
        ("i" | "he" | "she", "do" | "does" | "have" | "has" | "did", "not") => Reply::No,
        ("thankfully" | "thank", "no" | "god", _) => Reply::No,
        (
            "yes" | "yeah" | "yep" | "yup" | "ya" | "aye" | "correct" | "exactly" | "sure" | "definitely"
            | "absolutely" | "sometimes" | "occasionally" | "right" | "mhm" | "yah" | "indeed" | "totally"
            | "constantly",
            ..,
        ) => Reply::Yes,
        ("that", "is", "right" | "correct" | "it") => Reply::Yes,
        ("i" | "he" | "she" | "it", "do" | "does" | "did" | "have" | "has" | "is" | "am", _) => Reply::Yes,
        ("a", "little" | "bit" | "lot" | "few", _) | ("uh", "huh", _) | ("of", "course", _) => Reply::Yes,
        ("just" | "only", "a" | "some" | "when" | "if" | "1", _) => Reply::Yes,
        ("all", "the", "time") | ("quite", "a", _) => Reply::Yes,
        _ => Reply::Neither,
    }
}

/// An age that the caller tells: "I'm 72", "she's eighty one", "72 years old". Ages of babies in weeks and months are
/// facts of the lexicon.
fn age(tokens: &Tokens) -> Option<u8> {
    let word = |at: usize| if at < tokens.tokens.len() { tokens.word(at) } else { "" };
    (0..tokens.tokens.len()).find_map(|at| {
        let number = tokens.tokens[at]
            .number
            .filter(|n| (1.0..=110.0).contains(n) && n.fract() == 0.0)?;
        let old = matches!(word(at + 1), "year" | "years" | "yr" | "yrs") && word(at + 2) == "old";
        let own = at >= 2
            && matches!((word(at - 2), word(at - 1)), ("i" | "he" | "she", "am" | "is"))
            && number >= 18.0
            && (at + 1 == tokens.tokens.len() || tokens.tokens[at + 1].clause != tokens.tokens[at].clause);
        (old || own).then_some(number as u8)
    })
}
