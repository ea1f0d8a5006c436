//! The program on a real Apache Kafka: `CALLWARD_TEST_KAFKA`, or one started by `tests/kafka/start`.

mod broker;
mod hostile;
mod kafka_chart;
mod kafka_faults;
mod kafka_secure;
mod kafka_stream;
mod kafka_webhook;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub use broker::bootstrap;

/// Topics, group and configuration of one test.
pub struct Site {
    pub name: String,
    pub folder: tempfile::TempDir,
    pub partitions: i32,
    pub bootstrap: String,
}

/// A record as a test reads it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub key: String,
    pub value: Vec<u8>,
    pub headers: BTreeMap<String, String>,
    /// When it came into the log, in milliseconds since 1970, where the topic keeps the broker's time.
    pub appended: i64,
}

impl Site {
    pub fn new(test: &str, partitions: i32, extra: &str) -> Self {
        Self::at(bootstrap(), test, partitions, extra)
    }

    /// On a broker of its own.
    pub fn at(bootstrap: &str, test: &str, partitions: i32, extra: &str) -> Self {
        let name = format!("{test}-{:08x}", rand::random::<u32>());
        let site = Self {
            name,
            folder: tempfile::tempdir().unwrap(),
            partitions,
            bootstrap: bootstrap.to_owned(),
        };
        let config = format!(
            "[kafka]\nbrokers = \"{}\"\ngroup = \"{name}\"\ninstance = \"one\"\n[topics]\nevents = \"{name}.events\"\n\
             state = \"{name}.state\"\nscores = \"{name}.scores\"\nalerts = \"{name}.alerts\"\n\
             dead_letter = \"{name}.dead-letter\"\n[stream]\nworkers = 2\nsession_timeout_ms = 6000\n\
             [http]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n{extra}",
            site.bootstrap,
            name = site.name
        );
        std::fs::write(site.config(), config).unwrap();
        let made = Command::new(env!("CARGO_BIN_EXE_callward"))
            .args([
                "topics",
                "create",
                "--replication",
                &bootstrap.split(',').count().min(3).to_string(),
                "--partitions",
                &partitions.to_string(),
                "--config",
            ])
            .arg(site.config())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        site
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("callward.toml")
    }

    pub fn topic(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    pub fn serve(&self) -> Serve {
        Serve::start(&self.config())
    }

    pub fn command(&self, args: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_callward"))
            .args(args)
            .env("CALLWARD_CONFIG", self.config())
            .output()
            .unwrap()
    }

    pub fn producer(&self) -> ThreadedProducer<DefaultProducerContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("message.max.bytes", "12000000")
            .set("enable.idempotence", "true")
            // As Java's clients do it, which is not this client's own way: outputs must follow their input all the same.
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap()
    }

    /// Puts records on the events topic, each on the partition of its key.
    pub fn send(&self, records: &[(Option<Vec<u8>>, Vec<u8>)]) {
        let producer = self.producer();
        let topic = self.topic("events");
        for (key, value) in records {
            let mut record = BaseRecord::<[u8], [u8]>::to(&topic).payload(value);
            record.key = key.as_deref();
            while let Err((error, again)) = producer.send(record) {
                assert!(error.to_string().contains("Queue full"), "{error}");
                record = again;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// All committed records of a topic, partition by partition.
    pub fn read(&self, kind: &str) -> Vec<Seen> {
        let topic = self.topic(kind);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", format!("{}-reader", self.name))
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut open, mut seen) = (self.partitions, Vec::new());
        let deadline = Instant::now() + Duration::from_secs(60);
        while open > 0 {
            assert!(Instant::now() < deadline, "{topic} was not read to its end");
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => seen.push(Seen {
                    key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
                    value: message.payload().unwrap_or_default().to_vec(),
                    headers: headers(&message),
                    appended: message.timestamp().to_millis().unwrap_or_default(),
                }),
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => panic!("{topic}: {error}"),
                None => {}
            }
        }
        seen
    }

    /// Committed values of a topic by key, in order.
    pub fn by_key(&self, kind: &str) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for seen in self.read(kind) {
            all.entry(seen.key)
                .or_default()
                .push(String::from_utf8_lossy(&seen.value).into_owned());
        }
        all
    }
}

fn headers(message: &rdkafka::message::BorrowedMessage<'_>) -> BTreeMap<String, String> {
    use rdkafka::message::Headers as _;
    let Some(headers) = message.headers() else {
        return BTreeMap::new();
    };
    headers
        .iter()
        .map(|h| {
            (
                h.key.to_owned(),
                String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned(),
            )
        })
        .collect()
}

/// A running `callward serve`.
pub struct Serve {
    child: Child,
    pub listen: String,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Serve {
    pub fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    /// With settings from the environment besides.
    pub fn start_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_callward"))
            .args(["serve", "--config"])
            .arg(config)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let (told, listening) = std::sync::mpsc::channel();
        let into = log.clone();
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if let Some(at) = line.find("\"listen\":\"") {
                    let _ = told.send(line[at + 10..].split('"').next().unwrap_or_default().to_owned());
                }
                let mut log = into.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let listen = listening
            .recv_timeout(Duration::from_secs(30))
            .unwrap_or_else(|_| panic!("{}", log.lock().unwrap()));
        Self { child, listen, log }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What a path of the listener answers: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        use std::io::{Read as _, Write as _};
        let Ok(mut stream) = std::net::TcpStream::connect(&self.listen) else {
            return (0, String::new());
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let status = answer
            .split_whitespace()
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
    }

    /// Value of a series, its labels as they are printed.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or(0.0)
    }

    /// Sum of all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        text.lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        wait_until(&format!("{what}\n{}", self.log()), Duration::from_secs(60), || {
            holds(self)
        });
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// kill -9
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn terminate(mut self) -> (Option<i32>, Duration, String) {
        let began = Instant::now();
        Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        wait_until("serve ends after SIGTERM", Duration::from_secs(20), || {
            self.child.try_wait().unwrap().is_some()
        });
        let code = self.child.wait().unwrap().code();
        (code, began.elapsed(), self.log())
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Alerts of `callward score` by call.
pub fn scored(file: &Path, config: &Path) -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO_BIN_EXE_callward"))
        .args(["score", "--alerts-only", "--config"])
        .arg(config)
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let alert: serde_json::Value = serde_json::from_str(line).unwrap();
        all.entry(alert["call_id"].as_str().unwrap().to_owned())
            .or_default()
            .push(line.to_owned());
    }
    all
}
