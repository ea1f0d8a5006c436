//! `callward replay`: recorded calls onto Kafka at recorded pace.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::{Common, Failure};
use crate::config::Config;
use crate::record::{Limits, Timestamp, decode};
use crate::stream::login;
use crate::telemetry::wall_millis;

/// Play recorded calls onto Kafka in the order and at the pace in which they happened.
///
/// Calls that overlapped in time overlap again; the dead time between calls is cut to --longest-gap.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward replay calls.ndjson --to 127.0.0.1:9092 --speed 10\n  \
    callward replay calls.ndjson --to kafka:9092 --at now"
)]
pub struct Args {
    /// Files of events, one a line.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Broker to play onto.
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// How many times faster than it happened; 0: as fast as it goes.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// The times of the events as recorded, or moved so that the calls happen now.
    #[arg(long, value_enum, default_value_t = At::Original)]
    at: At,
    /// Seconds to which a longer gap between two events of all calls is cut.
    #[arg(long, default_value_t = 20.0)]
    longest_gap: f64,
    /// A TOML file, as of `serve`: its topic, and how to log in.
    #[arg(long, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum At {
    Original,
    Now,
}

/// One record and when it is due, in milliseconds after the first.
pub struct Due {
    pub key: Vec<u8>,
    pub line: Vec<u8>,
    pub at: Timestamp,
    pub after_ms: f64,
}

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    if args.speed < 0.0 {
        return Err(Failure {
            code: 2,
            error: anyhow::anyhow!("--speed must not be negative"),
        });
    }
    let mut config = Config::load(args.config.as_deref())?;
    config.kafka.brokers = args.to;
    let mut lines = Vec::new();
    for path in &args.files {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        lines.extend(
            bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.trim_ascii().is_empty())
                .map(<[u8]>::to_vec),
        );
    }
    let schedule = schedule(lines, args.longest_gap);
    let moved = if args.at == At::Now {
        move_to(schedule, wall_millis())?
    } else {
        schedule
    };
    let bar = ProgressBar::new(moved.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} events, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let producer = producer(&config)?;
    let began = Instant::now();
    for due in &moved {
        if args.speed > 0.0 {
            let wait = Duration::from_secs_f64(due.after_ms / 1000.0 / args.speed);
            std::thread::sleep(wait.saturating_sub(began.elapsed()));
        }
        send(&producer, &config.topics.events, due)?;
        bar.inc(1);
    }
    delivered(&producer)?;
    bar.finish_and_clear();
    if common.output.is_json() {
        println!(
            "{}",
            serde_json::json!({ "events": moved.len(), "seconds": began.elapsed().as_secs_f64() })
        );
    } else {
        println!("{} events in {:.1} s", moved.len(), began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// What became of the records: the client tells it later, and a record that it gave up is lost without this.
#[derive(Debug, Default)]
pub struct Deliveries {
    refused: Mutex<Option<KafkaError>>,
    count: AtomicUsize,
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(file)
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.count.fetch_add(1, Ordering::Relaxed);
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert_with(|| error.clone());
        }
    }
}

/// Waits until everything was delivered, and tells where it was not.
pub fn delivered(producer: &Sender) -> Result<(), Failure> {
    let failed = |error: anyhow::Error| Failure { code: 4, error };
    producer
        .flush(Duration::from_secs(30))
        .map_err(|error| failed(error.into()))?;
    let deliveries = producer.context();
    let mut refused = deliveries.refused.lock().unwrap_or_else(PoisonError::into_inner);
    match refused.take() {
        None => Ok(()),
        Some(error) => Err(failed(anyhow::anyhow!(
            "{} events were not delivered; the first: {error}",
            deliveries.count.load(Ordering::Relaxed)
        ))),
    }
}

pub type Sender = ThreadedProducer<Deliveries>;

pub fn producer(config: &Config) -> Result<Sender, Failure> {
    let mut client = config.kafka.client()?;
    client
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("message.max.bytes", (16 << 20).to_string());
    let producer: Sender = client.create_with_context(Deliveries::default())?;
    login::log_in(&client, producer.client())?;
    Ok(producer)
}

pub fn send(producer: &Sender, topic: &str, due: &Due) -> Result<(), Failure> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).key(&due.key).payload(&due.line);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => {
                return Err(Failure {
                    code: 4,
                    error: error.into(),
                });
            }
        }
    }
}

/// Orders the lines of all calls by their times, each call's own order kept. A line that cannot be read keeps its place
/// behind the line before it: what is refused is the worker's to say.
pub fn schedule(lines: Vec<Vec<u8>>, longest_gap: f64) -> Vec<Due> {
    let mut reached: HashMap<Vec<u8>, Timestamp> = HashMap::new();
    let mut last = Timestamp::from_millis(0);
    let mut all: Vec<Due> = Vec::with_capacity(lines.len());
    for line in lines {
        let (key, at) = match decode(
            &line,
            None,
            &Limits {
                max_event_bytes: usize::MAX,
                ..Limits::default()
            },
        ) {
            Ok(decoded) => (decoded.event.call_id.as_str().as_bytes().to_vec(), decoded.event.at),
            Err(_) => (b"unreadable".to_vec(), last),
        };
        let at = *reached
            .entry(key.clone())
            .and_modify(|before| *before = (*before).max(at))
            .or_insert(at);
        last = at;
        all.push(Due {
            key,
            line,
            at,
            after_ms: 0.0,
        });
    }
    all.sort_by_key(|due| due.at);
    let (mut after, mut before) = (0.0, all.first().map(|due| due.at));
    for due in &mut all {
        if let Some(before) = before {
            after += (due.at.seconds_since(before) * 1000.0).min(longest_gap * 1000.0);
        }
        due.after_ms = after;
        before = Some(due.at);
    }
    all
}

/// Moves each call as a whole to the time at which it is played, so that the first begins at `start`.
pub fn move_to(schedule: Vec<Due>, start: i64) -> Result<Vec<Due>, Failure> {
    let mut shifts: HashMap<Vec<u8>, i64> = HashMap::new();
    schedule
        .into_iter()
        .map(|due| {
            let played = start + due.after_ms as i64;
            let shift = *shifts.entry(due.key.clone()).or_insert(played - due.at.millis());
            let Ok(mut event) = serde_json::from_slice::<serde_json::Value>(&due.line) else {
                return Ok(due);
            };
            let own = event["at"].as_str().and_then(Timestamp::parse).unwrap_or(due.at);
            let at = own.plus_millis(shift);
            if event.is_object() {
                event["at"] = serde_json::Value::String(at.to_string());
            }
            Ok(Due {
                line: serde_json::to_vec(&event)?,
                at,
                ..due
            })
        })
        .collect()
}
