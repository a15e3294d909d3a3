//! What the engine needs of a system: a queue of one-shot readiness events, one timer, `accept`, and a clock.

use std::os::fd::RawFd;
use std::time::Duration;

use crate::errno::Errno;
use crate::token::Token;

/// The system that an [`Engine`](crate::Engine) drives: [`System`](crate::System), or a model of one in tests.
pub trait Kernel {
    /// An accepted connection. Dropping it must close it.
    type Conn;

    /// Appends every listener that has become ready, which also disarms it. Returns true if the timer has fired. Does not
    /// block.
    ///
    /// # Errors
    /// Returns an error if the queue itself is unusable.
    fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno>;

    /// Arms each listener for one event, which comes at once if a connection is already waiting.
    fn arm(&mut self, arms: &mut [Arm]);

    /// Removes the registration of a listener that is about to be closed.
    fn disarm(&mut self, fd: RawFd);

    /// Makes the queue readable after `delay`, in place of any earlier timer.
    fn timer(&mut self, delay: Duration);

    /// Called before each batch: what was known during the last one may no longer hold.
    fn begin_batch(&mut self) {}

    /// Takes one connection without blocking.
    ///
    /// # Errors
    /// Returns the error of accept(2).
    fn accept(&mut self, listener: RawFd) -> Result<Self::Conn, Errno>;

    /// Monotonic time.
    fn now(&self) -> Duration;
}

/// A listener to arm, and whether that succeeded.
#[derive(Clone, Debug)]
pub struct Arm {
    /// The listening descriptor.
    pub fd: RawFd,
    /// What the queue returns when the listener is ready.
    pub token: Token,
    /// Delete any older registration first. This is set the first time, and after a pause in which nothing was accepted,
    /// since older NetBSD does not evaluate the filter again on a bare enable.
    pub delete_first: bool,
    /// Set by [`Kernel::arm`]: whether the kernel took the registration.
    pub result: Result<(), Errno>,
}
