//! `callward gaps`: where the lexicon does not know how people say it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{Common, Failure, data};
use crate::call::{Bounds, Call, Deed, Known};
use crate::record::CallId;
use crate::signals::{Lexicon, Reader, Source};

/// Find gaps of the lexicon: single turns that state a finding it does not name, and near-misses that it takes for one.
///
/// Each turn is read with the question before it, as the beginning of a call. What else was read in it stands beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward gaps models/data/authored/phrases-k.ndjson\n  \
    callward gaps ours.ndjson --finding acute_chest_pain --finding suspected_dvt --output json\n  \
    callward gaps --acts tests/fixtures/handling.ndjson")]
pub struct Args {
    /// Files of single turns with their finding and kind.
    #[arg(required_unless_present = "acts")]
    phrases: Vec<PathBuf>,
    /// A file of agents' sentences with the act that each is (`none` for small talk): which are not understood.
    ///
    /// Of sentences marked as kept apart only the totals are shown.
    #[arg(long, value_name = "FILE", conflicts_with = "phrases")]
    acts: Option<PathBuf>,
    /// Only these findings.
    #[arg(long, value_name = "ID")]
    finding: Vec<String>,
    /// The lexicon to read with.
    #[arg(long, value_name = "FOLDER", default_value = "models/lexicon")]
    lexicon: PathBuf,
}

#[derive(Debug, Default, Serialize)]
struct Finding {
    stated: usize,
    named: usize,
    near_misses: usize,
    taken_as_present: usize,
    gaps: Vec<Gap>,
}

#[derive(Debug, Serialize)]
struct Gap {
    kind: String,
    agent: Option<String>,
    caller: String,
    /// What was read in it, with its status.
    read: Vec<String>,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let lexicon = Arc::new(Lexicon::compile(&Source::read(&args.lexicon)?)?);
    let reader = Reader::new(lexicon.clone(), Arc::default());
    if let Some(path) = &args.acts {
        return acts(path, &reader, common);
    }
    let id = CallId::new("turn").expect("a valid id");
    let mut findings: BTreeMap<String, Finding> = BTreeMap::new();
    for path in &args.phrases {
        for phrase in data::read_phrases(path)?.0 {
            if !args.finding.is_empty() && !args.finding.contains(&phrase.finding) {
                continue;
            }
            let mut call = Call::new(id.clone());
            for event in phrase.events(&id) {
                call.apply(&reader, &event, &Bounds::default());
            }
            let heard = call.heard();
            let concept = lexicon.find(&phrase.finding);
            let present = concept.and_then(|id| heard.find(id)).is_some_and(Known::is_present);
            let finding = findings.entry(phrase.finding.clone()).or_default();
            let (all, hit) = if phrase.is_present() {
                (&mut finding.stated, &mut finding.named)
            } else {
                (&mut finding.near_misses, &mut finding.taken_as_present)
            };
            *all += 1;
            *hit += usize::from(present);
            if present != phrase.is_present() {
                let read = heard.known.iter().map(|known| {
                    let name = &lexicon.concept(known.concept).id;
                    let status = if known.is_present() {
                        "present"
                    } else {
                        known.status.as_str()
                    };
                    format!("{name} {status}")
                });
                finding.gaps.push(Gap {
                    kind: phrase.kind,
                    agent: phrase.agent,
                    caller: phrase.caller,
                    read: read.collect(),
                });
            }
        }
    }
    if common.output.is_json() {
        println!("{}", serde_json::to_string_pretty(&findings)?);
        return Ok(());
    }
    for (id, finding) in &findings {
        println!(
            "{id}: {} of {} stated are named; {} of {} near-misses are taken as present",
            finding.named, finding.stated, finding.taken_as_present, finding.near_misses
        );
        for gap in &finding.gaps {
            let agent = gap
                .agent
                .as_ref()
                .map(|agent| format!("({agent}) "))
                .unwrap_or_default();
            println!(
                "  [{}] {agent}{}\n      read: {}",
                gap.kind,
                gap.caller,
                gap.read.join(", ")
            );
        }
    }
    let sum = |of: fn(&Finding) -> usize| findings.values().map(of).sum::<usize>();
    println!(
        "together: {} of {} stated are named; {} of {} near-misses are taken as present",
        sum(|f| f.named),
        sum(|f| f.stated),
        sum(|f| f.taken_as_present),
        sum(|f| f.near_misses)
    );
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Sentence {
    act: String,
    text: String,
    #[serde(default)]
    kept: bool,
}

/// Understood and all, of sentences that were looked at and of those kept apart; the others taken for the act.
#[derive(Debug, Default, Serialize)]
struct Understood {
    looked_at: [usize; 2],
    kept_apart: [usize; 2],
    taken_for_it: usize,
    missed: Vec<String>,
}

fn acts(path: &Path, reader: &Reader, common: &Common) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lexicon = reader.lexicon();
    let mut all: BTreeMap<String, Understood> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let sentence: Sentence =
            serde_json::from_str(line).with_context(|| format!("{} line {}", path.display(), number + 1))?;
        let turn = reader.agent(&sentence.text);
        let found: Vec<&str> = turn.acts.iter().map(|act| lexicon.concept(*act).id.as_str()).collect();
        // Several acts may be one deed: a clinician who rings at once is a hand-over.
        let deed = Deed::of_act(&sentence.act);
        let is_it = |act: &str| act == sentence.act || deed.is_some_and(|deed| Deed::of_act(act) == Some(deed));
        for other in found.iter().filter(|act| !is_it(act)) {
            all.entry((*other).to_owned()).or_default().taken_for_it += 1;
        }
        let own = all.entry(sentence.act.clone()).or_default();
        let understood = found.iter().any(|act| is_it(act)) || (sentence.act == "none" && found.is_empty());
        let count = if sentence.kept {
            &mut own.kept_apart
        } else {
            &mut own.looked_at
        };
        count[0] += usize::from(understood);
        count[1] += 1;
        if !understood && !sentence.kept {
            own.missed
                .push(format!("{} (read: {})", sentence.text, found.join(", ")));
        }
    }
    if common.output.is_json() {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    for (act, own) in &all {
        println!(
            "{act}: {} of {} looked at are understood, {} of {} kept apart; {} others are taken for it",
            own.looked_at[0], own.looked_at[1], own.kept_apart[0], own.kept_apart[1], own.taken_for_it
        );
        own.missed.iter().for_each(|missed| println!("  {missed}"));
    }
    let sum = |of: fn(&Understood) -> [usize; 2]| {
        let acts = all.iter().filter(|(act, _)| *act != "none").map(|(_, own)| of(own));
        acts.fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]])
    };
    let (looked_at, kept_apart) = (sum(|own| own.looked_at), sum(|own| own.kept_apart));
    println!(
        "together: {} of {} looked at, {} of {} kept apart",
        looked_at[0], looked_at[1], kept_apart[0], kept_apart[1]
    );
    Ok(())
}
