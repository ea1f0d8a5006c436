//! The chart as a real Helm renders it, and what its container would run, started here: it becomes ready, gets SIGTERM
//! and drains within its grace period.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Site, bootstrap, wait_until};

fn helm() -> String {
    if let Ok(helm) = std::env::var("CALLWARD_TEST_HELM") {
        return helm;
    }
    let got = Command::new("tests/helm/get").output().unwrap();
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    format!("{target}/helm/helm")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The first value of a key in a rendered manifest, as YAML of the chart's own making has it.
fn after<'t>(text: &'t str, key: &str) -> &'t str {
    let at = text.find(key).unwrap_or_else(|| panic!("{key} is not rendered"));
    text[at + key.len()..].lines().next().unwrap().trim().trim_matches('"')
}

#[test]
fn the_rendered_container_runs_becomes_ready_and_drains() {
    let site = Site::new("chart", 2, "");
    let port = free_port();
    let name = &site.name;
    let mut render = Command::new(helm());
    render.args([
        "template",
        "callward",
        "helm/callward",
        "--set",
        &format!("kafka.brokers={bootstrap}", bootstrap = bootstrap()),
    ]);
    render.args([
        "--set",
        &format!("config.http.listen=0.0.0.0:{port}"),
        "--set",
        &format!("config.kafka.group={name}"),
    ]);
    for topic in ["events", "state", "scores", "alerts"] {
        render.args(["--set", &format!("config.topics.{topic}={}", site.topic(topic))]);
    }
    render.args([
        "--set",
        &format!("config.topics.dead_letter={}", site.topic("dead-letter")),
    ]);
    let rendered = render.output().unwrap();
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    let text = String::from_utf8(rendered.stdout).unwrap();
    // The file that the ConfigMap mounts.
    let begin = text.find("callward.toml: |").expect("the ConfigMap holds the file");
    let toml: Vec<&str> = text[begin..]
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("    ") || line.is_empty())
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect();
    let file = site.folder.path().join("callward.toml");
    std::fs::write(&file, toml.join("\n")).unwrap();
    // The command and arguments of the container, with the mounted folder and the image's binary put in their places.
    let pod = &text[text.find("kind: StatefulSet").expect("a StatefulSet")..];
    assert!(pod.contains("/usr/local/bin/callward") && pod.contains("/etc/callward/callward.toml"));
    for line in [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
    ] {
        assert!(pod.contains(line), "{line}");
    }
    let grace: u64 = after(pod, "terminationGracePeriodSeconds: ").parse().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_callward"))
        .args(["serve", "--config"])
        .arg(&file)
        .env_clear()
        .env("CALLWARD_KAFKA__INSTANCE", "callward-0")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let get = |path: &str| {
        use std::io::{Read as _, Write as _};
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
            return String::new();
        };
        let mut answer = String::new();
        let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    wait_until("the probe says ready", Duration::from_secs(60), || {
        get("/readyz").starts_with("HTTP/1.1 200")
    });
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    let began = Instant::now();
    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    wait_until("it ends", Duration::from_secs(grace), || {
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(grace),
        "{:?} of {grace} s",
        began.elapsed()
    );
}
