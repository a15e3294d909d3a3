//! The [`Kernel`] that the program runs on: its queue, its sockets and its clock.

use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::errno::Errno;
use crate::kernel::{Arm, Kernel};
use crate::queue::Queue;
use crate::room::Room;
use crate::socket;
use crate::token::Token;

/// The [`Kernel`] that the program runs on.
#[derive(Debug)]
pub struct System {
    queue: Queue,
    start: Instant,
    room: Room,
}

impl System {
    /// Makes the event queue, and returns its descriptor, which can be nested in another queue.
    ///
    /// # Errors
    /// Returns EMFILE, ENFILE or ENOMEM.
    pub fn new() -> Result<(Self, OwnedFd), Errno> {
        let (queue, fd) = Queue::new()?;
        Ok((Self { queue, start: Instant::now(), room: Room::default() }, fd))
    }
}

impl Kernel for System {
    type Conn = OwnedFd;

    fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno> {
        self.queue.poll(ready)
    }

    fn arm(&mut self, arms: &mut [Arm]) {
        self.queue.arm(arms);
    }

    fn disarm(&mut self, fd: RawFd) {
        self.queue.disarm(fd);
    }

    fn timer(&mut self, delay: Duration) {
        self.queue.timer(delay);
    }

    fn begin_batch(&mut self) {
        self.room.forget();
    }

    fn accept(&mut self, listener: RawFd) -> Result<OwnedFd, Errno> {
        self.room.take(listener)?;
        socket::accept(listener)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
