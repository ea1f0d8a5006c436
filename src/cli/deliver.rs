//! Alerts from `calls.alerts` to the webhook, at least once: an offset is committed only when its alert was told, was
//! refused for good, or was given up aloud.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::Failure;
use crate::alert::Alert;
use crate::config::Config;
use crate::delivery::{Courier, Sent};
use crate::stream::Reach;
use crate::telemetry::{Metrics, wall_millis};

/// Begins to deliver; `None` where no webhook is configured.
pub fn start(config: &Config, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Result<Option<JoinHandle<()>>, Failure> {
    if config.webhook.url.is_empty() {
        return Ok(None);
    }
    for result in ["done", "retry", "refused"] {
        metrics.add("delivery_attempts_total", &["webhook", result], 0.0);
    }
    let courier = Courier::new(&config.webhook)?;
    let mut consumer = connect(config)?;
    let config = config.clone();
    let give_up = Duration::from_secs(config.webhook.give_up_seconds);
    let handle = tokio::runtime::Handle::current();
    Ok(Some(tokio::task::spawn_blocking(move || {
        while !stop.load(Ordering::Relaxed) {
            if consumer.context().is_lost() {
                match connect(&config) {
                    Ok(new) => {
                        warn!("no broker has been in reach of the webhook's client for half a minute: it is made anew");
                        consumer = new;
                    }
                    Err(failure) => warn!(error = %failure.error, "the webhook's client cannot be made anew"),
                }
            }
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let told = match serde_json::from_slice::<Alert>(message.payload().unwrap_or_default()) {
                        Ok(alert) => handle.block_on(tell(&courier, &alert, give_up, &metrics, &stop)),
                        Err(_) => {
                            error!(
                                partition = message.partition(),
                                offset = message.offset(),
                                "an alert cannot be read"
                            );
                            true
                        }
                    };
                    if told && let Err(error) = consumer.commit_message(&message, CommitMode::Sync) {
                        warn!(%error, "the webhook's place was not committed: an alert may be told again");
                    }
                }
                Some(Err(error)) => warn!(%error, "webhook"),
                None => {}
            }
        }
        info!("webhook stopped");
    })))
}

fn connect(config: &Config) -> Result<BaseConsumer<Reach>, Failure> {
    let mut client = config.kafka.client()?;
    client
        .set("group.id", format!("{}-webhook", config.kafka.group))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", config.stream.session_timeout_ms.to_string())
        .set("statistics.interval.ms", Reach::STATISTICS_MS);
    let consumer: BaseConsumer<Reach> = client.create_with_context(Reach::default())?;
    consumer.subscribe(&[&config.topics.alerts])?;
    Ok(consumer)
}

/// Tries until it is told; false only where the process stops first, so that the next one tells it.
async fn tell(courier: &Courier, alert: &Alert, give_up: Duration, metrics: &Metrics, stop: &AtomicBool) -> bool {
    let began = Instant::now();
    let mut pause = Duration::from_millis(500);
    loop {
        let sent = courier.send(alert, wall_millis() / 1000).await;
        metrics.count("delivery_attempts_total", &["webhook", sent.as_str()]);
        match sent {
            Sent::Done => {
                metrics.observe("delivery_duration_seconds", &["webhook"], began.elapsed().as_secs_f64());
                return true;
            }
            Sent::Refused => {
                error!(
                    alert = alert.alert_id.0,
                    "the webhook's receiver refuses this alert for good"
                );
                return true;
            }
            Sent::Retry if began.elapsed() >= give_up => {
                error!(
                    alert = alert.alert_id.0,
                    "the webhook's receiver took no alert in time: given up"
                );
                return true;
            }
            Sent::Retry => {}
        }
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}
