//! `callward compare`: two versions of the model on the same labelled calls.

use std::path::PathBuf;

use serde::Serialize;

use super::evaluate::counted;
use super::{Common, Failure, data, gate};
use crate::config::Config;
use crate::evaluation::{CallResult, Disagreement, LabelledCall, Paired, compare, judge};
use crate::pipeline::Pipeline;
use crate::registry::{DataSource, Version};

/// Compare two versions of the model on the same labelled calls.
///
/// Differences are paired, with 95 % intervals, and every call of which the two say different things is named. Both stand
/// in the folder of models; name calls that neither was trained on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward compare ours.ndjson --challenger 0012\n  \
    callward compare models/data/authored/calls-?.ndjson --champion 0011 --challenger 0012")]
pub struct Args {
    /// Files of calls with labels beside them; they count together, one call of each case.
    #[arg(required = true)]
    calls: Vec<PathBuf>,
    /// The version in use; without it the alias `champion`.
    #[arg(long, value_name = "VERSION")]
    champion: Option<String>,
    /// The version that may take its place.
    #[arg(long, value_name = "VERSION")]
    challenger: String,
    /// Policy and limits of this configuration in place of the defaults.
    #[arg(long, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    champion: String,
    challenger: String,
    calls: usize,
    measures: Vec<Paired>,
    disagreements: Vec<Disagreement>,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let config = Config::load(args.config.as_deref())?;
    let registry = common.registry();
    let champion = args
        .champion
        .map_or_else(|| registry.champion(), |version| registry.load(&version));
    let challenger = registry.load(&args.challenger);
    let on = On::read(&args.calls)?;
    let pipeline = |version: Version| {
        on.sources
            .iter()
            .for_each(|source| data::warn_if_learned_from(&version, source));
        let pipeline = version.pipeline(config.policy)?;
        Ok::<_, Failure>(pipeline.with_bounds(config.bounds))
    };
    let (champion, challenger) = (pipeline(champion.map_err(gate)?)?, pipeline(challenger.map_err(gate)?)?);
    let (before, after) = on.judged_by(&champion, &challenger);
    let (measures, disagreements) = compare(&before, &after);
    let report = Report {
        champion: champion.model_label().to_owned(),
        challenger: challenger.model_label().to_owned(),
        calls: before.len(),
        measures,
        disagreements,
    };
    if common.output.is_json() {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

/// Labelled calls of several files.
pub struct On {
    calls: Vec<LabelledCall>,
    pub sources: Vec<DataSource>,
}

impl On {
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (mut calls, mut sources) = (Vec::new(), Vec::new());
        for path in paths {
            let (read, source) = data::read_labelled(path)?;
            calls.extend(read);
            sources.push(source);
        }
        Ok(Self { calls, sources })
    }

    /// What each makes of the same calls, one of each case whatever file it stands in.
    pub fn judged_by(&self, champion: &Pipeline, challenger: &Pipeline) -> (Vec<CallResult>, Vec<CallResult>) {
        let counted = counted(&self.calls);
        (
            judge(champion, counted.iter().copied()),
            judge(challenger, counted.iter().copied()),
        )
    }
}

fn print(report: &Report) {
    println!(
        "{} calls: champion {}, challenger {}\n  {:56} champion  challenger  difference [95 %]           calls",
        report.calls, report.champion, report.challenger, ""
    );
    for row in &report.measures {
        let difference = &row.difference;
        println!(
            "  {:56} {:8.3}  {:10.3}  {:+.3} [{:+.3}, {:+.3}] {:10}",
            row.measure, row.champion, row.challenger, difference.value, difference.low, difference.high, difference.n
        );
    }
    let better = report.disagreements.iter().filter(|call| call.better).count();
    println!(
        "they differ on {} calls: the challenger is better on {better} and worse on {}",
        report.disagreements.len(),
        report.disagreements.len() - better
    );
    for call in &report.disagreements {
        println!(
            "  {:8} {:30} {}{}: {} → {}",
            if call.better { "better" } else { "worse" },
            call.call_id,
            call.needed.as_str(),
            if call.handed_over { ", handed over" } else { "" },
            call.champion.as_str(),
            call.challenger.as_str()
        );
    }
}
