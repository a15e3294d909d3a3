//! The queue on Linux: epoll with EPOLLONESHOT, and a timerfd.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::errno::Errno;
use crate::kernel::Arm;
use crate::sys::{new_descriptor, syscall};
use crate::token::Token;

/// How many events one epoll_wait(2) can return.
const CAPACITY: usize = 64;

/// An epoll instance for listeners.
#[derive(Debug)]
pub struct Queue {
    epoll: RawFd,
    /// Made with the queue, since there may be no descriptor left when a pause needs it.
    timer: OwnedFd,
}

impl Queue {
    /// The name of this kind of queue.
    pub const NAME: &'static str = "epoll";

    /// Makes a queue without listeners, and its descriptor, which can be nested in another queue. The queue is of no use
    /// once the descriptor is closed.
    ///
    /// # Errors
    /// Returns the error of epoll_create1(2), timerfd_create(2) or epoll_ctl(2): EMFILE, ENFILE or ENOMEM.
    pub fn new() -> Result<(Self, OwnedFd), Errno> {
        let epoll = new_descriptor!(epoll_create1(libc::EPOLL_CLOEXEC))?;
        let timer = new_descriptor!(timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK))?;
        // Edge-triggered: each setting of the timer clears the last expiry, so it never has to be read.
        let mut event =
            libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: Token::TIMER.0 as u64 };
        syscall!(epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, timer.as_raw_fd(), &mut event))?;
        Ok((Self { epoll: epoll.as_raw_fd(), timer }, epoll))
    }

    /// Appends the tokens of all ready listeners. Returns true if the timer has fired.
    ///
    /// # Errors
    /// Returns an error if the descriptor is not an epoll instance any more.
    pub fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno> {
        let mut timer = false;
        let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; CAPACITY];
        loop {
            let count = match syscall!(epoll_wait(self.epoll, events.as_mut_ptr().cast(), CAPACITY as i32, 0)) {
                Ok(count) => count as usize,
                Err(Errno(libc::EINTR)) => continue,
                Err(errno) => return Err(errno),
            };
            for event in &events[..count] {
                // SAFETY: epoll_wait has filled the first `count` events.
                let event = unsafe { event.assume_init() };
                match Token(event.u64 as usize) {
                    Token::TIMER => timer = true,
                    token => ready.push(token),
                }
            }
            // Every listener is armed for one event, so a short read has emptied the queue.
            if count < CAPACITY {
                return Ok(timer);
            }
        }
    }

    /// Arms listeners for one event each.
    pub fn arm(&mut self, arms: &mut [Arm]) {
        for arm in arms {
            let mut event =
                libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLONESHOT) as u32, u64: arm.token.0 as u64 };
            // MOD looks at the socket again and wakes an outer queue. The kernel removes a closed descriptor by itself,
            // so its number may be unknown here; and a registration that a duplicate kept alive may still be known.
            let (first, second, unless) = if arm.delete_first {
                (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, libc::EEXIST)
            } else {
                (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD, libc::ENOENT)
            };
            arm.result = match syscall!(epoll_ctl(self.epoll, first, arm.fd, &mut event)) {
                Err(Errno(errno)) if errno == unless => syscall!(epoll_ctl(self.epoll, second, arm.fd, &mut event)),
                result => result,
            }
            .map(drop);
        }
    }

    /// Removes the registration of a listener.
    pub fn disarm(&mut self, fd: RawFd) {
        let mut unused = libc::epoll_event { events: 0, u64: 0 };
        // The listener may never have been armed.
        let _ = syscall!(epoll_ctl(self.epoll, libc::EPOLL_CTL_DEL, fd, &mut unused));
    }

    /// Makes the queue readable after `delay`.
    pub fn timer(&mut self, delay: Duration) {
        // Zero would disarm the timer.
        let delay = delay.max(Duration::from_nanos(1));
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: delay.as_secs() as libc::time_t,
                tv_nsec: delay.subsec_nanos() as libc::c_long,
            },
        };
        let set = syscall!(timerfd_settime(self.timer.as_raw_fd(), 0, &spec, std::ptr::null_mut()));
        debug_assert!(set.is_ok(), "timerfd_settime fails only for invalid arguments");
    }
}
