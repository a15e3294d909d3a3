//! Which requests have slow handlers: a response is not held back for one of those.
//!
//! A handler that computes keeps the loop from pushing what is held. That cannot be known before it runs, so what counts is
//! how long the last request for the same target took.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

/// A handler that takes this long is slow.
const SLOW: Duration = Duration::from_millis(1);

/// How many slow targets are remembered.
const SLOTS: usize = 64;

/// A method and a path, as a hash of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target(NonZeroU32);

impl Target {
    /// The hash of a method and a path (FNV-1a). Clients can make others collide with it, which at worst holds
    /// back a response that is slow to come, or sends one alone.
    pub fn new(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        Self(NonZeroU32::new(hash).unwrap_or(NonZeroU32::MIN))
    }
}

/// The targets whose last handler was slow.
pub struct SlowHandlers([Cell<Option<Target>>; SLOTS]);

impl Default for SlowHandlers {
    fn default() -> Self {
        Self([const { Cell::new(None) }; SLOTS])
    }
}

impl SlowHandlers {
    fn slot(&self, target: Target) -> &Cell<Option<Target>> {
        &self.0[target.0.get() as usize % SLOTS]
    }

    /// Whether the last handler for this target was slow.
    pub fn contains(&self, target: Target) -> bool {
        self.slot(target).get() == Some(target)
    }

    /// Remembers how long a request for this target took.
    pub fn note(&self, target: Target, took: Duration) {
        let slot = self.slot(target);
        if took >= SLOW {
            slot.set(Some(target));
        } else if slot.get() == Some(target) {
            slot.set(None);
        }
    }
}
