//! From the wordings of the lexicon to what is looked at while a text is read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::phrases::Phrases;
use super::rows::{Look, Row, Wanted};
use super::{ALWAYS, Audience, Automaton, ClassId, Force, Reach, Rule, Step, Written};
use crate::signals::common;
use crate::signals::lexicon::ConceptId;
use crate::signals::pattern::{self, Atoms, Class, PatternError};

/// Collects the wordings of all concepts.
#[derive(Default)]
pub struct Builder {
    classes: HashMap<Class, ClassId>,
    rules: Vec<Rule>,
    steps: Vec<Step>,
    pattern_of: Vec<u32>,
    reach: Vec<Reach>,
    audience: Vec<&'static [Audience]>,
    written: Vec<Written>,
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

/// Words in a million from which the absence of a class dismisses too little to ask for it.
const TOO_COMMON: u32 = 30_000;

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
                    let steps = sequence.0.into_iter().map(|(gap, class)| {
                        let class = self.class(class).ok_or_else(|| pattern::too_many_classes(written))?;
                        Ok(Step { gap, class, sieve: 0 })
                    });
                    let steps = steps.collect::<Result<Vec<Step>, PatternError>>()?;
                    self.rules.push(Rule {
                        steps: self.steps.len() as u32,
                        concept,
                        force,
                        count: u8::try_from(steps.len()).map_err(|_| pattern::too_long(written))?,
                        anchor: 0,
                    });
                    self.pattern_of.push(place);
                    self.steps.extend(steps);
                }
            }
        }
        Ok(())
    }

    fn class(&mut self, mut class: Class) -> Option<ClassId> {
        class.prune();
        let count = self.classes.len();
        let next = ClassId::try_from(count).ok()?;
        (count < Wanted::MOST_CLASSES).then(|| *self.classes.entry(class).or_insert(next))
    }

    /// By class.
    fn commonness(&self) -> Vec<u32> {
        let common = common::words();
        let mut commonness = vec![0; self.classes.len()];
        for (class, id) in &self.classes {
            let phrases: u32 = class.phrases.iter().map(|phrase| common::often(phrase, &common)).sum();
            commonness[usize::from(*id)] = phrases + 3_000 * class.ranges.len() as u32;
        }
        commonness
    }

    /// The new number of each class: first those that are wanted beside an anchor, then those that may stand
    /// beside one, those near each other that share their commonest phrase. Also where the numbers of these roles end.
    fn numbers(&self, roles: &[Role]) -> (Vec<ClassId>, [ClassId; 2]) {
        let mut spread: HashMap<&str, usize> = HashMap::new();
        for phrase in self.classes.keys().flat_map(|class| &class.phrases) {
            *spread.entry(phrase).or_default() += 1;
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
            .map(|(class, id)| (roles[usize::from(*id)], commonest_first(class), &class.ranges, *id))
            .collect();
        order.sort();
        let mut numbers = vec![ALWAYS; order.len()];
        for (new, (.., old)) in Wanted::numbers().zip(&order) {
            numbers[usize::from(*old)] = new;
        }
        let end = |role| {
            let before = order.partition_point(|(of, ..)| *of <= role);
            Wanted::numbers().nth(before).unwrap_or(ClassId::MAX)
        };
        (numbers, [end(Role::Wanted), end(Role::Beside)])
    }

    pub fn build(mut self) -> Automaton {
        let commonness = self.commonness();
        let mut roles = vec![Role::AnchorOnly; self.classes.len()];
        let mut looks = Vec::with_capacity(self.rules.len());
        for rule in &mut self.rules {
            let steps = rule.steps(&self.steps);
            let class = |step: usize| steps[step].class;
            let often = |step: usize| commonness[usize::from(class(step))];
            let mut rarest_first: Vec<usize> = (0..steps.len()).collect();
            rarest_first.sort_by_key(|step| often(*step));
            let wants = [1, 2].map(|place| {
                let step = rarest_first.get(place).filter(|step| often(**step) < TOO_COMMON);
                step.map(|step| class(*step))
            });
            for step in &rarest_first[1..] {
                let is_wanted = wants.contains(&Some(class(*step)));
                let role = if is_wanted { Role::Wanted } else { Role::Beside };
                let known = &mut roles[usize::from(class(*step))];
                *known = role.min(*known);
            }
            looks.push((class(rarest_first[0]), wants));
            rule.anchor = rarest_first[0] as u8;
        }
        let (numbers, [wanted, beside]) = self.numbers(&roles);
        let new = |class: ClassId| numbers[usize::from(class)];
        self.steps.iter_mut().for_each(|step| step.class = new(step.class));
        self.classes.values_mut().for_each(|class| *class = new(*class));
        let mut looks_of = [BTreeMap::new(), BTreeMap::new()];
        for (rule, (anchor, wants)) in (0..).zip(looks) {
            let wants = wants.map(|class| class.map_or(ALWAYS, new));
            for audience in self.audience[usize::from(self.rules[rule as usize].concept.0)] {
                let of_class: &mut Vec<Look> = looks_of[*audience as usize].entry(new(anchor)).or_default();
                of_class.push(Look { rule, wants });
            }
        }
        let (phrases, classes_of) = self.phrases();
        let mut automaton = Automaton {
            phrases,
            ..Automaton::default()
        };
        let most = numbers.iter().max().copied().unwrap_or(ALWAYS);
        let mut sieves = vec![0u64; usize::from(most) + 1];
        let mut rows = Vec::with_capacity(classes_of.len());
        for classes in &classes_of {
            let looks = looks_of.each_ref().map(|looks_of| {
                let here = classes.iter().filter_map(|class| looks_of.get(class)).flatten();
                let mut here: Vec<Look> = here.copied().collect();
                here.sort_by_key(|look| (look.wants[0], look.rule));
                here
            });
            let row = automaton.rows.push(&Row {
                classes: classes.range(..beside).copied().collect(),
                wanted: classes.range(..wanted).count(),
                looks,
            });
            for class in classes {
                sieves[usize::from(*class)] |= 1 << (row % 64);
            }
            rows.push(row);
        }
        automaton.phrases.renumber(&rows);
        for step in &mut self.steps {
            step.sieve = sieves[usize::from(step.class)];
        }
        Automaton {
            rules: self.rules,
            steps: self.steps,
            pattern_of: self.pattern_of,
            reach: self.reach,
            written: self.written,
            ..automaton
        }
    }

    /// The phrases of all classes, and the classes of their rows.
    fn phrases(&self) -> (Phrases, Vec<BTreeSet<ClassId>>) {
        let mut wordings: BTreeMap<&str, Vec<ClassId>> = BTreeMap::new();
        let mut ranges: BTreeMap<(i64, i64), Vec<ClassId>> = BTreeMap::new();
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
        let classes: Vec<Vec<ClassId>> = wordings.into_values().chain(ranges.into_values()).collect();
        let classes_of = |row: &Vec<u32>| {
            let each = row.iter().flat_map(|phrase| &classes[*phrase as usize]);
            each.copied().collect()
        };
        (phrases, rows.iter().map(classes_of).collect())
    }
}
