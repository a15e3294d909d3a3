//! Bytes through a connection: receiving, sending, and what the peer has acknowledged.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use crate::errno::Errno;
use crate::sys::syscall;

/// The flags for sending. macOS has no MSG_NOSIGNAL, but the connection has inherited SO_NOSIGPIPE from its listener.
#[cfg(target_vendor = "apple")]
const FLAGS: libc::c_int = 0;
#[cfg(not(target_vendor = "apple"))]
const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;

/// Reads what has arrived, without blocking. Returns `None` if nothing has, and 0 at the end.
///
/// # Errors
/// Returns the error of recv(2).
pub fn receive(fd: RawFd, space: &mut [MaybeUninit<u8>]) -> Result<Option<usize>, Errno> {
    transferred(|| syscall!(recv(fd, space.as_mut_ptr().cast(), space.len(), 0)))
}

/// Writes what the connection takes, without blocking. Returns `None` if its buffer is full.
///
/// # Errors
/// Returns the error of send(2).
pub fn send(fd: RawFd, bytes: &[u8]) -> Result<Option<usize>, Errno> {
    transferred(|| syscall!(send(fd, bytes.as_ptr().cast(), bytes.len(), FLAGS)))
}

/// Whether [`send_held`] can hold bytes back.
pub const CAN_HOLD: bool = cfg!(target_os = "linux");

/// Like [`send`], but lets a TCP connection hold back what does not fill a packet, so that it is sent together with the bytes
/// that follow. They must follow soon, or [`push`] must be called. Unix sockets hold nothing back.
///
/// Whatever is written next pushes what is held, however it is written, and so does closing the connection, unless the peer
/// has sent something that was not read. Linux does not hold bytes for longer than 200 ms (tcp(7), `TCP_CORK`).
///
/// On systems other than Linux this is [`send`]. FreeBSD and macOS have `TCP_NOPUSH` for this, but on macOS clearing
/// it does not send what is held.
///
/// # Errors
/// Returns the error of send(2).
pub fn send_held(fd: RawFd, bytes: &[u8]) -> Result<Option<usize>, Errno> {
    #[cfg(target_os = "linux")]
    {
        const FLAGS: libc::c_int = libc::MSG_NOSIGNAL | libc::MSG_MORE;
        transferred(|| syscall!(send(fd, bytes.as_ptr().cast(), bytes.len(), FLAGS)))
    }
    #[cfg(not(target_os = "linux"))]
    send(fd, bytes)
}

/// Sends what a TCP connection holds back. Turns `TCP_NODELAY` on, which connections of an HTTP server have anyway.
///
/// # Errors
/// Returns the error of setsockopt(2), such as EOPNOTSUPP for a unix socket.
pub fn push(fd: RawFd) -> Result<(), Errno> {
    // Setting the option sends what is queued, even if it was set before (tcp(7)).
    super::sockopt::nodelay(fd)
}

/// Like [`send`], for bytes that are in two places.
///
/// # Errors
/// Returns the error of sendmsg(2).
pub fn send_both(fd: RawFd, first: &[u8], second: &[u8]) -> Result<Option<usize>, Errno> {
    let part = |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut parts = [part(first), part(second)];
    // SAFETY: the structure consists of numbers and pointers, which may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), parts.len() as _);
    transferred(|| syscall!(sendmsg(fd, &raw const message, FLAGS)))
}

/// Calls again after an interruption, and returns `None` if the call would block.
pub(super) fn transferred(mut call: impl FnMut() -> Result<isize, Errno>) -> Result<Option<usize>, Errno> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count.unsigned_abs())),
            Err(Errno(libc::EAGAIN)) => return Ok(None),
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// How many of the bytes that were written the peer has not acknowledged. `None` if the system does not tell.
pub fn unacknowledged(fd: RawFd) -> Option<u64> {
    let mut count: libc::c_int = 0;
    #[cfg(target_os = "linux")]
    // SIOCOUTQ is another name of this number (tcp(7)).
    let result = syscall!(ioctl(fd, libc::TIOCOUTQ, &raw mut count));
    #[cfg(target_vendor = "apple")]
    let result = super::sockopt::get(fd, libc::SO_NWRITE).map(|queued| {
        count = queued;
        0
    });
    #[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
    let result = syscall!(ioctl(fd, libc::FIONWRITE, &raw mut count));
    #[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd", target_os = "netbsd")))]
    let result = Err::<libc::c_int, _>(Errno(libc::EOPNOTSUPP));
    let _ = (fd, &mut count);
    result.ok().and_then(|_| u64::try_from(count).ok())
}

/// Tells the peer that nothing more will be sent.
///
/// # Errors
/// Returns the error of shutdown(2), which is ENOTCONN if the peer is gone.
pub fn end_sending(fd: RawFd) -> Result<(), Errno> {
    syscall!(shutdown(fd, libc::SHUT_WR)).map(drop)
}
