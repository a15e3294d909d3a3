//! The kernel's event queue: kqueue where there is one, epoll on Linux.
//!
//! Both give the same thing: a descriptor that is readable while an event is waiting (so that it can be nested
//! in another queue), listeners armed for one event at a time, and one timer.

#[cfg(not(kqueue))]
mod epoll;
#[cfg(kqueue)]
pub mod kqueue;

#[cfg(not(kqueue))]
pub use epoll::Queue;
#[cfg(kqueue)]
pub use kqueue::Queue;

/// How many events or changes go through one system call.
const CAPACITY: usize = 64;

/// Stands for the timer where a listener's token would be.
const TIMER: usize = usize::MAX;
