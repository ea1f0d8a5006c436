//! `callward patterns`: the record of each pattern of the lexicon.

use std::sync::Arc;

use serde::Serialize;

use super::{Common, Failure, data};
use crate::evaluation::counts;
use crate::signals::{Kind, Lexicon, Source};

/// List the patterns of findings and symptoms with how often they were right and wrong on labelled calls and turns.
///
/// Right: the call or turn needed a clinician. Wrong: it needed none. The worst come first. Training weighs each pattern
/// by this record. One that was often wrong and never right is better written anew; one that never came up is only rare.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    callward patterns models/data/authored/calls-5.ndjson\n  \
    callward patterns ours.ndjson --phrases turns.ndjson --output json | jq 'select(.right == 0 and .wrong >= 5)'")]
pub struct Args {
    #[command(flatten)]
    learnable: data::Learnable,
}

#[derive(Debug, Serialize)]
struct Row<'p> {
    finding: &'p str,
    pattern: &'p str,
    /// Calls and single turns.
    right: u32,
    wrong: u32,
    /// How far it is trusted by this record, 0 to 1.
    reliability: f32,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let lexicon = Arc::new(Lexicon::compile(&Source::read(&args.learnable.lexicon)?)?);
    let read = args.learnable.read()?;
    let counts = counts(&lexicon, &read.corpora, &read.phrases).reliability;
    let reliability = counts.reliability(&lexicon);
    let mut rows: Vec<Row<'_>> = (0..)
        .zip(lexicon.automaton.written())
        .filter(|(_, written)| {
            let kind = lexicon.concept(written.concept).kind;
            written.states && matches!(kind, Kind::Finding { .. } | Kind::Symptom)
        })
        .map(|(number, written)| {
            let [right, wrong] = counts.of(number);
            Row {
                finding: &lexicon.concept(written.concept).id,
                pattern: &written.pattern,
                right,
                wrong,
                reliability: reliability.of(number),
            }
        })
        .collect();
    rows.sort_by(|a, b| b.wrong.cmp(&a.wrong).then(a.right.cmp(&b.right)));
    for row in &rows {
        if common.output.is_json() {
            println!("{}", serde_json::to_string(row)?);
        } else {
            println!(
                "{:5} right {:5} wrong  {:.2}  {}: {}",
                row.right, row.wrong, row.reliability, row.finding, row.pattern
            );
        }
    }
    Ok(())
}
