//! The lexicon: which wordings mean what. Data that a clinician can read, in `models/lexicon/GROUP.toml`, one file a
//! group; training freezes it into the model's `lexicon.json`, so that an old model replays as it was.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::automaton::{Audience, Automaton, Builder, Reach};
use super::pattern::{Atoms, PatternError};
use super::triage::{MOST_CONCEPTS, Present, Rule, Triage, ids_of, is_set};

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    /// A clinician within the hour.
    Urgent,
    /// Now: 911 or an emergency department.
    Emergency,
}

impl Needed {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Emergency => "emergency",
        }
    }
}

/// One file of the lexicon as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    pub group: String,
    pub title: String,
    #[serde(skip_serializing_if = "Atoms::is_empty")]
    pub atoms: Atoms,
    #[serde(rename = "finding", skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Entry>,
    #[serde(rename = "symptom", skip_serializing_if = "Vec::is_empty")]
    pub symptoms: Vec<Entry>,
    #[serde(rename = "fact", skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Entry>,
    #[serde(rename = "act", skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<Entry>,
    #[serde(rename = "sign", skip_serializing_if = "Vec::is_empty")]
    pub signs: Vec<Entry>,
    #[serde(rename = "cue", skip_serializing_if = "Vec::is_empty")]
    pub cues: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub triage: Vec<Triage>,
}

/// A finding, symptom, fact, act or cue as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Entry {
    pub id: String,
    pub title: String,
    /// Of a symptom: the group of findings to which its evidence counts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Of a sign: the act that it is a sign of, and whether it speaks against it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub against: bool,
    /// Of a fact: onset, course, severity, ability, condition, medicine, person or alarm.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<Needed>,
    /// Keys of the clinical sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// A red flag even when it has passed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lingers: bool,
    /// Words such as mild, the usual or better do not soften it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub firm: bool,
    /// Said without alarm, so that the model may doubt it: the safety floor speaks for it without waiting for a closing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// The least that should happen, where it differs from that of its tier.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub minimum: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near_misses: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When>,
}

/// A finding that follows from what is known in the call by now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    pub all: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none: Vec<String>,
    pub strength: f32,
}

/// All groups, as frozen with a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Source {
    pub groups: Vec<Group>,
}

#[derive(Debug, thiserror::Error)]
pub enum LexiconError {
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("{path}: {error}")]
    Toml { path: String, error: Box<toml::de::Error> },
    #[error("{group}: {id}: {error}")]
    Pattern {
        group: String,
        id: String,
        error: PatternError,
    },
    #[error("{group}: {id}: stands twice")]
    Twice { group: String, id: String },
    #[error(
        "{group}: {id}: names {name:?}, which is no finding, symptom or fact (of a sign: no act), or attaches a fact of the patient to a symptom"
    )]
    UnknownName { group: String, id: String, name: String },
    #[error("{group}: {id}: a finding needs `needed`")]
    NoTier { group: String, id: String },
    #[error("{group}: {id}: kind {kind:?} of a fact is not known")]
    UnknownKind { group: String, id: String, kind: String },
    #[error("{group}: {id}: too many facts, a symptom has at most 32 kinds and a call 96")]
    TooManyFacts { group: String, id: String },
    #[error("{group}: {id}: its key collides with that of {other:?}, rename it")]
    Collision { group: String, id: String, other: String },
    #[error("the lexicon has no finding")]
    Empty,
    #[error("the lexicon has more than {MOST_CONCEPTS} entries")]
    TooLong,
}

impl Source {
    /// Reads every `*.toml` of a folder, in the order of names.
    pub fn read(folder: &Path) -> Result<Self, LexiconError> {
        let unreadable = |path: &Path, error| LexiconError::Read {
            path: path.display().to_string(),
            error,
        };
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .map_err(|e| unreadable(folder, e))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
            .collect();
        paths.sort();
        let mut groups = Vec::with_capacity(paths.len());
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
            let toml = |e| LexiconError::Toml {
                path: path.display().to_string(),
                error: Box::new(e),
            };
            groups.push(toml::from_str(&text).map_err(toml)?);
        }
        Ok(Self { groups })
    }

    /// Without the sentences that only tests read.
    pub fn frozen(mut self) -> Self {
        for group in &mut self.groups {
            for entry in group.entries_mut() {
                entry.examples.clear();
                entry.near_misses.clear();
            }
        }
        self
    }

    /// The bytes of `lexicon.json`.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a lexicon is plain data")
    }
}

fn unknown(group: &Group, id: &str, name: &str) -> LexiconError {
    LexiconError::UnknownName {
        group: group.group.clone(),
        id: id.to_owned(),
        name: name.to_owned(),
    }
}

impl Group {
    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let Self {
            findings,
            symptoms,
            facts,
            acts,
            signs,
            cues,
            ..
        } = self;
        let words = findings.iter_mut().chain(symptoms).chain(facts);
        words.chain(acts).chain(signs).chain(cues)
    }
}

/// Index of a concept in [`Lexicon::concepts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConceptId(pub u16);

/// What a concept is, with what only that kind has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// One of the red flags.
    Finding {
        needed: Needed,
        lingers: bool,
        firm: bool,
        quiet: bool,
    },
    /// Counts only together with others.
    Symptom,
    /// An attribute of a symptom, or of the patient; the bit is its place in a set of facts.
    Fact { of: FactKind, bit: u8 },
    /// What an agent does.
    Act,
    /// Speaks for an act of an agent, or against it.
    Sign { of: ConceptId, against: bool },
    /// A word that changes the status of others.
    Cue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    Onset,
    Course,
    Severity,
    Ability,
    Condition,
    Medicine,
    Person,
    Alarm,
}

impl FactKind {
    /// Whether the fact belongs to a symptom rather than to the patient.
    pub const fn of_symptom(self) -> bool {
        matches!(self, Self::Onset | Self::Course | Self::Severity | Self::Ability)
    }
}

/// Something that words can mean.
#[derive(Clone, Debug)]
pub struct Concept {
    pub id: String,
    key: u32,
    pub title: String,
    pub kind: Kind,
    /// Index in [`Lexicon::groups`] for findings and symptoms.
    pub group: u8,
    pub minimum: String,
}

impl Concept {
    pub fn needed(&self) -> Option<Needed> {
        match self.kind {
            Kind::Finding { needed, .. } => Some(needed),
            _ => None,
        }
    }
}

/// A set of facts by their bits; those that attach to a symptom stand in the lowest [`ATTRIBUTE_BITS`].
pub type Facts = u128;

pub const ATTRIBUTE_BITS: u8 = 32;

/// A condition of a [`Combination`], by index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known {
    /// A finding or symptom that is present.
    Present(ConceptId),
    /// … with this fact attached to it.
    With(ConceptId, u8),
    /// A fact of the patient or the call.
    Fact(u8),
}

impl Known {
    /// The finding or symptom that it is about.
    pub fn concept(&self) -> Option<ConceptId> {
        match *self {
            Self::Present(concept) | Self::With(concept, _) => Some(concept),
            Self::Fact(_) => None,
        }
    }
}

/// A finding that follows from others.
#[derive(Clone, Debug)]
pub struct Combination {
    pub finding: ConceptId,
    /// Facts of the patient or the call that must all hold, those that must stand at a finding among them.
    pub facts: Facts,
    /// Findings and symptoms that must all be present.
    pub all: Vec<Known>,
    pub any: Vec<Known>,
    pub none: Vec<Known>,
    pub strength: f32,
}

/// Cues that are looked for in the agent's questions; all others in the caller's words.
const OF_QUESTIONS: [&str; 4] = ["contact_question", "history_question", "presupposes", "asks_any"];

/// Facts that the call's own record gives rather than words.
pub const AGE_FACTS: [&str; 4] = ["age_65", "age_50", "age_under_5", "age_under_1"];

/// The lexicon, ready to read with.
#[derive(Debug)]
pub struct Lexicon {
    pub concepts: Vec<Concept>,
    /// Names of the groups of findings, in the order of their files.
    pub groups: Vec<String>,
    pub combinations: Vec<Combination>,
    /// Combinations that need a concept, by that concept; each stands once, where the fewest others stand. Last those
    /// that need facts alone.
    candidates: Vec<Vec<Candidate>>,
    /// Triage rules, and those that judge a concept.
    pub triage: Vec<Rule>,
    triage_of: Vec<Vec<u16>>,
    /// Concepts of facts by bit.
    pub facts: BTreeMap<u8, ConceptId>,
    pub automaton: Automaton,
    /// Hex of the SHA-256 of `lexicon.json`.
    pub sha256: String,
    by_id: HashMap<String, ConceptId>,
    by_key: HashMap<u32, ConceptId>,
}

impl Lexicon {
    pub fn compile(source: &Source) -> Result<Self, LexiconError> {
        let shared: Atoms = source
            .groups
            .iter()
            .filter(|group| group.group.is_empty() || group.group == "words")
            .flat_map(|group| group.atoms.clone())
            .collect();
        let mut lexicon = Self {
            concepts: Vec::new(),
            groups: source
                .groups
                .iter()
                .filter(|g| !g.findings.is_empty())
                .map(|g| g.group.clone())
                .collect(),
            combinations: Vec::new(),
            candidates: Vec::new(),
            triage: Vec::new(),
            triage_of: Vec::new(),
            facts: BTreeMap::new(),
            automaton: Automaton::default(),
            sha256: hex(&Sha256::digest(source.to_json())),
            by_id: HashMap::new(),
            by_key: HashMap::new(),
        };
        let mut builder = Builder::default();
        for group in &source.groups {
            let mut atoms = shared.clone();
            atoms.extend(group.atoms.clone());
            let kinds = [
                (&group.findings, "finding"),
                (&group.symptoms, "symptom"),
                (&group.facts, "fact"),
                (&group.acts, "act"),
                (&group.signs, "sign"),
                (&group.cues, "cue"),
            ];
            for (entries, what) in kinds {
                let reach = match what {
                    "act" | "sign" => Reach::Sentence,
                    "cue" => Reach::Overlap,
                    _ => Reach::Clause,
                };
                for entry in entries {
                    let audience: &[Audience] = match what {
                        "act" | "sign" => &[Audience::Agent],
                        "cue" if OF_QUESTIONS.contains(&entry.id.as_str()) => &[Audience::Agent],
                        "cue" => &[Audience::Caller],
                        _ => &[Audience::Caller, Audience::Agent],
                    };
                    let concept = lexicon.add(group, entry, what)?;
                    let pattern = |error| LexiconError::Pattern {
                        group: group.group.clone(),
                        id: entry.id.clone(),
                        error,
                    };
                    builder
                        .concept(
                            concept,
                            reach,
                            audience,
                            [&entry.says, &entry.hints, &entry.not],
                            &atoms,
                        )
                        .map_err(pattern)?;
                }
            }
        }
        if lexicon.groups.is_empty() {
            return Err(LexiconError::Empty);
        }
        if lexicon.concepts.len() + AGE_FACTS.len() > MOST_CONCEPTS {
            return Err(LexiconError::TooLong);
        }
        for name in AGE_FACTS {
            let entry = Entry {
                id: name.into(),
                title: name.replace('_', " "),
                kind: "person".into(),
                ..Entry::default()
            };
            lexicon.add(&Group::default(), &entry, "fact")?;
        }
        for group in &source.groups {
            for entry in &group.findings {
                for when in &entry.when {
                    let combination = lexicon.combination(group, entry, when)?;
                    lexicon.combinations.push(combination);
                }
            }
        }
        lexicon.candidates = candidates(&lexicon.combinations, lexicon.concepts.len());
        lexicon.add_triage(source)?;
        lexicon.automaton = builder.build();
        Ok(lexicon)
    }

    /// Compiles the triage rules.
    fn add_triage(&mut self, source: &Source) -> Result<(), LexiconError> {
        let mut of = vec![Vec::new(); self.concepts.len()];
        let mut of_tier = Vec::new();
        for group in &source.groups {
            for written in &group.triage {
                let place = self.triage.len() as u16;
                self.triage.push(self.triage_rule(group, written)?);
                for name in &written.findings {
                    let id = self.find(name).ok_or_else(|| unknown(group, &written.id, name))?;
                    of[usize::from(id.0)].push(place);
                }
                of_tier.extend(written.needed.map(|needed| (needed, place)));
            }
        }
        for (concept, rules) in self.concepts.iter().zip(&mut of) {
            if rules.is_empty() {
                let own = of_tier.iter().filter(|(needed, _)| concept.needed() == Some(*needed));
                rules.extend(own.map(|(_, place)| *place));
            }
        }
        self.triage_of = of;
        Ok(())
    }

    fn triage_rule(&self, group: &Group, written: &Triage) -> Result<Rule, LexiconError> {
        let (mut facts, mut concepts) = (BTreeMap::new(), BTreeMap::new());
        for (name, weight) in &written.with {
            let unknown = || unknown(group, &written.id, name);
            let id = self.find(name).ok_or_else(unknown)?;
            match self.concept(id).kind {
                Kind::Finding { .. } | Kind::Symptom => drop(concepts.insert(id, *weight)),
                Kind::Fact { bit, .. } => drop(facts.insert(bit, *weight)),
                _ => return Err(unknown()),
            }
        }
        Ok(Rule::new(written, &facts, &concepts))
    }

    /// The triage rules that judge a finding or symptom, by their places.
    pub fn triage_of(&self, concept: ConceptId) -> impl Iterator<Item = (u16, &Rule)> {
        let places = &self.triage_of[usize::from(concept.0)];
        places.iter().map(|place| (*place, &self.triage[usize::from(*place)]))
    }

    /// Those combinations that may hold where no other concepts have evidence and no other facts hold.
    pub fn combinations_of(&self, present: &Present, facts: Facts) -> impl Iterator<Item = &Combination> {
        ids_of(present)
            .map(|concept| usize::from(concept.0))
            .chain([self.concepts.len()])
            .flat_map(|of| &self.candidates[of])
            .filter(move |may| may.facts & !facts == 0 && may.beside.is_none_or(|beside| is_set(present, beside)))
            .map(|may| &self.combinations[may.place as usize])
    }

    /// The combinations from which this finding follows.
    pub fn combinations_for(&self, finding: ConceptId) -> &[Combination] {
        let from = self.combinations.partition_point(|of| of.finding < finding);
        let to = self.combinations.partition_point(|of| of.finding <= finding);
        &self.combinations[from..to]
    }

    pub fn find(&self, id: &str) -> Option<ConceptId> {
        self.by_id.get(id).copied()
    }

    /// The concept of a key that a snapshot holds.
    pub fn with_key(&self, key: u32) -> Option<ConceptId> {
        self.by_key.get(&key).copied()
    }

    /// What a snapshot holds in place of a concept: equal in every version of the lexicon that has it.
    pub fn key(&self, id: ConceptId) -> u32 {
        self.concept(id).key
    }

    pub fn concept(&self, id: ConceptId) -> &Concept {
        &self.concepts[id.0 as usize]
    }

    /// The bit of a fact, where the lexicon has it.
    pub fn fact(&self, id: &str) -> Option<u8> {
        match self.concept(self.find(id)?).kind {
            Kind::Fact { bit, .. } => Some(bit),
            _ => None,
        }
    }

    /// The set that holds those of these facts that the lexicon has.
    pub fn facts_of(&self, ids: &[&str]) -> Facts {
        ids.iter()
            .filter_map(|id| self.fact(id))
            .fold(0, |set, bit| set | 1 << bit)
    }

    fn add(&mut self, group: &Group, entry: &Entry, what: &str) -> Result<ConceptId, LexiconError> {
        let home = if entry.group.is_empty() {
            &group.group
        } else {
            &entry.group
        };
        let place = self.groups.iter().position(|name| name == home).unwrap_or(0) as u8;
        let kind = match what {
            "finding" => Kind::Finding {
                needed: entry.needed.ok_or_else(|| LexiconError::NoTier {
                    group: group.group.clone(),
                    id: entry.id.clone(),
                })?,
                lingers: entry.lingers,
                firm: entry.firm,
                quiet: entry.quiet,
            },
            "symptom" => Kind::Symptom,
            "fact" => {
                let of = self.fact_kind(group, entry)?;
                Kind::Fact {
                    of,
                    bit: self.next_bit(group, entry, of)?,
                }
            }
            "act" => Kind::Act,
            "sign" => Kind::Sign {
                of: self
                    .find(&entry.of)
                    .filter(|of| matches!(self.concept(*of).kind, Kind::Act))
                    .ok_or_else(|| unknown(group, &entry.id, &entry.of))?,
                against: entry.against,
            },
            _ => Kind::Cue,
        };
        let id = ConceptId(self.concepts.len() as u16);
        if let Some(other) = self.by_key.insert(key(&entry.id), id) {
            let other = self.concept(other).id.clone();
            return Err(LexiconError::Collision {
                group: group.group.clone(),
                id: entry.id.clone(),
                other,
            });
        }
        if let Kind::Fact { bit, .. } = kind {
            self.facts.insert(bit, id);
        }
        if self.by_id.insert(entry.id.clone(), id).is_some() {
            return Err(LexiconError::Twice {
                group: group.group.clone(),
                id: entry.id.clone(),
            });
        }
        self.concepts.push(Concept {
            id: entry.id.clone(),
            key: key(&entry.id),
            title: entry.title.clone(),
            kind,
            group: place,
            minimum: entry.minimum.clone(),
        });
        Ok(id)
    }

    fn fact_kind(&self, group: &Group, entry: &Entry) -> Result<FactKind, LexiconError> {
        let unknown = || LexiconError::UnknownKind {
            group: group.group.clone(),
            id: entry.id.clone(),
            kind: entry.kind.clone(),
        };
        serde_json::from_value(serde_json::Value::String(entry.kind.clone())).map_err(|_| unknown())
    }

    /// Facts that attach to a symptom have the low bits, so that a symptom keeps them in 32.
    fn next_bit(&self, group: &Group, entry: &Entry, of: FactKind) -> Result<u8, LexiconError> {
        let range = if of.of_symptom() {
            0..ATTRIBUTE_BITS
        } else {
            ATTRIBUTE_BITS..Facts::BITS as u8
        };
        range
            .into_iter()
            .find(|bit| !self.facts.contains_key(bit))
            .ok_or_else(|| LexiconError::TooManyFacts {
                group: group.group.clone(),
                id: entry.id.clone(),
            })
    }

    fn combination(&self, group: &Group, entry: &Entry, when: &When) -> Result<Combination, LexiconError> {
        let known = |name: &String| {
            let unknown = || unknown(group, &entry.id, name);
            let (concept, fact) = name
                .split_once(':')
                .map_or((name.as_str(), None), |(c, f)| (c, Some(f)));
            let id = self.find(concept).ok_or_else(unknown)?;
            match (self.concept(id).kind, fact) {
                (Kind::Finding { .. } | Kind::Symptom, None) => Ok(Known::Present(id)),
                (Kind::Finding { .. } | Kind::Symptom, Some(fact)) => {
                    // Only facts of a symptom can be attached to one; those of the patient stand by themselves.
                    let bit = self.fact(fact).filter(|bit| *bit < ATTRIBUTE_BITS);
                    bit.map(|bit| Known::With(id, bit)).ok_or_else(unknown)
                }
                (Kind::Fact { bit, .. }, None) => Ok(Known::Fact(bit)),
                _ => Err(unknown()),
            }
        };
        let each = |names: &[String]| names.iter().map(known).collect::<Result<Vec<_>, _>>();
        let mut all = each(&when.all)?;
        let mut facts = 0;
        // A fact that stands at a finding holds for the call as well.
        all.retain(|known| {
            if let Known::Fact(bit) | Known::With(_, bit) = known {
                facts |= 1 << bit;
            }
            known.concept().is_some()
        });
        Ok(Combination {
            finding: self.by_id[&entry.id],
            facts,
            all,
            any: each(&when.any)?,
            none: each(&when.none)?,
            strength: when.strength.clamp(0.0, 1.0),
        })
    }
}

/// A combination at first sight: what dismisses most of them.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    facts: Facts,
    /// Another concept that it needs.
    beside: Option<ConceptId>,
    place: u32,
}

fn candidates(combinations: &[Combination], concepts: usize) -> Vec<Vec<Candidate>> {
    let needs = |of: &Combination| of.all.iter().filter_map(Known::concept).collect::<Vec<_>>();
    let mut named = vec![0u32; concepts];
    for concept in combinations.iter().flat_map(needs) {
        named[usize::from(concept.0)] += 1;
    }
    let mut candidates = vec![Vec::new(); concepts + 1];
    for (place, combination) in (0..).zip(combinations) {
        let needs = needs(combination);
        let rarest = needs.iter().min_by_key(|concept| named[usize::from(concept.0)]);
        candidates[rarest.map_or(concepts, |concept| usize::from(concept.0))].push(Candidate {
            facts: combination.facts,
            beside: needs.iter().find(|concept| Some(*concept) != rarest).copied(),
            place,
        });
    }
    candidates
}

/// FNV-1a.
fn key(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
