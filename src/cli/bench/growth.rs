//! What more open calls, more partitions and more workers cost.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Machine;
use super::load::Load;
use super::process::{Process, Site};
use super::worker::TaskName;
use crate::cli::{Common, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A broker; topics of its own are made there and stay.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: String,
    /// Open calls, each of them measured.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    calls: Vec<usize>,
    /// Events of each call; it does not end.
    #[arg(long, default_value_t = 6)]
    events: usize,
    /// Partitions, each of them measured with the least of the calls that are ten thousand or more.
    #[arg(long, value_delimiter = ',', default_value = "12,60,240")]
    partitions: Vec<i32>,
    /// Workers, each of them measured so too.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    events_a_call: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    calls: usize,
    partitions: i32,
    workers: usize,
    /// From the start of the process to the last commit: its start and the joining are in it.
    events_per_second: f64,
    cpu_seconds_per_million: f64,
    resident_mb: f64,
    /// More than the process had before its first event, a call: what the client has queued is in it.
    resident_bytes_a_call: f64,
    /// Of a new process: until all partitions are taken over, and the longest that a worker read state for.
    takeover_seconds: f64,
    restore_seconds: f64,
}

const PATIENCE: Duration = Duration::from_secs(1200);

pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let first = (
        args.partitions.first().copied().unwrap_or(12),
        args.workers.first().copied().unwrap_or(1),
    );
    let mut plan: Vec<(usize, i32, usize)> = args.calls.iter().map(|calls| (*calls, first.0, first.1)).collect();
    let fair = args.calls.iter().copied().find(|calls| *calls >= 10_000);
    if let Some(calls) = fair {
        plan.extend(
            args.partitions
                .iter()
                .skip(1)
                .map(|partitions| (calls, *partitions, first.1)),
        );
        plan.extend(args.workers.iter().skip(1).map(|workers| (calls, first.0, *workers)));
    }
    let mut rows = Vec::new();
    for (calls, partitions, workers) in plan {
        eprintln!("{calls} open calls, {partitions} partitions, {workers} workers");
        let site = Site::new(&args.brokers, partitions, workers, common.models.as_deref())?;
        rows.push(measure(&site, calls, args.events, workers)?);
    }
    let report = Report {
        machine: Machine::this(),
        events_a_call: args.events,
        rows,
    };
    if common.output.is_json() {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!(
        "{}, {} cores; calls of {} events",
        report.machine.processor, report.machine.cores, args.events
    );
    println!(
        "      calls  partitions  workers  events/s  CPU s a million  memory MB  bytes a call  takeover s  restore s"
    );
    for row in &report.rows {
        println!(
            "  {:9} {:11} {:8} {:9.0} {:16.2} {:10.0} {:13.0} {:11.2} {:10.2}",
            row.calls,
            row.partitions,
            row.workers,
            row.events_per_second,
            row.cpu_seconds_per_million,
            row.resident_mb,
            row.resident_bytes_a_call,
            row.takeover_seconds,
            row.restore_seconds
        );
    }
    println!(
        "events/s holds the start of the process and its joining, so it tells least where there are few calls. A call has \
         an event every five seconds or so: with half of events/s as head-room, one process serves about twice and a half \
         as many calls at once."
    );
    Ok(())
}

fn measure(site: &Site, calls: usize, events: usize, workers: usize) -> anyhow::Result<Row> {
    let mut process = site.start(TaskName::Judge)?;
    process.wait_for(0, Duration::from_secs(60))?;
    let empty = process.resident_bytes()?;
    drop(process.end()?);
    let total = calls * events;
    site.fill(&mut Load::of(calls, true)?, total)?;
    let began = Instant::now();
    let mut process = site.start(TaskName::Judge)?;
    process.wait_for(total as i64, PATIENCE)?;
    let took = began.elapsed().as_secs_f64();
    let cpu = process.cpu_seconds()?;
    let resident = process.resident_bytes()?;
    drop(process.end()?);
    let began = Instant::now();
    let mut process = site.start(TaskName::Judge)?;
    let restored = wait_until_restored(&mut process, calls)?;
    let takeover = began.elapsed().as_secs_f64();
    drop(process.end()?);
    Ok(Row {
        calls,
        partitions: site.partitions,
        workers,
        events_per_second: total as f64 / took,
        cpu_seconds_per_million: cpu / total as f64 * 1e6,
        resident_mb: resident / 1e6,
        resident_bytes_a_call: (resident - empty) / calls as f64,
        takeover_seconds: takeover,
        restore_seconds: restored,
    })
}

/// Waits until the workers hold all calls again; the longest that one of them read for, in seconds.
fn wait_until_restored(process: &mut Process, calls: usize) -> anyhow::Result<f64> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let log = process.log();
        let told: Vec<serde_json::Value> = log
            .lines()
            .filter(|line| line.contains("state read back"))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let of = |name: &str| {
            told.iter()
                .filter_map(|line| line["fields"][name].as_f64().or(line[name].as_f64()))
                .collect::<Vec<_>>()
        };
        if of("calls").iter().sum::<f64>() as usize >= calls {
            return Ok(of("took_ms").into_iter().fold(0.0, f64::max) / 1000.0);
        }
        if Instant::now() > deadline {
            anyhow::bail!("{calls} calls are not back in 120 s\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
