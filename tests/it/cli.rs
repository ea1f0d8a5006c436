//! The commands as a person or a script meets them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use sha2::Digest as _;

fn callward(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_callward"))
        .args(args)
        .env_remove("CALLWARD_CONFIG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_has_help_with_examples() {
    for command in [
        "demo", "serve", "watch", "replay", "topics", "config", "score", "train", "evaluate", "bench", "explain",
        "models", "reset", "compare",
    ] {
        let help = callward(&[command, "--help"]);
        assert!(help.status.success(), "{command}");
        assert!(text(&help.stdout).contains("Examples:"), "{command}");
    }
    assert_eq!(callward(&["nonsense"]).status.code(), Some(2));
}

#[test]
fn score_tells_refused_lines_and_goes_on() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_callward"))
        .args(["score", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = [
        r#"{"call_id":"c","seq":0,"at":"2026-05-04T09:00:00Z","type":"call_started","channel":"phone"}"#,
        "this is my secret chest pain",
        r#"{"call_id":"c","seq":1,"at":"2026-05-04T09:00:05Z","type":"utterance","speaker":"caller","text":"I can't breathe"}"#,
        r#"{"call_id":"c","seq":1,"at":"2026-05-04T09:00:05Z","type":"utterance","speaker":"caller","text":"I can't breathe"}"#,
        r#"{"call_id":"c","seq":2,"at":"2026-05-04T09:00:06Z","type":"new_kind"}"#,
        r#"{"call_id":"c","seq":3,"at":"2026-05-04T09:00:07Z","type":"call_ended"}"#,
        r#"{"call_id":"c","seq":4,"at":"2026-05-04T09:00:08Z","type":"utterance","speaker":"caller","text":"hello"}"#,
    ];
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.join("\n").as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let statuses: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["status"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        statuses,
        ["applied", "applied", "duplicate", "ignored", "applied", "late"]
    );
    let told = text(&output.stderr);
    assert!(
        told.contains("line 2: not_json") && told.contains("1 refused"),
        "{told}"
    );
    assert!(!told.contains("secret"), "words of a patient never reach an error text");
}

/// The folder of the version that the program carries.
fn champion() -> std::path::PathBuf {
    let folder = std::path::Path::new("models/under-escalation");
    let aliases = std::fs::read_to_string(folder.join("aliases.json")).unwrap();
    let aliases: serde_json::Value = serde_json::from_str(&aliases).unwrap();
    folder.join(aliases["champion"].as_str().unwrap())
}

#[test]
fn the_embedded_model_verifies_and_a_changed_one_does_not() {
    assert!(callward(&["models", "verify"]).status.success());
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("under-escalation/0001");
    std::fs::create_dir_all(&version).unwrap();
    for entry in std::fs::read_dir(champion()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, version.join(path.file_name().unwrap())).unwrap();
    }
    let models = folder.path().to_str().unwrap();
    let verify = |models: &str| callward(&["models", "verify", "0001", "--models", models]);
    assert!(verify(models).status.success(), "{}", text(&verify(models).stderr));
    let path = version.join("model.json");
    let changed = std::fs::read_to_string(&path)
        .unwrap()
        .replacen("\"alert\": ", "\"alert\": 0", 1);
    std::fs::write(&path, changed).unwrap();
    let refused = verify(models);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        text(&refused.stderr).contains("model.json"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn training_twice_gives_the_same_bytes() {
    let files = |folder: &std::path::Path| {
        let trained = callward(&[
            "train",
            "models/data/authored/calls-c.ndjson",
            "models/data/authored/calls-d.ndjson",
            "--version",
            "0007",
            "--models",
            folder.to_str().unwrap(),
        ]);
        assert!(trained.status.success(), "{}", text(&trained.stderr));
        [
            "model.json",
            "lexicon.json",
            "golden.jsonl",
            "manifest.json",
            "MODEL_CARD.md",
        ]
        .map(|name| std::fs::read(folder.join("under-escalation/0007").join(name)).unwrap())
    };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(files(one.path()) == files(other.path()));
    let again = callward(&[
        "train",
        "models/data/authored/calls-c.ndjson",
        "--version",
        "0007",
        "--models",
        one.path().to_str().unwrap(),
    ]);
    assert!(!again.status.success(), "versions are immutable");
}

/// Copies of the champion under these numbers, in a folder of their own.
fn copies(numbers: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in numbers {
        let version = folder.path().join("under-escalation").join(number);
        std::fs::create_dir_all(&version).unwrap();
        for entry in std::fs::read_dir(champion()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, version.join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn champion_of(models: &str) -> String {
    let list = callward(&["models", "list", "--models", models]);
    let versions: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout).unwrap();
    let champion = |one: &&serde_json::Value| one["aliases"] == serde_json::json!(["champion"]);
    let version = versions.iter().find(champion).expect("there is a champion");
    version["version"].as_str().unwrap().to_owned()
}

/// A version that pages at nothing below this threshold, as training would have written it.
fn set_threshold(version: &std::path::Path, alert: f64) {
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(version.join(name)).unwrap()).unwrap()
    };
    let (mut model, mut manifest) = (json("model.json"), json("manifest.json"));
    model["thresholds"] = serde_json::json!({ "watch": alert * 0.6, "alert": alert });
    let bytes = serde_json::to_vec_pretty(&model).unwrap();
    let digest: String = sha2::Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    manifest["sha256"]["model.json"] = digest.into();
    std::fs::write(version.join("model.json"), bytes).unwrap();
    std::fs::write(version.join("manifest.json"), manifest.to_string()).unwrap();
}

#[test]
fn a_promotion_is_written_down_and_can_be_taken_back() {
    let folder = copies(&["0001", "0002"]);
    let models = folder.path().to_str().unwrap();
    let run = |args: &[&str]| callward(&[args, &["--models", models]].concat());
    let promote = |version: &str| {
        let why = ["--reason", "a test", "--despite", "the same version"];
        run(&[&["models", "promote", version, "--approved-by", "T"], &why[..]].concat())
    };
    assert!(promote("0001").status.success());
    assert!(promote("0002").status.success());
    assert_eq!(promote("0009").status.code(), Some(3));
    assert_eq!(champion_of(models), "0002");
    assert!(
        run(&["models", "rollback", "--reason", "a test", "--approved-by", "T"])
            .status
            .success()
    );
    assert_eq!(champion_of(models), "0001");
    let history = std::fs::read_to_string(folder.path().join("under-escalation/history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 3);
    assert_eq!(text(&run(&["models", "history"]).stdout), history);
}

#[test]
fn a_version_that_misses_more_is_compared_and_not_promoted_unless_somebody_says_why() {
    let folder = copies(&["0001", "0002", "0003"]);
    let models = folder.path().to_str().unwrap();
    set_threshold(&folder.path().join("under-escalation/0003"), 0.99);
    // Trained on neither.
    let calls = "models/data/authored/calls-28.ndjson";
    let run = |args: &[&str]| callward(&[args, &["--models", models]].concat());
    let promote = |version: &str, more: &[&str]| {
        let who = ["models", "promote", version, "--reason", "a test", "--approved-by", "T"];
        run(&[&who, more].concat())
    };
    assert!(promote("0001", &[]).status.success());

    let compare = |challenger: &str| -> serde_json::Value {
        let out = run(&["compare", calls, "--challenger", challenger]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let same = compare("0002");
    assert_eq!(same["disagreements"], serde_json::json!([]));
    let rows = same["measures"].as_array().unwrap();
    assert!(
        rows.len() > 4 && rows.iter().all(|row| row["difference"]["value"] == 0.0),
        "{rows:?}"
    );
    let less = compare("0003");
    let calls_lost = less["disagreements"].as_array().unwrap();
    let lost = |call: &&serde_json::Value| call["better"] == false && call["challenger"] == "silent";
    assert!(calls_lost.iter().filter(lost).count() > 2, "{calls_lost:?}");

    let known = promote("0002", &["--on", "models/data/authored/calls-c.ndjson"]);
    assert_eq!(known.status.code(), Some(3));
    assert!(
        text(&known.stderr).contains("was trained on calls-c.ndjson"),
        "{}",
        text(&known.stderr)
    );
    assert!(promote("0002", &["--on", calls]).status.success());
    let refused = promote("0003", &["--on", calls]);
    assert_eq!(refused.status.code(), Some(3));
    let told = text(&refused.stderr);
    assert!(
        told.contains("of 9 emergencies it pages 6 in time, the champion 9"),
        "{told}"
    );
    assert_eq!(champion_of(models), "0002");
    let unseen = promote("0003", &["--despite", " "]);
    assert_eq!(unseen.status.code(), Some(3));
    assert!(
        text(&unseen.stderr).contains("not compared"),
        "{}",
        text(&unseen.stderr)
    );
    assert!(promote("0003", &["--despite", "it is a test"]).status.success());
    let history = std::fs::read_to_string(folder.path().join("under-escalation/history.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    let despite = last["despite"].as_str().unwrap();
    assert!(
        despite.contains("not compared") && despite.ends_with("it is a test"),
        "{despite}"
    );
}

#[test]
fn configuration_errors_name_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callward.toml");
    std::fs::write(&file, "[policy]\ncontact_lost_second = 45\n").unwrap();
    let check = callward(&["config", "check", "--config", file.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(3));
    assert!(
        text(&check.stderr).contains("contact_lost_second"),
        "{}",
        text(&check.stderr)
    );
    assert!(callward(&["config", "check"]).status.success());
}
