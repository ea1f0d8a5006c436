//! `callward config`: what is configured, and whether it makes sense.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Common, Failure, gate, serve};
use crate::config::{Config, DEFAULT};

/// Check or show the configuration; no socket is opened.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward config check --config callward.toml\n  callward config show --defaults\n  \
    callward config schema > callward.schema.json"
)]
pub struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
    /// A TOML file; `config show --defaults` prints all keys. Variables of the environment win over it.
    #[arg(long, global = true, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Everything that `serve` would refuse, the model included; exit code 3 where something is wrong.
    Check,
    /// The effective configuration.
    Show {
        /// The file of defaults with its comments instead.
        #[arg(long)]
        defaults: bool,
    },
    /// The keys with types, defaults and meanings, as a JSON Schema.
    Schema,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    match args.command {
        ConfigCommand::Check => {
            let config = Config::load(args.config.as_deref()).map_err(gate)?;
            config.check_host().map_err(gate)?;
            let model = serve::pipeline(&config, common)?.model_label().to_owned();
            if !config.webhook.url.is_empty() {
                crate::delivery::Courier::new(&config.webhook).map_err(gate)?;
            }
            if common.output.is_json() {
                println!("{}", serde_json::json!({ "holds": true, "model": model }));
            } else {
                match &args.config {
                    Some(file) => println!("{} makes sense, and {model} holds", file.display()),
                    None => println!("the defaults make sense, and {model} holds; --config names a file"),
                }
            }
        }
        ConfigCommand::Show { defaults: true } => print!("{DEFAULT}"),
        ConfigCommand::Show { defaults: false } => {
            print!("{}", Config::load(args.config.as_deref()).map_err(gate)?.to_toml());
        }
        ConfigCommand::Schema => {
            println!("{}", serde_json::to_string_pretty(&crate::config::schema())?);
        }
    }
    Ok(())
}
