//! The guess of how many connections wait: how many to try to accept in the next batch.

/// How many connections to take in a batch, so that few attempts find none: Linux makes a socket and its file before it
/// looks for a connection, so such an attempt costs more than arming the listener again. The guess comes from the
/// previous batches. If it is too low, the listener is ready again at once.
#[derive(Clone, Copy)]
pub(super) struct Guess {
    /// The most connections to take.
    pub(super) most: u32,
    /// The guess was doubled, and it is not known yet whether that was right.
    raised: bool,
    /// How many batches have reached the guess since it changed.
    reached: u32,
    /// The guess is doubled once `reached` is larger than this.
    patience: u32,
}

impl Guess {
    /// The most that `patience` can be. After a low guess, a burst takes up to this many more batches.
    const MOST_PATIENCE: u32 = 15;

    /// Nothing is known: as many as a batch may have.
    pub(super) const UNKNOWN: Self = Self { most: u32::MAX, raised: false, reached: 0, patience: 0 };

    /// Only this many connections were waiting, fewer than guessed.
    pub(super) fn fell_short(&mut self, accepted: u32) {
        let patience = if self.raised && accepted <= self.most / 2 {
            (2 * self.patience + 1).min(Self::MOST_PATIENCE)
        } else {
            self.patience
        };
        *self = Self { most: accepted.max(1), patience, ..Self::UNKNOWN };
    }

    /// As many connections were waiting as guessed, and perhaps more. `batch` is the most that a batch may have.
    pub(super) fn came_true(&mut self, batch: u32) {
        if self.raised {
            (self.raised, self.patience) = (false, 0);
        }
        self.reached += 1;
        if self.reached > self.patience && self.most < batch {
            (self.most, self.raised, self.reached) = (self.most.saturating_mul(2).min(batch), true, 0);
        }
    }
}
