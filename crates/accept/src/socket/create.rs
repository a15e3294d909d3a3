//! New sockets: non-blocking and closed on exec from the start, where the system can do that.

use std::os::fd::OwnedFd;

use crate::errno::Errno;
use crate::sys::new_descriptor;

/// Makes a socket.
///
/// # Errors
/// Returns the error of socket(2).
#[cfg(not(target_vendor = "apple"))]
pub(super) fn create(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    new_descriptor!(socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol))
}

/// Makes a socket. macOS has no flags for it, so a child that another thread starts meanwhile may inherit it.
///
/// # Errors
/// Returns the error of socket(2) or fcntl(2).
#[cfg(target_vendor = "apple")]
pub(super) fn create(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;

    use crate::sys::syscall;

    let fd = new_descriptor!(socket(family, kind, protocol))?;
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK))?;
    Ok(fd)
}
