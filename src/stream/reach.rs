//! Clients that have lost all brokers, and would go on to be polled for ever.

use std::sync::atomic::{AtomicU32, Ordering};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::ConsumerContext;
use rdkafka::statistics::Statistics;

use super::login;

/// Statistics without a broker in reach, five seconds apart, after which a client is given up.
const UNREACHED: u32 = 6;

/// Whether a client has a broker in reach, by its own statistics.
///
/// A client that is told of no brokers at all, by a cluster in which all are fenced for a moment, forgets those that it
/// knows, and may ask nobody ever after (<https://github.com/confluentinc/librdkafka/issues/5301>). It goes on to be polled
/// and returns nothing, so whoever waits for records looks here, and makes it anew.
#[derive(Debug, Default)]
pub struct Reach {
    /// Statistics in a row that knew of none.
    unreached: AtomicU32,
}

impl Reach {
    /// How often a client is to tell, in `statistics.interval.ms`.
    pub const STATISTICS_MS: &str = "5000";

    pub(super) fn saw(&self, statistics: &Statistics) {
        self.told(statistics.brokers.values().any(|broker| broker.state == "UP"));
    }

    fn told(&self, reached: bool) {
        if reached {
            self.unreached.store(0, Ordering::Relaxed);
        } else {
            self.unreached.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// None has been in reach for half a minute.
    pub fn is_lost(&self) -> bool {
        self.unreached.load(Ordering::Relaxed) >= UNREACHED
    }
}

impl ClientContext for Reach {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, file: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        login::token(file)
    }

    fn stats(&self, statistics: Statistics) {
        self.saw(&statistics);
    }
}

impl ConsumerContext for Reach {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_given_up_once_it_has_reached_nobody_for_long() {
        let reach = Reach::default();
        (1..UNREACHED).for_each(|_| reach.told(false));
        assert!(!reach.is_lost());
        reach.told(true);
        (1..UNREACHED).for_each(|_| reach.told(false));
        assert!(!reach.is_lost());
        reach.told(false);
        assert!(reach.is_lost());
    }
}
