//! How many connections a worker may accept, so that the workers which share a listener get about as many each.

use std::time::Duration;

use crate::shared::{Neighbour, Seat};

/// How long a worker leaves connections to those that have fewer.
pub(super) const TURN: Duration = Duration::from_millis(2);

/// A worker that has taken no turn for so long, while connections waited, is stopped or computing, and nobody goes on
/// waiting for it.
const PATIENCE: Duration = Duration::from_millis(20);

/// How many connections a worker may have if the one with the fewest has `least`.
const fn most(least: u32) -> u32 {
    least.saturating_add(4 + least / 4)
}

/// What one worker knows of the others.
#[derive(Debug)]
pub(super) struct Share {
    seat: Seat,
    /// Workers that it waits for: what they had when it began, and when that was.
    awaited: Vec<(Neighbour, Duration)>,
    /// Workers for which it has waited in vain, until they take a turn.
    absent: Vec<Neighbour>,
    /// When it last left connections to others.
    left_at: Option<Duration>,
}

impl Share {
    pub(super) const fn new(seat: Seat) -> Self {
        Self { seat, awaited: Vec::new(), absent: Vec::new(), left_at: None }
    }

    pub(super) fn publish(&self, active: u32, accepts: bool) {
        self.seat.publish(active, accepts);
    }

    /// Nothing waits any more, so nobody had a reason to take a turn.
    pub(super) fn backlog_is_empty(&mut self) {
        self.awaited.clear();
    }

    /// How many connections a worker that has `active` may accept now. Zero means that it should leave them to others and ask
    /// again after [`TURN`]. `has_waited` says that it has done so; then it is at least one, since the others may not come.
    pub(super) fn room(&mut self, active: u32, now: Duration, has_waited: bool) -> u32 {
        self.seat.begin_turn();
        // What was seen before a time in which no connections waited says nothing.
        if !has_waited && self.left_at.is_none_or(|at| now.saturating_sub(at) > 3 * TURN) {
            self.awaited.clear();
        }
        let mut least = None;
        let (awaited, absent) = (std::mem::take(&mut self.awaited), std::mem::take(&mut self.absent));
        for other in self.seat.others() {
            let is_same = |known: &Neighbour| (known.slot, known.turns) == (other.slot, other.turns);
            if absent.iter().any(is_same) {
                self.absent.push(other);
                continue;
            }
            if active >= most(other.load) {
                let since = awaited.iter().find(|(known, _)| is_same(known)).map_or(now, |(_, since)| *since);
                if now.saturating_sub(since) >= PATIENCE {
                    self.absent.push(other);
                    continue;
                }
                self.awaited.push((other, since));
            }
            least = Some(least.map_or(other.load, |least: u32| least.min(other.load)));
        }
        let room = least.map_or(u32::MAX, |least| most(least).saturating_sub(active));
        if room == 0 {
            self.left_at = Some(now);
        }
        room.max(has_waited.into())
    }
}
