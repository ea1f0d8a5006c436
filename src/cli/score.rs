//! `callward score`: the same step without Kafka.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::{Common, Failure, Judge, serve};
use crate::pipeline::{Outcome, Pipeline, Replay};
use crate::record::{Limits, decode};

/// Judge recorded calls: NDJSON events in, one line of judgement an event out.
///
/// Refused lines are told on stderr and in the summary; they fail the command only where no line is left.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward score calls.ndjson > scores.ndjson\n  \
    callward score calls.ndjson --alerts-only\n  cat calls.ndjson | callward score -")]
pub struct Args {
    /// A file of events, one a line, or - for standard input.
    file: PathBuf,
    /// Print the alerts alone, as they are published.
    #[arg(long)]
    alerts_only: bool,
    #[command(flatten)]
    judge: Judge,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let config = args.judge.config()?;
    let pipeline = serve::pipeline(&config, common)?;
    let input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    let mut output = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let summary = score(&pipeline, &config.limits, input, &mut output, args.alerts_only)?;
    output.flush()?;
    tell(&summary);
    if summary.events == 0 {
        return Err(anyhow::anyhow!("{} holds no event that can be judged", args.file.display()).into());
    }
    Ok(())
}

/// A reader of stderr that has gone, as of `2>&1 | head`, is no failure.
fn tell(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{what}");
}

#[derive(Default)]
struct Summary {
    lines: u64,
    events: u64,
    pages: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let refused: u64 = self.refused.values().sum();
        write!(
            f,
            "{} lines, {} events judged, {} pages, {refused} refused",
            self.lines, self.events, self.pages
        )?;
        self.refused
            .iter()
            .try_for_each(|(reason, count)| write!(f, ", {reason} {count}"))
    }
}

/// Reads to the end, then lets the silence after it pass.
fn score(
    pipeline: &Pipeline,
    limits: &Limits,
    mut input: impl BufRead,
    output: &mut impl Write,
    alerts_only: bool,
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let mut replay = Replay::new(pipeline);
    let mut written = Ok(());
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).context("cannot read the input")? == 0 {
            break;
        }
        summary.lines += 1;
        let bytes = line.trim_ascii();
        if bytes.is_empty() {
            continue;
        }
        match decode(bytes, None, limits) {
            Ok(decoded) => {
                summary.events += 1;
                replay.step(&decoded.event, |outcome| {
                    summary.pages += u64::from(is_page(&outcome));
                    if written.is_ok() {
                        written = write(pipeline, &outcome, output, alerts_only);
                    }
                });
                std::mem::replace(&mut written, Ok(()))?;
            }
            Err(reject) => {
                *summary.refused.entry(reject.reason.as_str()).or_default() += 1;
                tell(format_args!("line {}: {reject}", summary.lines));
            }
        }
    }
    replay.finish(|outcome| {
        summary.pages += u64::from(is_page(&outcome));
        if written.is_ok() {
            written = write(pipeline, &outcome, output, alerts_only);
        }
    });
    written?;
    Ok(summary)
}

fn is_page(outcome: &Outcome) -> bool {
    outcome.alert.as_ref().is_some_and(crate::alert::Alert::is_page)
}

fn write(pipeline: &Pipeline, outcome: &Outcome, output: &mut impl Write, alerts_only: bool) -> io::Result<()> {
    if alerts_only {
        if let Some(alert) = &outcome.alert {
            serde_json::to_writer(&mut *output, alert)?;
            output.write_all(b"\n")?;
        }
        return Ok(());
    }
    if outcome.has_line() {
        serde_json::to_writer(&mut *output, &outcome.score(pipeline.lexicon(), pipeline.model_label()))?;
        output.write_all(b"\n")?;
    }
    Ok(())
}
