//! The commands as a person or a script meets them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

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
        "models", "reset",
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

#[test]
fn a_promotion_is_written_down_and_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().to_str().unwrap();
    for number in ["0001", "0002"] {
        let version = folder.path().join("under-escalation").join(number);
        std::fs::create_dir_all(&version).unwrap();
        for entry in std::fs::read_dir(champion()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, version.join(path.file_name().unwrap())).unwrap();
        }
    }
    let run = |args: &[&str]| callward(&[args, &["--models", models]].concat());
    let promote = |version: &str| run(&["models", "promote", version, "--reason", "a test", "--approved-by", "T"]);
    assert!(promote("0001").status.success());
    assert!(promote("0002").status.success());
    assert_eq!(promote("0009").status.code(), Some(3));
    assert!(text(&run(&["models", "list"]).stdout).contains("0002 champion"));
    assert!(
        run(&["models", "rollback", "--reason", "a test", "--approved-by", "T"])
            .status
            .success()
    );
    assert!(text(&run(&["models", "list"]).stdout).contains("0001 champion"));
    let history = std::fs::read_to_string(folder.path().join("under-escalation/history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 3);
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
