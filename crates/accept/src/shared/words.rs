//! A fixed number of counters, of this process alone or in shared memory.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many counters.
#[derive(Debug)]
pub enum Words<const N: usize> {
    /// Nobody else reads them.
    Own(Box<[AtomicU64; N]>),
    /// They are in shared memory, and only this process writes to them.
    Shared(&'static [AtomicU64; N]),
}

impl<const N: usize> Default for Words<N> {
    fn default() -> Self {
        Self::Own(Box::new([const { AtomicU64::new(0) }; N]))
    }
}

impl<const N: usize> Deref for Words<N> {
    type Target = [AtomicU64; N];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Own(words) => words,
            Self::Shared(words) => words,
        }
    }
}

/// Adds to a counter that has no other writer, which needs no locked instruction.
pub fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}
