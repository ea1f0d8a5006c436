//! Judging end to end on a real Kafka, beside the same transport without it.
//!
//! Saturation: a topic that was filled before is worked off by one process, once with each task; what counts is what is
//! committed, seen from outside. Latency: events are sent at the times at which they are due, whether or not the program
//! keeps up, and the time of an alert is that from when its event was due to when a reader of committed records has it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Serialize;

use super::load::Load;
use super::process::{Metrics, Site};
use super::worker::TaskName;
use super::{Machine, quantile};
use crate::alert::Alert;
use crate::cli::{Common, Failure, replay};
use crate::record::Timestamp;
use crate::telemetry::wall_millis;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A broker; topics of its own are made there and stay.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: String,
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Workers of the process, each a thread.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Events to work off at saturation.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Events a second at which the time to an alert is measured.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,20000")]
    rates: Vec<u32>,
    /// Seconds of each rate, after five seconds that do not count.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    partitions: i32,
    workers: usize,
    events: usize,
    saturation: Vec<Saturation>,
    latency: Vec<Latency>,
}

#[derive(Debug, Serialize)]
struct Saturation {
    task: TaskName,
    /// Of the window between a tenth and nineteen twentieths of the events.
    events: i64,
    events_per_second: f64,
    cpu_seconds_per_million: f64,
    events_per_cpu_second: f64,
    commits: Commits,
}

/// Means in milliseconds; the parts are those of `commit_phase_seconds`.
#[derive(Debug, Serialize)]
struct Commits {
    count: f64,
    mean_ms: f64,
    drain_ms: f64,
    offsets_ms: f64,
    end_ms: f64,
}

impl Commits {
    fn of(metrics: &Metrics) -> Self {
        let part = |name: &str| metrics.mean_ms("commit_phase_seconds", &format!("{{phase=\"{name}\"}}"));
        Self {
            count: metrics.value("callward_commits_total{result=\"ok\"}"),
            mean_ms: metrics.mean_ms("commit_duration_seconds", ""),
            drain_ms: part("drain"),
            offsets_ms: part("offsets"),
            end_ms: part("end"),
        }
    }

    fn print(&self) {
        println!(
            "    {} commits of {:.1} ms: delivery {:.1}, offsets {:.1}, end {:.1}",
            self.count, self.mean_ms, self.drain_ms, self.offsets_ms, self.end_ms
        );
    }
}

#[derive(Debug, Serialize)]
struct Latency {
    rate: u32,
    alerts: usize,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    p999_ms: Option<f64>,
    max_ms: Option<f64>,
    /// Processor time of the worker, in cores.
    cores: f64,
    /// How late the load itself was; above 2 ms the row is not to be quoted.
    load_late_p99_ms: f64,
    commits: Commits,
}

const ABREAST: usize = 2_000;
const WARM_UP: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(600);

pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let mut site = Site::new(&args.brokers, args.partitions, args.workers, common.models.as_deref())?;
    eprintln!("filling {} with {} events", site.config.topics.events, args.events);
    site.fill(&mut Load::of(ABREAST, false)?, args.events)?;
    let mut saturation = Vec::new();
    // The first run warms the broker up and is not told.
    for task in [TaskName::Floor, TaskName::Judge, TaskName::Floor, TaskName::Count] {
        eprintln!("working them off: {}", task.as_str());
        saturation.push(saturate(&mut site, task, args.events as i64)?);
    }
    saturation.remove(0);
    let mut latency = Vec::new();
    for rate in &args.rates {
        eprintln!("{rate} events a second for {} s", args.seconds);
        let site = Site::new(&args.brokers, args.partitions, args.workers, common.models.as_deref())?;
        latency.push(pace(&site, *rate, Duration::from_secs(args.seconds))?);
    }
    let report = Report {
        machine: Machine::this(),
        partitions: args.partitions,
        workers: args.workers,
        events: args.events,
        saturation,
        latency,
    };
    if common.output.is_json() {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn print(report: &Report) {
    let machine = &report.machine;
    println!(
        "{}, {} cores, {} GB; one process, {} workers, {} partitions",
        machine.processor, machine.cores, machine.memory_gb, report.workers, report.partitions
    );
    let floor = report.saturation.iter().find(|row| row.task == TaskName::Floor);
    println!("  at saturation      events/s   CPU s a million   events a CPU s   of the floor's rate   times its CPU");
    for row in &report.saturation {
        let of = |own: f64, floors: Option<f64>| floors.map_or(f64::NAN, |floors| own / floors);
        println!(
            "  {:16} {:10.0} {:17.2} {:16.0} {:21.2} {:15.2}",
            row.task.as_str(),
            row.events_per_second,
            row.cpu_seconds_per_million,
            row.events_per_cpu_second,
            of(row.events_per_second, floor.map(|floor| floor.events_per_second)),
            of(
                row.cpu_seconds_per_million,
                floor.map(|floor| floor.cpu_seconds_per_million)
            ),
        );
        row.commits.print();
    }
    println!(
        "  events/s   alerts   ms to an alert: p50      p99    p99.9      max   worker's cores   load late, p99 ms"
    );
    for row in &report.latency {
        let ms = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
        println!(
            "  {:8} {:8} {:>20} {:>8} {:>8} {:>8} {:16.2} {:19.2}{}",
            row.rate,
            row.alerts,
            ms(row.p50_ms),
            ms(row.p99_ms),
            ms(row.p999_ms),
            ms(row.max_ms),
            row.cores,
            row.load_late_p99_ms,
            if row.load_late_p99_ms > 2.0 {
                "  not to be quoted"
            } else {
                ""
            }
        );
        row.commits.print();
    }
}

fn saturate(site: &mut Site, task: TaskName, events: i64) -> anyhow::Result<Saturation> {
    let name = format!("{}-{}-{:04x}", site.name(), task.as_str(), rand::random::<u16>());
    site.outputs(&name)?;
    let mut process = site.start(task)?;
    let first = process.wait_for(events / 10, PATIENCE)?;
    let (began, cpu) = (Instant::now(), process.cpu_seconds()?);
    let last = process.wait_for(events / 20 * 19, PATIENCE)?;
    let (took, cpu) = (began.elapsed().as_secs_f64(), process.cpu_seconds()? - cpu);
    process.wait_for(events, PATIENCE)?;
    let commits = Commits::of(&process.end()?);
    let done = (last - first) as f64;
    Ok(Saturation {
        task,
        events: last - first,
        events_per_second: done / took,
        cpu_seconds_per_million: cpu / done * 1e6,
        events_per_cpu_second: done / cpu,
        commits,
    })
}

/// Sends at a rate and reads alerts meanwhile.
fn pace(site: &Site, rate: u32, long: Duration) -> anyhow::Result<Latency> {
    let mut process = site.start(TaskName::Judge)?;
    process.wait_for(0, Duration::from_secs(60))?;
    let over = AtomicBool::new(false);
    let (sent, cores, mut times) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_alerts(site, &over));
        let sender = scope.spawn(|| send(site, rate, WARM_UP + long));
        std::thread::sleep(WARM_UP);
        let (began, cpu) = (Instant::now(), process.cpu_seconds());
        let sent = sender.join();
        let cores = process
            .cpu_seconds()
            .and_then(|after| Ok((after - cpu?) / began.elapsed().as_secs_f64()));
        // Alerts that come late count as much as the others.
        let events = sent
            .as_ref()
            .ok()
            .and_then(|sent| sent.as_ref().ok())
            .map_or(0, |(late, _)| late.len());
        let worked_off = process.wait_for(events as i64, PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        over.store(true, Ordering::Relaxed);
        (sent, cores.and_then(|cores| worked_off.map(|_| cores)), reader.join())
    });
    let commits = Commits::of(&process.end()?);
    let (mut late, start) = sent.ok().context("sending panicked")??;
    let times = times.as_mut().ok().context("reading panicked")?.as_mut();
    let times = times.map_err(|error| anyhow::anyhow!("{error}"))?;
    let counted = start + WARM_UP.as_millis() as i64;
    let mut times: Vec<f64> = times
        .iter()
        .filter(|(at, _)| *at >= counted)
        .map(|(_, ms)| *ms)
        .collect();
    times.sort_by(f64::total_cmp);
    late.sort_by(f64::total_cmp);
    Ok(Latency {
        rate,
        alerts: times.len(),
        p50_ms: quantile(&times, 0.5),
        p99_ms: quantile(&times, 0.99),
        p999_ms: quantile(&times, 0.999),
        max_ms: times.last().copied(),
        cores: cores?,
        load_late_p99_ms: quantile(&late, 0.99).unwrap_or_default(),
        commits,
    })
}

/// Open loop: each event goes out when it is due. How late each went, in milliseconds, and when the first was due.
fn send(site: &Site, rate: u32, long: Duration) -> anyhow::Result<(Vec<f64>, i64)> {
    let mut client = site.config.kafka.client()?;
    // The client's own default for how long it gathers.
    client.set("enable.idempotence", "true").set("linger.ms", "5");
    let producer: replay::Sender = client.create_with_context(replay::Deliveries::default())?;
    // Each call speaks about once a second.
    let mut load = Load::of(rate as usize, false)?;
    let (began, start) = (Instant::now(), wall_millis());
    let mut late = Vec::new();
    for number in 0.. {
        let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        if due >= long {
            break;
        }
        let (key, line) = load.next(start + due.as_millis() as i64);
        while began.elapsed() < due {
            std::thread::sleep((due - began.elapsed().min(due)).max(Duration::from_micros(200)));
        }
        late.push((began.elapsed() - due).as_secs_f64() * 1e3);
        let due = replay::Due {
            key: key.into_bytes(),
            line,
            at: Timestamp::from_millis(0),
            after_ms: 0.0,
        };
        replay::send(&producer, &site.config.topics.events, &due).map_err(|failure| failure.error)?;
    }
    replay::delivered(&producer).map_err(|failure| failure.error)?;
    Ok((late, start))
}

/// Event time of each new or worsened alert, and milliseconds until it was read.
fn read_alerts(site: &Site, over: &AtomicBool) -> anyhow::Result<Vec<(i64, f64)>> {
    let consumer: BaseConsumer = site
        .config
        .kafka
        .client()?
        .set("group.id", "callward-bench-reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..site.partitions {
        list.add_partition_offset(&site.config.topics.alerts, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut times = Vec::new();
    let mut revisions: BTreeMap<String, u32> = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let (now, message) = (wall_millis(), message?);
        let alert: Alert = serde_json::from_slice(message.payload().unwrap_or_default())?;
        let before = revisions.insert(alert.alert_id.0.clone(), alert.revision);
        if before.is_some_and(|before| before >= alert.revision) {
            anyhow::bail!("alert {} revision {} was read twice", alert.alert_id.0, alert.revision);
        }
        times.push((alert.at.millis(), (now - alert.at.millis()) as f64));
    }
    Ok(times)
}
