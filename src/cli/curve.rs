//! `callward curve`: whether more labelled calls would pay.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Common, Failure, data};
use crate::evaluation::{Recipe, learning_curve};
use crate::signals::{Lexicon, Source};

/// Learn from the first file of calls, the first two, and so on, and measure each on calls that were kept apart.
///
/// Phrases are learned from at every point. Of twins with the same words those that were handed over are left out.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward curve models/data/authored/calls-[bcdgh].ndjson \\\n    \
    --held models/data/authored/calls-t.ndjson"
)]
pub struct Args {
    #[command(flatten)]
    from: data::Learnable,
    /// Files of calls to measure on, together.
    #[arg(long, value_name = "FILE", required = true)]
    held: Vec<PathBuf>,
    #[arg(long, default_value_t = Recipe::default().seed)]
    seed: u64,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    let lexicon = Arc::new(Lexicon::compile(&Source::read(&args.from.lexicon)?)?);
    let read = args.from.read()?;
    let mut held = Vec::new();
    for path in &args.held {
        held.extend(data::read_labelled(path)?.0);
    }
    let held: Vec<_> = held
        .iter()
        .filter(|call| call.label.is_sure() && !call.label.is_handed_over())
        .collect();
    let recipe = Recipe {
        seed: args.seed,
        ..Recipe::default()
    };
    let points = learning_curve(&lexicon, &read.corpora, &read.phrases, &held, &recipe, |stage| {
        bar.set_message(stage.to_owned())
    })?;
    bar.finish_and_clear();
    if common.output.is_json() {
        println!("{}", serde_json::json!({ "held": held.len(), "points": points }));
        return Ok(());
    }
    println!(
        "{:>6}  {:24}  recall at 10 % false alarms   on {} calls",
        "calls",
        "AUROC of need",
        held.len()
    );
    for point in points {
        let (a, r) = (point.auroc, point.recall_at_10);
        println!(
            "{:>6}  {:.3} [{:.3}, {:.3}]      {:.3} [{:.3}, {:.3}]",
            point.calls, a.value, a.low, a.high, r.value, r.low, r.high
        );
    }
    Ok(())
}
