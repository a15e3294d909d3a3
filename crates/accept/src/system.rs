//! The real [`Kernel`]: the system's queue, sockets and clock.

use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::engine::{Arm, Kernel, Token};
use crate::errno::Errno;
use crate::queue::Queue;
use crate::socket;

/// The system that the program runs on.
#[derive(Debug)]
pub struct System {
    queue: Queue,
    start: Instant,
    /// How many connections there is room for, as far as this batch knows.
    room: usize,
}

impl System {
    /// Makes the event queue, and gives its descriptor to nest in another queue.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> Result<(Self, OwnedFd), Errno> {
        let (queue, fd) = Queue::new()?;
        Ok((Self { queue, start: Instant::now(), room: 0 }, fd))
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

    fn begin(&mut self) {
        self.room = 0;
    }

    fn accept(&mut self, listener: RawFd) -> Result<OwnedFd, Errno> {
        if socket::ROOM_MUST_BE_KNOWN {
            if self.room == 0 {
                // Half of it is left to other threads, which open descriptors too.
                self.room = socket::count_room().unwrap_or(0) / 2;
            }
            match self.room.checked_sub(1) {
                Some(left) => self.room = left,
                None => socket::check_room(listener)?,
            }
        }
        socket::accept(listener)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
