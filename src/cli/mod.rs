//! The commands. Results go to stdout, talk and progress to stderr; a terminal gets prose, everything else JSON.
//!
//! Exit codes: 0 ok, 1 failure, 2 usage, 3 a check or gate failed, 4 a dependency cannot be reached.

mod bench;
mod compare;
mod config;
mod curve;
mod data;
mod deliver;
mod demo;
mod evaluate;
mod explain;
mod features;
mod gaps;
mod models;
mod patterns;
mod replay;
mod reset;
mod score;
mod serve;
mod topics;
mod train;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Watches live calls for people who need a clinician now and are not being handed over.
#[derive(Debug, Parser)]
#[command(name = "callward", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Folder of the models; without it the model that the program was built with is used.
    #[arg(long, global = true, env = "CALLWARD_MODELS", value_name = "FOLDER")]
    models: Option<PathBuf>,
    /// What is printed: prose for people, JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = Output::Auto)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Prose on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

impl Output {
    fn is_json(self) -> bool {
        use std::io::IsTerminal as _;
        match self {
            Self::Json => true,
            Self::Text => false,
            Self::Auto => !std::io::stdout().is_terminal(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Serve(serve::Args),
    Watch(watch::Args),
    Replay(replay::Args),
    Topics(topics::Args),
    Reset(reset::Args),
    Config(config::Args),
    Score(score::Args),
    Train(train::Args),
    Evaluate(evaluate::Args),
    Compare(compare::Args),
    Curve(curve::Args),
    Bench(bench::Args),
    Explain(explain::Args),
    Features(features::Args),
    Gaps(gaps::Args),
    Patterns(patterns::Args),
    Models(models::Args),
}

/// A failure with its exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    error: anyhow::Error,
}

/// 3: a check or gate failed.
fn gate(error: impl Into<anyhow::Error>) -> Failure {
    Failure {
        code: 3,
        error: error.into(),
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: 1,
            error: error.into(),
        }
    }
}

pub fn run() -> ExitCode {
    crate::telemetry::hush_panics();
    let cli = Cli::parse();
    let common = Common {
        models: cli.models,
        output: cli.output,
    };
    let result = match cli.command {
        Command::Demo(args) => demo::run(args, &common),
        Command::Bench(args) => bench::run(args, &common),
        Command::Serve(args) => serve::run(args, &common),
        Command::Watch(args) => watch::run(args, &common),
        Command::Replay(args) => replay::run(args, &common),
        Command::Topics(args) => topics::run(args, &common),
        Command::Reset(args) => reset::run(args, &common),
        Command::Config(args) => config::run(args, &common),
        Command::Score(args) => score::run(args, &common),
        Command::Train(args) => train::run(args, &common),
        Command::Evaluate(args) => evaluate::run(args, &common),
        Command::Compare(args) => compare::run(args, &common),
        Command::Curve(args) => curve::run(args, &common),
        Command::Explain(args) => explain::run(args, &common),
        Command::Features(args) => features::run(args, &common),
        Command::Gaps(args) => gaps::run(args, &common),
        Command::Patterns(args) => patterns::run(args, &common),
        Command::Models(args) => models::run(args, &common),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough is no failure.
        Err(failure) if is_closed_pipe(&failure.error) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("callward: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        io.or_else(|| cause.downcast_ref::<serde_json::Error>()?.io_error_kind())
    };
    error
        .chain()
        .any(|cause| kind(cause) == Some(std::io::ErrorKind::BrokenPipe))
}

/// With what calls are judged: what `serve` judges them with, unless told otherwise.
#[derive(Debug, clap::Args)]
struct Judge {
    /// Judge with this version of the model.
    #[arg(long = "model", value_name = "VERSION")]
    version: Option<String>,
    /// Policy, limits, quotes and model of this configuration in place of the defaults.
    #[arg(long, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Judge {
    fn config(&self) -> Result<crate::config::Config, Failure> {
        let mut config = crate::config::Config::load(self.config.as_deref())?;
        if let Some(version) = &self.version {
            config.model.version.clone_from(version);
        }
        Ok(config)
    }
}

/// What all commands share.
struct Common {
    models: Option<PathBuf>,
    output: Output,
}

impl Common {
    /// Versions on disk: those of the folder that was named, else of the project that one stands in.
    fn registry(&self) -> crate::registry::Registry {
        crate::registry::Registry::open(self.models.as_deref().unwrap_or("models".as_ref()))
    }

    /// The model to judge with: that of `--version`, else the champion of the folder, else the embedded one.
    fn version(&self, version: Option<&str>) -> Result<crate::registry::Version, Failure> {
        let loaded = match (&self.models, version) {
            (_, Some(version)) => self.registry().load(version),
            (Some(_), None) => self.registry().champion(),
            (None, None) => crate::registry::Version::embedded(),
        };
        loaded.map_err(gate)
    }
}
