//! `callward bench`: what judging costs, alone and end to end on a real Kafka.

mod growth;
mod length;
mod load;
mod process;
mod step;
mod stream;
mod tasks;
mod worker;

use clap::Subcommand;
use serde::Serialize;

use super::{Common, Failure};

/// Measure speed and memory: of the step alone, or end to end on a real Kafka.
///
/// Without a subcommand: microseconds a step (mean, p99, worst) and bytes of memory an open call. Times are those of
/// this machine. Reading JSON is part of a step here, Kafka is not.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  callward bench\n  callward bench calls.ndjson --calls 100000 --seconds 10\n  \
    callward bench length\n  callward bench stream --brokers 127.0.0.1:9092\n  \
    callward bench growth --brokers 127.0.0.1:9092 --calls 1000,100000"
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    step: step::Args,
}

#[derive(Debug, Subcommand)]
enum What {
    /// End to end on a real Kafka, beside the same transport without judgement: events a second, CPU, time to an alert.
    Stream(stream::Args),
    /// What more open calls, partitions and workers cost: memory, time to read state back, events a second.
    Growth(growth::Args),
    /// What an event costs late in a call of two hours, beside early.
    Length(length::Args),
    /// A worker alone, with judgement or less in its place: what the other benchmarks start and watch.
    Worker(worker::Args),
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    match args.what {
        None => step::run(&args.step, common),
        Some(What::Stream(args)) => stream::run(&args, common),
        Some(What::Growth(args)) => growth::run(&args, common),
        Some(What::Length(args)) => length::run(&args, common),
        Some(What::Worker(args)) => worker::run(&args, common),
    }
}

/// Where it was measured.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    memory_gb: f64,
}

impl Machine {
    fn this() -> Self {
        let first = |path: &str, name: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split(':').nth(1).unwrap_or("unknown").trim().to_owned()
        };
        let memory = first("/proc/meminfo", "MemTotal");
        let kilobytes: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        Self {
            processor: first("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: (kilobytes / 1048576.0 * 10.0).round() / 10.0,
        }
    }
}

/// Values at shares of an ordered list.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get(((sorted.len() as f64 * share) as usize).min(last)).copied()
}
