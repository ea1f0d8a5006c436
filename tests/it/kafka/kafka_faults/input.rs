//! Rows in which the input, the log or what is kept in it is not as it should be.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::brokers::alter;
use super::*;
use crate::kafka::Serve;

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f23_the_changelog_is_compacted_while_it_is_read() {
    let row = Row::of("f23", 3_000..5_000);
    let site = row.site();
    // Every second a new segment, and the old ones are compacted at once.
    alter(
        &site,
        &[site.topic("state")],
        &[
            ("segment.ms", "1000"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "100"),
        ],
    );
    assert_eq!(row.run_on(&site, &[Fault::KillAll; 6]), 18);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f24_poison_in_every_share() {
    for poison in [10, 1000] {
        let row = Row {
            noise: Noise {
                poison,
                burst: 3_000,
                ..Noise::default()
            },
            ..Row::of("f24", 1_000..2_000)
        };
        row.run(&[Fault::Kill, Fault::FailPoint("after_offsets"), Fault::Kill]);
    }
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f25_events_come_twice_and_out_of_order() {
    let row = Row {
        noise: Noise {
            again: 100,
            swapped: 100,
            ..Noise::default()
        },
        ..Row::of("f25", 1_000..2_000)
    };
    row.run(&[Fault::Kill, Fault::FailPoint("after_drain"), Fault::KillAll]);
}

/// A process that ran for a while and was ended in order, so that there are offsets and state.
fn worked(name: &str) -> Site {
    let site = Site::new(name, PARTITIONS, SETTINGS);
    let serve = site.serve();
    serve.wait_until("ready", |serve| serve.get("/readyz").0 == 200);
    let records: Vec<(Option<Vec<u8>>, Vec<u8>)> = callward::simulation::CALLS
        .lines()
        .filter(|line| !line.contains("call_ended"))
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let key = event["call_id"].as_str().unwrap().as_bytes().to_vec();
            (Some(key), line.as_bytes().to_vec())
        })
        .collect();
    site.send(&records);
    serve.wait_until("all are judged", |serve| {
        serve.sum("callward_events_total") >= records.len() as f64
    });
    assert_eq!(serve.terminate().0, Some(0));
    site
}

/// Starts a process that must refuse so many partitions, aloud, and goes on with the others.
fn refuses(site: &Site, partitions: i32) -> Serve {
    let serve = site.serve();
    serve.wait_until("partitions are refused", |serve| {
        serve.metric("callward_refused_partitions") == f64::from(partitions)
    });
    let (ready, _) = serve.get("/readyz");
    assert_eq!((ready, serve.get("/healthz").0), (503, 200));
    serve
}

fn admin(site: &Site) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", &site.bootstrap)
        .create()
        .unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f21_offsets_are_gone_though_there_is_state() {
    let site = worked("f21");
    let gone = runtime()
        .block_on(admin(&site).delete_groups(&[&site.name], &AdminOptions::new()))
        .unwrap();
    gone.into_iter().for_each(|group| drop(group.unwrap()));
    let (code, _, log) = refuses(&site, PARTITIONS).terminate();
    assert_eq!(code, Some(0));
    assert!(log.contains("has no committed offset"), "{log}");
    // It says what to do, and that does it.
    assert!(log.contains("callward reset --to earliest"), "{log}");
    let before = site.by_key("alerts");
    let reset = site.command(&["reset", "--to", "earliest", "--yes"]);
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    let serve = site.serve();
    wait_until("all is judged anew", Duration::from_secs(60), || {
        let again = site.by_key("alerts");
        before
            .iter()
            .all(|(call, alerts)| again[call].len() == 2 * alerts.len())
    });
    // Who runs is not set back.
    let refused = site.command(&["reset", "--to", "latest", "--yes"]);
    assert_eq!(refused.status.code(), Some(3));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("has members"), "{told}");
    assert_eq!(serve.terminate().0, Some(0));
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f22_retention_has_passed_the_committed_offset() {
    let site = worked("f22");
    // Nobody read these, and they are gone.
    let topic = site.topic("events");
    let records: Vec<_> = (0..200)
        .map(|number| (Some(format!("late-{number}").into_bytes()), b"{}".to_vec()))
        .collect();
    site.send(&records);
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&topic, partition, Offset::End).unwrap();
    }
    runtime()
        .block_on(admin(&site).delete_records(&list, &AdminOptions::new()))
        .unwrap();
    site.send(&records);
    let log = refuses(&site, PARTITIONS).terminate().2;
    assert!(log.contains("no longer in the log"), "{log}");
}

/// Events of 60 calls, in which something is said; how many of them are judged.
fn sixty_calls(site: &Site) -> impl Fn() -> usize {
    let records: Vec<_> = (0..60)
        .map(|number| {
            let id = format!("after-{number}");
            let event = format!(
                r#"{{"call_id":"{id}","at":"2026-05-04T09:00:00Z","type":"utterance","speaker":"caller","text":"hello"}}"#
            );
            (Some(id.into_bytes()), event.into_bytes())
        })
        .collect();
    site.send(&records);
    || {
        site.by_key("scores")
            .keys()
            .filter(|id| id.starts_with("after-"))
            .count()
    }
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f27_state_of_a_newer_format_is_refused() {
    let site = worked("f27");
    let producer = site.producer();
    let topic = site.topic("state");
    let record = BaseRecord::to(&topic)
        .partition(0)
        .key("from-the-future")
        .payload(&[200u8; 64][..]);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let serve = refuses(&site, 1);
    // The calls of the other partitions are judged all the same, those of this one are not taken for judged.
    let judged = sixty_calls(&site);
    wait_until("those of the others are judged", Duration::from_secs(60), || {
        judged() >= 20
    });
    std::thread::sleep(Duration::from_secs(2));
    let others = judged();
    assert!(
        others < 60,
        "those of the refused partition are judged without its state"
    );
    // The newer program's call is over. Who is given the partition anew reads it, though it was paused.
    let record = BaseRecord::<str, [u8]>::to(&topic).partition(0).key("from-the-future");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    serve.signal("-STOP");
    std::thread::sleep(Duration::from_secs(12));
    serve.signal("-CONT");
    wait_until("all are judged", Duration::from_secs(60), || judged() == 60);
    serve.wait_until("nothing is refused", |serve| {
        serve.metric("callward_refused_partitions") == 0.0 && serve.get("/readyz").0 == 200
    });
    let log = serve.terminate().2;
    assert!(log.contains("newer"), "{log}");
}

/// Of one partition of the changelog it cannot be told where it ends, as where its leader is gone.
#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_hanging_transaction_of_a_stranger_in_one_partition_of_the_changelog() {
    let site = worked("hanging");
    let stranger: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &site.bootstrap)
        .set("transactional.id", format!("{}-stranger", site.name))
        .set("transaction.timeout.ms", "600000")
        .create()
        .unwrap();
    let patience = Duration::from_secs(10);
    stranger.init_transactions(patience).unwrap();
    stranger.begin_transaction().unwrap();
    let topic = site.topic("state");
    let record = BaseRecord::to(&topic).partition(0).key("stranger").payload("hangs");
    stranger.send(record).map_err(|(error, _)| error).unwrap();
    stranger.flush(patience).unwrap();

    let serve = refuses(&site, 1);
    let judged = sixty_calls(&site);
    wait_until("those of the others are judged", Duration::from_secs(60), || {
        judged() >= 20
    });
    // It is tried again and again, and the others go on.
    std::thread::sleep(Duration::from_secs(12));
    assert!(
        judged() < 60,
        "those of the refused partition are judged without its state"
    );
    stranger.abort_transaction(patience).unwrap();
    wait_until("all are judged", Duration::from_secs(60), || judged() == 60);
    serve.wait_until("nothing is refused", |serve| {
        serve.metric("callward_refused_partitions") == 0.0 && serve.get("/readyz").0 == 200
    });
    assert_eq!(serve.metric("callward_rebuilds_total"), 0.0);
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0));
    assert!(log.contains("undecided"), "{log}");
}
