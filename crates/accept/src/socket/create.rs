//! New sockets: non-blocking and closed on exec from the start, where the system can do that.

#[cfg(target_vendor = "apple")]
use std::os::fd::AsRawFd;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::errno::Errno;
use crate::sys::syscall;

/// Makes a socket.
///
/// # Errors
/// Returns the error of socket(2).
#[cfg(not(target_vendor = "apple"))]
pub(super) fn create(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let fd = syscall!(socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a socket. macOS has no flags for it, so a child that another thread starts meanwhile may inherit it.
///
/// # Errors
/// Returns the error of socket(2) or fcntl(2).
#[cfg(target_vendor = "apple")]
pub(super) fn create(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let fd = syscall!(socket(family, kind, protocol))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK))?;
    Ok(fd)
}
