//! The [`Kernel`] that the program runs on: its queue, its sockets and its clock.

use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

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
    room: Room,
}

impl System {
    /// Makes the event queue, and returns its descriptor, which can be nested in another queue.
    ///
    /// # Errors
    /// Returns EMFILE, ENFILE or ENOMEM.
    pub fn new() -> Result<(Self, OwnedFd), Errno> {
        let (queue, fd) = Queue::new()?;
        Ok((Self { queue, room: Room::default() }, fd))
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
        monotonic()
    }
}

/// The time since some moment before the system was started. It is read several times for each request, and the type of the
/// standard library costs twice as much.
fn monotonic() -> Duration {
    // Like the standard library's: it does not go on while the computer sleeps.
    #[cfg(target_vendor = "apple")]
    const CLOCK: libc::clockid_t = libc::CLOCK_UPTIME_RAW;
    #[cfg(not(target_vendor = "apple"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to the variable. It cannot fail, since each system has this clock.
    unsafe { libc::clock_gettime(CLOCK, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
