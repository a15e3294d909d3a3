//! The kernel's event queue: kqueue on the systems that have it, epoll on Linux.
//!
//! Both provide the same: a descriptor that is readable while an event is waiting, so that it can be nested in another
//! queue; listeners that are armed for one event at a time; and one timer.

#[cfg(not(kqueue))]
mod epoll;
#[cfg(kqueue)]
pub mod kqueue;

#[cfg(not(kqueue))]
pub use epoll::Queue;
#[cfg(kqueue)]
pub use kqueue::Queue;
