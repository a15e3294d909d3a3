//! The queue's one timer: it is set for the earliest end of a pause, or for the caller's own time.

use std::time::Duration;

use super::listener::State;
use super::table::Table;
use crate::kernel::Kernel;

#[derive(Debug, Default)]
pub(super) struct Timer {
    /// When the kernel's timer will fire, if it is set.
    fires_at: Option<Duration>,
    /// The caller's own time.
    wake_at: Option<Duration>,
    /// A pause has begun, or the caller's time has changed, since the timer was last set.
    stale: bool,
}

impl Timer {
    /// A listener has paused.
    pub(super) fn pause_began(&mut self) {
        self.stale = true;
    }

    /// Replaces the caller's own time.
    pub(super) fn set_wake_time(&mut self, at: Option<Duration>) {
        self.wake_at = at;
        self.stale = true;
    }

    /// The kernel's timer has fired, perhaps a little early: then it is set again.
    pub(super) fn fired(&mut self, now: Duration) {
        self.fires_at = None;
        self.stale = true;
        self.wake_at = self.wake_at.filter(|at| *at > now);
    }

    /// Sets the kernel's timer, if it would fire too late.
    pub(super) fn set<K: Kernel, D>(&mut self, kernel: &mut K, listeners: &Table<D>, now: Duration) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let ends_of_pauses = listeners.iter().filter_map(|listener| match listener.state {
            State::Paused { until, .. } => Some(until),
            _ => None,
        });
        let Some(at) = ends_of_pauses.chain(self.wake_at).min() else { return };
        if self.fires_at.is_none_or(|set| at < set) {
            kernel.timer(at.saturating_sub(now));
            self.fires_at = Some(at);
        }
    }
}
