//! `callward demo`: the real worker on a Kafka that lives in this process, and made-up calls.
//!
//! The mock cluster of the Kafka client keeps nothing and proves nothing about exactly-once; it shows the program at
//! work where there is no Kafka.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{IsTerminal as _, Write as _};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::topic_partition_list::Offset;

use super::{Common, Failure, replay, watch};
use crate::alert::Alert;
use crate::config::Config;
use crate::evaluation::Label;
use crate::record::Timestamp;
use crate::simulation;
use crate::stream;
use crate::telemetry::{self, Heartbeat, Metrics, wall_millis};

/// Watch Callward work: made-up calls, a Kafka inside this process, alerts as they are raised.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward demo\n  callward demo --seconds 20\n  callward demo --keep-running --speed 5"
)]
pub struct Args {
    /// End after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Begin again when all calls are played, until Ctrl-C.
    #[arg(long)]
    keep_running: bool,
    /// How many times faster than life.
    #[arg(long, default_value_t = 20.0)]
    speed: f64,
    /// Where metrics and health are served; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    listen: String,
}

const PARTITIONS: i32 = 4;
/// What the last deadline of a silent call may take after the last event.
const SILENCE: Duration = Duration::from_secs(50);

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let version = common.version(None)?;
    let mut config = Config::load(None)?;
    config.kafka.instance = "demo".into();
    config.stream.workers = 1;
    // The mock cluster does not wake a fetch when a record comes.
    config.stream.fetch_wait_ms = 5;
    config.log.filter = "error".into();
    telemetry::init(&config.log);
    // It lasts as long as the process: clients close on threads of their own, and would tell that it has gone.
    let cluster = ManuallyDrop::new(MockCluster::new(1).context("the mock cluster did not start")?);
    config.kafka.brokers = cluster.bootstrap_servers();
    for topic in crate::stream::topics::wanted(&config.topics) {
        cluster
            .create_topic(&topic.name, PARTITIONS, 1)
            .context("the mock cluster made no topic")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(&args.listen))?;
    let address = listener.local_addr()?;
    banner(version.model.label().as_str(), &address.to_string(), &args);

    let pipeline = Arc::new(version.pipeline(config.policy)?);
    let metrics = Arc::new(Metrics::new());
    let heartbeat = Heartbeat::of(1, config.stream.transaction_timeout());
    let stop = Arc::new(AtomicBool::new(false));
    let plan = super::serve::plan(&config, pipeline, &metrics, &heartbeat, &stop);
    runtime.spawn(crate::http::serve(listener, metrics, heartbeat, std::future::pending()));
    let interrupted = stop.clone();
    let mut told = runtime.block_on(async { super::serve::Signals::new() })?;
    runtime.spawn(async move {
        told.wait().await;
        interrupted.store(true, Ordering::Relaxed);
    });
    let worker = std::thread::Builder::new()
        .name("worker-0".into())
        .spawn(move || stream::run::<stream::Partition>(&plan, 0))?;
    let show = show(&args, common, &config, &stop);
    stop.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(config.stream.drain_seconds);
    while !worker.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    runtime.shutdown_background();
    let shown = show?;
    shown.print_summary();
    Ok(())
}

fn banner(model: &str, address: &str, args: &Args) {
    let bound = args.seconds.map(|s| format!(", for at most {s} s")).unwrap_or_default();
    println!(
        "Callward demo, {model}. The calls are invented; Kafka runs inside this process and NOTHING IS DURABLE.\n\
         Played {} times faster than life{bound}. Metrics: http://{address}/metrics\n",
        args.speed
    );
}

/// Plays the calls and shows the alerts until both are over.
fn show(args: &Args, common: &Common, config: &Config, stop: &Arc<AtomicBool>) -> Result<Shown, Failure> {
    let consumer = watch::alerts_consumer(config, Offset::Beginning, &mut BTreeMap::new())?;
    let began = Instant::now();
    let time_is_up = || {
        args.seconds
            .is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds))
    };
    let mut shown = Shown::default();
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) && !time_is_up() {
        let schedule = shown.begin_round(round)?;
        let (speed, config, halt) = (args.speed, config.clone(), Arc::new(AtomicBool::new(false)));
        let halted = halt.clone();
        let feeder = std::thread::spawn(move || feed(&schedule, &config, speed, &halted));
        let mut fed_at: Option<Instant> = None;
        loop {
            if stop.load(Ordering::Relaxed) || time_is_up() {
                halt.store(true, Ordering::Relaxed);
                break;
            }
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
                let payload = message.payload().unwrap_or_default();
                let alert: Alert = serde_json::from_slice(payload).context("an alert cannot be read")?;
                shown.saw(&alert);
                if alert.is_page() {
                    print(&alert, &shown, common, color, payload)?;
                }
            }
            if fed_at.is_none() && feeder.is_finished() {
                fed_at = Some(Instant::now());
            }
            let quiet = fed_at.is_some_and(|at| at.elapsed() > Duration::from_secs(2) && shown.is_complete());
            if quiet || fed_at.is_some_and(|at| at.elapsed() > SILENCE) {
                break;
            }
        }
        feeder
            .join()
            .map_err(|_| anyhow::anyhow!("playing the calls failed"))??;
        round += 1;
        if !args.keep_running {
            break;
        }
    }
    Ok(shown)
}

fn feed(schedule: &[replay::Due], config: &Config, speed: f64, halt: &AtomicBool) -> Result<(), anyhow::Error> {
    let producer = replay::producer(config).map_err(|failure| failure.error)?;
    let began = Instant::now();
    for due in schedule {
        let wait = Duration::from_secs_f64(due.after_ms / 1000.0 / speed.max(0.01));
        while began.elapsed() < wait {
            if halt.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5).min(wait.saturating_sub(began.elapsed())));
        }
        replay::send(&producer, &config.topics.events, due).map_err(|failure| failure.error)?;
    }
    Ok(())
}

fn print(alert: &Alert, shown: &Shown, common: &Common, color: bool, payload: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if common.output == super::Output::Json {
        out.write_all(payload)?;
        out.write_all(b"\n")?;
        return Ok(());
    }
    writeln!(out, "{}", watch::card(alert, color))?;
    match shown.seconds_left(alert) {
        Some(left) => writeln!(out, "  left      {left:.0} s of the call\n")?,
        None => writeln!(out, "  left      nobody knows: the line is silent\n")?,
    }
    out.flush()?;
    Ok(())
}

/// What was played and what came of it.
#[derive(Default)]
struct Shown {
    labels: HashMap<String, Label>,
    /// Last event of each call, and whether it was its end.
    ends: HashMap<String, (Timestamp, bool)>,
    played: usize,
    /// First page of each call: at, and whether the call was over.
    pages: BTreeMap<String, Timestamp>,
    records: usize,
    lost: HashSet<String>,
}

impl Shown {
    /// The calls of the next round, under names of their own and with the times of now.
    fn begin_round(&mut self, round: usize) -> Result<Vec<replay::Due>, Failure> {
        let rename = |id: &str| {
            if round == 0 {
                id.to_owned()
            } else {
                format!("{id}-{}", round + 1)
            }
        };
        for label in simulation::labels() {
            self.labels.insert(rename(&label.call_id), label);
        }
        let lines = simulation::CALLS
            .lines()
            .map(|line| {
                let mut event: serde_json::Value = serde_json::from_str(line)?;
                if let Some(id) = event["call_id"].as_str().map(rename) {
                    event["call_id"] = serde_json::Value::String(id);
                }
                serde_json::to_vec(&event)
            })
            .collect::<Result<Vec<_>, serde_json::Error>>()?;
        let schedule = replay::move_to(replay::schedule(lines, 20.0), wall_millis())?;
        for due in &schedule {
            let id = String::from_utf8_lossy(&due.key).into_owned();
            let ended = due.line.windows(12).any(|window| window == b"\"call_ended\"");
            self.ends.insert(id, (due.at, ended));
        }
        self.played = self.ends.len();
        Ok(schedule)
    }

    fn saw(&mut self, alert: &Alert) {
        self.records += 1;
        if alert.is_page() {
            self.pages.entry(alert.call_id.clone()).or_insert(alert.at);
        }
        if alert.state == crate::alert::State::ContactLost {
            self.lost.insert(alert.call_id.clone());
        }
    }

    /// Every call that went silent without an end was told to be lost.
    fn is_complete(&self) -> bool {
        self.ends.iter().all(|(id, (_, ended))| {
            *ended || self.lost.contains(id) || self.labels.get(id).is_none_or(|label| !label.under_escalated)
        })
    }

    fn seconds_left(&self, alert: &Alert) -> Option<f64> {
        let (end, ended) = self.ends.get(&alert.call_id)?;
        ended.then(|| end.seconds_since(alert.at).max(0.0))
    }

    fn print_summary(&self) {
        let needy: Vec<&String> = self
            .labels
            .iter()
            .filter(|(_, label)| label.under_escalated)
            .map(|(id, _)| id)
            .collect();
        let missed: Vec<&&String> = needy
            .iter()
            .filter(|id| !self.pages.contains_key(id.as_str()))
            .collect();
        let wrong: Vec<&String> = self
            .pages
            .keys()
            .filter(|id| self.labels.get(*id).is_none_or(|label| !label.under_escalated))
            .collect();
        let mut leads: Vec<f64> = needy
            .iter()
            .filter_map(|id| Some((self.pages.get(id.as_str())?, self.ends.get(id.as_str())?)))
            .filter(|(_, (_, ended))| *ended)
            .map(|(page, (end, _))| end.seconds_since(*page).max(0.0))
            .collect();
        leads.sort_by(f64::total_cmp);
        let lead = leads
            .get(leads.len() / 2)
            .map_or("–".to_owned(), |seconds| format!("{seconds:.0} s"));
        println!(
            "{} calls, {} in need that nobody handed over. {} paged, {} missed, {} paged without need. Median time from \
             page to end of call: {lead}.",
            self.played,
            needy.len(),
            self.pages.len(),
            missed.len(),
            wrong.len()
        );
        for (what, ids) in [
            ("missed", missed.into_iter().map(|id| id.as_str()).collect::<Vec<_>>()),
            ("paged without need", wrong.into_iter().map(String::as_str).collect()),
        ] {
            if !ids.is_empty() {
                println!("  {what}: {}", ids.join(", "));
            }
        }
        println!("Invented calls show the program at work; they say nothing about how good it is.");
    }
}
