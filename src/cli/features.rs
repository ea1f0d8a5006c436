//! `callward features`: calls as the numbers that a model reads, for those who study or train elsewhere.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{Common, Failure, Judge, data, serve};
use crate::features::{NEED, RISK, Spec};
use crate::pipeline::outcomes_of;

/// Print what the model reads of every event: NDJSON with one number a feature.
///
/// The names and their meanings stand in the first line, of type "features". Deadlines have no line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward features calls.ndjson > features.ndjson\n  \
    callward features calls.ndjson --model 0011 --models models")]
pub struct Args {
    /// Files of calls with labels beside them.
    #[arg(required = true)]
    calls: Vec<PathBuf>,
    #[command(flatten)]
    judge: Judge,
}

#[derive(Serialize)]
struct Meaning {
    name: &'static str,
    meaning: &'static str,
}

#[derive(Serialize)]
struct Row<'r> {
    call_id: &'r str,
    seq: u64,
    need: &'r [f32],
    risk: &'r [f32],
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let pipeline = serve::pipeline(&args.judge.config()?, common)?;
    let mut output = BufWriter::new(std::io::stdout().lock());
    let meanings = |specs: &[Spec]| -> Vec<Meaning> {
        let of = |spec: &Spec| Meaning {
            name: spec.name,
            meaning: spec.meaning,
        };
        specs.iter().map(of).collect()
    };
    let head = serde_json::json!({
        "type": "features", "model": pipeline.model_label(), "need": meanings(&NEED), "risk": meanings(&RISK),
    });
    writeln!(output, "{head}")?;
    for path in &args.calls {
        for events in data::read_calls(path)?.0 {
            for outcome in outcomes_of(&pipeline, &events) {
                let Some((features, risk)) = outcome.features.as_ref().filter(|_| outcome.has_line()) else {
                    continue;
                };
                let row = Row {
                    call_id: outcome.call_id.as_str(),
                    seq: outcome.seq,
                    need: &features.need,
                    risk,
                };
                serde_json::to_writer(&mut output, &row)?;
                output.write_all(b"\n")?;
            }
        }
    }
    output.flush()?;
    Ok(())
}
