//! The statistics of one listener: what it accepted, and how often and how long it paused.

use std::time::Duration;

use super::pause::Pause;
use crate::errno::Errno;

/// Statistics of one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Active connections: accepted and not yet released.
    pub active: u32,
    /// The most connections that were ever active.
    pub peak: u32,
    /// Batches in which at least one connection was accepted.
    pub batches: u64,
    /// The most connections accepted in one batch.
    pub largest_batch: u32,
    /// Connections that were gone before they were accepted.
    pub aborted: u64,
    /// Pauses for errors, and the time spent in them.
    pub paused_error: PauseStats,
    /// Pauses at the limit of connections, and the time spent in them.
    pub paused_full: PauseStats,
    /// Pauses for the rate limit, and the time spent in them.
    pub paused_rate: PauseStats,
    /// Failures of `accept`, counted by error number. An empty backlog is not a failure.
    pub errors: Vec<(Errno, u64)>,
}

/// How often and how long a listener was paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PauseStats {
    /// Number of pauses.
    pub count: u64,
    /// Time spent in them, the present one included.
    pub time: Duration,
}

impl Stats {
    pub(super) fn count_active(&mut self) {
        self.active += 1;
        self.peak = self.peak.max(self.active);
    }

    pub(super) fn count_batch(&mut self, accepted: u32) {
        if accepted > 0 {
            self.batches += 1;
            self.largest_batch = self.largest_batch.max(accepted);
        }
    }

    pub(super) fn count_error(&mut self, errno: Errno) {
        match self.errors.iter_mut().find(|(known, _)| *known == errno) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((errno, 1)),
        }
    }

    pub(super) fn pause(&mut self, why: Pause) -> &mut PauseStats {
        match why {
            Pause::Error(_) => &mut self.paused_error,
            Pause::Full => &mut self.paused_full,
            Pause::Rate => &mut self.paused_rate,
        }
    }
}
