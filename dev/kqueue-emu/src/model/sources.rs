//! What the model asks about descriptors: what each one is, and whether it is ready.
//!
//! The simulated kernel and the real descriptors both answer through [`Sources`].

use super::ids::{KnoteId, QueueId, SourceId};
use crate::kevent::Errno;

/// The two filters for descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// EVFILT_READ.
    Read,
    /// EVFILT_WRITE.
    Write,
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A queue of the same model.
    Queue(QueueId),
    /// Anything else.
    Source,
}

/// What a filter finds when it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The descriptor is closed, or stands for something else now.
    Gone,
    /// A listening socket.
    Listener {
        /// Connections that `accept()` can take.
        complete: usize,
        /// Connections whose handshake is under way.
        half_open: usize,
        /// The next `accept()` fails, since `shutdown(SHUT_RD)` left it an error.
        aborted: bool,
    },
    /// Anything else.
    Stream {
        /// It can be read or written without waiting.
        ready: bool,
        /// Bytes to read, or room to write.
        data: usize,
        /// The other end is closed.
        eof: bool,
    },
}

/// Where descriptors and their readiness come from.
pub trait Sources {
    /// What `fd` is, or `None` when it is closed.
    fn identify(&mut self, fd: i32) -> Option<Target>;

    /// Whether `fd` still stands for `source`.
    fn is_same(&mut self, queue: QueueId, fd: i32, direction: Direction, source: SourceId) -> bool;

    /// Called when a knote begins to watch `fd`.
    ///
    /// # Errors
    /// Returns the error with which the change fails.
    fn attach(
        &mut self,
        queue: QueueId,
        fd: i32,
        direction: Direction,
        target: Target,
        knote: KnoteId,
    ) -> Result<SourceId, Errno>;

    /// Called when a knote stops watching `fd`, which may be closed or something else by then.
    fn detach(&mut self, queue: QueueId, fd: i32, direction: Direction, target: Target, source: SourceId);

    /// Looks whether the object behind `fd` is ready.
    fn look(&mut self, queue: QueueId, fd: i32, direction: Direction, source: SourceId) -> Look;
}
