//! Counting free descriptors on XNU.
//!
//! Neither the numbers that are handed out nor those that are free at the top of the table tell how many are free: a low
//! number may be the last free one. When it asks for no event, poll(2) never reports POLLNVAL there, and with POLLIN it
//! reports it for some open files too. So the system is asked which descriptors are open, and how many there may be.
//!
//! A shortage of files in the whole system (ENFILE) closes the connection as well, and cannot be foreseen.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::{mem, ptr};

use crate::errno::Errno;
use crate::sys::syscall;

#[cfg(feature = "emulated-kqueue")]
#[path = "emulated.rs"]
mod os;
#[cfg(not(feature = "emulated-kqueue"))]
use libc as os;

/// How many numbers are looked at. If more are allowed, the rest count as used.
const NUMBERS: usize = 10_240;

/// How many descriptors are left alone if there are other threads: what they may open between the count and an `accept`.
const MARGIN: usize = 16;

/// As many connections as a batch takes by default.
const BATCH: usize = 64;

/// If there is room enough for this many threads, the threads need not be counted.
const MANY_THREADS: usize = 16;

/// How many connections can be accepted before room must be looked for again.
#[derive(Debug, Default)]
pub struct Room {
    known: usize,
    /// It was counted since it was last forgotten.
    is_counted: bool,
    /// Kept between batches, since it takes 80 KiB at the highest limits.
    open: Vec<os::proc_fdinfo>,
}

impl Room {
    /// Forgets the count. Must be called whenever other code has run on this thread, since it may have opened files.
    pub fn forget(&mut self) {
        (self.known, self.is_counted) = (0, false);
    }

    /// Takes the room for one connection.
    ///
    /// # Errors
    /// EMFILE if there is no room and a connection waits, EAGAIN if there is no room and none waits.
    pub fn take(&mut self, listener: RawFd) -> Result<(), Errno> {
        if self.known == 0 {
            match self.count() {
                Some(count) => self.known = count,
                None => return probe(listener),
            }
        }
        self.known = self.known.checked_sub(1).ok_or_else(|| shortage(listener))?;
        Ok(())
    }

    /// How many descriptors this thread may open. `None` where the system does not tell.
    fn count(&mut self) -> Option<usize> {
        let was_counted = mem::replace(&mut self.is_counted, true);
        // SAFETY: it takes no argument. Unlike the limit of getrlimit(2) it is what the kernel compares with.
        let limit = usize::try_from(unsafe { libc::getdtablesize() }).ok()?.min(NUMBERS);
        if share_of_many(limit) >= BATCH {
            // The table has as many numbers as were ever needed. Those beyond are free, and asking does not walk the table.
            let beyond = limit.saturating_sub(list(&mut [])?);
            if share_of_many(beyond) >= BATCH {
                return Some(BATCH);
            }
        }
        self.open.resize(limit, os::proc_fdinfo { proc_fd: 0, proc_fdtype: 0 });
        let count = list(&mut self.open)?;
        // The limit may have been lowered below what was open.
        let below = |info: &&os::proc_fdinfo| usize::try_from(info.proc_fd).is_ok_and(|fd| fd < limit);
        let room = limit - self.open.get(..count)?.iter().filter(below).count();
        let share = share_of_many(room);
        // Most batches are small, and end before they need more.
        if share >= BATCH || share > 0 && !was_counted {
            return Some(share);
        }
        match threads()? {
            1 => Some(room),
            threads => Some(room.saturating_sub(MARGIN) / threads),
        }
    }
}

/// How many descriptors each of several threads may open.
fn share_of_many(room: usize) -> usize {
    room.saturating_sub(MARGIN) / MANY_THREADS
}

/// Writes the open descriptors of this process, and returns how many. Without space to write to, returns how much is needed.
fn list(space: &mut [os::proc_fdinfo]) -> Option<usize> {
    let address = if space.is_empty() { ptr::null_mut() } else { space.as_mut_ptr() };
    Some(about_this_process(os::PROC_PIDLISTFDS, address, space.len())? / size_of::<os::proc_fdinfo>())
}

fn threads() -> Option<usize> {
    // SAFETY: a proc_taskinfo is integers, all of which may be zero.
    let mut info: os::proc_taskinfo = unsafe { mem::zeroed() };
    about_this_process(os::PROC_PIDTASKINFO, &mut info, 1)?;
    usize::try_from(info.pti_threadnum).ok().filter(|threads| *threads > 0)
}

/// proc_pidinfo(3): how many bytes it wrote. `None` where it fails: a sandbox may forbid it.
fn about_this_process<T>(flavor: libc::c_int, buffer: *mut T, count: usize) -> Option<usize> {
    let size = libc::c_int::try_from(count * size_of::<T>()).ok()?;
    // SAFETY: it takes no argument.
    let process = unsafe { libc::getpid() };
    // SAFETY: the buffer is null, or as long as said; the kernel writes no more, and only integers.
    let written = unsafe { os::proc_pidinfo(process, flavor, 0, buffer.cast(), size) };
    usize::try_from(written).ok().filter(|written| *written > 0)
}

/// Finds out whether there is a free descriptor. Another thread may take it before `accept` does.
fn probe(listener: RawFd) -> Result<(), Errno> {
    match syscall!(fcntl(listener, libc::F_DUPFD_CLOEXEC, 0)) {
        Ok(fd) => {
            // SAFETY: the kernel has just given this descriptor to us alone; dropping it closes it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            Ok(())
        }
        Err(_) => Err(shortage(listener)),
    }
}

/// The error of an `accept` without a free descriptor.
fn shortage(listener: RawFd) -> Errno {
    let mut poll = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    Errno(if syscall!(poll(&mut poll, 1, 0)) == Ok(0) { libc::EAGAIN } else { libc::EMFILE })
}
