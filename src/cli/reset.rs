//! `callward reset`: the one supported way back.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{Common, Failure};
use crate::config::Config;
use crate::stream::{self, StartAt, Trouble};

/// Set the group back: forget the state of all calls and judge the log anew from its start, or go on at its end.
///
/// Offsets and state change in one transaction. Moving the offsets with other tools instead would leave the state, whose
/// calls take every record for one that they know. All processes of the group must have ended. Alerts of calls that are
/// judged anew come again with the same alert_id.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward reset --to latest --yes --config callward.toml\n  \
    callward reset --to earliest --yes --brokers kafka:9092"
)]
pub struct Args {
    /// Where to go on reading.
    #[arg(long, value_enum)]
    to: To,
    /// Say that it is meant: open calls are forgotten.
    #[arg(long)]
    yes: bool,
    /// A TOML file, as of `serve`.
    #[arg(long, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// In place of kafka.brokers.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    Earliest,
    Latest,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(brokers) = args.brokers {
        config.kafka.brokers = brokers;
    }
    if !args.yes {
        return Err(Failure {
            code: 2,
            error: anyhow::anyhow!(
                "this forgets all open calls of the group {}: say --yes to do it",
                config.kafka.group
            ),
        });
    }
    let to = match args.to {
        To::Earliest => StartAt::Earliest,
        To::Latest => StartAt::Latest,
    };
    let done = stream::reset(&config.kafka, &config.topics, &config.stream, to).map_err(|trouble| Failure {
        code: if matches!(trouble, Trouble::Stop(_)) { 3 } else { 4 },
        error: trouble.into(),
    })?;
    if common.output.is_json() {
        println!("{}", serde_json::to_string(&done)?);
    } else {
        println!(
            "group {}: {} partitions set back, the state of {} calls forgotten",
            config.kafka.group, done.partitions, done.calls
        );
    }
    Ok(())
}
