//! Judged live as from a file, through restarts and an orderly end.

use std::path::Path;
use std::time::Duration;

use super::{Serve, Site, scored, wait_until};

const CALLS: &str = "src/simulation/calls.ndjson";
/// Silence is told after seconds, so that a test does not wait for most of a minute.
const QUICK: &str = "[policy]\ncontact_lost_seconds = 12\n";

fn events() -> f64 {
    std::fs::read_to_string(CALLS)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .count() as f64
}

fn replay(site: &Site, file: &Path, speed: &str) {
    let played = site.command(&[
        "replay",
        file.to_str().unwrap(),
        "--to",
        super::bootstrap(),
        "--at",
        "original",
        "--speed",
        speed,
    ]);
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
}

fn ready(serve: &Serve) {
    serve.wait_until("ready", |serve| serve.get("/readyz").0 == 200);
}

#[test]
fn replayed_calls_give_the_alerts_of_score_byte_for_byte_through_kill_and_restart() {
    let site = Site::new("same", 4, QUICK);
    let expected = scored(Path::new(CALLS), &site.config());
    assert!(expected.len() >= 12);
    // Half of the log, kill -9 in the middle of work, the other half, and once more.
    let lines: Vec<String> = std::fs::read_to_string(CALLS)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let halves = [0..lines.len() / 2, lines.len() / 2..lines.len()];
    let part = |number: usize| {
        let path = site.folder.path().join(format!("part-{number}.ndjson"));
        std::fs::write(&path, lines[halves[number].clone()].join("\n")).unwrap();
        path
    };
    let serve = site.serve();
    ready(&serve);
    replay(&site, &part(0), "0");
    serve.wait_until("some events were judged", |serve| {
        serve.sum("callward_events_total") > 100.0
    });
    serve.kill();
    replay(&site, &part(1), "0");
    let serve = site.serve();
    serve.wait_until("work after the restart", |serve| {
        serve.sum("callward_events_total") > 50.0
    });
    serve.kill();
    let serve = site.serve();
    wait_until("all alerts are there", Duration::from_secs(60), || {
        site.by_key("alerts").values().map(Vec::len).sum::<usize>() >= expected.values().map(Vec::len).sum::<usize>()
    });
    assert_eq!(site.by_key("alerts"), expected);
    // Every event was judged once: the running count of each call ends at its number of events.
    let scores = site.by_key("scores");
    let counted: f64 = scores
        .values()
        .map(|lines| {
            let applied = lines.iter().map(|line| {
                let score: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(score["v"], 1);
                score["applied"].as_f64().unwrap()
            });
            applied.fold(0.0, f64::max)
        })
        .sum();
    assert_eq!(counted, events());
    let judged: usize = scores
        .values()
        .flatten()
        .filter(|line| line.contains("\"cause\":\"event\""))
        .count();
    assert_eq!(judged as f64, events());
    let (code, took, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}\n{log}");
}

#[test]
fn an_orderly_end_redoes_nothing_and_open_calls_go_on() {
    let site = Site::new("orderly", 3, "");
    let serve = site.serve();
    ready(&serve);
    replay(&site, Path::new(CALLS), "0");
    // Committed, not merely judged: a rebalance while workers join may have one judged again.
    wait_until("all events are judged", Duration::from_secs(60), || {
        site.read("scores").len() as f64 >= events()
    });
    assert_eq!(serve.metric("callward_records_already_applied_total"), 0.0);
    assert!(serve.metric("callward_state_entries") > 0.0 || serve.sum("callward_calls_total") > 0.0);
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    let before = site.read("scores").len();
    let serve = site.serve();
    ready(&serve);
    serve.wait_until("the state is back", |serve| {
        serve.metric("callward_restored_records_total") > 0.0
    });
    serve.wait_until("one assignment", |serve| {
        serve.sum("callward_assigned_partitions") >= 1.0
    });
    assert_eq!(serve.sum("callward_events_total"), 0.0, "nothing is judged twice");
    assert_eq!(site.read("scores").len(), before);
    let (code, ..) = serve.terminate();
    assert_eq!(code, Some(0));
}

#[test]
fn metrics_and_health_are_served() {
    let site = Site::new("metrics", 2, "");
    let mut serve = site.serve();
    ready(&serve);
    assert_eq!(serve.get("/healthz").0, 200);
    assert_eq!(serve.get("/nothing").0, 404);
    let (status, text) = serve.get("/metrics");
    assert_eq!(status, 200);
    for series in callward::telemetry::SERIES
        .iter()
        .filter(|series| series.labels.is_empty())
    {
        assert!(text.contains(&format!("callward_{}", series.name)), "{}", series.name);
    }
    serve.wait_until("both partitions are held", |serve| {
        serve.get("/metrics").1.contains(&format!(
            "callward_topic_partitions{{topic=\"{}\"}} 2",
            site.topic("events")
        ))
    });
    replay(&site, Path::new(CALLS), "0");
    serve.wait_until("alerts are counted", |serve| {
        serve.sum("callward_alerts_raised_total") >= 5.0
    });
    assert!(serve.sum("callward_time_to_clinician_seconds_count") >= 1.0);
    let (_, text) = serve.get("/metrics");
    for secret in ["demo-", "cb-00", "pt-2"] {
        assert!(!text.contains(secret), "{secret} stands in a metric");
        assert!(!serve.log().contains(secret), "{secret} stands in the log");
    }
    assert!(serve.is_running());
}

#[test]
fn topics_are_created_and_checked() {
    let site = Site::new("topics", 2, "");
    let check = site.command(&["topics", "check"]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    // The same topics but one: a worker must refuse.
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(
        site.config(),
        text.replace(&site.topic("state"), &site.topic("elsewhere")),
    )
    .unwrap();
    let check = site.command(&["topics", "check"]);
    assert_eq!(check.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&check.stdout).contains("is missing"));
    let serve = site.command(&["serve"]);
    assert_eq!(serve.status.code(), Some(3));
}

#[test]
fn nobody_there_is_a_dependency_that_cannot_be_reached() {
    let check = std::process::Command::new(env!("CARGO_BIN_EXE_callward"))
        .args(["topics", "check", "--brokers", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(
        check.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
}
