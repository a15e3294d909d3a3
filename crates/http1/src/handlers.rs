//! Which requests had slow handlers and which had quick ones, so that a response to a pipelined request may be held back for the
//! next one.
//!
//! A handler that computes keeps the server from sending what is held. That cannot be known before it runs, so what counts is
//! how long the last requests for the same target took.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

/// A handler that takes this long is slow.
const SLOW: Duration = Duration::from_millis(1);

/// A handler that takes less than this, and does not wait for anything, is quick.
const QUICK: Duration = Duration::from_micros(100);

/// How often in a row a handler must have been quick to be expected to be quick again.
const OFTEN: u8 = 8;

/// How many slow targets are remembered, and how many quick ones.
const SLOTS: usize = 64;

/// A method and a path, as a hash of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetHash(NonZeroU32);

impl TargetHash {
    /// Makes the hash (FNV-1a). Clients can make others collide with it, which at worst holds
    /// back a response that is slow to come, or sends one alone.
    pub fn new(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        Self(NonZeroU32::new(hash).unwrap_or(NonZeroU32::MIN))
    }

    fn slot(self) -> usize {
        self.0.get() as usize % SLOTS
    }
}

/// What is known of the handlers of a server.
///
/// ```
/// use std::time::Duration;
///
/// use kqnet_http1::{Handlers, TargetHash};
///
/// let (handlers, target) = (Handlers::default(), TargetHash::new(b"GET /report"));
/// handlers.note(target, Duration::from_millis(5), false);
/// assert!(handlers.is_slow(target));
/// ```
pub struct Handlers {
    /// The targets whose last handler was slow.
    slow: [Cell<Option<TargetHash>>; SLOTS],
    /// The targets whose last handlers were quick, and how many in a row. An entry of one target gives way to another's.
    quick: [Cell<(Option<TargetHash>, u8)>; SLOTS],
}

impl Default for Handlers {
    fn default() -> Self {
        Self { slow: [const { Cell::new(None) }; SLOTS], quick: [const { Cell::new((None, 0)) }; SLOTS] }
    }
}

impl Handlers {
    /// Whether the last handler for this target was slow.
    pub fn is_slow(&self, target: TargetHash) -> bool {
        self.slow[target.slot()].get() == Some(target)
    }

    /// Whether the last handlers for this target were all quick.
    pub fn is_quick(&self, target: TargetHash) -> bool {
        self.quick[target.slot()].get() == (Some(target), OFTEN)
    }

    /// Remembers how long a request for this target took, and whether its handler has waited for anything.
    pub fn note(&self, target: TargetHash, took: Duration, has_waited: bool) {
        let quick = &self.quick[target.slot()];
        let (last, count) = quick.get();
        if took < QUICK && !has_waited {
            quick.set((Some(target), if last == Some(target) { OFTEN.min(count + 1) } else { 1 }));
        } else if last == Some(target) {
            quick.set((None, 0));
        }
        let slow = &self.slow[target.slot()];
        if took >= SLOW {
            slow.set(Some(target));
        } else if slow.get() == Some(target) {
            slow.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(10);

    fn quick_after(count: u8) -> (Handlers, TargetHash) {
        let (handlers, target) = (Handlers::default(), TargetHash::new(b"GET /a"));
        (0..count).for_each(|_| handlers.note(target, SHORT, false));
        (handlers, target)
    }

    #[test]
    fn a_handler_is_quick_after_it_was_quick_often_in_a_row() {
        for count in 0..2 * OFTEN {
            let (handlers, target) = quick_after(count);
            assert_eq!(handlers.is_quick(target), count >= OFTEN, "{count}");
            assert!(!handlers.is_slow(target));
        }
    }

    #[test]
    fn one_run_that_is_slow_or_waits_makes_a_handler_unknown_again() {
        for (took, has_waited) in [(QUICK, false), (SLOW, false), (SHORT, true)] {
            let (handlers, target) = quick_after(OFTEN);
            handlers.note(target, took, has_waited);
            assert_eq!(handlers.is_slow(target), took == SLOW);
            (1..OFTEN).for_each(|_| handlers.note(target, SHORT, false));
            assert!(!handlers.is_quick(target));
            handlers.note(target, SHORT, false);
            assert!(handlers.is_quick(target) && !handlers.is_slow(target));
        }
    }

    #[test]
    fn another_target_in_the_same_place_is_not_taken_for_a_quick_one() {
        let (handlers, target) = quick_after(OFTEN);
        let other = (0..).map(|i: u32| TargetHash::new(&i.to_be_bytes())).find(|other| other.slot() == target.slot());
        let Some(other) = other else { panic!("there is one") };
        assert!(!handlers.is_quick(other));
        handlers.note(other, SHORT, false);
        assert!(!handlers.is_quick(target) && !handlers.is_quick(other));
    }
}
