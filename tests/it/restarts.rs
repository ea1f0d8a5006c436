//! Restart is an operation: random splits of the log, redeliveries and restarts from the changelog, against a run that
//! nothing disturbed.

use std::collections::BTreeMap;

use callward::alert::Settings;
use callward::pipeline::{Pipeline, outcomes_of};
use callward::record::{Limits, decode};
use callward::registry::Version;
use callward::simulation;
use callward::stream::{Incoming, Output, Partition, Room};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

struct World<'p> {
    pipeline: &'p Pipeline,
    partition: Partition,
    changelog: BTreeMap<Vec<u8>, Vec<u8>>,
    said: Vec<String>,
}

impl<'p> World<'p> {
    fn new(pipeline: &'p Pipeline) -> Self {
        Self {
            pipeline,
            partition: Partition::default(),
            changelog: BTreeMap::new(),
            said: Vec::new(),
        }
    }

    fn take(&mut self, offset: i64, line: &[u8]) {
        let key = serde_json::from_slice::<serde_json::Value>(line).unwrap()["call_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let record = Incoming {
            offset,
            key: Some(key.as_bytes()),
            payload: line,
            heard_at: 1_000_000 + offset * 50,
        };
        let (pipeline, said) = (self.pipeline, &mut self.said);
        self.partition.take(pipeline, &Limits::default(), &record, |output| {
            tell(pipeline, output, said)
        });
    }

    fn tick(&mut self, now: i64) {
        let (pipeline, said) = (self.pipeline, &mut self.said);
        self.partition.reached_end();
        self.partition
            .tick(pipeline, now, |output| tell(pipeline, output, said));
    }

    fn commit(&mut self) {
        let changelog = &mut self.changelog;
        self.partition.drain(self.pipeline, |id, value| {
            let key = id.as_str().as_bytes().to_vec();
            match value {
                Some(value) => drop(changelog.insert(key, value)),
                None => drop(changelog.remove(&key)),
            }
        });
    }

    fn restart(&mut self) {
        self.partition = Partition::default();
        for (key, value) in &self.changelog {
            self.partition.restore(key, value, self.pipeline).unwrap();
        }
    }
}

fn tell(pipeline: &Pipeline, output: Output<'_>, said: &mut Vec<String>) {
    if let Output::Judged(outcome) = output
        && outcome.has_line()
    {
        said.push(serde_json::to_string(&outcome.score(pipeline.lexicon(), pipeline.model_label())).unwrap());
    }
}

#[test]
fn restarts_and_redeliveries_change_nothing() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let lines: Vec<&[u8]> = simulation::CALLS.lines().map(str::as_bytes).collect();
    let mut plain = World::new(&pipeline);
    for (offset, line) in lines.iter().enumerate() {
        plain.take(offset as i64, line);
    }
    plain.commit();
    assert!(!plain.changelog.is_empty(), "calls that go on are in the changelog");
    plain.tick(1_000_000 + 3_600_000 * 4);
    plain.commit();
    assert!(plain.changelog.is_empty(), "calls that are over leave nothing behind");
    assert!(plain.said.iter().any(|line| line.contains("contact_lost")));

    let mut runner = TestRunner::new(Config {
        cases: 24,
        ..Config::default()
    });
    let breaks = prop::collection::vec((1..lines.len(), 0..12usize), 1..8);
    runner
        .run(&breaks, |breaks| {
            let mut world = World::new(&pipeline);
            let mut next = 0;
            let mut places: Vec<(usize, usize)> = breaks;
            places.sort_unstable();
            for (at, back) in places {
                while next < at {
                    world.take(next as i64, lines[next]);
                    next += 1;
                }
                world.commit();
                world.restart();
                // The same records once more, as after a commit whose end nobody heard.
                let from = next.saturating_sub(back);
                for (again, line) in lines[from..next].iter().enumerate() {
                    world.take((from + again) as i64, line);
                }
            }
            for (offset, line) in lines.iter().enumerate().skip(next) {
                world.take(offset as i64, line);
            }
            world.tick(1_000_000 + 3_600_000 * 4);
            prop_assert_eq!(&world.said, &plain.said);
            Ok(())
        })
        .unwrap();
}

fn said_at(world: &mut World<'_>, offset: i64, line: &serde_json::Value, heard_at: i64) {
    let line = line.to_string();
    let record = Incoming {
        offset,
        key: None,
        payload: line.as_bytes(),
        heard_at,
    };
    let (pipeline, said) = (world.pipeline, &mut world.said);
    world.partition.take(pipeline, &Limits::default(), &record, |output| {
        tell(pipeline, output, said)
    });
}

#[test]
fn a_redelivery_is_no_sign_of_life() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let told = |again: Option<i64>| {
        let mut world = World::new(&pipeline);
        let said = serde_json::json!({
            "call_id": "c", "seq": 0, "at": "2026-05-04T09:00:00Z", "type": "utterance", "speaker": "caller",
            "text": "i have a crushing chest pain going down my left arm and i can not get my breath",
        });
        said_at(&mut world, 0, &said, 1_000_000);
        if let Some(after) = again {
            said_at(&mut world, 1, &said, 1_000_000 + after);
        }
        let silent = |world: &World<'_>| world.said.iter().any(|line| line.contains("contact_lost"));
        (0..200).find(|second| {
            world.tick(1_000_000 + second * 1_000);
            silent(&world)
        })
    };
    assert!(told(None).is_some());
    assert_eq!(told(Some(20_000)), told(None));
}

#[test]
fn a_call_of_unknown_types_alone_leaves_nothing_behind() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let mut world = World::new(&pipeline);
    let queued = serde_json::json!({"call_id": "c", "seq": 0, "at": "2026-05-04T09:00:00Z", "type": "queue_entered"});
    said_at(&mut world, 0, &queued, 1_000_000);
    world.commit();
    assert_eq!(
        (world.said.len(), world.partition.calls(), world.changelog.len()),
        (1, 0, 0)
    );
}

/// A caller's turn of an emergency, an agent's that books, and the end of the call, one minute apart.
fn unescalated(id: &str, from: &str, seq: u64) -> [serde_json::Value; 3] {
    let at = |minute: u32| format!("2026-05-04T{from}:{minute:02}:00Z");
    [
        serde_json::json!({
            "call_id": id, "seq": seq, "at": at(0), "type": "utterance", "speaker": "caller",
            "text": "i have a crushing chest pain going down my left arm and i can not get my breath",
        }),
        serde_json::json!({"call_id": id, "seq": seq + 1, "at": at(1), "type": "action", "action": "appointment_booked"}),
        serde_json::json!({"call_id": id, "seq": seq + 2, "at": at(2), "type": "call_ended"}),
    ]
}

fn alerts(said: &[String]) -> Vec<(String, u64)> {
    let scores = said
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let alerts = scores.filter(|score| !score["alert"].is_null());
    alerts
        .map(|score| {
            let alert = &score["alert"];
            (
                alert["alert_id"].as_str().unwrap().to_owned(),
                alert["revision"].as_u64().unwrap(),
            )
        })
        .collect()
}

/// How many alerts were told, none of which has name and revision of another.
fn told_once(said: &[String]) -> usize {
    let mut all = alerts(said);
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "an alert has the name of another: {all:?}");
    count
}

#[test]
fn what_comes_after_a_call_was_forgotten_is_late_and_no_alert_gets_the_name_of_another() {
    const MINUTE: i64 = 60_000;
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let mut world = World::new(&pipeline);
    let first = unescalated("c", "09", 0);
    for (offset, line) in (0..).zip(&first) {
        said_at(&mut world, offset, line, 1_000_000 + offset * MINUTE);
    }
    world.tick(1_000_000 + 6 * MINUTE);
    world.commit();
    assert_eq!((world.partition.calls(), world.partition.past()), (0, 1));
    let before = alerts(&world.said);
    assert!(!before.is_empty());

    // Half an hour later the source sends all of it again, and words that it had kept back.
    let mut kept_back = first[0].clone();
    (kept_back["seq"], kept_back["at"]) = (4.into(), "2026-05-04T09:01:30Z".into());
    for (offset, line) in (3..).zip(first.iter().chain([&kept_back])) {
        world.restart();
        said_at(&mut world, offset, line, 1_000_000 + 30 * MINUTE);
        // As after a commit whose end nobody heard.
        said_at(&mut world, offset, line, 1_000_000 + 30 * MINUTE);
        world.tick(1_000_000 + 32 * MINUTE);
        world.commit();
    }
    let status = |line: &String| {
        let score: serde_json::Value = serde_json::from_str(line).unwrap();
        score["status"].as_str().unwrap().to_owned()
    };
    let again: Vec<String> = world.said[world.said.len() - 4..].iter().map(status).collect();
    assert_eq!(again, ["duplicate", "duplicate", "duplicate", "late"]);
    assert_eq!(alerts(&world.said), before);

    // Another call that the source gave the same id.
    for (offset, line) in (7..).zip(&unescalated("c", "10", 0)) {
        said_at(&mut world, offset, line, 1_000_000 + (60 + offset) * MINUTE);
    }
    assert!(told_once(&world.said) > before.len());

    world.tick(1_000_000 + 80 * MINUTE);
    assert_eq!((world.partition.calls(), world.partition.past()), (0, 1));
    world.tick(1_000_000 + 200 * MINUTE);
    world.commit();
    assert_eq!(
        (world.partition.calls(), world.partition.past(), world.changelog.len()),
        (0, 0, 0)
    );
}

#[test]
fn a_call_that_never_ended_is_not_judged_again_where_it_is_sent_again() {
    const MINUTE: i64 = 60_000;
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let mut world = World::new(&pipeline);
    let said = unescalated("c", "09", 0);
    for (offset, line) in (0..).zip(&said[..2]) {
        said_at(&mut world, offset, line, 1_000_000 + offset * MINUTE);
    }
    world.tick(1_000_000 + 150 * MINUTE);
    world.commit();
    assert_eq!((world.partition.calls(), world.partition.past()), (0, 1));
    let before = alerts(&world.said);
    assert!(!before.is_empty());
    world.restart();
    let queued = serde_json::json!({"call_id": "c", "seq": 9, "at": "2026-05-04T09:03:00Z", "type": "queue_entered"});
    for (offset, line) in (2..).zip(said[..2].iter().chain([&queued])) {
        said_at(&mut world, offset, line, 1_000_000 + 151 * MINUTE);
    }
    world.tick(1_000_000 + 160 * MINUTE);
    world.commit();
    assert_eq!(alerts(&world.said), before);
    assert_eq!((world.partition.past(), world.changelog.len()), (1, 1));
    // Somebody speaks in it after all, hours later.
    let late = &unescalated("c", "12", 10);
    for (offset, line) in (5..).zip(&late[..2]) {
        said_at(&mut world, offset, line, 1_000_000 + (170 + offset) * MINUTE);
    }
    assert!(told_once(&world.said) > before.len());
}

#[test]
fn alerts_have_the_same_names_live_and_in_a_file_however_long_a_call_was_gone() {
    const MINUTE: i64 = 60_000;
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    // Within the time in which a call is remembered, and hours after it.
    for (hour, minutes) in [("10", 60), ("20", 660)] {
        let lines: Vec<_> = unescalated("c", "09", 0)
            .into_iter()
            .chain(unescalated("c", hour, 0))
            .collect();
        let mut live = World::new(&pipeline);
        for (offset, line) in (0..).zip(&lines) {
            let at = 1_000_000 + offset * MINUTE + if offset < 3 { 0 } else { minutes * MINUTE };
            live.tick(at);
            said_at(&mut live, offset, line, at);
        }
        let events: Vec<_> = lines
            .iter()
            .map(|line| {
                decode(line.to_string().as_bytes(), None, &Limits::default())
                    .unwrap()
                    .event
            })
            .collect();
        let mut file = Vec::new();
        for outcome in outcomes_of(&pipeline, &events) {
            tell(&pipeline, Output::Judged(&outcome), &mut file);
        }
        assert_eq!(live.said, file, "{hour}");
        assert!(alerts(&live.said).len() >= 2);
    }
}

#[test]
fn where_there_is_no_room_calls_without_an_open_need_are_given_up() {
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let mut world = World::new(&pipeline);
    let mut offset = 0;
    let mut say = |world: &mut World<'_>, line: &serde_json::Value| {
        said_at(world, offset, line, 1_000_000 + offset);
        offset += 1;
    };
    let harmless = |id: &str| {
        serde_json::json!({
            "call_id": id, "seq": 0, "at": "2026-05-04T09:00:00Z", "type": "utterance", "speaker": "caller",
            "text": "i would like to book a visit for my yearly check",
        })
    };
    for number in 0..10 {
        say(&mut world, &unescalated(&format!("need-{number}"), "09", 0)[0]);
        say(&mut world, &harmless(&format!("ended-{number}")));
        say(&mut world, &unescalated(&format!("ended-{number}"), "09", 0)[2]);
    }
    for number in 0..10 {
        say(&mut world, &harmless(&format!("open-{number}")));
    }
    let give_up = |world: &mut World<'_>, room: Room, at_once: usize| {
        let mut given_up = Vec::new();
        world
            .partition
            .make_room(&pipeline, room, at_once, 1_000_000, |output| {
                if let Output::GivenUp(outcome) = output {
                    assert!(outcome.alert.is_none());
                    given_up.push(outcome.call_id.as_str().to_owned());
                }
            });
        given_up
    };
    let room = |calls, past| Room { calls, past };
    let named = |kind: &str, numbers: std::ops::Range<usize>| -> Vec<String> {
        numbers.map(|number| format!("{kind}-{number}")).collect()
    };
    assert_eq!(give_up(&mut world, room(30, 30), 100), Vec::<String>::new());
    assert_eq!(give_up(&mut world, room(18, 30), 7), named("ended", 0..7));
    assert_eq!(
        give_up(&mut world, room(18, 30), 100),
        [named("ended", 7..10), named("open", 0..2)].concat()
    );
    assert_eq!((world.partition.calls(), world.partition.past()), (18, 12));
    assert_eq!(give_up(&mut world, room(2, 30), 100), named("open", 2..10));
    assert_eq!((world.partition.calls(), world.partition.past()), (10, 20));
    assert_eq!(give_up(&mut world, room(2, 2), 100), Vec::<String>::new());
    assert_eq!((world.partition.calls(), world.partition.past()), (10, 2));

    // What is left outlives a restart, and whoever was given up and speaks again is judged again.
    world.commit();
    world.restart();
    assert_eq!((world.partition.calls(), world.partition.past()), (10, 2));
    let mut again = unescalated("open-9", "09", 1)[0].clone();
    again["at"] = "2026-05-04T09:00:30Z".into();
    say(&mut world, &again);
    say(&mut world, &unescalated("open-9", "09", 1)[1]);
    let of_it: Vec<String> = world.said.drain(..).filter(|line| line.contains("open-9")).collect();
    assert!(!alerts(&of_it).is_empty());
}

/// F28 of the fault matrix, without a clock to move: the partition is told what a clock that jumped would say. Forward,
/// calls seem silent and are told of too early; backward, deadlines wait. Either way events are judged as before, and
/// no call that pages goes without a page.
#[test]
fn a_clock_that_jumps_loses_no_page() {
    const HOUR: i64 = 3_600_000;
    let pipeline = Version::embedded().unwrap().pipeline(Settings::default()).unwrap();
    let lines: Vec<&[u8]> = simulation::CALLS.lines().map(str::as_bytes).collect();
    let judged = |jump: i64| {
        let mut world = World::new(&pipeline);
        for (offset, line) in lines.iter().enumerate() {
            world.take(offset as i64, line);
            if offset % 100 == 99 {
                world.tick(1_000_000 + offset as i64 * 50 + jump);
            }
        }
        world.tick(1_000_000 + lines.len() as i64 * 50 + 4 * HOUR);
        let mut paged = std::collections::BTreeSet::new();
        let mut events = 0;
        for line in &world.said {
            let score: serde_json::Value = serde_json::from_str(line).unwrap();
            events += usize::from(score["cause"] == "event");
            if !score["alert"].is_null() {
                paged.insert(score["call_id"].as_str().unwrap().to_owned());
            }
        }
        (events, paged)
    };
    let (events, paged) = judged(0);
    assert!(paged.len() >= 12);
    for jump in [HOUR, -HOUR] {
        let (events_then, paged_then) = judged(jump);
        assert_eq!(events_then, events);
        assert!(paged_then.is_superset(&paged), "{:?}", paged.difference(&paged_then));
    }
}
