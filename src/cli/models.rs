//! `callward models`: what versions there are, which is used, and moving that.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::compare::On;
use super::{Common, Failure, gate};
use crate::alert::Settings;
use crate::evaluation::{CallResult, NeededLabel, judge};
use crate::pipeline::Pipeline;
use crate::registry::{Grounds, Move, Registry, Version};
use crate::simulation;

/// List, verify, promote and roll back versions of the model.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward models list\n  callward models history\n  callward models verify 0012\n  \
    callward models promote 0012 --reason \"fewer false pages\" \
    --approved-by \"R. Alvarez\" --on ours.ndjson"
)]
pub struct Args {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// All versions, with the aliases that point to them.
    List,
    /// How the champion moved: when, why, and who approved it; one JSON object a line where no person reads.
    History,
    /// The manifest of a version (the champion's without a number).
    Show {
        /// As in `models list`.
        version: Option<String>,
    },
    /// Check checksums, schema, lexicon and golden rows; exit code 3 where one fails.
    Verify {
        /// As in `models list`; without it the champion.
        version: Option<String>,
    },
    /// The model card of a version.
    Card {
        /// As in `models list`.
        version: String,
    },
    /// Make a version the champion; exit code 3 where it fails a gate.
    ///
    /// Gates: it is as it was trained; every call of the demo whose need nobody meets pages; on the labelled calls of
    /// --on, which neither was trained on, it pages as many of the emergencies in time as the champion does and no more
    /// of the calls without need, but for one in twenty.
    Promote {
        /// As in `models list`.
        version: String,
        #[command(flatten)]
        who: Who,
        /// Labelled calls to compare it with the champion on.
        #[arg(long, value_name = "FILE")]
        on: Vec<PathBuf>,
        /// Promote though a gate fails, but for the first: why, which stands in the history.
        #[arg(long, value_name = "WHY")]
        despite: Option<String>,
    },
    /// Back to the champion before.
    Rollback {
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, clap::Args)]
struct Who {
    /// Why; it stands in the history.
    #[arg(long)]
    reason: String,
    /// Who answers for it; it stands in the history.
    #[arg(long, value_name = "NAME")]
    approved_by: String,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let registry = common.registry();
    let now = || jiff::Timestamp::now().to_string();
    match args.command {
        ModelsCommand::List => {
            let aliases = registry.aliases()?;
            let aliases_of = |version: &str| -> Vec<&str> {
                [(&aliases.champion, "champion"), (&aliases.challenger, "challenger")]
                    .into_iter()
                    .filter(|(to, _)| to.as_deref() == Some(version))
                    .map(|(_, name)| name)
                    .collect()
            };
            let versions = registry.versions()?;
            if common.output.is_json() {
                let line = |version: &String| json!({ "version": version, "aliases": aliases_of(version) });
                println!("{}", json!(versions.iter().map(line).collect::<Vec<_>>()));
            } else {
                for version in &versions {
                    println!("{version} {}", aliases_of(version).join(", "));
                }
            }
        }
        ModelsCommand::History => {
            for moved in registry.history()? {
                tell(&moved, common);
            }
        }
        ModelsCommand::Show { version } => {
            let version = match version {
                Some(version) => registry.load(&version).map_err(gate)?,
                None if registry.aliases().is_ok_and(|aliases| aliases.champion.is_some()) => {
                    registry.champion().map_err(gate)?
                }
                None => Version::embedded().map_err(gate)?,
            };
            println!("{}", serde_json::to_string_pretty(&version.manifest)?);
        }
        ModelsCommand::Verify { version } => {
            let version = match (&common.models, version) {
                (_, Some(version)) => registry.verify(&version).map_err(gate)?,
                (None, None) => Version::embedded().map_err(gate)?,
                (Some(_), None) => registry.verify_champion().map_err(gate)?,
            };
            if common.output.is_json() {
                println!("{}", json!({ "model": version.model.label(), "holds": true }));
            } else {
                println!(
                    "{} is as it was trained: checksums, schema, lexicon and golden rows hold",
                    version.model.label()
                );
            }
        }
        ModelsCommand::Card { version } => {
            let path = registry.folder_of(&version).join("MODEL_CARD.md");
            let card = std::fs::read_to_string(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
            print!("{card}");
        }
        ModelsCommand::Promote {
            version,
            who,
            on,
            despite,
        } => {
            let on = (!on.is_empty()).then(|| On::read(&on)).transpose()?;
            let failed = failed_gates(&registry, &version, on.as_ref())?;
            let despite = despite.filter(|why| !why.trim().is_empty());
            if !failed.is_empty() && despite.is_none() {
                return Err(gate(anyhow::anyhow!(
                    "{version} is not promoted: {}. --despite WHY promotes it all the same",
                    failed.join("; ")
                )));
            }
            let grounds = Grounds {
                reason: who.reason,
                compared_on: on.map_or_else(Vec::new, |on| {
                    on.sources.into_iter().map(|source| source.name).collect()
                }),
                despite: despite
                    .filter(|_| !failed.is_empty())
                    .map(|why| format!("{}: {why}", failed.join("; "))),
                approved_by: who.approved_by,
            };
            let moved = registry.promote(&version, grounds, &now()).map_err(gate)?;
            tell(&moved, common);
            eprintln!("{UNTIL_THEN}");
        }
        ModelsCommand::Rollback { who } => {
            let grounds = Grounds {
                reason: who.reason,
                approved_by: who.approved_by,
                ..Grounds::default()
            };
            let moved = registry.rollback(grounds, &now()).map_err(gate)?;
            tell(&moved, common);
            eprintln!("{UNTIL_THEN}");
        }
    }
    Ok(())
}

const UNTIL_THEN: &str = "the program judges by the champion that it was built with until it is built again, or until --models \
     or model.folder names this folder and serve is started anew";

fn tell(moved: &Move, common: &Common) {
    if common.output.is_json() {
        println!("{}", serde_json::to_string(moved).expect("a move is plain data"));
        return;
    }
    let from = moved.from.as_deref().unwrap_or("none");
    println!("{}  {}: {from} → {}", moved.at, moved.alias, moved.to);
    let grounds = &moved.grounds;
    println!("  {}, approved by {}", grounds.reason, grounds.approved_by);
    if !grounds.compared_on.is_empty() {
        println!("  compared on {}", grounds.compared_on.join(", "));
    }
    if let Some(despite) = &grounds.despite {
        println!("  despite: {despite}");
    }
}

/// Of so many calls one may be judged worse than before.
const ONE_WORSE_OF: usize = 20;

/// What speaks against a version, beside what verifying finds. It is judged with the policy that the program comes with.
fn failed_gates(registry: &Registry, version: &str, on: Option<&On>) -> Result<Vec<String>, Failure> {
    let challenger = registry.verify(version).map_err(gate)?;
    let judges = challenger.pipeline(Settings::default())?;
    let golden = simulation::labelled();
    let golden = golden.iter().filter(|call| call.label.under_escalated);
    let silent: Vec<String> = judge(&judges, golden)
        .into_iter()
        .filter(|call| call.page.is_none())
        .map(|call| call.call_id)
        .collect();
    let mut failed = Vec::new();
    if !silent.is_empty() {
        failed.push(format!("it is silent on {} of the demo", silent.join(", ")));
    }
    let Some(champion) = registry.aliases()?.champion else {
        return Ok(failed);
    };
    let Some(on) = on else {
        failed.push(format!(
            "it was not compared with the champion {champion}: name labelled calls with --on"
        ));
        return Ok(failed);
    };
    match registry.load(&champion) {
        Ok(champion) => failed.extend(worse_than(&champion, &challenger, &judges, on)?),
        // It may be its layout that is the reason to replace it.
        Err(error) => failed.push(format!(
            "the champion {champion} cannot be read to compare with: {error}"
        )),
    }
    Ok(failed)
}

fn worse_than(champion: &Version, challenger: &Version, judges: &Pipeline, on: &On) -> Result<Vec<String>, Failure> {
    let mut failed = Vec::new();
    for source in &on.sources {
        for version in [champion, challenger] {
            if version.learned_from(source).is_some() {
                failed.push(format!(
                    "{} was trained on {}, which tells nothing",
                    version.model.label(),
                    source.name
                ));
            }
        }
    }
    let (before, after) = on.judged_by(&champion.pipeline(Settings::default())?, judges);
    let wanted = |call: &CallResult| !call.handed_over && call.needed == NeededLabel::Emergency;
    let unwanted = |call: &CallResult| !call.handed_over && !call.is_need();
    let of = |calls: &[CallResult], these: fn(&CallResult) -> bool, hold: fn(&CallResult) -> bool| {
        calls.iter().filter(|call| these(call) && hold(call)).count()
    };
    let emergencies = of(&before, wanted, |_| true);
    if emergencies == 0 {
        failed.push("among the calls of --on is no emergency, so they tell nothing".into());
    }
    let (was, is) = (
        of(&before, wanted, CallResult::paged_in_time),
        of(&after, wanted, CallResult::paged_in_time),
    );
    if is_worse(was.saturating_sub(is), emergencies) {
        failed.push(format!(
            "of {emergencies} emergencies it pages {is} in time, the champion {was}"
        ));
    }
    let others = of(&before, unwanted, |_| true);
    let paged = |call: &CallResult| call.page.is_some();
    let (was, is) = (of(&before, unwanted, paged), of(&after, unwanted, paged));
    if is_worse(is.saturating_sub(was), others) {
        failed.push(format!(
            "of {others} calls without need it pages {is}, the champion {was}"
        ));
    }
    Ok(failed)
}

/// One call alone is never a reason: a dozen calls have one that is a toss of the coin.
fn is_worse(worse: usize, of: usize) -> bool {
    worse > 1 && worse * ONE_WORSE_OF > of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_may_be_worse_and_one_alone() {
        for (worse, of, expected) in [
            (1, 3, false),
            (2, 40, false),
            (2, 39, true),
            (3, 60, false),
            (4, 79, true),
        ] {
            assert_eq!(is_worse(worse, of), expected, "{worse} of {of}");
        }
    }
}
