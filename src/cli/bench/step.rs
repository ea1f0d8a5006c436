//! What a step costs and what an open call weighs, without Kafka.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::alert::Settings;
use crate::cli::{Common, Failure};
use crate::pipeline::{Pipeline, Watched};
use crate::record::{Body, Event, Limits, Speaker, decode};
use crate::simulation;
use crate::stream::{Incoming, Partition};

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    all_events: Times,
    caller_turns: Times,
    adversarial_turn_4000_chars: Times,
    open_calls: usize,
    events_a_call: usize,
    /// Growth of resident memory over open calls.
    bytes_a_call: Option<f64>,
    state_bytes_a_call: f64,
}

#[derive(Debug, Serialize)]
struct Times {
    steps: usize,
    mean_us: f64,
    p50_us: f64,
    p99_us: f64,
    worst_us: f64,
}

#[derive(Debug, clap::Args)]
#[group(id = "step")]
pub struct Args {
    /// Calls to step through; without them the made-up calls of the demo.
    file: Option<PathBuf>,
    /// Seconds to measure for, after a second of warming up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Open calls to hold at once for the measure of memory, of 40 events each.
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
}

const EVENTS_A_CALL: usize = 40;

pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let version = common.version(None)?;
    let pipeline = version.pipeline(Settings::default())?;
    let text = match &args.file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => simulation::CALLS.to_owned(),
    };
    let lines: Vec<&[u8]> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::as_bytes)
        .collect();
    drop(time(&pipeline, &lines, Duration::from_secs(1))?);
    let (all, caller) = time(&pipeline, &lines, Duration::from_secs(args.seconds))?;
    let adversarial = adversarial(&pipeline)?;
    let (bytes_a_call, state_bytes_a_call) = weigh(&pipeline, &lines, args.calls)?;
    let report = Report {
        model: pipeline.model_label().to_owned(),
        all_events: times(all),
        caller_turns: times(caller),
        adversarial_turn_4000_chars: times(adversarial),
        open_calls: args.calls,
        events_a_call: EVENTS_A_CALL,
        bytes_a_call,
        state_bytes_a_call,
    };
    if common.output.is_json() {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("{}, microseconds a step (JSON read included)", report.model);
    for (name, t) in [
        ("all events", &report.all_events),
        ("caller's turns", &report.caller_turns),
        (
            "adversarial turn of 4,000 characters",
            &report.adversarial_turn_4000_chars,
        ),
    ] {
        println!(
            "  {name:38} mean {:7.2}  p50 {:7.2}  p99 {:7.2}  worst {:8.2}  n={}",
            t.mean_us, t.p50_us, t.p99_us, t.worst_us, t.steps
        );
    }
    let bytes = bytes_a_call.map_or("unknown here".to_owned(), |bytes| format!("{bytes:.0}"));
    println!(
        "{} open calls of {EVENTS_A_CALL} events: {bytes} bytes of memory a call, {state_bytes_a_call:.0} bytes of state in the changelog",
        args.calls
    );
    Ok(())
}

/// Steps through all calls again and again; times of all events, and of caller's turns.
fn time(pipeline: &Pipeline, lines: &[&[u8]], enough: Duration) -> Result<(Vec<f64>, Vec<f64>), Failure> {
    let (mut all, mut caller) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let mut calls: std::collections::HashMap<String, Watched> = std::collections::HashMap::new();
    while began.elapsed() < enough {
        calls.clear();
        for line in lines {
            let start = Instant::now();
            let decoded = decode(line, None, &Limits::default())?;
            let id = decoded.event.call_id.as_str();
            if !calls.contains_key(id) {
                calls.insert(id.to_owned(), Watched::new(decoded.event.call_id.clone()));
            }
            let watched = calls.get_mut(id).expect("just put there");
            pipeline.step(watched, &decoded.event, |outcome| drop(std::hint::black_box(outcome)));
            let took = start.elapsed().as_secs_f64() * 1e6;
            all.push(took);
            if is_caller(&decoded.event) {
                caller.push(took);
            }
        }
    }
    Ok((all, caller))
}

fn is_caller(event: &Event) -> bool {
    match &event.body {
        Body::Utterance(said) => said.speaker == Speaker::Caller,
        Body::Answer(_) => true,
        _ => false,
    }
}

/// Turns of 4,000 characters made of nothing but words of the lexicon, denials and numbers.
fn adversarial(pipeline: &Pipeline) -> Result<Vec<f64>, Failure> {
    const WORDS: &str = "my chest is tight and no pain in my left arm but i can not breathe not since 190 over 110 he fell and hit \
                         his head on eliquis vomiting blood black stool fever of 103 never not without no ";
    let said: String = WORDS.chars().cycle().take(4000).collect();
    let line = serde_json::to_vec(&serde_json::json!({
        "call_id": "adversarial", "at": "2026-05-04T09:00:00.000Z", "type": "utterance", "speaker": "caller", "text": said,
    }))?;
    let mut all = Vec::new();
    for _ in 0..2_000 {
        let start = Instant::now();
        let decoded = decode(&line, None, &Limits::default())?;
        let mut watched = Watched::new(decoded.event.call_id.clone());
        pipeline.step(&mut watched, &decoded.event, |outcome| {
            drop(std::hint::black_box(outcome))
        });
        all.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(all.split_off(500))
}

/// Memory of many open calls in a partition, with all that it keeps beside them, and the bytes of their state.
fn weigh(pipeline: &Pipeline, lines: &[&[u8]], count: usize) -> Result<(Option<f64>, f64), Failure> {
    let mut bodies: Vec<serde_json::Value> = Vec::new();
    for line in lines {
        if !matches!(decode(line, None, &Limits::default())?.event.body, Body::Ended(_)) {
            bodies.push(serde_json::from_slice(line)?);
        }
    }
    let (before, mut partition, limits) = (resident(), Partition::default(), Limits::default());
    let mut state = 0;
    for number in 0..count {
        for place in 0..EVENTS_A_CALL {
            let mut event = bodies[(number * 7 + place) % bodies.len()].clone();
            event["call_id"] = format!("call-{number:08}").into();
            event["seq"] = place.into();
            let payload = serde_json::to_vec(&event)?;
            let record = Incoming {
                offset: (number * EVENTS_A_CALL + place) as i64,
                key: None,
                payload: &payload,
                heard_at: 0,
            };
            partition.take(pipeline, &limits, &record, |output| {
                std::hint::black_box(&output);
            });
        }
        partition.drain(pipeline, |_, value| state += value.map_or(0, |value| value.len()));
    }
    let grown = before
        .zip(resident())
        .map(|(before, after)| (after - before) as f64 / count as f64);
    if partition.calls() != count {
        return Err(anyhow::anyhow!("{} of {count} calls are open", partition.calls()).into());
    }
    Ok((grown, state as f64 / count.max(1) as f64))
}

/// Bytes of resident memory, where the system tells.
fn resident() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn times(mut all: Vec<f64>) -> Times {
    all.sort_by(f64::total_cmp);
    let at = |share: f64| {
        all.get(((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1)))
            .copied()
    };
    Times {
        steps: all.len(),
        mean_us: all.iter().sum::<f64>() / all.len().max(1) as f64,
        p50_us: at(0.5).unwrap_or(0.0),
        p99_us: at(0.99).unwrap_or(0.0),
        worst_us: all.last().copied().unwrap_or(0.0),
    }
}
