//! The rate limit of a listener: when the next connection may be accepted.

use std::time::Duration;

/// The longest time between two connections: about 30 years, so that adding it to a time does not overflow.
const LONGEST_INTERVAL: f64 = 1e9;

/// How far a rate limit may run ahead, so that one timer serves several connections at high rates.
const SLACK: Duration = Duration::from_millis(10);

/// How much of a rate limit is used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    /// When the next connection is due.
    next_at: Duration,
}

impl Rate {
    pub(super) fn is_used_up(&self, now: Duration) -> bool {
        self.next_at > now + SLACK
    }

    /// When enough of the rate is available again for several connections.
    pub(super) fn resumes_at(&self, now: Duration) -> Duration {
        self.next_at.saturating_sub(SLACK / 2).max(now + Duration::from_millis(1))
    }

    /// Counts a connection against a limit of `rate` connections in a second.
    pub(super) fn count(&mut self, rate: f64, now: Duration) {
        self.next_at = self.next_at.max(now) + interval(rate);
    }

    /// Shortens the wait for the next connection to what a new rate asks for.
    pub(super) fn change(&mut self, rate: f64, now: Duration) {
        self.next_at = self.next_at.min(now + interval(rate));
    }
}

fn interval(rate: f64) -> Duration {
    Duration::from_secs_f64((1.0 / rate).min(LONGEST_INTERVAL))
}
