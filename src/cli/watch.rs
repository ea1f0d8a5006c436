//! `callward watch`: alerts as a clinical lead reads them, and as the demo prints them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Common, Failure};
use crate::alert::{Alert, Level, State};
use crate::config::Config;
use crate::stream::{Reach, login};

/// Show alerts as they come: level, time into the call, the words, what was not done, the least that should happen.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callward watch --brokers kafka:9092\n  callward watch --from-beginning --all\n  \
    callward watch --output json | jq .call_id"
)]
pub struct Args {
    /// A TOML file, as of `serve`: needed where Kafka wants TLS or a password.
    #[arg(long, env = "CALLWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// In place of kafka.brokers.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Also what pages nobody: level watch, and alerts that were cleared.
    #[arg(long)]
    all: bool,
    /// Begin with the oldest alert that is kept rather than with the next.
    #[arg(long)]
    from_beginning: bool,
    /// End after this many alerts.
    #[arg(long, value_name = "N")]
    count: Option<usize>,
}

const PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: Args, common: &Common) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(brokers) = args.brokers {
        config.kafka.brokers = brokers;
    }
    let from = if args.from_beginning {
        Offset::Beginning
    } else {
        Offset::End
    };
    let mut next = BTreeMap::new();
    let mut consumer = alerts_consumer(&config, from, &mut next)?;
    eprintln!(
        "callward: watching {} at {}; Ctrl-C ends",
        config.topics.alerts, config.kafka.brokers
    );
    let mut lost = false;
    let mut said = String::new();
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        let Some(message) = consumer.poll(Duration::from_millis(500)) else {
            if consumer.context().is_lost() {
                if !std::mem::replace(&mut lost, true) {
                    eprintln!(
                        "callward: Kafka at {} has been out of reach for half a minute: alerts of this time are shown once it answers",
                        config.kafka.brokers
                    );
                }
                if let Ok(new) = alerts_consumer(&config, from, &mut next) {
                    (consumer, lost) = (new, false);
                }
            }
            continue;
        };
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                // The client tells the same again and again.
                let error = error.to_string();
                if error != said {
                    eprintln!("callward: Kafka: {error}");
                    said = error;
                }
                continue;
            }
        };
        next.insert(message.partition(), message.offset() + 1);
        let payload = message.payload().unwrap_or_default();
        let Ok(alert) = serde_json::from_slice::<Alert>(payload) else {
            continue;
        };
        if !args.all && !alert.is_page() {
            continue;
        }
        shown += 1;
        let mut out = std::io::stdout().lock();
        if common.output.is_json() {
            out.write_all(payload)?;
            out.write_all(b"\n")?;
        } else {
            writeln!(out, "{}\n", card(&alert, color))?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Where a partition begins and ends. A topic that was just made has no leader for a moment.
fn watermarks(consumer: &BaseConsumer<Reach>, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(200)),
            found => return found,
        }
    }
}

/// Reads all partitions of the alerts without a group: every viewer sees every alert. Each partition is read from where
/// `next` says, and from `from` on where it says nothing yet.
pub fn alerts_consumer(
    config: &Config,
    from: Offset,
    next: &mut BTreeMap<i32, i64>,
) -> Result<BaseConsumer<Reach>, Failure> {
    let unreachable = |error: KafkaError| Failure {
        code: 4,
        error: anyhow::anyhow!("Kafka at {} does not answer: {error}", config.kafka.brokers),
    };
    let mut client = config.kafka.client()?;
    client
        .set("group.id", "callward-watch")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .set("statistics.interval.ms", Reach::STATISTICS_MS);
    let consumer: BaseConsumer<Reach> = client.create_with_context(Reach::default())?;
    login::log_in(&client, consumer.client())?;
    let topic = &config.topics.alerts;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).map_err(unreachable)?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|found| found.partitions()) {
        let offset = match next.entry(partition.id()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let (low, high) = watermarks(&consumer, topic, partition.id()).map_err(unreachable)?;
                *unknown.insert(if from == Offset::End { high } else { low })
            }
        };
        list.add_partition_offset(topic, partition.id(), Offset::Offset(offset))?;
    }
    if list.count() == 0 {
        return Err(Failure {
            code: 4,
            error: anyhow::anyhow!("{topic} is missing: run callward topics create"),
        });
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// What others wrote, made harmless: a caller's chat must not move the cursor of whoever reads it.
fn shown(text: &str) -> String {
    let plain = |sign: char| match sign {
        '\n' | '\r' | '\t' => ' ',
        sign if sign.is_control() => '\u{fffd}',
        sign => sign,
    };
    text.chars().map(plain).collect()
}

/// An alert in a few lines.
pub fn card(alert: &Alert, color: bool) -> String {
    let (paint, mark) = match alert.level {
        Level::Emergency => ("\x1b[1;37;41m", "▲ EMERGENCY"),
        Level::Alert => ("\x1b[1;30;43m", "● ALERT"),
        Level::Watch => ("\x1b[36m", "○ watch"),
    };
    let (paint, plain, bold, dim) = if color {
        (paint, "\x1b[0m", "\x1b[1m", "\x1b[2m")
    } else {
        ("", "", "", "")
    };
    let what = match alert.state {
        State::Raised => "",
        State::Worsened => " · worse",
        State::Cleared => " · cleared",
        State::EndedUnescalated => " · the call has ENDED",
        State::ContactLost => " · CONTACT LOST",
        State::HandoverUnconfirmed => " · hand-over never confirmed",
    };
    let place: Vec<String> = [&alert.queue, &alert.site]
        .into_iter()
        .flatten()
        .map(|text| shown(text))
        .collect();
    let ring = alert
        .callback_ref
        .as_deref()
        .map(|handle| format!("  ring back {}", shown(handle)))
        .unwrap_or_default();
    let mut text = format!(
        "{paint} {mark}{what} {plain} {bold}{}{plain} into the call  {}  {dim}{}{ring}  risk {:.2}{plain}",
        clock(alert.call_seconds),
        shown(&alert.call_id),
        place.join(", "),
        alert.risk
    );
    if let Some(reason) = &alert.reason {
        text.push_str(&format!("\n  because   {reason}"));
    }
    let mut last = "";
    for said in &alert.said {
        let name = said.finding.replace('_', " ");
        match said.quote.as_deref() {
            Some(quote) if quote == last => text.push_str(&format!(", {name}")),
            Some(quote) => {
                let answer = said.answer_to.map(|_| " (answering a question)").unwrap_or_default();
                text.push_str(&format!(
                    "\n  said      {bold}“{}”{plain}{answer} {dim}{}{plain} {name}",
                    shown(quote),
                    clock(said.call_seconds)
                ));
                last = quote;
            }
            None => text.push_str(&format!(
                "\n  said      {name} {dim}{}{plain}",
                clock(said.call_seconds)
            )),
        }
    }
    if !alert.not_done.is_empty() {
        let done: Vec<&str> = alert.not_done.iter().map(|not| not.text.as_str()).collect();
        text.push_str(&format!("\n  not done  {}", done.join("; ")));
    }
    if !alert.against.is_empty() {
        let against: Vec<String> = alert
            .against
            .iter()
            .map(|a| format!("{} {}", a.finding.replace('_', " "), a.status.replace('_', " ")))
            .collect();
        text.push_str(&format!("\n  {dim}against   {}{plain}", against.join(", ")));
    }
    if alert.state != State::Cleared {
        text.push_str(&format!("\n  {bold}now       {}{plain}", alert.minimum.text));
    }
    if alert.trust == "low" {
        text.push_str(&format!(
            "\n  {dim}trust     low: {}{plain}",
            alert.trust_reasons.join(", ")
        ));
    }
    text
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_typed_moves_no_cursor() {
        assert_eq!(
            shown("my \u{1b}[2Jchest\n▲ EMERGENCY\u{7f}"),
            "my \u{fffd}[2Jchest ▲ EMERGENCY\u{fffd}"
        );
    }
}
