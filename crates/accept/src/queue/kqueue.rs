//! The queue on macOS and the BSDs: kqueue with EV_DISPATCH, and EVFILT_TIMER.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::errno::Errno;
use crate::kernel::Arm;
use crate::sys::syscall;
use crate::token::Token;

#[cfg(feature = "emulated-kqueue")]
#[path = "emulated.rs"]
mod os;
#[cfg(not(feature = "emulated-kqueue"))]
use libc as os;

const NO_WAIT: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };

/// How many events or changes go through one kevent(2).
const CAPACITY: usize = 64;

/// The identifier of the timer. Timers and descriptors are different filters, so no descriptor conflicts with it.
const TIMER_IDENT: RawFd = 1;

/// The system's `struct kevent`.
pub use os::kevent as Event;

/// A kevent(2) that does not wait: the system's, or a model of one in tests.
pub trait Kevent {
    /// Makes the changes, then fills `events`. Returns how many it filled.
    ///
    /// # Errors
    /// Returns the error of kevent(2).
    fn kevent(&mut self, changes: &[Event], events: &mut [MaybeUninit<Event>]) -> Result<usize, Errno>;
}

/// The system call on a kqueue.
#[derive(Debug)]
pub struct SystemCall(RawFd);

impl Kevent for SystemCall {
    fn kevent(&mut self, changes: &[Event], events: &mut [MaybeUninit<Event>]) -> Result<usize, Errno> {
        // SAFETY: both lists are valid for the lengths that are passed with them.
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
    /// The name of this kind of queue.
    pub const NAME: &'static str = "kqueue";

    /// Makes a queue without listeners, and its descriptor, which can be nested in another queue. The queue is of no use
    /// once the descriptor is closed.
    ///
    /// # Errors
    /// Returns the error of kqueue(2): EMFILE, ENFILE or ENOMEM.
    pub fn new() -> Result<(Self, OwnedFd), Errno> {
        // SAFETY: kqueue takes no argument, and the descriptor that it returns is ours alone.
        let kqueue = unsafe {
            let fd = os::kqueue();
            if fd == -1 {
                return Err(Errno::last());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // kqueue(2) only promises that a forked child does not inherit it. This covers posix_spawn(2) as well.
        syscall!(fcntl(kqueue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok((Self::with(SystemCall(kqueue.as_raw_fd())), kqueue))
    }
}

impl<K: Kevent> Queue<K> {
    /// A queue that uses this kevent(2).
    pub fn with(call: K) -> Self {
        Self { call }
    }

    /// Appends the tokens of all ready listeners. Returns true if the timer has fired.
    ///
    /// # Errors
    /// Returns an error if the descriptor is not a kqueue any more.
    pub fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno> {
        let mut timer = false;
        loop {
            let mut count = 0;
            let result = self.kevent(&[], |event| {
                count += 1;
                match Token(event.udata as usize) {
                    Token::TIMER => timer = true,
                    token => ready.push(token),
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
        // Each listener takes up to two changes. Each change gives a receipt, and the call would fail half-way if there
        // were no place for one.
        for arms in arms.chunks_mut(CAPACITY / 2) {
            let mut changes = Vec::with_capacity(CAPACITY);
            for arm in &*arms {
                if arm.delete_first {
                    changes.push(change(arm.fd, os::EVFILT_READ as _, os::EV_DELETE as _, arm.token.0, 0));
                }
                // EV_ADD alone does not enable a knote that is disabled.
                let flags = os::EV_ADD | os::EV_ENABLE | os::EV_DISPATCH;
                changes.push(change(arm.fd, os::EVFILT_READ as _, flags as _, arm.token.0, 0));
            }
            let mut receipts = Vec::with_capacity(CAPACITY);
            let result = match self.kevent(&changes, |receipt| receipts.push(receipt.data as i32)) {
                // An interrupted call has applied its changes.
                Err(Errno(libc::EINTR)) => Ok(()),
                result => result,
            };
            let mut receipts = receipts.into_iter();
            for arm in arms {
                if arm.delete_first {
                    // The receipt of EV_DELETE, mostly ENOENT.
                    receipts.next();
                }
                arm.result = match receipts.next() {
                    Some(0) => Ok(()),
                    Some(errno) => Err(Errno(errno)),
                    None => result,
                };
            }
        }
    }

    /// Removes the registration of a listener.
    pub fn disarm(&mut self, fd: RawFd) {
        // The listener may never have been armed.
        let _ = self.kevent(&[change(fd, os::EVFILT_READ as _, os::EV_DELETE as _, 0, 0)], |_| {});
    }

    /// Makes the queue readable after `delay`.
    pub fn timer(&mut self, delay: Duration) {
        let millis = delay.as_micros().div_ceil(1000).clamp(1, i32::MAX as u128) as isize;
        let delete = change(TIMER_IDENT, os::EVFILT_TIMER as _, os::EV_DELETE as _, Token::TIMER.0, 0);
        let add =
            change(TIMER_IDENT, os::EVFILT_TIMER as _, (os::EV_ADD | os::EV_ONESHOT) as _, Token::TIMER.0, millis);
        let set = self.kevent(&[delete, add], |_| {});
        debug_assert!(set.is_ok(), "a timer of at least a millisecond is always accepted");
    }

    /// Makes changes and calls `each` with their receipts. Without changes, calls it with each event that is waiting.
    fn kevent(&mut self, changes: &[Event], mut each: impl FnMut(&Event)) -> Result<(), Errno> {
        let mut events = [const { MaybeUninit::<Event>::uninit() }; CAPACITY];
        let places = if changes.is_empty() { CAPACITY } else { changes.len().min(CAPACITY) };
        let count = self.call.kevent(changes, &mut events[..places])?;
        for event in &events[..count] {
            // SAFETY: kevent has filled the first `count` events.
            each(unsafe { event.assume_init_ref() });
        }
        Ok(())
    }
}

/// One change, with EV_RECEIPT so that each change has a result of its own. The types of kevent's fields differ between
/// systems.
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
