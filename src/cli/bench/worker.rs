//! One process with workers and nothing else, for another to watch.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::ValueEnum;

use super::tasks::{Count, Floor};
use crate::cli::serve::{Signals, pipeline, plan};
use crate::cli::{Common, Failure};
use crate::config::Config;
use crate::stream::{self, Partition, Plan, Trouble};
use crate::telemetry::{self, Heartbeat, Metrics};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is done with each record.
    #[arg(long, value_enum)]
    task: TaskName,
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskName {
    /// The whole judgement, as `serve` does it.
    Judge,
    /// A running count of each call's events, one output an event.
    Count,
    /// Nothing: outputs of the number and sizes that judging has.
    Floor,
}

impl TaskName {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::Count => "count",
            Self::Floor => "floor",
        }
    }
}

/// Runs until SIGTERM; then prints its metrics.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let mut config = Config::load(Some(&args.config))?;
    if config.kafka.instance.is_empty() {
        config.kafka.instance = args.task.as_str().to_owned();
    }
    telemetry::init(&config.log);
    let workers = config.stream.worker_count();
    let stop = Arc::new(AtomicBool::new(false));
    let pipeline = Arc::new(pipeline(&config, common)?);
    let metrics = Arc::new(Metrics::new());
    let plan = plan(
        &config,
        pipeline,
        &metrics,
        &Heartbeat::of(workers, config.stream.transaction_timeout()),
        &stop,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let work: fn(&Plan, usize) -> Result<(), Trouble> = match args.task {
        TaskName::Judge => stream::run::<Partition>,
        TaskName::Count => stream::run::<Count>,
        TaskName::Floor => stream::run::<Floor>,
    };
    let threads: Vec<_> = (0..workers)
        .map(|number| {
            let plan = plan.clone();
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || work(&plan, number))
        })
        .collect::<Result<_, _>>()?;
    runtime.block_on(signals.wait());
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().ok().context("a worker panicked")??;
    }
    print!("{}", metrics.text());
    Ok(())
}
