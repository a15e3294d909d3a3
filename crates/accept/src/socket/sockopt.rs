//! Options of sockets: getsockopt(2) and setsockopt(2).

use std::os::fd::RawFd;
use std::ptr;

use crate::errno::Errno;
use crate::sys::syscall;

/// How many unsent bytes a connection may hold before the system stops taking more: as many as Linux holds by default (the last
/// number of net.ipv4.tcp_wmem). With two megabytes, files of 100 MiB go out a tenth slower, since a client that takes a
/// response as fast as it comes has to wait for the server now and then.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
const MOST_UNSENT: libc::c_int = 4 * 1024 * 1024;

#[cfg(target_os = "linux")]
use libc::TCP_NOTSENT_LOWAT;
/// Of netinet/tcp.h. The libc crate does not have it.
#[cfg(target_vendor = "apple")]
const TCP_NOTSENT_LOWAT: libc::c_int = 0x201;

/// Reads an integer option of the socket level.
pub(super) fn get(fd: RawFd, name: i32) -> Result<i32, Errno> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    syscall!(getsockopt(fd, libc::SOL_SOCKET, name, ptr::from_mut(&mut value).cast(), &mut length))?;
    Ok(value)
}

/// Sets an integer option.
pub(super) fn set(fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    syscall!(setsockopt(fd, level, name, ptr::from_ref::<libc::c_int>(&value).cast(), length)).map(drop)
}

/// Has small writes sent at once on a TCP socket, and on the connections accepted from it.
///
/// # Errors
/// Returns the error of setsockopt(2), such as EOPNOTSUPP for a unix socket.
pub fn nodelay(fd: RawFd) -> Result<(), Errno> {
    set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Keeps a write to a reset connection from raising SIGPIPE: on macOS, Janet has no other protection. Connections inherit
/// this from their listener.
pub(crate) fn no_sigpipe(fd: RawFd) -> Result<(), Errno> {
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd", target_os = "dragonfly"))]
    set(fd, libc::SOL_SOCKET, libc::SO_NOSIGPIPE, 1)?;
    let _ = fd;
    Ok(())
}

/// Limits the unsent bytes of a listener's connections. Where an administrator has allowed more, the system would buffer all of it for
/// a client that reads slowly, and report that there is space again only when the client has taken a third of that.
///
/// # Errors
/// Returns the error of setsockopt(2), such as EOPNOTSUPP for a unix socket.
pub fn limit_unsent(fd: RawFd) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    set(fd, libc::IPPROTO_TCP, TCP_NOTSENT_LOWAT, MOST_UNSENT)?;
    let _ = fd;
    Ok(())
}
