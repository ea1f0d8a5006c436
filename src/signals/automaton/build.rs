//! From the wordings of the lexicon to what is looked at while a text is read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::phrases::Phrases;
use super::{ALWAYS, Anchor, Audience, Automaton, Bits, Force, Part, Reach, Row, Rule, Step, Wanted, Written};
use crate::signals::common;
use crate::signals::lexicon::ConceptId;
use crate::signals::pattern::{self, Atoms, Class, PatternError};

/// Collects the wordings of all concepts.
#[derive(Default)]
pub struct Builder {
    classes: HashMap<Class, u32>,
    rules: Vec<Rule>,
    steps: Vec<Step>,
    reach: Vec<Reach>,
    audience: Vec<&'static [Audience]>,
    written: Vec<Written>,
}

/// A rule and the classes that it wants beside its anchor, the rarest first.
#[derive(Clone, Copy)]
struct Anchored {
    rule: u32,
    wants: [u32; 2],
}

/// What a class is for; one that serves in several ways is the first of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// Its absence dismisses a rule.
    Wanted,
    /// It stands beside an anchor.
    Beside,
    AnchorOnly,
}

struct Renumbered {
    by_old: Vec<u32>,
    /// Where the numbers of wanted classes end, and of those that stand beside an anchor.
    ends: [u32; 2],
}

/// Words in 10,000 from which the absence of a class dismisses too little to ask for it.
const TOO_COMMON: u32 = 300;

impl Builder {
    pub fn concept(
        &mut self,
        concept: ConceptId,
        reach: Reach,
        audience: &'static [Audience],
        [says, hints, not]: [&[String]; 3],
        atoms: &Atoms,
    ) -> Result<(), PatternError> {
        debug_assert_eq!(self.reach.len(), usize::from(concept.0), "concepts come in order");
        self.reach.push(reach);
        self.audience.push(audience);
        for (patterns, force) in [(says, Force::Says), (hints, Force::Hints), (not, Force::Cancels)] {
            for written in patterns {
                let place = self.written.len() as u32;
                self.written.push(Written {
                    pattern: written.clone(),
                    concept,
                    states: force != Force::Cancels,
                });
                for sequence in pattern::parse(written, atoms)? {
                    let steps = sequence.0.into_iter().map(|(gap, class)| Step {
                        gap,
                        class: self.class(class),
                        sieve: 0,
                    });
                    let steps: Vec<Step> = steps.collect();
                    self.rules.push(Rule {
                        steps: self.steps.len() as u32,
                        written: place,
                        concept,
                        force,
                        count: u8::try_from(steps.len()).map_err(|_| pattern::too_long(written))?,
                        anchor: 0,
                    });
                    self.steps.extend(steps);
                }
            }
        }
        Ok(())
    }

    fn class(&mut self, mut class: Class) -> u32 {
        class.prune();
        let next = self.classes.len() as u32;
        *self.classes.entry(class).or_insert(next)
    }

    /// By class.
    fn commonness(&self) -> Vec<u32> {
        let common = common::words();
        let mut commonness = vec![0; self.classes.len()];
        for (class, id) in &self.classes {
            let phrases: u32 = class.phrases.iter().map(|phrase| common::often(phrase, &common)).sum();
            commonness[*id as usize] = phrases + 30 * class.ranges.len() as u32;
        }
        commonness
    }

    /// Numbers the classes anew: first, from 1 on, those that are wanted beside an anchor, then those that may stand
    /// beside one, those near each other that share their commonest phrase. Returns the new numbers by the old.
    fn renumber(&mut self, roles: &[Role]) -> Renumbered {
        let mut spread: HashMap<&str, usize> = HashMap::new();
        for class in self.classes.keys() {
            class
                .phrases
                .iter()
                .for_each(|phrase| *spread.entry(phrase).or_default() += 1);
        }
        let commonest_first = |class: &Class| {
            let phrases = class.phrases.iter();
            let mut phrases: Vec<_> = phrases
                .map(|phrase| (Reverse(spread[phrase.as_str()]), phrase.clone()))
                .collect();
            phrases.sort();
            phrases
        };
        let mut order: Vec<_> = self
            .classes
            .iter()
            .map(|(class, id)| (roles[*id as usize], commonest_first(class), &class.ranges, *id))
            .collect();
        order.sort();
        let mut new = Renumbered {
            by_old: vec![0; order.len()],
            ends: [0; 2],
        };
        let mut next = ALWAYS + 1;
        for role in [Role::Wanted, Role::Beside, Role::AnchorOnly] {
            for (.., old) in order.iter().filter(|(of, ..)| *of == role) {
                new.by_old[*old as usize] = next;
                next += 1;
            }
            // Each role has words of its own in a set of classes.
            next = next.next_multiple_of(u32::BITS);
            if let Some(end) = new.ends.get_mut(role as usize) {
                *end = next;
            }
        }
        self.classes.values_mut().for_each(|id| *id = new.by_old[*id as usize]);
        self.steps
            .iter_mut()
            .for_each(|step| step.class = new.by_old[step.class as usize]);
        new
    }

    pub fn build(mut self) -> Automaton {
        let commonness = self.commonness();
        let mut roles = vec![Role::AnchorOnly; commonness.len()];
        let mut anchors_of = Vec::with_capacity(self.rules.len());
        for rule in &mut self.rules {
            let steps = rule.steps(&self.steps);
            let mut rarest_first: Vec<usize> = (0..steps.len()).collect();
            rarest_first.sort_by_key(|step| commonness[steps[*step].class as usize]);
            rule.anchor = rarest_first[0] as u8;
            let class = |place: usize| rarest_first.get(place).map(|step| steps[*step].class);
            let wants = [1, 2].map(|place| class(place).filter(|class| commonness[*class as usize] < TOO_COMMON));
            for step in &rarest_first[1..] {
                let class = steps[*step].class;
                let role = if wants.contains(&Some(class)) {
                    Role::Wanted
                } else {
                    Role::Beside
                };
                roles[class as usize] = roles[class as usize].min(role);
            }
            anchors_of.push((class(0), wants));
        }
        let renumbered = self.renumber(&roles);
        let new = |class: Option<u32>| class.map_or(ALWAYS, |class| renumbered.by_old[class as usize]);
        let classes = renumbered.by_old.iter().max().map_or(1, |most| *most as usize + 1);
        let mut anchored = [vec![Vec::new(); classes], vec![Vec::new(); classes]];
        for (rule, (class, wants)) in (0..).zip(anchors_of) {
            let concept = self.rules[rule as usize].concept;
            for audience in self.audience[usize::from(concept.0)] {
                let wants = wants.map(new);
                anchored[*audience as usize][new(class) as usize].push(Anchored { rule, wants });
            }
        }
        let (phrases, classes_of) = self.phrases();
        let [wanted, beside] = renumbered.ends;
        let mut automaton = Automaton {
            phrases,
            wanted_words: (wanted / u32::BITS) as usize,
            ..Automaton::default()
        };
        let mut sieves = vec![0u64; classes];
        for (row, classes) in classes_of.iter().enumerate() {
            classes
                .iter()
                .for_each(|class| sieves[*class as usize] |= 1 << (row % 64));
            let bits = bits_of(classes.range(..beside).copied());
            let signs = bits.partition_point(|(word, _)| *word < wanted / u32::BITS) as u32;
            let classes_of_row = Part::added(&mut automaton.bits, bits);
            let wanted = anchored.each_ref().map(|anchored| {
                let here = classes.iter().flat_map(|class| &anchored[*class as usize]);
                automaton.add_wanted(here.copied())
            });
            automaton.rows.push(Row {
                classes: classes_of_row,
                signs: classes_of_row.from + signs,
                wanted,
            });
        }
        automaton.wanted.push(Wanted {
            class: ALWAYS,
            anchors: automaton.anchors.len() as u32,
        });
        self.steps
            .iter_mut()
            .for_each(|step| step.sieve = sieves[step.class as usize]);
        Automaton {
            rules: self.rules,
            steps: self.steps,
            reach: self.reach,
            written: self.written,
            ..automaton
        }
    }

    /// The phrases of all classes, and the classes of their rows.
    fn phrases(&self) -> (Phrases, Vec<BTreeSet<u32>>) {
        let mut wordings: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut ranges: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
        for (class, id) in &self.classes {
            for phrase in &class.phrases {
                wordings.entry(phrase).or_default().push(*id);
            }
            for range in &class.ranges {
                ranges.entry(*range).or_default().push(*id);
            }
        }
        let each_range: Vec<(i64, i64)> = ranges.keys().copied().collect();
        let (phrases, rows) = Phrases::new(wordings.keys().copied(), &each_range, common::words().into_keys());
        let classes: Vec<Vec<u32>> = wordings.into_values().chain(ranges.into_values()).collect();
        let classes_of = |row: &Vec<u32>| {
            let each = row.iter().flat_map(|phrase| &classes[*phrase as usize]);
            each.copied().collect()
        };
        (phrases, rows.iter().map(classes_of).collect())
    }
}

impl Automaton {
    /// Puts rules to look at behind the others, those together that want the same class.
    fn add_wanted(&mut self, anchored: impl Iterator<Item = Anchored>) -> Part {
        let mut by_class: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
        for Anchored { rule, wants } in anchored {
            by_class.entry(wants[0]).or_default().insert(rule, wants[1]);
        }
        let wanted = by_class.into_iter().map(|(class, anchors)| {
            let begin = self.anchors.len() as u32;
            self.anchors
                .extend(anchors.into_iter().map(|(rule, wants)| Anchor { rule, wants }));
            Wanted { class, anchors: begin }
        });
        Part::added(&mut self.wanted, wanted)
    }
}

/// Takes ascending classes to the words of their set.
fn bits_of(classes: impl Iterator<Item = u32>) -> Vec<Bits> {
    let mut words: Vec<Bits> = Vec::new();
    for class in classes {
        let bit = 1 << (class % u32::BITS);
        match words.last_mut() {
            Some((word, bits)) if *word == class / u32::BITS => *bits |= bit,
            _ => words.push((class / u32::BITS, bit)),
        }
    }
    words
}
