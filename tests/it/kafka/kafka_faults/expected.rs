//! What must have been written, made of what stands in the log.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use callward::alert::Deadline;
use callward::config::Config;
use callward::pipeline::{Outcome, Pipeline, Watched};
use callward::record::{CallId, Limits, decode};
use callward::registry::Version;

use crate::kafka::{Seen, Site, scored};

static PIPELINE: OnceLock<Pipeline> = OnceLock::new();

/// Lines by call, in order.
pub type ByCall = BTreeMap<String, Vec<String>>;

/// All that `callward score` makes of the events, scores and alerts. Calls whose events came in so late that a deadline
/// fell due before they were there are judged by the broker's clock, as they must be where nobody knows what is to come.
pub fn expected(site: &Site, came_in: &[Seen]) -> [ByCall; 2] {
    let file: PathBuf = site.folder.path().join("load.ndjson");
    let lines: Vec<&str> = came_in
        .iter()
        .map(|seen| std::str::from_utf8(&seen.value).unwrap())
        .collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let output = site.command(&["score", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut scores = ByCall::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let score: serde_json::Value = serde_json::from_str(line).unwrap();
        let call = score["call_id"].as_str().unwrap().to_owned();
        scores.entry(call).or_default().push(line.to_owned());
    }
    let mut alerts = scored(&file, &site.config());

    let mut calls: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in came_in {
        calls.entry(&seen.key).or_default().push(seen);
    }
    let mut late = 0;
    for (call, events) in calls {
        let [by_clock, alerts_by_clock] = by_the_clock(site, call, &events);
        if scores.get(call) != Some(&by_clock) {
            late += 1;
            scores.insert(call.to_owned(), by_clock);
            alerts.remove(call);
            if !alerts_by_clock.is_empty() {
                alerts.insert(call.to_owned(), alerts_by_clock);
            }
        }
    }
    if late > 0 {
        println!("  {late} calls came in later than their deadlines: they must be judged by the broker's clock");
    }
    [scores, alerts]
}

/// Scores and alerts of a call whose deadlines fall due as its events are appended to the log.
fn by_the_clock(site: &Site, call: &str, events: &[&Seen]) -> [Vec<String>; 2] {
    let pipeline = PIPELINE.get_or_init(|| {
        let config = Config::load(Some(&site.config())).unwrap();
        Version::embedded().unwrap().pipeline(config.policy).unwrap()
    });
    let mut watched = Watched::new(CallId::new(call).unwrap());
    let (mut scores, mut alerts) = (Vec::new(), Vec::new());
    let mut tell = |outcome: &Outcome| {
        if outcome.has_line() {
            let score = outcome.score(pipeline.lexicon(), pipeline.model_label());
            scores.push(serde_json::to_string(&score).unwrap());
        }
        alerts.extend(
            outcome
                .alert
                .as_ref()
                .map(|alert| serde_json::to_string(alert).unwrap()),
        );
    };
    let mut heard_at = 0;
    for seen in events {
        let event = decode(&seen.value, None, &Limits::default()).unwrap().event;
        if let Some(last) = watched.call.last_at {
            let reached = last.plus_millis((seen.appended - heard_at).max(0));
            pipeline.tick(&mut watched, reached, |outcome| tell(&outcome));
        }
        pipeline.step(&mut watched, &event, |outcome| {
            if outcome.was_applied() {
                heard_at = seen.appended;
            }
            tell(&outcome);
        });
    }
    while let Some((due, deadline)) = watched.due()
        && deadline != Deadline::Forget
    {
        pipeline.tick(&mut watched, due, |outcome| tell(&outcome));
    }
    [scores, alerts]
}

/// What stands in the log of what was sent: every line, and those twice that the load's own client put there twice when a
/// broker died before it had answered. What the workers read is what they are judged by.
pub fn came_in(site: &Site, sent: &[String]) -> Vec<Seen> {
    let mut missing: HashMap<&[u8], i64> = HashMap::new();
    for line in sent {
        *missing.entry(line.as_bytes()).or_default() += 1;
    }
    let mut came = site.read("events");
    came.retain(|seen| match missing.get_mut(&*seen.value) {
        Some(missing) => {
            *missing -= 1;
            true
        }
        None => false,
    });
    let lost: i64 = missing.values().filter(|missing| **missing > 0).sum();
    assert_eq!(lost, 0, "sent, and not in the log");
    let twice = came.len() - sent.len();
    if twice > 0 {
        println!("  {twice} events stand in the log once more than they were sent");
    }
    came
}

/// Where two sides differ, the first of each kind.
pub fn differences(kind: &str, committed: &ByCall, expected: &ByCall) -> String {
    let mut told = String::new();
    for (call, expected) in expected {
        let none = Vec::new();
        let committed = committed.get(call).unwrap_or(&none);
        if committed != expected {
            let at = committed.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let _ = write!(
                told,
                "\n{kind} of {call}: {} committed, {} expected, different from number {at}:\n  {:?}\n  {:?}",
                committed.len(),
                expected.len(),
                committed.get(at),
                expected.get(at)
            );
        }
        if told.len() > 4_000 {
            break;
        }
    }
    for call in committed.keys().filter(|call| !expected.contains_key(*call)) {
        let _ = write!(told, "\n{kind} of {call}: none expected");
    }
    told
}
