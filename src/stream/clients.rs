//! Settings of the clients: every number has its reason in the pages of Kafka's client, and time-outs rise from request
//! over transaction and session to poll interval.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::reach::Reach;
use super::transaction::SENT_AGAIN_AFTER;
use super::worker::Plan;

pub(super) fn producer_config(plan: &Plan, client: &ClientConfig, transactional_id: &str) -> ClientConfig {
    writer_config(client, transactional_id, plan.stream.transaction_timeout_ms)
}

/// A transactional producer of this name.
pub(super) fn writer_config(client: &ClientConfig, transactional_id: &str, timeout_ms: u64) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", timeout_ms.to_string())
        .set("request.timeout.ms", "3000")
        .set("socket.timeout.ms", SENT_AGAIN_AFTER.as_millis().to_string())
        .set("retry.backoff.ms", "20")
        .set("retry.backoff.max.ms", "500")
        // A commit flushes, so this only says how often a long transaction sends: each request of a partition costs the
        // broker, and a queue of them makes the commit wait.
        .set("linger.ms", "20")
        .set("compression.type", "lz4")
        .set("message.max.bytes", (16 << 20).to_string())
        .set("queue.buffering.max.kbytes", "131072")
        .set("delivery.report.only.error", "true")
        // At which it tells that a connection broke.
        .set_log_level(RDKafkaLogLevel::Info);
    config
}

pub(super) fn consumer_config(plan: &Plan, client: &ClientConfig, number: usize) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("group.id", &plan.kafka.group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", plan.stream.session_timeout_ms.to_string())
        .set(
            "heartbeat.interval.ms",
            (plan.stream.session_timeout_ms / 6).clamp(500, 3000).to_string(),
        )
        // Also how long a rebalance waits for a member that is reading state back: whoever joins or leaves meanwhile must
        // not cost it what it has read.
        .set(
            "max.poll.interval.ms",
            plan.stream.session_timeout_ms.max(120_000).to_string(),
        )
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        // Out of range means that records were lost: be loud. The start position is always explicit.
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", plan.stream.fetch_wait_ms.to_string())
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "16384")
        .set("check.crcs", "true")
        .set("statistics.interval.ms", Reach::STATISTICS_MS);
    if plan.kafka.static_membership {
        config.set("group.instance.id", format!("{}-{number}", plan.kafka.instance));
    }
    config
}
