//! One broker for all tests of this run.

use std::process::Command;
use std::sync::OnceLock;

struct Broker {
    bootstrap: String,
}

static BROKER: OnceLock<Broker> = OnceLock::new();

/// host:port of the broker that the tests use; started once.
pub fn bootstrap() -> &'static str {
    &BROKER
        .get_or_init(|| match std::env::var("CALLWARD_TEST_KAFKA") {
            Ok(bootstrap) => Broker { bootstrap },
            Err(_) => start(),
        })
        .bootstrap
}

fn start() -> Broker {
    // A busy machine may take the chosen port before the broker does.
    let mut told = String::new();
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap().keep();
        let output = Command::new("tests/kafka/start")
            .arg(&folder)
            .output()
            .expect("tests/kafka/start runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if let Some(bootstrap) = text.lines().find_map(|line| line.strip_prefix("bootstrap=")) {
            end_with_us(&folder);
            return Broker {
                bootstrap: bootstrap.to_owned(),
            };
        }
        told = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    panic!("no broker came up: {told}")
}

/// A static is never dropped: somebody else waits for the end of this process and ends the broker then.
fn end_with_us(folder: &std::path::Path) {
    let wait = "while kill -0 \"$1\" 2>/dev/null; do sleep 0.5; done; tests/kafka/stop \"$2\"; rm -rf \"$2\"";
    #[expect(clippy::zombie_processes, reason = "it outlives this process")]
    Command::new("sh")
        .args(["-c", wait, "sh", &std::process::id().to_string()])
        .arg(folder)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a shell waits");
}
