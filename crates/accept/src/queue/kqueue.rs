//! The queue on macOS and the BSDs: kqueue with EV_DISPATCH, and EVFILT_TIMER.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{CAPACITY, TIMER};
use crate::engine::{Arm, Token};
use crate::errno::Errno;
use crate::sys::syscall;

#[cfg(feature = "emulated-kqueue")]
#[path = "emulated.rs"]
mod os;
#[cfg(not(feature = "emulated-kqueue"))]
use libc as os;

const NO_WAIT: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

/// The identifier of the timer, in a space of its own.
const TIMER_IDENT: RawFd = 1;

/// The system's `struct kevent`.
pub use os::kevent as Event;

/// A kevent(2) that does not wait: the system's, or a model of some system's in tests.
pub trait Kevent {
    /// Makes the changes, then fills `events`. Returns how many it filled.
    ///
    /// # Errors
    /// Those of kevent(2).
    fn kevent(&mut self, changes: &[Event], events: &mut [MaybeUninit<Event>]) -> Result<usize, Errno>;
}

/// The system call on a kqueue.
#[derive(Debug)]
pub struct SystemCall(RawFd);

impl Kevent for SystemCall {
    fn kevent(&mut self, changes: &[Event], events: &mut [MaybeUninit<Event>]) -> Result<usize, Errno> {
        // SAFETY: both lists are as long as said.
        let count = unsafe {
            os::kevent(
                self.0,
                changes.as_ptr(),
                changes.len() as _,
                events.as_mut_ptr().cast(),
                events.len() as _,
                &NO_WAIT,
            )
        };
        if count == -1 { Err(Errno::last()) } else { Ok(count as usize) }
    }
}

/// A kqueue for listeners.
#[derive(Debug)]
pub struct Queue<K = SystemCall> {
    call: K,
}

impl Queue {
    /// The name that `(kqnet/backend)` gives.
    pub const NAME: &'static str = "kqueue";

    /// A queue with no listener, and its descriptor, to nest in another queue. The queue is of no use once the
    /// descriptor is closed.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM: kqueue(2).
    pub fn new() -> Result<(Self, OwnedFd), Errno> {
        // SAFETY: kqueue takes no argument; the descriptor that it gives is ours alone.
        let kqueue = unsafe {
            let fd = os::kqueue();
            if fd == -1 {
                return Err(Errno::last());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // fork leaves a kqueue behind, but posix_spawn on macOS does not.
        syscall!(fcntl(kqueue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok((Self::with(SystemCall(kqueue.as_raw_fd())), kqueue))
    }
}

impl<K: Kevent> Queue<K> {
    /// A queue on a call of one's own.
    pub fn with(call: K) -> Self {
        Self { call }
    }

    /// Appends the tokens of all ready listeners, and gives true where the timer has fired.
    ///
    /// # Errors
    /// Where the descriptor is no kqueue any more.
    pub fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno> {
        let mut timer = false;
        loop {
            let mut count = 0;
            let result = self.kevent(&[], |event| {
                count += 1;
                let token = event.udata as usize;
                if token == TIMER {
                    timer = true;
                } else {
                    ready.push(Token(token));
                }
            });
            match result {
                // Every listener is armed for one event, so a short read has emptied the queue.
                Ok(()) if count < CAPACITY => return Ok(timer),
                Ok(()) | Err(Errno(libc::EINTR)) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Arms listeners for one event each.
    pub fn arm(&mut self, arms: &mut [Arm]) {
        // Each takes up to two changes, each change gives a receipt, and without a place for it the call would
        // fail half-way.
        for arms in arms.chunks_mut(CAPACITY / 2) {
            let mut changes = Vec::with_capacity(CAPACITY);
            for arm in &*arms {
                if arm.fresh {
                    changes.push(change(arm.fd, os::EVFILT_READ as _, os::EV_DELETE as _, arm.token.0, 0));
                }
                // EV_ENABLE is needed beside EV_ADD: adding a disabled knote does not enable it.
                let flags = os::EV_ADD | os::EV_ENABLE | os::EV_DISPATCH;
                changes.push(change(arm.fd, os::EVFILT_READ as _, flags as _, arm.token.0, 0));
            }
            // An interrupted call has applied its changes.
            let mut result = Err(Errno(libc::EINTR));
            let mut receipts = Vec::with_capacity(CAPACITY);
            if let Err(errno) = self.kevent(&changes, |receipt| receipts.push(receipt.data as i32))
                && errno.0 != libc::EINTR
            {
                result = Err(errno);
            }
            let mut receipts = receipts.into_iter();
            for arm in arms {
                if arm.fresh {
                    // ENOENT, mostly.
                    receipts.next();
                }
                arm.result = match receipts.next() {
                    Some(0) => Ok(()),
                    Some(errno) => Err(Errno(errno)),
                    None if result == Err(Errno(libc::EINTR)) => Ok(()),
                    None => result,
                };
            }
        }
    }

    /// Forgets a listener.
    pub fn disarm(&mut self, fd: RawFd) {
        // It may never have been armed.
        let _ = self.kevent(&[change(fd, os::EVFILT_READ as _, os::EV_DELETE as _, 0, 0)], |_| {});
    }

    /// Makes the queue readable after `delay`.
    pub fn timer(&mut self, delay: Duration) {
        let millis = delay.as_micros().div_ceil(1000).clamp(1, i32::MAX as u128) as isize;
        let delete = change(TIMER_IDENT, os::EVFILT_TIMER as _, os::EV_DELETE as _, TIMER, 0);
        let add = change(TIMER_IDENT, os::EVFILT_TIMER as _, (os::EV_ADD | os::EV_ONESHOT) as _, TIMER, millis);
        let set = self.kevent(&[delete, add], |_| {});
        debug_assert!(set.is_ok(), "a timer of at least a millisecond is always accepted");
    }

    /// Makes changes and gives each receipt, or, without changes, each event that is waiting.
    fn kevent(&mut self, changes: &[Event], mut each: impl FnMut(&Event)) -> Result<(), Errno> {
        let mut events = [const { MaybeUninit::<Event>::uninit() }; CAPACITY];
        let room = if changes.is_empty() { CAPACITY } else { changes.len().min(CAPACITY) };
        let count = self.call.kevent(changes, &mut events[..room])?;
        for event in &events[..count] {
            // SAFETY: kevent has filled the first `count` events.
            each(unsafe { event.assume_init_ref() });
        }
        Ok(())
    }
}

/// One change with EV_RECEIPT, so that its result can be told from the others'. The types of kevent's fields differ
/// from system to system.
fn change(ident: RawFd, filter: i64, flags: u64, token: usize, data: isize) -> Event {
    // SAFETY: a kevent is plain integers and a pointer, all of which may be zero.
    let mut event: Event = unsafe { std::mem::zeroed() };
    event.ident = ident as _;
    event.filter = filter as _;
    event.flags = (flags | os::EV_RECEIPT as u64) as _;
    event.data = data as _;
    event.udata = token as _;
    event
}
