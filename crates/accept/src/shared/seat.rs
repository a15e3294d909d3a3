//! How loaded the workers are that share a listener, so that one with many connections can leave the next to the others.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many words one worker has: what processors move between them at once, so that writers do not disturb each other.
pub(super) const SEAT_WORDS: usize = 8;

/// The words of a seat: its load, with the lowest bit for whether it accepts, and its turns.
const LOAD: usize = 0;
const TURNS: usize = 1;

/// The place of one worker among those that share a listener.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    slot: usize,
    /// The seats of all slots.
    seats: &'static [AtomicU64],
    /// How many slots were ever in use.
    used: &'static AtomicU64,
}

/// Another worker that accepts from the same listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its slot.
    pub slot: usize,
    /// How many connections it has.
    pub load: u32,
    /// How many turns it has taken. A worker takes one whenever connections wait, unless it is stopped or busy.
    pub turns: u64,
}

impl Seat {
    /// The seat of a slot. `used` counts the slots that were ever in use.
    pub(super) const fn new(slot: usize, seats: &'static [AtomicU64], used: &'static AtomicU64) -> Self {
        Self { slot, seats, used }
    }

    /// Tells the others how many connections this worker has, and whether it accepts any.
    pub fn publish(&self, load: u32, accepts: bool) {
        self.word(self.slot, LOAD).store(u64::from(load) << 1 | u64::from(accepts), Ordering::Relaxed);
    }

    /// Tells the others that this worker looks for connections.
    pub fn begin_turn(&self) {
        super::add(self.word(self.slot, TURNS), 1);
    }

    /// The other workers that accept from this listener.
    pub fn others(&self) -> impl Iterator<Item = Neighbour> + '_ {
        let used = (self.used.load(Ordering::Relaxed) as usize).min(self.seats.len() / SEAT_WORDS);
        (0..used).filter(|slot| *slot != self.slot).filter_map(|slot| {
            let load = self.word(slot, LOAD).load(Ordering::Relaxed);
            let turns = self.word(slot, TURNS).load(Ordering::Relaxed);
            (load & 1 == 1).then_some(Neighbour { slot, load: (load >> 1) as u32, turns })
        })
    }

    fn word(&self, slot: usize, word: usize) -> &'static AtomicU64 {
        &self.seats[slot * SEAT_WORDS + word]
    }
}
