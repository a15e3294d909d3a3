//! Whether the peer of a connection is still there.

use std::os::fd::RawFd;

use crate::sys::syscall;

/// What a connection knows of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It may both send and receive.
    Open,
    /// It has ended its side: it sends no more, and may still receive.
    Ended,
    /// It is gone: the connection was reset, or the network lost it.
    Lost,
}

/// Looks at the peer without taking anything that it has sent.
#[cfg(all(target_os = "linux", not(feature = "emulated-kqueue")))]
pub fn peer(fd: RawFd) -> Peer {
    // Unlike recv(2), this shows a reset behind bytes that were not read yet, and does not clear the error.
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    match syscall!(poll(&mut poll, 1, 0)) {
        Ok(_) if poll.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 => Peer::Lost,
        Ok(_) if poll.revents & libc::POLLRDHUP != 0 => Peer::Ended,
        _ => Peer::Open,
    }
}

/// Looks at the peer without taking anything that it has sent. While there are bytes to read, what came after them is not
/// known, and the peer counts as open.
#[cfg(not(all(target_os = "linux", not(feature = "emulated-kqueue"))))]
pub fn peer(fd: RawFd) -> Peer {
    let mut byte = 0u8;
    let peek = || syscall!(recv(fd, std::ptr::from_mut(&mut byte).cast(), 1, libc::MSG_PEEK));
    match super::transfer::transferred(peek) {
        Ok(Some(0)) => Peer::Ended,
        Ok(_) => Peer::Open,
        Err(_) => Peer::Lost,
    }
}
