//! `callward serve`: settings, model, stream, delivery, http, wait for a signal, drain with a deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::{error, info, warn};

use super::{Common, Failure};
use crate::config::Config;
use crate::pipeline::Pipeline;
use crate::registry::{Registry, Version};
use crate::stream::{self, Plan, Trouble, topics};
use crate::telemetry::{self, Heartbeat, Metrics};

/// Judge live calls from Kafka until told to stop (SIGTERM or Ctrl-C).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  callward serve --config callward.toml\n  \
    CALLWARD_KAFKA__BROKERS=kafka:9092 callward serve\n  callward serve --brokers 127.0.0.1:9092 --workers 2")]
pub struct Args {
    /// A TOML file; `callward config show --defaults` prints all keys.
    #[arg(long, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// In place of kafka.brokers.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// In place of stream.workers.
    #[arg(long)]
    workers: Option<usize>,
    /// In place of http.listen; port 0 takes a free one and prints it.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(brokers) = args.brokers {
        config.kafka.brokers = brokers;
    }
    if let Some(workers) = args.workers {
        config.stream.workers = workers;
    }
    if let Some(listen) = args.listen {
        config.http.listen = listen;
    }
    if config.kafka.instance.is_empty() {
        config.kafka.instance = format!("{:016x}", rand::random::<u64>());
    }
    config.check_host()?;
    telemetry::init(&config.log);
    let pipeline = Arc::new(pipeline(&config, common)?);
    info!(
        model = pipeline.model_label(),
        brokers = config.kafka.brokers,
        group = config.kafka.group,
        "starting"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(config, pipeline));
    // A request to Kafka that still waits for its answer keeps nobody here.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// The judgement that a configuration asks for.
pub fn pipeline(config: &Config, common: &Common) -> Result<Pipeline, Failure> {
    let version = version(config, common)?;
    Ok(version
        .pipeline(config.policy)?
        .with_bounds(config.bounds)
        .with_quotes(config.alerts.quotes))
}

pub fn version(config: &Config, common: &Common) -> Result<Version, Failure> {
    let wanted = (!config.model.version.is_empty()).then_some(config.model.version.as_str());
    // The flag comes last, and counts.
    if common.models.is_some() || config.model.folder.as_os_str().is_empty() {
        return common.version(wanted);
    }
    let registry = Registry::open(Path::new(&config.model.folder));
    let loaded = match wanted {
        Some(version) => registry.load(version),
        None => registry.champion(),
    };
    loaded.map_err(super::gate)
}

async fn serve(config: Config, pipeline: Arc<Pipeline>) -> Result<(), Failure> {
    // First of all: a signal that comes while Kafka is still away must end the process in order.
    let mut told = Signals::new()?;
    let listener = tokio::net::TcpListener::bind(&config.http.listen)
        .await
        .with_context(|| format!("cannot listen on http.listen {}", config.http.listen))?;
    info!(listen = %listener.local_addr()?, "metrics and health");
    let workers = config.stream.worker_count();
    let metrics = Arc::new(Metrics::new());
    describe(&metrics, &config, &pipeline);
    let heartbeat = Heartbeat::of(workers, config.stream.transaction_timeout());
    let stop = Arc::new(AtomicBool::new(false));
    let (http_stop, http_stopped) = tokio::sync::oneshot::channel::<()>();
    let http = tokio::spawn(crate::http::serve(
        listener,
        metrics.clone(),
        heartbeat.clone(),
        async {
            drop(http_stopped.await);
        },
    ));
    tokio::select! {
        checked = check_topics(&config, &metrics) => checked?,
        () = told.wait() => {
            info!("told to stop before Kafka was there");
            return Ok(());
        }
        () = beat(&heartbeat) => {}
    }

    // Before a worker joins the group: a secret that cannot be read must not cost the calls a session.
    let mut courier = super::deliver::start(&config, metrics.clone(), stop.clone())?;
    let plan = plan(&config, pipeline, &metrics, &heartbeat, &stop);
    let (ended, mut any_ended) = tokio::sync::mpsc::channel::<()>(workers);
    let threads: Vec<JoinHandle<Result<(), Trouble>>> = (0..workers)
        .map(|number| spawn(plan.clone(), number, ended.clone()))
        .collect::<Result<_, _>>()?;

    let mut tells_nobody = false;
    tokio::select! {
        () = told.wait() => info!("told to stop"),
        _ = any_ended.recv() => warn!("a worker ended"),
        () = ends(courier.as_mut()) => tells_nobody = true,
    }
    stop.store(true, Ordering::Relaxed);
    let drained = tokio::task::spawn_blocking(move || drain(threads, Duration::from_secs(config.stream.drain_seconds)))
        .await
        .context("draining failed")?;
    drop(http_stop);
    drop(tokio::time::timeout(Duration::from_secs(1), http).await);
    if tells_nobody {
        return Err(anyhow::anyhow!("the webhook's thread ended, and pages would have stopped unseen").into());
    }
    if let Some(courier) = courier {
        drop(tokio::time::timeout(Duration::from_secs(1), courier).await);
    }
    drained
}

/// Ends when the task does; never where there is none.
async fn ends(task: Option<&mut tokio::task::JoinHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

fn describe(metrics: &Metrics, config: &Config, pipeline: &Pipeline) {
    let model = pipeline.model();
    metrics.set("model_info", &[&model.name, &model.version, "champion"], 1.0);
    metrics.set(
        "model_loaded_timestamp_seconds",
        &[],
        telemetry::wall_millis() as f64 / 1000.0,
    );
    metrics.set("state_capacity_entries", &[], config.stream.capacity_calls as f64);
}

/// What a worker is made with, for a configuration.
pub fn plan(
    config: &Config,
    pipeline: Arc<Pipeline>,
    metrics: &Arc<Metrics>,
    heartbeat: &Arc<Heartbeat>,
    stop: &Arc<AtomicBool>,
) -> Plan {
    Plan {
        kafka: config.kafka.clone(),
        topics: config.topics.clone(),
        stream: config.stream.clone(),
        limits: config.limits,
        dead_letter: config.dead_letter,
        pipeline,
        metrics: metrics.clone(),
        heartbeat: heartbeat.clone(),
        stop: stop.clone(),
        process: format!("{:016x}", rand::random::<u64>()),
    }
}

/// Waiting for Kafka is alive, though not ready.
async fn beat(heartbeat: &Heartbeat) {
    loop {
        heartbeat.waiting();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits for the cluster, then refuses to run on topics that would lose something.
async fn check_topics(config: &Config, metrics: &Metrics) -> Result<(), Failure> {
    let findings = loop {
        match topics::check(&config.kafka, &config.topics).await {
            Ok(findings) => break findings,
            Err(error @ topics::TopicsError::Unreachable { .. }) => {
                warn!(%error, "waiting for Kafka");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    for finding in &findings {
        warn!(topic = finding.topic, finding.problem, finding.fatal, "topic");
    }
    if let Some(fatal) = findings.iter().find(|finding| finding.fatal) {
        return Err(super::gate(anyhow::anyhow!("{} {}", fatal.topic, fatal.problem)));
    }
    for (topic, count) in topics::partitions(&config.kafka, &config.topics).await? {
        metrics.set("topic_partitions", &[&topic], f64::from(count.unwrap_or(0)));
    }
    Ok(())
}

fn spawn(
    plan: Plan,
    number: usize,
    ended: tokio::sync::mpsc::Sender<()>,
) -> std::io::Result<JoinHandle<Result<(), Trouble>>> {
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || {
            // However it ends, the process must hear of it.
            let run = AssertUnwindSafe(|| stream::run::<stream::Partition>(&plan, number));
            let result = catch_unwind(run).unwrap_or_else(|_| Err(Trouble::Stop("a worker panicked".into())));
            let _ = ended.try_send(());
            result
        })
}

/// Waits for the workers; one that does not end in time is left behind, and the process ends all the same.
fn drain(threads: Vec<JoinHandle<Result<(), Trouble>>>, patience: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    let mut result = Ok(());
    for thread in threads {
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !thread.is_finished() {
            error!("a worker did not drain in time: its transaction is left to the broker");
            result = Err(anyhow::anyhow!("not drained within {} s", patience.as_secs()).into());
            continue;
        }
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => result = Err(anyhow::anyhow!("{trouble}").into()),
            Err(_) => result = Err(anyhow::anyhow!("a worker panicked").into()),
        }
    }
    result
}

/// SIGTERM and Ctrl-C, heard from when this is made.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
