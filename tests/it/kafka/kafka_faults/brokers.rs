//! Rows in which brokers, or the way to them, fail.

use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::*;

impl<'c> Row<'c> {
    fn on(self, cluster: &'c Cluster) -> Self {
        Self {
            cluster: Some(cluster),
            ..self
        }
    }
}

fn three(row: &Row<'_>) -> Cluster {
    Cluster::start(3, row.seed, &[])
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f10_f12_f13_each_of_three_brokers_is_restarted_so_that_leaders_and_coordinators_move() {
    let row = Row::of("f10", 1_000..4_000);
    let cluster = three(&row);
    let restarts = [0, 1, 2, 1, 0, 2].map(|broker| Fault::BrokerRestart(broker, 1));
    row.on(&cluster).run(&restarts);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f10_the_only_broker_is_restarted() {
    let row = Row::of("f10only", 1_000..4_000);
    let cluster = Cluster::start(1, row.seed, &[]);
    row.on(&cluster).run(&[
        Fault::BrokerRestart(0, 0),
        Fault::BrokerRestart(0, 8),
        Fault::BrokerKill(0, 3),
    ]);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f11_each_of_three_brokers_is_killed() {
    let row = Row::of("f11", 3_000..6_000);
    let cluster = three(&row);
    row.on(&cluster)
        .run(&[0, 1, 2].map(|broker| Fault::BrokerKill(broker, 3)));
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f14_the_network_is_cut() {
    let row = Row::of("f14", 3_000..6_000);
    let cluster = three(&row);
    row.on(&cluster)
        .run(&[1, 8, 60, 1].map(|seconds| Fault::Way(Mode::Cut, seconds)));
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f15_requests_arrive_and_answers_are_lost() {
    let row = Row::of("f15", 3_000..6_000);
    let cluster = three(&row);
    row.on(&cluster)
        .run(&[1, 4, 12].map(|seconds| Fault::Way(Mode::AnswersLost, seconds)));
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f16_the_end_of_a_transaction_is_done_but_not_answered_or_comes_late() {
    let row = Row::of("f16", 3_000..6_000);
    let cluster = three(&row);
    row.on(&cluster).run(&[
        Fault::Way(Mode::Swallow { key: END_TXN }, 3),
        Fault::Way(Mode::Swallow { key: TXN_OFFSET_COMMIT }, 3),
        Fault::Way(
            Mode::Hold {
                key: END_TXN,
                millis: 1_000,
            },
            8,
        ),
        Fault::Way(
            Mode::Hold {
                key: END_TXN,
                millis: 7_000,
            },
            12,
        ),
        Fault::Way(
            Mode::Hold {
                key: TXN_OFFSET_COMMIT,
                millis: 7_000,
            },
            12,
        ),
        Fault::Way(Mode::Swallow { key: END_TXN }, 12),
    ]);
    assert!(cluster.hits() > 10, "only {} requests were struck", cluster.hits());
}

/// The transactions of a producer have one epoch in the protocol that the client speaks: a request that was sent twice may
/// come the first time in the middle of a later transaction, and ends that (<https://jepsen.io/analyses/bufstream-0.1.0>).
#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f16_a_request_that_was_sent_twice_comes_late() {
    let row = Row::of("f16late", 1_000..2_000);
    let cluster = three(&row);
    let late = |key| Fault::Way(Mode::Late { key, millis: 400 }, 20);
    row.on(&cluster).run(&[late(END_TXN), late(TXN_OFFSET_COMMIT)]);
    assert!(cluster.hits() > 10, "only {} requests were struck", cluster.hits());
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f17_the_way_is_long_and_breaks_at_times() {
    let row = Row::of("f17", 3_000..6_000);
    let cluster = three(&row);
    let slow = Mode::Slow { millis: 65, resets: 10 };
    row.on(&cluster).run(&[Fault::Way(slow, 30)]);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f18_outputs_are_rejected_for_want_of_replicas() {
    let row = Row::of("f18", 2_000..3_000);
    let cluster = three(&row);
    let row = row.on(&cluster);
    let site = row.site();
    let topics: Vec<String> = ["state", "scores", "alerts", "dead-letter"]
        .map(|kind| site.topic(kind))
        .to_vec();
    // All three copies must be in sync, and one broker is away.
    alter(&site, &topics, &[("min.insync.replicas", "3")]);
    row.run_on(&site, &[Fault::BrokerRestart(1, 10), Fault::BrokerRestart(2, 3)]);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f19_f20_a_process_is_lost_with_its_transaction_open_and_its_offsets_pending() {
    let row = Row::of("f19", 1_000..2_000);
    // The broker would end it within ten seconds of its time being out, sometimes before the session is: here nobody but
    // the successor does.
    let cluster = Cluster::start(
        1,
        row.seed,
        &["transaction.abort.timed.out.transaction.cleanup.interval.ms=600000"],
    );
    assert_eq!(row.on(&cluster).run(&[Fault::Lost; 3]), 3 + 3);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f29_the_broker_throttles() {
    let row = Row::of("f29", 2_000..3_000);
    let cluster = Cluster::start(1, row.seed, &[]);
    let library = std::env::var("CALLWARD_TEST_KAFKA_LIB").unwrap_or("target/kafka/lib".into());
    let set = Command::new("java")
        .args([
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &format!("{library}/*"),
            "org.apache.kafka.tools.ConfigCommand",
        ])
        .args(["--bootstrap-server", &cluster.bootstrap, "--alter"])
        // About a tenth of what the workers write, by the name that they have as clients; the load has another.
        .args(["--add-config", "producer_byte_rate=40000,consumer_byte_rate=40000"])
        .args(["--entity-type", "clients", "--entity-name", "callward"])
        .output()
        .unwrap();
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    row.on(&cluster).run(&[Fault::Kill, Fault::Pause(2), Fault::Kill]);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f30_ten_times_the_calls_while_the_way_is_slow() {
    let row = Row {
        // With more, a call speaks so seldom that deadlines of its silence fall due.
        abreast: ABREAST * 10,
        ..Row::of("f30", 2_000..3_000)
    };
    let cluster = three(&row);
    row.on(&cluster)
        .run(&[Fault::Way(Mode::Slow { millis: 40, resets: 0 }, 30), Fault::Kill]);
}

/// Settings of topics that exist.
pub fn alter(site: &Site, topics: &[String], settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &site.bootstrap)
        .create()
        .unwrap();
    // What is not named goes back to the broker's own default: the rest is said again.
    let wanted = callward::stream::topics::wanted(&callward::stream::TopicSettings {
        events: site.topic("events"),
        state: site.topic("state"),
        scores: site.topic("scores"),
        alerts: site.topic("alerts"),
        dead_letter: site.topic("dead-letter"),
    });
    let configs: Vec<AlterConfig<'_>> = wanted
        .iter()
        .filter(|topic| topics.contains(&topic.name))
        .map(|topic| {
            let kept = topic.config.iter().map(|(key, value)| (*key, value.as_str()));
            kept.filter(|(key, _)| settings.iter().all(|(changed, _)| changed != key))
                .chain(settings.iter().copied())
                .fold(
                    AlterConfig::new(ResourceSpecifier::Topic(&topic.name)),
                    |config, (key, value)| config.set(key, value),
                )
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
    for done in runtime.block_on(admin.alter_configs(&configs, &options)).unwrap() {
        done.unwrap();
    }
}
