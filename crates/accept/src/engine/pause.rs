//! Why a listener pauses, and for how long.

use std::time::Duration;

use super::rate::Rate;
use super::share::TURN;
use crate::errno::Errno;

/// How long a listener pauses when the system has run out of descriptors or memory. This is short enough
/// that accepting resumes within 50 ms after a descriptor is free, and long enough that the process stays idle.
const BACK_OFF: Duration = Duration::from_millis(30);

/// How often a listener at its limit asks whether connections have ended that nobody released.
const FULL_CHECK: Duration = Duration::from_millis(20);

/// Why a listener is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// `accept` failed because of a shortage, or for an unknown reason.
    Error(Errno),
    /// As many connections are active as are allowed.
    Full,
    /// The rate limit is used up for now.
    Rate,
    /// Other workers have fewer connections, and may take those that wait.
    Others,
}

impl Pause {
    /// When to look at the listener again.
    pub(super) fn until(self, now: Duration, rate: &Rate) -> Duration {
        match self {
            Self::Error(_) => now + BACK_OFF,
            Self::Full => now + FULL_CHECK,
            Self::Rate => rate.resumes_at(now),
            Self::Others => now + TURN,
        }
    }
}
