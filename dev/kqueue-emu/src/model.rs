//! The state machine of kqueue: queues, knotes and what posts them.
//!
//! It makes no system call: what descriptors are and whether they are ready comes from a [`Sources`].
//!
//! The words are the kernels': a *knote* is one registration; it is *posted* when its object may have become ready,
//! *active* when its filter then said yes, and *queued* when a queue will look at it for the next events.
//!
//! From the bottom up:
//!
//! - `ids`: the names of queues, knotes and sources. `sources`: what the model asks about descriptors.
//! - `state`: the queues and their knotes.
//! - `remove`: removing knotes. `post`: from an object that may be ready to a queued knote.
//! - `timer`, `nesting`: what is special about timers, and about queues that watch queues.
//! - `attach`, `change`: the changes that a program passes to kevent(). `fetch`: the events that it gets.
//!
//! Where the kernels differ, a field of [`Profile`](crate::Profile) decides.

mod attach;
mod change;
mod fetch;
mod ids;
mod nesting;
mod post;
mod remove;
mod sources;
mod state;
mod timer;

pub use ids::{KnoteId, QueueId, SourceId};
pub use sources::{Direction, Look, Sources, Target};
pub use state::Model;

use crate::kevent::{Errno, Kevent};

impl Model {
    /// [Applies](Self::apply) the changes, and then [fetches](Self::fetch) events unless a change was answered. Never
    /// waits.
    ///
    /// # Errors
    /// Returns EBADF if the queue is closed, and the error of a change for which `events` has no slot left.
    pub fn kevent(
        &mut self,
        queue: QueueId,
        changes: &[Kevent],
        events: &mut [Kevent],
        now: u64,
        sources: &mut impl Sources,
    ) -> Result<usize, Errno> {
        self.tick(now, sources);
        match self.apply(queue, changes, events, now, sources)? {
            Some(used) => Ok(used),
            None => Ok(self.fetch(queue, events, sources)),
        }
    }
}
