//! Whether an event costs more late in a long call than early.

use std::time::Instant;

use serde::Serialize;

use super::load::Load;
use super::{Machine, quantile};
use crate::alert::Settings;
use crate::cli::{Common, Failure};
use crate::pipeline::Watched;
use crate::record::{Limits, decode};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Calls to average over.
    #[arg(long, default_value_t = 200)]
    calls: usize,
    /// Seconds between two events of a call.
    #[arg(long, default_value_t = 5)]
    gap: i64,
}

#[derive(Debug, Serialize)]
struct Row {
    minutes: i64,
    events: usize,
    mean_us: f64,
    p99_us: f64,
    /// Of the state as bytes.
    state_bytes: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    model: String,
    calls: usize,
    rows: Vec<Row>,
}

/// Ends of the parts of a call, in minutes.
const UNTIL: [i64; 5] = [2, 10, 30, 60, 120];

pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let pipeline = common.version(None)?.pipeline(Settings::default())?;
    let mut load = Load::of(args.calls, true)?;
    let mut calls = std::collections::HashMap::new();
    let mut rows = Vec::new();
    let (mut at, limits) = (0, Limits::default());
    for until in UNTIL {
        let mut times = Vec::new();
        while at < until * 60 {
            for _ in 0..args.calls {
                let (key, line) = load.next(1_700_000_000_000 + at * 1000);
                let began = Instant::now();
                let event = decode(&line, None, &limits)?.event;
                let watched = calls.entry(key).or_insert_with(|| Watched::new(event.call_id.clone()));
                pipeline.step(watched, &event, |outcome| drop(std::hint::black_box(outcome)));
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
            at += args.gap;
        }
        times.sort_by(f64::total_cmp);
        let state: usize = calls
            .values()
            .map(|watched| watched.to_bytes(pipeline.reader()).len())
            .sum();
        rows.push(Row {
            minutes: until,
            events: times.len(),
            mean_us: times.iter().sum::<f64>() / times.len() as f64,
            p99_us: quantile(&times, 0.99).unwrap_or_default(),
            state_bytes: state as f64 / args.calls as f64,
        });
    }
    let report = Report {
        machine: Machine::this(),
        model: pipeline.model_label().to_owned(),
        calls: args.calls,
        rows,
    };
    if common.output.is_json() {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!(
        "{}, {} calls that do not end, an event every {} s",
        report.model, args.calls, args.gap
    );
    println!("  until minute   events   mean µs   p99 µs   bytes of state");
    for row in &report.rows {
        println!(
            "  {:12} {:8} {:9.2} {:8.1} {:16.0}",
            row.minutes, row.events, row.mean_us, row.p99_us, row.state_bytes
        );
    }
    Ok(())
}
