//! The statistics of one listener: what it accepted, and how often and how long it paused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::pause::Pause;
use crate::errno::Errno;
use crate::shared::{Words, add};

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

/// How many different errors are counted. More do not occur.
const ERRORS: usize = 16;

/// The words of the counters. Each pause has its count and its nanoseconds, and each error its number and its count.
const ACCEPTED: usize = 0;
const ACTIVE: usize = 1;
const PEAK: usize = 2;
const BATCHES: usize = 3;
const LARGEST_BATCH: usize = 4;
const ABORTED: usize = 5;
const PAUSED_ERROR: usize = 6;
const PAUSED_FULL: usize = 8;
const PAUSED_RATE: usize = 10;
const FIRST_ERROR: usize = 12;

/// How many counters a listener has.
pub const COUNTERS: usize = FIRST_ERROR + 2 * ERRORS;

/// Sets to zero what is not a count but a number of things that there are now.
pub(crate) fn zero_gauges(counters: &[AtomicU64]) {
    counters[ACTIVE].store(0, Ordering::Relaxed);
}

/// The counters of a listener.
#[derive(Debug, Default)]
pub(super) struct Counters {
    words: Words<COUNTERS>,
    /// The limits depend on it, so it is not read from memory that others could write to.
    active: u32,
}

impl Counters {
    /// Goes on counting in other words.
    pub(super) fn count_in(&mut self, words: Words<COUNTERS>) {
        self.words = words;
        self.set_active(self.active);
    }

    pub(super) fn active(&self) -> u32 {
        self.active
    }

    fn set_active(&mut self, active: u32) {
        self.active = active;
        self.words[ACTIVE].store(active.into(), Ordering::Relaxed);
    }

    fn raise(&self, word: usize, to: u32) {
        if self.words[word].load(Ordering::Relaxed) < to.into() {
            self.words[word].store(to.into(), Ordering::Relaxed);
        }
    }

    pub(super) fn count_accepted(&self) {
        add(&self.words[ACCEPTED], 1);
    }

    pub(super) fn count_aborted(&self) {
        add(&self.words[ABORTED], 1);
    }

    pub(super) fn count_active(&mut self) {
        self.set_active(self.active + 1);
        self.raise(PEAK, self.active);
    }

    pub(super) fn count_ended(&mut self, connections: u32) {
        self.set_active(self.active.saturating_sub(connections));
    }

    pub(super) fn count_batch(&self, accepted: u32) {
        if accepted > 0 {
            add(&self.words[BATCHES], 1);
            self.raise(LARGEST_BATCH, accepted);
        }
    }

    pub(super) fn count_error(&self, errno: Errno) {
        let number = u64::from(errno.0.unsigned_abs());
        for pair in self.words[FIRST_ERROR..].chunks_exact(2) {
            let known = pair[0].load(Ordering::Relaxed);
            if known == 0 {
                pair[0].store(number, Ordering::Relaxed);
            }
            if known == 0 || known == number {
                add(&pair[1], 1);
                return;
            }
        }
    }

    pub(super) fn count_pause(&self, why: Pause) {
        if let Some(word) = word_of(why) {
            add(&self.words[word], 1);
        }
    }

    pub(super) fn count_paused(&self, why: Pause, time: Duration) {
        if let Some(word) = word_of(why) {
            add(&self.words[word + 1], time.as_nanos() as u64);
        }
    }

    /// The statistics so far, with the time of a pause that is not over yet.
    pub(super) fn stats(&self, paused: Option<(Pause, Duration)>) -> Stats {
        let mut stats = Stats::read(&self.words);
        let pause = match paused.and_then(|(why, _)| word_of(why)) {
            Some(PAUSED_ERROR) => &mut stats.paused_error,
            Some(PAUSED_FULL) => &mut stats.paused_full,
            Some(PAUSED_RATE) => &mut stats.paused_rate,
            _ => return stats,
        };
        pause.time += paused.map_or(Duration::ZERO, |(_, time)| time);
        stats
    }
}

/// Where pauses are counted. Leaving connections to other workers is no pause that anybody has to know of.
const fn word_of(why: Pause) -> Option<usize> {
    match why {
        Pause::Error(_) => Some(PAUSED_ERROR),
        Pause::Full => Some(PAUSED_FULL),
        Pause::Rate => Some(PAUSED_RATE),
        Pause::Others => None,
    }
}

impl Stats {
    /// The statistics in the counters of a listener, which may be another process's.
    pub fn read(words: &[AtomicU64; COUNTERS]) -> Self {
        let get = |word: usize| words[word].load(Ordering::Relaxed);
        let small = |word: usize| u32::try_from(get(word)).unwrap_or(u32::MAX);
        let pause = |word: usize| PauseStats { count: get(word), time: Duration::from_nanos(get(word + 1)) };
        let errors = (FIRST_ERROR..COUNTERS).step_by(2).filter(|word| get(*word) > 0);
        Self {
            accepted: get(ACCEPTED),
            active: small(ACTIVE),
            peak: small(PEAK),
            batches: get(BATCHES),
            largest_batch: small(LARGEST_BATCH),
            aborted: get(ABORTED),
            paused_error: pause(PAUSED_ERROR),
            paused_full: pause(PAUSED_FULL),
            paused_rate: pause(PAUSED_RATE),
            errors: errors.map(|word| (Errno(get(word) as i32), get(word + 1))).collect(),
        }
    }
}
