//! The fault matrix on a real Apache Kafka: workers, brokers and the way between them fail under steady load, and from
//! outside it must look as if nothing had happened. The rows that run are listed in README, with those that do not.
//!
//! A reader of committed records watches while the faults happen: each call's running count must rise by one. In the
//! end every call's scores and alerts must be, byte for byte, those of `callward score` on the same events: nothing
//! lost, nothing said twice, no wrong running value; and what could not be judged lies in the dead-letter topic.
//!
//! `CALLWARD_FAULT_SEED` replays a schedule, which is printed.

mod brokers;
mod cluster;
mod expected;
mod fleet;
mod input;
mod load;
mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use cluster::Cluster;
use expected::{came_in, differences, expected};
use fleet::{FAIL_POINTS, Fault, Fleet};
use load::{Checker, Load, Noise};
use proxy::{END_TXN, Mode, TXN_OFFSET_COMMIT};

use super::{Site, wait_until};

const PARTITIONS: i32 = 6;
const ABREAST: usize = 30;
/// No process may hold more, whatever happens to it.
const MEMORY: f64 = 400e6;
const DESCRIPTORS: f64 = 300.0;
/// Nothing is told for silence alone: production goes on while workers do not.
const SETTINGS: &str = "[policy]\ncontact_lost_seconds = 600\n";
/// From the last fault until all is judged.
const PATIENCE: Duration = Duration::from_secs(90);

fn seed() -> u64 {
    match std::env::var("CALLWARD_FAULT_SEED") {
        Ok(seed) => seed.parse().expect("CALLWARD_FAULT_SEED is a number"),
        Err(_) => rand::random(),
    }
}

/// A row of the matrix.
struct Row<'c> {
    name: &'static str,
    seed: u64,
    cluster: Option<&'c Cluster>,
    noise: Noise,
    /// Calls that are on the line at the same time.
    abreast: usize,
    static_members: bool,
    /// Milliseconds between two faults.
    pause: std::ops::Range<u64>,
}

impl Row<'_> {
    fn of(name: &'static str, pause: std::ops::Range<u64>) -> Self {
        let seed = seed();
        println!("{name}: CALLWARD_FAULT_SEED={seed}");
        Self {
            name,
            seed,
            cluster: None,
            noise: Noise::default(),
            abreast: ABREAST,
            static_members: false,
            pause,
        }
    }

    fn site(&self) -> Site {
        match self.cluster {
            Some(cluster) => Site::at(&cluster.bootstrap, self.name, PARTITIONS, SETTINGS),
            None => Site::new(self.name, PARTITIONS, SETTINGS),
        }
    }

    /// Strikes with these faults under load; returns the kills.
    fn run(&self, faults: &[Fault]) -> usize {
        self.run_on(&self.site(), faults)
    }

    /// Strikes with these faults by chance for so long.
    fn run_for(&self, long: Duration, faults: &[Fault]) -> usize {
        let mut random = StdRng::seed_from_u64(self.seed ^ 1);
        let began = Instant::now();
        let mut next = || {
            (began.elapsed() < long)
                .then(|| faults.choose(&mut random).copied())
                .flatten()
        };
        self.strike(&self.site(), &mut std::iter::from_fn(&mut next))
    }

    fn run_on(&self, site: &Site, faults: &[Fault]) -> usize {
        self.strike(site, &mut faults.iter().copied())
    }

    fn strike(&self, site: &Site, faults: &mut dyn Iterator<Item = Fault>) -> usize {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut fleet = Fleet::new(site, self.cluster, self.static_members, self.seed);
        for process in fleet.processes() {
            process.wait_until("ready", |serve| serve.get("/readyz").0 == 200);
        }
        let checker = Checker::start(site);
        let end = Arc::new(AtomicBool::new(false));
        let playing = Load::new(self.seed, self.noise, self.abreast).play(site, &end);
        for fault in faults {
            std::thread::sleep(Duration::from_millis(random.random_range(self.pause.clone())));
            fleet.strike(fault, &checker);
        }
        std::thread::sleep(Duration::from_secs(1));
        end.store(true, Ordering::Relaxed);
        let sent = playing.join().unwrap();
        let came_in = came_in(site, &sent.events);
        let [scores, alerts] = expected(site, &came_in);
        let lines = |all: &BTreeMap<String, Vec<String>>| all.values().map(Vec::len).sum::<usize>();
        let judged: usize = scores
            .values()
            .flatten()
            .filter(|line| line.contains("\"cause\":\"event\""))
            .count();
        let last_fault = Instant::now();
        while checker.seen.load(Ordering::Relaxed) < judged {
            assert!(
                last_fault.elapsed() < PATIENCE,
                "only {} of {judged} events are judged {} s after the last fault\n{}\n{}\n{}",
                checker.seen.load(Ordering::Relaxed),
                PATIENCE.as_secs(),
                checker.standing(site),
                fleet.schedule,
                fleet.logs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{}; {} kills, {} events, {} poisoned, done {:.1} s after the last",
            fleet.schedule,
            fleet.kills,
            sent.events.len(),
            sent.poison.len(),
            last_fault.elapsed().as_secs_f64()
        );
        let logs = fleet.logs();
        for process in fleet.processes() {
            assert!(process.is_running(), "a worker gave up\n{logs}");
        }
        for process in fleet.processes() {
            let (memory, open) = (
                process.metric("process_resident_memory_bytes"),
                process.metric("process_open_fds"),
            );
            assert!(
                memory < MEMORY && open < DESCRIPTORS,
                "{memory} bytes, {open} descriptors"
            );
        }
        let told = |name: &str, fleet: &mut Fleet<'_>| fleet.processes().map(|process| process.sum(name)).sum::<f64>();
        println!(
            "  of the processes that live: {} rewinds, {} rebuilds, {} producers renewed, {} orphans ended",
            told("callward_rewinds_total", &mut fleet),
            told("callward_rebuilds_total", &mut fleet),
            told("callward_producer_renewals_total", &mut fleet),
            told("callward_orphans_ended_total", &mut fleet)
        );
        // Outputs without their offsets would be read again and skipped.
        assert_eq!(
            told("callward_records_already_applied_total", &mut fleet),
            0.0,
            "{}",
            fleet.schedule
        );
        let logs = fleet.logs();
        // Who slept beyond its session may read back, before it learns of that, what others go on writing.
        let slept = logs.contains("\"lost\":true");
        assert!(slept || !logs.contains("state is ahead"), "{}\n{logs}", fleet.schedule);
        let wrong = checker.end();
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), fleet.schedule);
        // Deadlines that only time brings may come a moment later.
        wait_until("all alerts are there", Duration::from_secs(30), || {
            lines(&site.by_key("alerts")) >= lines(&alerts)
        });
        let different = differences("scores", &site.by_key("scores"), &scores)
            + &differences("alerts", &site.by_key("alerts"), &alerts);
        assert!(different.is_empty(), "{}{different}", fleet.schedule);
        let mut dead: Vec<String> = site
            .read("dead-letter")
            .into_iter()
            .map(|letter| String::from_utf8(letter.value).unwrap())
            .collect();
        let mut poison = sent.poison;
        dead.sort();
        poison.sort();
        assert_eq!(dead, poison, "{}", fleet.schedule);
        fleet.kills
    }
}

/// A selection of the matrix, in every run of the tests.
#[test]
fn workers_are_killed_paused_and_replaced_under_load_and_nothing_shows() {
    let row = Row::of("faults", 500..2_500);
    let mut random = StdRng::seed_from_u64(row.seed);
    let point = FAIL_POINTS.choose(&mut random).expect("there are some");
    let faults = [
        Fault::Kill,
        Fault::FailPoint(point),
        Fault::Pause(9),
        Fault::Terminate,
        Fault::KillAll,
    ];
    // One by hand, one at its point of a commit, three together.
    assert_eq!(row.run(&faults), 1 + 2 + 3);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f1_kills_at_random_moments() {
    assert_eq!(Row::of("f1", 300..2_500).run(&[Fault::Kill; 50]), 50);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f2_kills_at_the_points_of_a_commit() {
    let faults: Vec<Fault> = (0..48).map(|round| Fault::FailPoint(FAIL_POINTS[round % 4])).collect();
    assert!(Row::of("f2", 300..1_500).run(&faults) >= 48 + 40);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f3_all_are_killed_together() {
    assert_eq!(Row::of("f3", 1_500..6_000).run(&[Fault::KillAll; 12]), 36);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f4_orderly_ends() {
    assert_eq!(Row::of("f4", 500..3_000).run(&[Fault::Terminate; 10]), 0);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f5_f6_f7_pauses_shorter_and_longer_than_transaction_and_session() {
    let pauses = [2, 5, 9, 2, 5, 12, 9, 15].map(Fault::Pause);
    assert_eq!(Row::of("pauses", 1_000..4_000).run(&pauses), 0);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f8_joins_and_leaves() {
    assert_eq!(Row::of("f8", 100..500).run(&[Fault::JoinAndLeave; 10]), 0);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f1_f4_f9_static_members() {
    let row = Row {
        static_members: true,
        ..Row::of("static", 500..2_500)
    };
    let faults = [
        Fault::Kill,
        Fault::Terminate,
        Fault::Pause(9),
        Fault::FailPoint("after_offsets"),
        Fault::Twin,
        Fault::KillAll,
    ];
    assert_eq!(row.run(&faults), 1 + 2 + 3);
}

#[test]
#[ignore = "of the fault matrix: tests/run --faults"]
fn matrix_f9_of_two_with_one_name_one_ends_and_says_why() {
    assert_eq!(Row::of("f9", 1_000..4_000).run(&[Fault::Twin; 2]), 0);
}

/// F31: what may happen, in an order by chance, for an hour or `CALLWARD_SOAK_MINUTES`.
#[test]
#[ignore = "an hour: tests/run --soak"]
fn soak_f31_everything_by_chance() {
    let minutes: u64 = std::env::var("CALLWARD_SOAK_MINUTES").map_or(60, |minutes| minutes.parse().unwrap());
    let row = Row::of("f31", 2_000..12_000);
    let cluster = Cluster::start(3, row.seed, &[]);
    let row = Row {
        cluster: Some(&cluster),
        noise: Noise {
            poison: 10,
            again: 20,
            swapped: 20,
            burst: 0,
        },
        ..row
    };
    let slow = Mode::Slow { millis: 40, resets: 5 };
    let all = [
        Fault::Kill,
        Fault::FailPoint(FAIL_POINTS[0]),
        Fault::FailPoint(FAIL_POINTS[1]),
        Fault::FailPoint(FAIL_POINTS[2]),
        Fault::FailPoint(FAIL_POINTS[3]),
        Fault::KillAll,
        Fault::Terminate,
        Fault::Pause(2),
        Fault::Pause(9),
        Fault::JoinAndLeave,
        Fault::BrokerRestart(0, 1),
        Fault::BrokerRestart(1, 1),
        Fault::BrokerRestart(2, 1),
        Fault::BrokerKill(0, 3),
        Fault::BrokerKill(1, 3),
        Fault::BrokerKill(2, 3),
        Fault::Way(Mode::Cut, 2),
        Fault::Way(Mode::AnswersLost, 3),
        Fault::Way(Mode::Swallow { key: END_TXN }, 2),
        Fault::Way(slow, 5),
    ];
    row.run_for(Duration::from_secs(60 * minutes), &all);
}
