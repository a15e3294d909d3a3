//! Taking one connection from a listener: accept(2).

use std::os::fd::{OwnedFd, RawFd};
use std::ptr;

use crate::errno::Errno;
use crate::sys::new_descriptor;

/// Takes one connection: non-blocking and closed on exec.
///
/// # Errors
/// Returns the error of accept(2), which is EAGAIN if no connection is waiting.
#[cfg(all(
    any(target_os = "linux", target_os = "freebsd", target_os = "openbsd", target_os = "dragonfly"),
    not(feature = "emulated-kqueue")
))]
pub fn accept(listener: RawFd) -> Result<OwnedFd, Errno> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    new_descriptor!(accept4(listener, ptr::null_mut(), ptr::null_mut(), flags))
}

/// Takes one connection: closed on exec, and non-blocking as its listener is (accept(2) of macOS and NetBSD, which
/// have no accept4 that can be relied on).
///
/// # Errors
/// Returns the error of accept(2), which is EAGAIN if no connection is waiting.
#[cfg(not(all(
    any(target_os = "linux", target_os = "freebsd", target_os = "openbsd", target_os = "dragonfly"),
    not(feature = "emulated-kqueue")
)))]
pub fn accept(listener: RawFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;

    use crate::sys::syscall;

    let fd = new_descriptor!(accept(listener, ptr::null_mut(), ptr::null_mut()))?;
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
    Ok(fd)
}
