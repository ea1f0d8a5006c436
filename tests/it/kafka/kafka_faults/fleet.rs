//! The processes of a group, and what is done to them and to what lies between them and Kafka.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::cluster::Cluster;
use super::load::Checker;
use super::proxy::Mode;
use crate::kafka::{Serve, Site, wait_until};

pub const PROCESSES: usize = 3;
pub const FAIL_POINTS: [&str; 4] = ["after_send", "after_drain", "after_offsets", "after_commit"];

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// F1: kill -9 at a random moment; another of its name comes back.
    Kill,
    /// F2: the process ends itself exactly after … of a commit.
    FailPoint(&'static str),
    /// F3: kill -9 of all together.
    KillAll,
    /// F4: SIGTERM; it ends in order, and another comes.
    Terminate,
    /// F5, F6, F7: stopped for so many seconds: shorter than a transaction, than a session, longer than both.
    Pause(u64),
    /// F8: another joins, and leaves at once.
    JoinAndLeave,
    /// F9: another of the same name; one of the two must end and say why, and is replaced by nobody.
    Twin,
    /// F10: a broker is ended in order, and comes back after so many seconds.
    BrokerRestart(usize, u64),
    /// F11: a broker is killed, and comes back after so many seconds.
    BrokerKill(usize, u64),
    /// F14 to F17: the way to the brokers is like this for so many seconds.
    Way(Mode, u64),
    /// F19, F20: a process ends with its offsets pending in an open transaction, and nobody of its name comes back
    /// before the others went on.
    Lost,
}

pub struct Fleet<'s> {
    site: &'s Site,
    cluster: Option<&'s Cluster>,
    /// Members keep their places over a restart.
    static_members: bool,
    random: StdRng,
    processes: Vec<Option<Serve>>,
    pub kills: usize,
    /// What was done so far.
    pub schedule: String,
}

impl<'s> Fleet<'s> {
    pub fn new(site: &'s Site, cluster: Option<&'s Cluster>, static_members: bool, seed: u64) -> Self {
        let mut fleet = Self {
            site,
            cluster,
            static_members,
            random: StdRng::seed_from_u64(seed),
            processes: Vec::new(),
            kills: 0,
            schedule: format!("seed {seed}:"),
        };
        for number in 0..PROCESSES {
            let process = fleet.start(number, None);
            fleet.processes.push(Some(process));
        }
        fleet
    }

    fn start(&self, number: usize, fail_point: Option<String>) -> Serve {
        let instance = format!("member-{number}");
        let brokers = self.cluster.map(Cluster::proxied);
        let mut environment = vec![
            ("CALLWARD_KAFKA__INSTANCE", instance.as_str()),
            ("CALLWARD_STREAM__WORKERS", "1"),
        ];
        if self.static_members {
            environment.push(("CALLWARD_KAFKA__STATIC_MEMBERSHIP", "true"));
        }
        if let Some(point) = &fail_point {
            environment.push(("CALLWARD_FAIL_POINT", point));
        }
        if let Some(brokers) = &brokers {
            environment.push(("CALLWARD_KAFKA__BROKERS", brokers));
        }
        Serve::start_with(&self.site.config(), &environment)
    }

    pub fn processes(&mut self) -> impl Iterator<Item = &mut Serve> {
        self.processes.iter_mut().flatten()
    }

    fn replace(&mut self, number: usize, fail_point: Option<String>) {
        self.processes[number] = Some(self.start(number, fail_point));
    }

    fn kill(&mut self, number: usize) {
        if let Some(process) = self.processes[number].take() {
            process.kill();
            self.kills += 1;
        }
    }

    /// Waits until a process ends by itself; whether it did.
    fn ends(&mut self, number: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.processes[number].as_mut().is_some_and(Serve::is_running) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn cluster(&self) -> &'s Cluster {
        self.cluster.expect("brokers of its own")
    }

    pub fn strike(&mut self, fault: Fault, checker: &Checker) {
        let number = self.random.random_range(0..PROCESSES);
        let _ = write!(self.schedule, " {fault:?}@{number}");
        match fault {
            Fault::Kill => {
                self.kill(number);
                self.replace(number, None);
            }
            Fault::FailPoint(point) => {
                let times = self.random.random_range(3..30);
                self.kill(number);
                self.replace(number, Some(format!("{point}:{times}")));
                // It needs partitions and work before it comes by.
                let ended = self.ends(number, Duration::from_secs(25));
                let _ = write!(self.schedule, "{}", if ended { "" } else { " (not reached)" });
                self.kills += usize::from(ended);
                self.processes[number] = None;
                self.replace(number, None);
            }
            Fault::KillAll => {
                (0..PROCESSES).for_each(|number| self.kill(number));
                (0..PROCESSES).for_each(|number| self.replace(number, None));
            }
            Fault::Terminate => {
                let process = self.processes[number].take().unwrap();
                let (code, took, log) = process.terminate();
                assert_eq!(code, Some(0), "{log}");
                assert!(took < Duration::from_secs(10), "{took:?}\n{log}");
                self.replace(number, None);
            }
            Fault::Pause(seconds) => {
                let process = self.processes[number].as_ref().unwrap();
                process.signal("-STOP");
                std::thread::sleep(Duration::from_secs(seconds));
                process.signal("-CONT");
            }
            Fault::JoinAndLeave => {
                let guest = self.start(PROCESSES + number, None);
                std::thread::sleep(Duration::from_secs(3));
                let (code, _, log) = guest.terminate();
                assert_eq!(code, Some(0), "{log}");
            }
            Fault::Twin => self.twin(number),
            Fault::BrokerRestart(broker, seconds) => {
                self.cluster().stop(broker);
                std::thread::sleep(Duration::from_secs(seconds));
                self.cluster().start_again();
            }
            Fault::BrokerKill(broker, seconds) => {
                self.cluster().kill(broker);
                std::thread::sleep(Duration::from_secs(seconds));
                self.cluster().start_again();
            }
            Fault::Way(mode, seconds) => {
                self.cluster().set(mode);
                std::thread::sleep(Duration::from_secs(seconds));
                self.cluster().set(Mode::Pass);
            }
            Fault::Lost => self.lose(number, checker),
        }
    }

    fn twin(&mut self, number: usize) {
        let mut twin = self.start(number, None);
        let own = self.processes[number].as_mut().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while twin.is_running() && own.is_running() {
            assert!(
                Instant::now() < deadline,
                "both go on\n{}\n--\n{}",
                twin.log(),
                own.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(3));
        let (ended, stays) = if own.is_running() {
            (&twin, &mut *own)
        } else {
            (&*own, &mut twin)
        };
        assert!(ended.log().contains("another process uses"), "{}", ended.log());
        assert!(stays.is_running(), "both ended\n{}", stays.log());
        if !own.is_running() {
            self.processes[number] = Some(twin);
        }
    }

    /// The others go on within the session, the second after which nobody waits for the pending offsets, and what
    /// taking the name costs.
    fn lose(&mut self, number: usize, checker: &Checker) {
        let times = self.random.random_range(8..20);
        self.kill(number);
        self.replace(number, Some(format!("after_offsets:{times}")));
        assert!(
            self.ends(number, Duration::from_secs(60)),
            "the fail point was not reached"
        );
        self.kills += 1;
        self.processes[number] = None;
        checker.longest_silence();
        let began = Instant::now();
        wait_until("others took over", Duration::from_secs(40), || {
            // Partitions that speak again have been silent for as long as they had to be.
            let silent = checker.longest_silence();
            began.elapsed() > Duration::from_secs(5) && silent < Duration::from_millis(600)
        });
        let _ = write!(
            self.schedule,
            " (taken over after {:.1} s)",
            began.elapsed().as_secs_f64()
        );
        let ended: f64 = self
            .processes()
            .map(|process| process.metric("callward_orphans_ended_total"))
            .sum();
        assert!(ended >= 1.0, "nobody ended the open transaction\n{}", self.logs());
        self.replace(number, None);
    }

    pub fn logs(&self) -> String {
        let logs = self.processes.iter().flatten().map(Serve::log);
        logs.collect::<Vec<_>>().join("\n--\n")
    }
}
