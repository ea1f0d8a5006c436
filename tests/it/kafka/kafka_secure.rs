//! TLS, SCRAM, tokens and an authorizer on a real broker: with the rights that README lists and no others everything
//! works, and who has no right, or a wrong password, is told so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Serve, Site, scored, wait_until};

const CALLS: &str = "src/simulation/calls.ndjson";

/// A broker with a secure listener, ended with the test.
struct Secured {
    folder: tempfile::TempDir,
    bootstrap: String,
    secure: String,
    ca: String,
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("tests/kafka/start")
            .arg("--secure")
            .arg(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let of = |key: &str| -> String {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
                .to_owned()
        };
        Self {
            bootstrap: of("bootstrap="),
            secure: of("secure="),
            ca: of("ca="),
            folder,
        }
    }

    /// Lets a user do these operations on a resource.
    fn allow(&self, user: &str, operations: &[&str], resource: &[&str]) {
        let library = std::env::var("CALLWARD_TEST_KAFKA_LIB").unwrap_or("target/kafka/lib".into());
        let principal = format!("User:{user}");
        let mut command = Command::new("java");
        command.args(["-XX:TieredStopAtLevel=1", "-cp", &format!("{library}/*")]);
        command.args([
            "org.apache.kafka.tools.AclCommand",
            "--bootstrap-server",
            &self.bootstrap,
            "--add",
        ]);
        command.args(["--allow-principal", &principal]);
        operations.iter().for_each(|operation| {
            command.args(["--operation", operation]);
        });
        let done = command.args(resource).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// The site's configuration for this user of the secure listener.
    fn config(&self, site: &Site, user: &str, password: &str) -> PathBuf {
        let secret = site.folder.path().join(format!("{user}.secret"));
        std::fs::write(&secret, format!("{password}\n")).unwrap();
        let login = format!(
            "sasl_username = \"{user}\"\nsasl_password_file = \"{}\"",
            secret.display()
        );
        self.config_with(site, user, &login)
    }

    fn config_with(&self, site: &Site, name: &str, login: &str) -> PathBuf {
        let secured = format!(
            "brokers = \"{}\"\nsecurity_protocol = \"sasl_ssl\"\n{login}\nssl_ca_file = \"{}\"",
            self.secure, self.ca
        );
        let plain = std::fs::read_to_string(site.config()).unwrap();
        let config = site.folder.path().join(format!("as-{name}.toml"));
        std::fs::write(
            &config,
            plain.replace(&format!("brokers = \"{}\"", self.bootstrap), &secured),
        )
        .unwrap();
        config
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = Command::new("tests/kafka/stop").arg(self.folder.path()).status();
    }
}

/// What README's table gives to `serve`, and to a source.
fn grant(broker: &Secured, site: &Site) {
    let topic = |kind: &str| site.topic(kind);
    let (events, state) = (topic("events"), topic("state"));
    let outputs = ["scores", "alerts", "dead-letter"].map(topic);
    let restore = format!("{}-restore", site.name);
    let prefix = format!("{}.", site.name);
    broker.allow("callward", &["Read", "DescribeConfigs"], &["--topic", &events]);
    broker.allow("callward", &["Read", "Write", "DescribeConfigs"], &["--topic", &state]);
    for output in &outputs {
        broker.allow("callward", &["Write", "DescribeConfigs"], &["--topic", output]);
    }
    broker.allow("callward", &["Read"], &["--group", &site.name]);
    broker.allow("callward", &["Describe"], &["--group", &restore]);
    let ids = ["--transactional-id", &prefix, "--resource-pattern-type", "prefixed"];
    broker.allow("callward", &["Write"], &ids);
    broker.allow("source", &["Write"], &["--topic", &events]);
}

fn replay(config: &Path, to: &str) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_callward"))
        .args([
            "replay", CALLS, "--to", to, "--at", "original", "--speed", "0", "--config",
        ])
        .arg(config)
        .output()
        .unwrap()
}

/// A token that nobody signed, valid for so many seconds.
fn write_token(file: &Path, seconds: i64) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let now = callward::telemetry::wall_millis() / 1000;
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"callward","iat":{now},"exp":{}}}"#, now + seconds);
    let token = format!("{}.{}.", part(r#"{"alg":"none"}"#.into()), part(claims));
    let part_file = file.with_extension("part");
    std::fs::write(&part_file, token).unwrap();
    std::fs::rename(part_file, file).unwrap();
}

/// The same rights by a token that lives for eight seconds and is kept fresh: clients bring the next one in time, of those
/// that wait for an answer before they poll too.
fn by_token(broker: &Secured, site: &Site) {
    let file = site.folder.path().join("token");
    write_token(&file, 8);
    let login = format!(
        "sasl_mechanism = \"OAUTHBEARER\"\nsasl_token_file = \"{}\"",
        file.display()
    );
    let serve = Serve::start(&broker.config_with(site, "token", &login));
    let began = Instant::now();
    let before = site.by_key("scores").len();
    let event = |number: u64| {
        let id = format!("by-token-{number}");
        let line = format!(
            r#"{{"call_id":"{id}","at":"2026-05-04T09:00:00Z","type":"utterance","speaker":"caller","text":"hello"}}"#
        );
        (Some(id.into_bytes()), line.into_bytes())
    };
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(25) {
        std::thread::sleep(Duration::from_secs(2));
        write_token(&file, 8);
        site.send(&[event(sent)]);
        sent += 1;
    }
    serve.wait_until("what came after three lives of a token is judged", |serve| {
        serve.sum("callward_events_total") >= sent as f64
    });
    assert_eq!(serve.get("/readyz").0, 200, "{}", serve.log());
    assert_eq!(serve.metric("callward_rebuilds_total"), 0.0, "{}", serve.log());
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(site.by_key("scores").len(), before + sent as usize);
    // A token that is over is told.
    write_token(&file, 0);
    let mut late = Serve::start(&broker.config_with(site, "late", &login));
    wait_until("a token that is over is told", Duration::from_secs(60), || {
        late.log().contains("sasl_token_file") || !late.is_running()
    });
    assert!(late.log().contains("sasl_token_file"), "{}", late.log());
}

#[test]
fn tls_scram_and_the_least_rights_are_enough_and_nothing_less_is() {
    if std::env::var("CALLWARD_TEST_KAFKA").is_ok() {
        println!("skipped: it needs a broker of its own, and CALLWARD_TEST_KAFKA names another");
        return;
    }
    let broker = Secured::start();
    let site = Site::at(&broker.bootstrap, "secure", 2, "[policy]\ncontact_lost_seconds = 12\n");
    grant(&broker, &site);
    let serve = Serve::start(&broker.config(&site, "callward", "callward-secret"));
    serve.wait_until("ready", |serve| serve.get("/readyz").0 == 200);
    let played = replay(&broker.config(&site, "source", "source-secret"), &broker.secure);
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let expected = scored(Path::new(CALLS), &site.config());
    let lines = |all: &BTreeMap<String, Vec<String>>| all.values().map(Vec::len).sum::<usize>();
    let deadline = Instant::now() + Duration::from_secs(60);
    while lines(&site.by_key("alerts")) < lines(&expected) {
        let so_far = lines(&site.by_key("alerts"));
        let wanted = lines(&expected);
        assert!(
            Instant::now() < deadline,
            "{so_far} of {wanted} alerts\n{}",
            serve.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(site.by_key("alerts"), expected);
    assert!(
        !serve.log().contains("callward-secret"),
        "the password stands in the log"
    );
    // A second member restores what the first holds.
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    let again = Serve::start(&broker.config(&site, "callward", "callward-secret"));
    again.wait_until("the state is back", |serve| {
        serve.metric("callward_restored_records_total") > 0.0
    });
    drop(again);
    by_token(&broker, &site);
    // Known, but without rights.
    let refused = replay(&broker.config(&site, "nobody", "nobody-secret"), &broker.secure);
    assert!(!refused.status.success());
    let mut serve = Serve::start(&broker.config(&site, "nobody", "nobody-secret"));
    wait_until("who has no rights ends", Duration::from_secs(60), || {
        !serve.is_running()
    });
    assert!(serve.log().contains("check the ACLs"), "{}", serve.log());
    // A wrong password.
    let mut serve = Serve::start(&broker.config(&site, "nobody", "wrong"));
    wait_until("a wrong password is told", Duration::from_secs(60), || {
        serve.log().contains("uthentication") || !serve.is_running()
    });
    assert!(serve.log().contains("uthentication"), "{}", serve.log());
    assert!(!serve.log().contains("wrong\""), "{}", serve.log());
}
