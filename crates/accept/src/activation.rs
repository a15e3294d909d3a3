//! Listening sockets that the program was started with, by systemd, launchd or a parent process.

use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::errno::Errno;
use crate::socket::{NotListener, check_listener, no_sigpipe};
use crate::sys::syscall;

/// Checks that a descriptor was there when the program began. One that is closed on exec was opened by the program itself,
/// and something already owns it.
///
/// # Errors
/// Returns [`NotListener::NotOpen`] or [`NotListener::Own`].
pub fn check_inherited(fd: RawFd) -> Result<(), NotListener> {
    match syscall!(fcntl(fd, libc::F_GETFD)) {
        Ok(flags) if flags & libc::FD_CLOEXEC == 0 => Ok(()),
        Ok(_) => Err(NotListener::Own),
        Err(_) => Err(NotListener::NotOpen),
    }
}

/// Takes over a descriptor that the program was started with, and prepares it for the accept loop: non-blocking and closed
/// on exec.
///
/// # Errors
/// Returns what the descriptor is instead, if it is not a listening stream socket.
///
/// # Safety
/// Nothing else may own the descriptor.
pub unsafe fn take(fd: RawFd) -> Result<OwnedFd, NotListener> {
    check_listener(fd)?;
    prepare(fd).map_err(|_| NotListener::NotSocket)?;
    // SAFETY: it is open, and the caller guarantees that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn prepare(fd: RawFd) -> Result<(), Errno> {
    syscall!(fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
    let flags = syscall!(fcntl(fd, libc::F_GETFL))?;
    syscall!(fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    no_sigpipe(fd)
}

/// A descriptor that a service manager passed to the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The name in LISTEN_FDNAMES, or the socket's key in launchd's plist.
    pub name: String,
    /// The descriptor.
    pub fd: RawFd,
}

/// One of systemd's variables has a value that makes no sense. The text is that value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadVariable {
    /// `LISTEN_PID` is not the number of a process.
    Pid(String),
    /// `LISTEN_FDS` is not a number of descriptors.
    Count(String),
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(value) => write!(f, "LISTEN_PID is not a number: {value}"),
            Self::Count(value) => write!(f, "LISTEN_FDS is not a number of descriptors: {value}"),
        }
    }
}

impl std::error::Error for BadVariable {}

/// The descriptors of systemd's socket activation (sd_listen_fds(3)). The arguments are the values of `LISTEN_PID`,
/// `LISTEN_FDS` and `LISTEN_FDNAMES`. The descriptors start at 3, and are for this process only if `LISTEN_PID` names it.
///
/// # Errors
/// Returns the variable that makes no sense.
pub fn systemd(pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Result<Vec<Passed>, BadVariable> {
    const FIRST: RawFd = 3;
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(Vec::new()) };
    let pid: u32 = pid.parse().map_err(|_| BadVariable::Pid(pid.to_owned()))?;
    if pid != std::process::id() {
        // The variables are for a parent of this process.
        return Ok(Vec::new());
    }
    let count: RawFd = match count.parse() {
        Ok(count @ 0..=0xffff) => count,
        _ => return Err(BadVariable::Count(count.to_owned())),
    };
    let mut names = names.unwrap_or_default().split(':');
    Ok((FIRST..FIRST + count)
        .map(|fd| {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown");
            Passed { name: name.to_owned(), fd }
        })
        .collect())
}

/// The sockets that launchd holds for the program under `name` in its plist (launch_activate_socket(3)).
///
/// # Errors
/// Returns ENOENT if there is no such name, ESRCH if launchd did not start the program, and ENOSYS on systems without
/// launchd.
#[cfg(target_vendor = "apple")]
pub fn launchd(name: &std::ffi::CStr) -> Result<Vec<Passed>, Errno> {
    unsafe extern "C" {
        fn launch_activate_socket(
            name: *const libc::c_char,
            fds: *mut *mut libc::c_int,
            count: *mut usize,
        ) -> libc::c_int;
    }
    let mut fds = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the name ends with NUL. On success, `fds` is an array of `count` descriptors from malloc, which is ours.
    unsafe {
        match launch_activate_socket(name.as_ptr(), &mut fds, &mut count) {
            0 => {
                let name = name.to_string_lossy();
                let passed = std::slice::from_raw_parts(fds, count)
                    .iter()
                    .map(|&fd| Passed { name: name.clone().into_owned(), fd })
                    .collect();
                libc::free(fds.cast());
                Ok(passed)
            }
            error => Err(Errno(error)),
        }
    }
}

/// There is no launchd on this system.
///
/// # Errors
/// Always returns ENOSYS.
#[cfg(not(target_vendor = "apple"))]
pub fn launchd(_name: &std::ffi::CStr) -> Result<Vec<Passed>, Errno> {
    Err(Errno(libc::ENOSYS))
}
