//! Signs of life of the workers, for health checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Signs of life of the workers, for health checks.
#[derive(Debug)]
pub struct Heartbeat {
    /// Milliseconds without a poll after which a worker counts as stuck.
    stuck_after: i64,
    /// A clock that nobody sets: after a step back a worker that is stuck would seem to tick.
    began: Instant,
    /// When each worker polled last, in milliseconds since then.
    polls: Vec<AtomicI64>,
    /// Partitions that each worker refuses.
    refused: Vec<AtomicUsize>,
    ready: Vec<AtomicBool>,
}

impl Heartbeat {
    /// Without a poll a worker counts as stuck after more than waiting for the brokers may take, which a restart would not
    /// mend: a transaction, and making the clients anew.
    pub fn of(workers: usize, transaction: Duration) -> Arc<Self> {
        Arc::new(Self {
            stuck_after: (transaction + Duration::from_secs(35)).as_millis() as i64,
            began: Instant::now(),
            polls: (0..workers).map(|_| AtomicI64::new(0)).collect(),
            refused: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            ready: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    fn since_began(&self, at: Instant) -> i64 {
        at.saturating_duration_since(self.began).as_millis() as i64
    }

    /// # Panics
    /// Where there is no worker of this number.
    pub fn polled(&self, worker: usize, at: Instant) {
        self.polls[worker].store(self.since_began(at), Ordering::Relaxed);
    }

    /// # Panics
    /// Where there is no worker of this number.
    pub fn refuses(&self, worker: usize, partitions: usize) {
        self.refused[worker].store(partitions, Ordering::Relaxed);
    }

    /// No worker runs yet, and none is missing.
    pub fn waiting(&self) {
        let now = Instant::now();
        (0..self.polls.len()).for_each(|worker| self.polled(worker, now));
    }

    /// A worker was given its share of the partitions and has read their state back, or is at work no longer.
    ///
    /// # Panics
    /// Where there is no worker of this number.
    pub fn worker_ready(&self, worker: usize, ready: bool) {
        self.ready[worker].store(ready, Ordering::Relaxed);
    }

    /// Every worker's loop ticks.
    pub fn alive(&self) -> bool {
        let now = self.since_began(Instant::now());
        let ticks = |last: &AtomicI64| now - last.load(Ordering::Relaxed) < self.stuck_after;
        self.polls.iter().all(ticks)
    }

    /// Clients connected, producer ready, model loaded, loop ticking, no partition refused: it can do its work if asked.
    pub fn ready(&self) -> bool {
        let refuses = |refused: &AtomicUsize| refused.load(Ordering::Relaxed) > 0;
        let works = |ready: &AtomicBool| ready.load(Ordering::Relaxed);
        self.alive() && self.ready.iter().all(works) && !self.refused.iter().any(refuses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_stands_still_is_seen_beside_another_that_polls() {
        let heartbeat = Heartbeat::of(2, Duration::from_secs(5));
        heartbeat.worker_ready(0, true);
        assert!(heartbeat.alive() && !heartbeat.ready());
        heartbeat.worker_ready(1, true);
        assert!(heartbeat.ready());
        heartbeat.polls[0].store(-40_000, Ordering::Relaxed);
        heartbeat.polled(1, Instant::now());
        assert!(!heartbeat.alive() && !heartbeat.ready());
        heartbeat.polled(0, Instant::now());
        assert!(heartbeat.ready());
        heartbeat.refuses(1, 1);
        assert!(heartbeat.alive() && !heartbeat.ready());
    }
}
