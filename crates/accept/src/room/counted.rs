//! Counting the free descriptors on XNU.
//!
//! Other ways do not tell how many are free. The kernel hands out the lowest free number, and a low number may be the last
//! free one. XNU's poll(2) never reports POLLNVAL if it is asked for no event, and if it is asked for POLLIN, it reports
//! POLLNVAL for some open files too. So this asks the system which descriptors are open, and how many there may be.
//!
//! A shortage of files in the whole system (ENFILE) also makes XNU close the connection, and cannot be foreseen.

use std::os::fd::RawFd;
use std::{mem, ptr};

use crate::errno::Errno;
use crate::sys::{new_descriptor, syscall};

#[cfg(feature = "emulated-kqueue")]
#[path = "emulated.rs"]
mod os;
#[cfg(not(feature = "emulated-kqueue"))]
use libc as os;

/// How many descriptor numbers are looked at. If more are allowed, the rest count as used.
const NUMBERS: usize = 10_240;

/// How many descriptors are left for other threads, which may open some between the count and an `accept`.
const MARGIN: usize = 16;

/// The room that is enough: as many connections as a batch takes by default.
const BATCH: usize = 64;

/// If there is enough room for this many threads, the threads need not be counted.
const MANY_THREADS: usize = 16;

/// How many connections can be accepted before the descriptors must be counted again.
#[derive(Debug, Default)]
pub struct Room {
    known: usize,
    /// The descriptors were counted since [`Room::forget`].
    is_counted: bool,
    /// Kept between batches, since it takes 80 KiB at the highest limits.
    open: Vec<os::proc_fdinfo>,
}

impl Room {
    /// Forgets the count. Must be called when other code has run on this thread, since it may have opened files.
    pub fn forget(&mut self) {
        (self.known, self.is_counted) = (0, false);
    }

    /// Takes the room for one connection.
    ///
    /// # Errors
    /// Returns EMFILE if there is no room and a connection waits, and EAGAIN if there is no room and none waits.
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

    /// How many descriptors this thread may open. `None` if the system does not tell.
    fn count(&mut self) -> Option<usize> {
        let was_counted = mem::replace(&mut self.is_counted, true);
        // Unlike the limit of getrlimit(2), this is what the kernel compares with.
        // SAFETY: it takes no argument.
        let limit = usize::try_from(unsafe { libc::getdtablesize() }).ok()?.min(NUMBERS);
        if share_of_many(limit) >= BATCH {
            // The table has as many numbers as were ever needed. All beyond it are free, and asking for its size is cheap.
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
        // For the first count a small share is enough, since most batches are small and end before they need more.
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

/// Writes the open descriptors of this process to `space` and returns how many there are. If `space` is empty, returns how
/// much space is needed.
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

/// Calls proc_pidinfo(3) and returns how many bytes it wrote. `None` if it fails: a sandbox may forbid it.
fn about_this_process<T>(flavor: libc::c_int, buffer: *mut T, count: usize) -> Option<usize> {
    let size = libc::c_int::try_from(count * size_of::<T>()).ok()?;
    // SAFETY: it takes no argument.
    let process = unsafe { libc::getpid() };
    // SAFETY: the buffer is null or holds `size` bytes. The kernel writes no more than that, and only integers.
    let written = unsafe { os::proc_pidinfo(process, flavor, 0, buffer.cast(), size) };
    usize::try_from(written).ok().filter(|written| *written > 0)
}

/// Finds out whether there is a free descriptor, which another thread may still take before `accept` does.
fn probe(listener: RawFd) -> Result<(), Errno> {
    match new_descriptor!(fcntl(listener, libc::F_DUPFD_CLOEXEC, 0)) {
        Ok(_closed_at_once) => Ok(()),
        Err(_) => Err(shortage(listener)),
    }
}

/// The error that `accept` would have without a free descriptor if XNU left the connection in the backlog.
fn shortage(listener: RawFd) -> Errno {
    let mut poll = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    Errno(if syscall!(poll(&mut poll, 1, 0)) == Ok(0) { libc::EAGAIN } else { libc::EMFILE })
}
