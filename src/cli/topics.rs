//! `callward topics`: create and check.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Common, Failure, gate};
use crate::config::Config;
use crate::stream::topics::{self, TopicsError};

/// Create the topics with the settings that they need, or check those of a cluster.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward topics create --brokers kafka:9092 --partitions 12 --replication 3\n  \
    callward topics check --config callward.toml"
)]
pub struct Args {
    #[command(subcommand)]
    command: TopicsCommand,
    /// A TOML file, as of `serve`.
    #[arg(long, global = true, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// In place of kafka.brokers.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    brokers: Option<String>,
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Create what is missing; what exists is left alone.
    Create {
        /// Of each topic: no more workers than this find work at once.
        #[arg(long, default_value_t = 12)]
        partitions: i32,
        /// Copies of each partition; 1 where there is one broker alone.
        #[arg(long, default_value_t = 3)]
        replication: i32,
    },
    /// Compare a cluster with what is needed; exit code 3 where a worker would refuse to run.
    Check,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(brokers) = args.brokers {
        config.kafka.brokers = brokers;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.command {
        TopicsCommand::Create {
            partitions,
            replication,
        } => {
            let made = runtime
                .block_on(topics::create(&config.kafka, &config.topics, partitions, replication))
                .map_err(dependency)?;
            if common.output.is_json() {
                println!("{}", serde_json::json!({ "created": made }));
            } else if made.is_empty() {
                println!("all topics exist");
            } else {
                made.iter().for_each(|name| println!("created {name}"));
            }
            Ok(())
        }
        TopicsCommand::Check => {
            let findings = runtime
                .block_on(topics::check(&config.kafka, &config.topics))
                .map_err(dependency)?;
            if common.output.is_json() {
                let rows: Vec<_> = findings
                    .iter()
                    .map(|f| serde_json::json!({ "topic": f.topic, "problem": f.problem, "fatal": f.fatal }))
                    .collect();
                println!("{}", serde_json::json!({ "findings": rows }));
            } else {
                findings.iter().for_each(|f| println!("{} {}", f.topic, f.problem));
                if findings.is_empty() {
                    println!("all topics are as they should be");
                }
            }
            match findings.iter().any(|finding| finding.fatal) {
                true => Err(gate(anyhow::anyhow!("a worker would refuse to run on these topics"))),
                false => Ok(()),
            }
        }
    }
}

fn dependency(error: TopicsError) -> Failure {
    let code = if matches!(error, TopicsError::Unreachable { .. }) {
        4
    } else {
        1
    };
    Failure {
        code,
        error: error.into(),
    }
}
