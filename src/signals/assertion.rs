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

/// A word that changes the status of others, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Cue {
    Negation,
    ListDenial,
    BreaksNegation,
    Past,
    Onset,
    OtherPerson,
    Hypothetical,
    AsksWhether,
    MedicationQuestion,
    Administrative,
    Figurative,
    Resolved,
    Stable,
    Mild,
}

impl Cue {
    /// By the ids of the lexicon.
    const NAMES: [(&str, Self); 14] = [
        ("negation", Self::Negation),
        ("list_denial", Self::ListDenial),
        ("breaks_negation", Self::BreaksNegation),
        ("past", Self::Past),
        ("onset", Self::Onset),
        ("other_person", Self::OtherPerson),
        ("hypothetical", Self::Hypothetical),
        ("asks_whether", Self::AsksWhether),
        ("medication_question", Self::MedicationQuestion),
        ("administrative", Self::Administrative),
        ("figurative", Self::Figurative),
        ("resolved", Self::Resolved),
        ("stable", Self::Stable),
        ("mild", Self::Mild),
    ];

    /// Whether the cue is a part of what the finding says and so not about it: its own words, and for most cues whatever
    /// stands between them. "Reacted to penicillin, back in the army, and swelled up" is of the past all the same.
    fn is_own(self, found: &Match, words: &Match) -> bool {
        match self {
            Self::Past | Self::Stable | Self::Figurative | Self::OtherPerson => {
                found.covers(words.first) && found.covers(words.last)
            }
            _ => found.first <= words.first && words.last <= found.last,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Which concepts are cues.
#[derive(Debug)]
pub(super) struct Cues {
    by_concept: Vec<Option<Cue>>,
}

impl Cues {
    pub(super) fn of(lexicon: &Lexicon) -> Self {
        let mut by_concept = vec![None; lexicon.concepts.len()];
        for (name, cue) in Cue::NAMES {
            if let Some(concept) = lexicon.find(name) {
                by_concept[usize::from(concept.0)] = Some(cue);
            }
        }
        Self { by_concept }
    }

    fn of_concept(&self, concept: ConceptId) -> Option<Cue> {
        self.by_concept[usize::from(concept.0)]
    }
}

/// How far words soften a finding that is present.
pub(super) mod soften {
    /// Below what counts as present, however plainly it was said.
    pub const RESOLVED: f32 = 0.4;
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
    pub tokens: &'t Tokens,
    /// All cues but negations, in the order of their last tokens.
    placed: Vec<Placed<'t>>,
    /// Kinds of cues by clause, as bits.
    in_clause: Vec<u16>,
    /// Kinds of cues in the whole turn, as bits.
    anywhere: u16,
    /// Negations that are no part of a finding's own words, in the order of their last tokens.
    negations: Vec<&'t Match>,
}

struct Placed<'t> {
    cue: Cue,
    /// Of its last token.
    clause: u16,
    words: &'t Match,
}

impl<'t> Scope<'t> {
    pub fn new(lexicon: &'t Lexicon, cues: &Cues, tokens: &'t Tokens, matches: &'t [Match]) -> Self {
        let clause = |words: &Match| tokens.tokens[usize::from(words.last)].clause;
        let mut owned = vec![false; tokens.tokens.len()];
        let mut scope = Self {
            lexicon,
            tokens,
            placed: Vec::with_capacity(8),
            in_clause: vec![0; tokens.tokens.last().map_or(0, |token| usize::from(token.clause) + 1)],
            anywhere: 0,
            negations: Vec::new(),
        };
        for words in matches {
            // "stable" and "mild" are facts and cues at once
            match cues.of_concept(words.concept) {
                Some(Cue::Negation) => scope.negations.push(words),
                Some(cue) => {
                    let clause = clause(words);
                    scope.in_clause[usize::from(clause)] |= cue.bit();
                    scope.anywhere |= cue.bit();
                    scope.placed.push(Placed { cue, clause, words });
                }
                None => {}
            }
            if let Kind::Finding { .. } | Kind::Symptom | Kind::Fact { .. } = lexicon.concept(words.concept).kind {
                (words.first..=words.last)
                    .filter(|at| words.covers(*at))
                    .for_each(|at| owned[usize::from(at)] = true);
            }
        }
        // "can't breathe": the negation is a part of the finding and opens no scope.
        scope
            .negations
            .retain(|cue| !(owned[usize::from(cue.first)] && owned[usize::from(cue.last)]));
        scope
    }

    pub fn of(&self, found: &Match) -> Assertion {
        let clause = self.clause(found.last);
        let is = |cue| self.cue_in_clause(cue, clause, found);
        let shown = |status, kind| Assertion {
            status,
            kind: Some(kind),
            keeps: 1.0,
        };
        if is(Cue::Figurative) {
            return shown(Status::Hypothetical, NearMiss::Figurative);
        }
        if self.denied(found) {
            return shown(Status::Denied, NearMiss::Denied);
        }
        if is(Cue::OtherPerson) {
            return shown(Status::OtherPerson, NearMiss::OtherPerson);
        }
        let going_on = is(Cue::Onset);
        if (is(Cue::Past) || self.after_a_past(clause, found)) && !going_on {
            return shown(Status::Past, NearMiss::Old);
        }
        if is(Cue::MedicationQuestion) && !going_on {
            return shown(Status::Hypothetical, NearMiss::MedicationQuestion);
        }
        if is(Cue::Administrative) && !going_on {
            return shown(Status::Hypothetical, NearMiss::Administrative);
        }
        if is(Cue::Hypothetical) {
            return shown(Status::Hypothetical, NearMiss::Hypothetical);
        }
        if is(Cue::AsksWhether) {
            return Assertion {
                status: Status::Uncertain,
                kind: None,
                keeps: 1.0,
            };
        }
        self.softened(found, clause)
    }

    /// "When I was younger, I had …": the clause before says when, in the same sentence.
    fn after_a_past(&self, clause: u16, found: &Match) -> bool {
        let Some(before) = clause.checked_sub(1) else {
            return false;
        };
        if !self.cue_in_clause(Cue::Past, before, found) {
            return false;
        }
        let tokens = &self.tokens.tokens;
        let first = tokens.partition_point(|token| token.clause < before);
        tokens[first].sentence == tokens[usize::from(found.last)].sentence
            && matches!(self.tokens.word(first), "when" | "back" | "as" | "years")
    }

    /// Whether it is said of somebody who is not the patient.
    pub fn is_of_another(&self, found: &Match) -> bool {
        self.cue_in_clause(Cue::OtherPerson, self.clause(found.last), found)
    }

    /// Whether it is said of another person, or only feared or asked about.
    pub fn is_elsewhere(&self, found: &Match) -> bool {
        self.is_of_another(found) || self.cue_in_clause(Cue::Hypothetical, self.clause(found.last), found)
    }

    /// Whether a negation reaches these tokens.
    pub fn denied(&self, found: &Match) -> bool {
        let tokens = &self.tokens.tokens;
        let clause = self.clause(found.last);
        let first = usize::from(found.first);
        // Those that end before the finding does, back to the beginning of its clause or of its own words.
        let before = self.negations.partition_point(|cue| cue.last < found.last);
        for cue in self.negations[..before].iter().rev() {
            let last = usize::from(cue.last);
            if cue.last < found.first && tokens[last].clause != clause {
                break;
            }
            // "I have not been short of breath": it stands in a gap of the finding's own words
            if cue.first > found.first && !found.covers(cue.first) {
                return true;
            }
            if last >= first || tokens[last].clause != clause {
                continue;
            }
            let gap = first - last - 1;
            if gap > REACH_IN_LIST {
                break;
            }
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
        // … but not that of "and no, it is not my heart"
        let goes_on = end >= 2 && matches!(self.tokens.word(end - 2), "and" | "so" | "well");
        // … nor one at the end of a long story without marks
        let near = usize::from(found.last) + REACH > end - 1;
        if usize::from(found.last) + 1 < end && near && is_no(end - 1) && !goes_on {
            return true;
        }
        // "Chest pain? No, no." in one breath
        let nos = (end..tokens.len()).take_while(|at| is_no(*at)).count();
        let answered = self.tokens.questions.contains(&clause) && nos > 0;
        let after = end + nos;
        answered
            && (after == tokens.len()
                || tokens[after].clause != tokens[end].clause
                || matches!(self.tokens.word(after), "nothing" | "not" | "never"))
    }

    fn in_list_of_denials(&self, cue: usize, first: usize) -> bool {
        let opens = self.any_between(Cue::ListDenial, cue, first, |words| {
            usize::from(words.last) == cue || usize::from(words.first) >= cue
        });
        opens && (cue + 1..=first).any(|at| self.tokens.tokens[at].after_comma || self.tokens.word(at) == "or")
    }

    fn broken_between(&self, cue: usize, first: usize) -> bool {
        self.any_between(Cue::BreaksNegation, cue, first, |words| usize::from(words.first) > cue)
    }

    /// Whether such a cue ends at these tokens, the last excluded.
    fn any_between(&self, cue: Cue, from: usize, to: usize, which: impl Fn(&Match) -> bool) -> bool {
        if self.anywhere & cue.bit() == 0 {
            return false;
        }
        let begin = self
            .placed
            .partition_point(|placed| usize::from(placed.words.last) < from);
        let here = self.placed[begin..]
            .iter()
            .take_while(|placed| usize::from(placed.words.last) < to);
        here.into_iter().any(|placed| placed.cue == cue && which(placed.words))
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
        if !lingers && near(Cue::Resolved) {
            present.keeps *= soften::RESOLVED;
            present.kind = Some(NearMiss::Resolved);
        }
        if !firm && !lingers {
            if self.cue_in_clause(Cue::Stable, clause, found) {
                present.keeps *= soften::STABLE;
                present.kind = Some(NearMiss::KnownStable);
            }
            if self.cue_in_clause(Cue::Mild, clause, found) {
                present.keeps *= soften::MILD;
            }
        }
        present
    }

    fn cue_in_clause(&self, cue: Cue, clause: u16, found: &Match) -> bool {
        if self
            .in_clause
            .get(usize::from(clause))
            .is_none_or(|cues| cues & cue.bit() == 0)
        {
            return false;
        }
        let from = self.placed.partition_point(|placed| placed.clause < clause);
        let here = self.placed[from..].iter().take_while(|placed| placed.clause == clause);
        here.filter(|placed| placed.cue == cue)
            .any(|placed| !cue.is_own(found, placed.words))
    }

    fn clause(&self, token: u16) -> u16 {
        self.tokens.tokens[usize::from(token)].clause
    }
}
