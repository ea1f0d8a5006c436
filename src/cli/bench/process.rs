//! Topics of a run, and worker processes that are watched from outside.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::load::Load;
use super::worker::TaskName;
use crate::cli::replay;
use crate::config::Config;
use crate::stream::topics;
use crate::telemetry::wall_millis;

/// Topics of their own on a broker, and a folder for configurations and logs, which goes with it.
pub struct Site {
    pub config: Config,
    pub partitions: i32,
    folder: PathBuf,
    models: Option<PathBuf>,
}

impl Site {
    pub fn new(brokers: &str, partitions: i32, workers: usize, models: Option<&Path>) -> anyhow::Result<Self> {
        let name = format!("callward-bench-{:08x}", rand::random::<u32>());
        let mut config = Config::load(None)?;
        brokers.clone_into(&mut config.kafka.brokers);
        config.topics.events = format!("{name}.events");
        config.stream.workers = workers;
        config.log.format = crate::telemetry::LogFormat::Json;
        // The load's clock is the wall's, and silence of a call says something about the load alone.
        config.policy.contact_lost_seconds = 600;
        // What is measured is what many calls cost, and none is to be given up.
        config.stream.capacity_calls = 2_000_000;
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder)?;
        let mut site = Self {
            config,
            partitions,
            folder,
            models: models.map(Path::to_path_buf),
        };
        site.outputs(&name)?;
        Ok(site)
    }

    /// Output topics and a group under a new name, on the same events.
    pub fn outputs(&mut self, name: &str) -> anyhow::Result<()> {
        let topics = &mut self.config.topics;
        topics.state = format!("{name}.state");
        topics.scores = format!("{name}.scores");
        topics.alerts = format!("{name}.alerts");
        topics.dead_letter = format!("{name}.dead-letter");
        name.clone_into(&mut self.config.kafka.group);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(topics::create(
            &self.config.kafka,
            &self.config.topics,
            self.partitions,
            1,
        ))?;
        Ok(())
    }

    pub fn name(&self) -> String {
        self.config.topics.events.trim_end_matches(".events").to_owned()
    }

    pub fn fill(&self, load: &mut Load, events: usize) -> anyhow::Result<()> {
        let mut client = self.config.kafka.client()?;
        client
            .set("enable.idempotence", "true")
            .set("linger.ms", "50")
            .set("compression.type", "lz4");
        let producer: replay::Sender = client.create_with_context(replay::Deliveries::default())?;
        let start = wall_millis() - events as i64 / 5;
        for number in 0..events {
            let (key, line) = load.next(start + number as i64 / 5);
            let mut record = BaseRecord::<str, [u8]>::to(&self.config.topics.events)
                .key(&key)
                .payload(&line);
            while let Err((_, again)) = producer.send(record) {
                record = again;
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        producer.flush(Duration::from_secs(60))?;
        replay::delivered(&producer).map_err(|failure| failure.error)
    }

    pub fn start(&self, task: TaskName) -> anyhow::Result<Process> {
        let file = self.folder.join(format!("{}.toml", self.config.kafka.group));
        std::fs::write(&file, self.config.to_toml())?;
        let log = self.folder.join(format!("{}.log", self.config.kafka.group));
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(models) = &self.models {
            command.arg("--models").arg(models);
        }
        let child = command
            .args(["bench", "worker", "--task", task.as_str(), "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .context("the worker did not start")?;
        let consumer: BaseConsumer = self
            .config
            .kafka
            .client()?
            .set("group.id", &self.config.kafka.group)
            .set("isolation.level", "read_uncommitted")
            .create()?;
        Ok(Process {
            child,
            log,
            consumer,
            events: self.config.topics.events.clone(),
            partitions: self.partitions,
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A worker process.
pub struct Process {
    child: Child,
    log: PathBuf,
    consumer: BaseConsumer,
    events: String,
    partitions: i32,
}

impl Process {
    /// Events whose effect is committed; nothing as long as a partition has no offset.
    pub fn committed(&self) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(&self.events, partition);
        }
        let list = self.consumer.committed_offsets(list, Duration::from_secs(5)).ok()?;
        list.elements()
            .iter()
            .map(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            })
            .sum()
    }

    /// Waits until so many events are committed, and tells how many are.
    pub fn wait_for(&mut self, events: i64, patience: Duration) -> anyhow::Result<i64> {
        let deadline = Instant::now() + patience;
        loop {
            match self.committed() {
                Some(committed) if committed >= events => return Ok(committed),
                _ if Instant::now() > deadline => {
                    bail!(
                        "{events} events are not committed in {} s\n{}",
                        patience.as_secs(),
                        self.log()
                    )
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the worker ended with {status}\n{}", self.log());
            }
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Seconds of processor time so far, of all its threads.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok());
        // The 14th and 15th field of proc(5), counted behind the name; a tick is a hundredth of a second on Linux.
        let (user, system) = ticks(11).zip(ticks(12)).context("/proc has no processor time")?;
        Ok((user + system) / 100.0)
    }

    pub fn resident_bytes(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages: f64 = text.split_whitespace().nth(1).unwrap_or_default().parse()?;
        Ok(pages * 4096.0)
    }

    /// SIGTERM, its end, and its metrics.
    pub fn end(mut self) -> anyhow::Result<Metrics> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        let mut text = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut text)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the worker ended with {status}\n{}", self.log());
        }
        Ok(Metrics(text))
    }
}

/// What a process had counted when it ended, as Prometheus reads it.
pub struct Metrics(String);

impl Metrics {
    /// Value of a series, its labels as they are printed.
    pub fn value(&self, series: &str) -> f64 {
        let mut lines = self.0.lines();
        lines
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or_default()
    }

    /// Mean of a histogram, in milliseconds.
    pub fn mean_ms(&self, name: &str, labels: &str) -> f64 {
        let of = |part: &str| self.value(&format!("callward_{name}_{part}{labels}"));
        of("sum") / of("count").max(1.0) * 1e3
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
