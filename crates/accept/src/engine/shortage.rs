//! When a shortage of descriptors or memory is reported: once in each episode.

use std::time::Duration;

/// How long there must be no shortage before the next one begins a new episode: a server near its limit has a
/// shortage at every connection.
const QUIET: Duration = Duration::from_secs(1);

/// The latest shortage of a listener, if there was one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shortage(Option<Latest>);

#[derive(Clone, Copy, Debug)]
struct Latest {
    at: Duration,
    /// Since then, everything that waited was accepted.
    over: bool,
}

impl Shortage {
    /// Notes a shortage. Returns true if it begins an episode, and so must be reported.
    pub(super) fn note(&mut self, now: Duration) -> bool {
        let begins = self.0.is_none_or(|latest| latest.over && now >= latest.at + QUIET);
        self.0 = Some(Latest { at: now, over: false });
        begins
    }

    /// Everything that waited was accepted.
    pub(super) fn backlog_is_empty(&mut self) {
        if let Some(latest) = &mut self.0 {
            latest.over = true;
        }
    }
}
