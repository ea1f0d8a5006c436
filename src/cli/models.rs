//! `callward models`: what versions there are, which is used, and moving that.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Common, Failure, gate};
use crate::registry::{Registry, Version};

/// List, verify, promote and roll back versions of the model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward models list\n  callward models verify 0007\n  \
    callward models promote 0008 --reason \"fewer false pages\" --approved-by \"R. Alvarez\"")]
pub struct Args {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// All versions, with the aliases that point to them.
    List,
    /// The manifest of a version (the champion's without a number).
    Show { version: Option<String> },
    /// Check checksums, schema, lexicon and golden rows; exit code 3 where one fails.
    Verify { version: Option<String> },
    /// The model card of a version.
    Card { version: String },
    /// Make a version the champion.
    Promote {
        version: String,
        #[arg(long)]
        reason: String,
        #[arg(long)]
        approved_by: String,
    },
    /// Back to the champion before.
    Rollback {
        #[arg(long)]
        reason: String,
        #[arg(long)]
        approved_by: String,
    },
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let registry = Registry::open(common.models.as_deref().unwrap_or(&PathBuf::from("models")));
    let now = || jiff::Timestamp::now().to_string();
    match args.command {
        ModelsCommand::List => {
            let aliases = registry.aliases()?;
            for version in registry.versions()? {
                let alias = [(&aliases.champion, "champion"), (&aliases.challenger, "challenger")]
                    .into_iter()
                    .filter(|(to, _)| to.as_deref() == Some(version.as_str()))
                    .map(|(_, name)| name)
                    .collect::<Vec<_>>()
                    .join(", ");
                println!("{version} {alias}");
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
            println!(
                "{} is as it was trained: checksums, schema, lexicon and golden rows hold",
                version.model.label()
            );
        }
        ModelsCommand::Card { version } => {
            let path = registry.folder_of(&version).join("MODEL_CARD.md");
            let card = std::fs::read_to_string(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
            print!("{card}");
        }
        ModelsCommand::Promote {
            version,
            reason,
            approved_by,
        } => {
            let moved = registry
                .promote(&version, &reason, &approved_by, &now())
                .map_err(gate)?;
            println!("champion: {} → {}", moved.from.as_deref().unwrap_or("none"), moved.to);
        }
        ModelsCommand::Rollback { reason, approved_by } => {
            let moved = registry.rollback(&reason, &approved_by, &now()).map_err(gate)?;
            println!("champion: {} → {}", moved.from.as_deref().unwrap_or("none"), moved.to);
        }
    }
    Ok(())
}
