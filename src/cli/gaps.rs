//! `callward gaps`: where the lexicon does not know how people say it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Common, Failure, data};
use crate::call::{Bounds, Call, Known};
use crate::record::CallId;
use crate::signals::{Lexicon, Reader, Source};

/// Find gaps of the lexicon: single turns that state a finding it does not name, and near-misses that it takes for one.
///
/// Each turn is read with the question before it, as the beginning of a call. What else was read in it stands beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward gaps models/data/authored/phrases-e.ndjson\n  \
    callward gaps ours.ndjson --finding acute_chest_pain --finding suspected_dvt --output json")]
pub struct Args {
    /// Files of single turns with their finding and kind.
    #[arg(required = true)]
    phrases: Vec<PathBuf>,
    /// Only these findings.
    #[arg(long, value_name = "ID")]
    finding: Vec<String>,
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
                    let status = if known.is_present() { "present" } else { known.status.as_str() };
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
            let agent = gap.agent.as_ref().map(|agent| format!("({agent}) ")).unwrap_or_default();
            println!("  [{}] {agent}{}\n      read: {}", gap.kind, gap.caller, gap.read.join(", "));
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
