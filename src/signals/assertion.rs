//! Negation and its kin: whether what was matched is there now, was denied, is long over, somebody else's or only
//! feared. The scope of a cue is a clause, and the whole turn is looked at, never a window of it
//! (after NegEx and ConText: Chapman et al. 2001, Harkema et al. 2009).

use super::automaton::Match;
use super::lexicon::{ConceptId, Kind, Lexicon};
use super::normalize::Tokens;
use super::{NearMiss, Status};

/// Words that a negation reaches at most; in a list of denials it reaches further.
const REACH: usize = 8;
const REACH_IN_LIST: usize = 18;

/// The cues by what they do; `None` where the lexicon lacks one.
#[derive(Debug)]
pub(super) struct Cues {
    negation: Option<ConceptId>,
    list_denial: Option<ConceptId>,
    breaks_negation: Option<ConceptId>,
    past: Option<ConceptId>,
    onset: Option<ConceptId>,
    other_person: Option<ConceptId>,
    hypothetical: Option<ConceptId>,
    asks_whether: Option<ConceptId>,
    medication_question: Option<ConceptId>,
    administrative: Option<ConceptId>,
    figurative: Option<ConceptId>,
    resolved: Option<ConceptId>,
    stable: Option<ConceptId>,
    mild: Option<ConceptId>,
}

impl Cues {
    pub(super) fn of(lexicon: &Lexicon) -> Self {
        Self {
            negation: lexicon.find("negation"),
            list_denial: lexicon.find("list_denial"),
            breaks_negation: lexicon.find("breaks_negation"),
            past: lexicon.find("past"),
            onset: lexicon.find("onset"),
            other_person: lexicon.find("other_person"),
            hypothetical: lexicon.find("hypothetical"),
            asks_whether: lexicon.find("asks_whether"),
            medication_question: lexicon.find("medication_question"),
            administrative: lexicon.find("administrative"),
            figurative: lexicon.find("figurative"),
            resolved: lexicon.find("resolved"),
            stable: lexicon.find("stable"),
            mild: lexicon.find("mild"),
        }
    }
}

/// How far words soften a finding that is present.
pub(super) mod soften {
    pub const RESOLVED: f32 = 0.5;
    pub const STABLE: f32 = 0.55;
    pub const MILD: f32 = 0.75;
}

/// The status of one match, with the share of its strength that stays where it is present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Assertion {
    pub status: Status,
    pub kind: Option<NearMiss>,
    pub keeps: f32,
}

/// The cues of one turn, sorted out once.
pub(super) struct Scope<'t> {
    lexicon: &'t Lexicon,
    cues: &'t Cues,
    pub tokens: &'t Tokens,
    /// Clauses in which any cue stands.
    marked: Vec<u16>,
    /// All cues with the clause of their last token.
    placed: Vec<(ConceptId, u16, &'t Match)>,
    /// Negations that are no part of a finding's own words.
    negations: Vec<&'t Match>,
}

impl<'t> Scope<'t> {
    pub fn new(lexicon: &'t Lexicon, cues: &'t Cues, tokens: &'t Tokens, matches: &'t [Match]) -> Self {
        let mut owned = vec![false; tokens.tokens.len()];
        let (mut placed, mut negations) = (Vec::new(), Vec::new());
        for found in matches {
            match lexicon.concept(found.concept).kind {
                Kind::Finding { .. } | Kind::Symptom | Kind::Fact { .. } => {
                    (found.first..=found.last)
                        .filter(|at| found.covers(*at))
                        .for_each(|at| owned[usize::from(at)] = true);
                    // "stable" and "mild" are facts and cues at once
                    if Some(found.concept) == cues.stable || Some(found.concept) == cues.mild {
                        placed.push((found.concept, tokens.tokens[usize::from(found.last)].clause, found));
                    }
                }
                Kind::Cue if Some(found.concept) == cues.negation => negations.push(found),
                Kind::Cue => placed.push((found.concept, tokens.tokens[usize::from(found.last)].clause, found)),
                Kind::Act => {}
            }
        }
        // "can't breathe": the negation is a part of the finding and opens no scope.
        negations.retain(|cue| !(owned[usize::from(cue.first)] && owned[usize::from(cue.last)]));
        let mut marked: Vec<u16> = placed.iter().map(|(_, clause, _)| *clause).collect();
        marked.dedup();
        Self {
            lexicon,
            cues,
            tokens,
            marked,
            placed,
            negations,
        }
    }

    pub fn of(&self, found: &Match) -> Assertion {
        let clause = self.clause(found.last);
        let is = |cue: Option<ConceptId>| self.cue_in_clause(cue, clause, found);
        let shown = |status, kind| Assertion {
            status,
            kind: Some(kind),
            keeps: 1.0,
        };
        if is(self.cues.figurative) {
            return shown(Status::Hypothetical, NearMiss::Figurative);
        }
        if self.denied(found) {
            return shown(Status::Denied, NearMiss::Denied);
        }
        if is(self.cues.other_person) {
            return shown(Status::OtherPerson, NearMiss::OtherPerson);
        }
        let going_on = is(self.cues.onset);
        if is(self.cues.past) && !going_on {
            return shown(Status::Past, NearMiss::Old);
        }
        if is(self.cues.medication_question) && !going_on {
            return shown(Status::Hypothetical, NearMiss::MedicationQuestion);
        }
        if is(self.cues.administrative) && !going_on {
            return shown(Status::Hypothetical, NearMiss::Administrative);
        }
        if is(self.cues.hypothetical) {
            return shown(Status::Hypothetical, NearMiss::Hypothetical);
        }
        if is(self.cues.asks_whether) {
            return Assertion {
                status: Status::Uncertain,
                kind: None,
                keeps: 1.0,
            };
        }
        self.softened(found, clause)
    }

    /// Whether a negation reaches these tokens: also used of facts, for which it alone counts.
    pub fn denied(&self, found: &Match) -> bool {
        let tokens = &self.tokens.tokens;
        let clause = self.clause(found.last);
        let first = usize::from(found.first);
        for cue in &self.negations {
            let last = usize::from(cue.last);
            // "I have not been short of breath": it stands in a gap of the finding's own words
            if cue.first > found.first && cue.last < found.last && !found.covers(cue.first) {
                return true;
            }
            if last >= first || tokens[last].clause != clause {
                continue;
            }
            let gap = first - last - 1;
            let list = gap > REACH && self.in_list_of_denials(last, first);
            if gap <= if list { REACH_IN_LIST } else { REACH } && !self.broken_between(last, first) {
                return true;
            }
        }
        self.denied_behind(found)
    }

    /// "chest pain, no": a no that ends the clause denies what precedes it.
    fn denied_behind(&self, found: &Match) -> bool {
        let tokens = &self.tokens.tokens;
        let clause = self.clause(found.last);
        let end = tokens.partition_point(|token| token.clause <= clause);
        let is_no = |at: usize| matches!(self.tokens.word(at), "no" | "none" | "nope" | "negative");
        if usize::from(found.last) + 1 < end && is_no(end - 1) {
            return true;
        }
        // "Chest pain? No." in one breath
        let answered = self.tokens.questions.contains(&clause) && end < tokens.len() && is_no(end);
        answered && (end + 1 == tokens.len() || tokens[end + 1].clause != tokens[end].clause)
    }

    fn in_list_of_denials(&self, cue: usize, first: usize) -> bool {
        let opens = self.placed.iter().any(|(concept, _, m)| {
            Some(*concept) == self.cues.list_denial
                && (usize::from(m.last) == cue || (usize::from(m.first) >= cue && usize::from(m.last) < first))
        });
        opens && (cue + 1..=first).any(|at| self.tokens.tokens[at].after_comma || self.tokens.word(at) == "or")
    }

    fn broken_between(&self, cue: usize, first: usize) -> bool {
        self.placed.iter().any(|(concept, _, m)| {
            Some(*concept) == self.cues.breaks_negation && usize::from(m.first) > cue && usize::from(m.last) < first
        })
    }

    fn softened(&self, found: &Match, clause: u16) -> Assertion {
        let mut present = Assertion {
            status: Status::Present,
            kind: None,
            keeps: 1.0,
        };
        let (lingers, firm) = match self.lexicon.concept(found.concept).kind {
            Kind::Finding { lingers, firm, .. } => (lingers, firm),
            _ => (false, false),
        };
        // "… but it's gone now" stands in the clause after.
        let near = |cue| (clause..=clause.saturating_add(2)).any(|c| self.cue_in_clause(cue, c, found));
        if !lingers && near(self.cues.resolved) {
            present.keeps *= soften::RESOLVED;
            present.kind = Some(NearMiss::Resolved);
        }
        if !firm && !lingers {
            if self.cue_in_clause(self.cues.stable, clause, found) {
                present.keeps *= soften::STABLE;
                present.kind = Some(NearMiss::KnownStable);
            }
            if self.cue_in_clause(self.cues.mild, clause, found) {
                present.keeps *= soften::MILD;
            }
        }
        present
    }

    fn cue_in_clause(&self, cue: Option<ConceptId>, clause: u16, found: &Match) -> bool {
        self.marked.contains(&clause)
            && self.placed.iter().any(|(concept, place, m)| {
                Some(*concept) == cue
                && *place == clause
                // what stands inside the finding's own words is not about it
                && !(found.first <= m.first && m.last <= found.last)
            })
    }

    fn clause(&self, token: u16) -> u16 {
        self.tokens.tokens[usize::from(token)].clause
    }
}
