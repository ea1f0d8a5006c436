//! How much lies between two commits, so that most of the time is left for judging.

use std::time::{Duration, Instant};

/// In a storm of alerts so many times the last commit's duration lies between two commits: little where records had to
/// be waited for since the last commit, more where they never had. The first alert after a quiet spell waits for nothing.
const QUIET: u32 = 1;
const BUSY: u32 = 3;
/// One slow commit does not put the next off for as long again.
const QUIET_AT_MOST: Duration = Duration::from_millis(15);
/// A poll that took less had its record at hand.
const WAITED: Duration = Duration::from_micros(200);

#[derive(Default)]
pub(super) struct Pace {
    /// When the last commit ended, and how long it took.
    last_commit: Option<(Instant, Duration)>,
    /// Records had to be waited for since.
    waited: bool,
}

impl Pace {
    pub fn polled(&mut self, took: Duration) {
        self.waited |= took >= WAITED;
    }

    /// Whether records had to be waited for since the commit before.
    pub fn committed(&mut self, took: Duration) -> bool {
        self.last_commit = Some((Instant::now(), took));
        std::mem::take(&mut self.waited)
    }

    /// Whether enough lies behind the last commit. `quiet`: nothing came with the last poll.
    pub fn is_spaced(&self, now: Instant, quiet: bool) -> bool {
        self.last_commit.is_none_or(|(ended, took)| {
            let spacing = if quiet || self.waited {
                (took * QUIET).min(QUIET_AT_MOST)
            } else {
                took * BUSY
            };
            now - ended >= spacing
        })
    }
}
