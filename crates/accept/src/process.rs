//! What a supervisor passes on to its workers, and how a worker belongs to its supervisor.

use std::os::fd::RawFd;

use crate::errno::Errno;
use crate::sys::syscall;

/// Has programs that this process starts inherit a descriptor, or not.
///
/// # Errors
/// Returns the error of fcntl(2).
pub fn set_inheritable(fd: RawFd, inheritable: bool) -> Result<(), Errno> {
    syscall!(fcntl(fd, libc::F_SETFD, if inheritable { 0 } else { libc::FD_CLOEXEC })).map(drop)
}

/// Gives this process a process group of its own and a name, ends it if its parent is not `supervisor` any more, and has the system send it SIGTERM when its parent ends, where
/// there is a way to ask for that: prctl(2) on Linux, procctl(2) on FreeBSD. What fails is left out, since a worker serves
/// without it too.
pub fn join_supervisor(supervisor: i32, name: &str) {
    let _ = syscall!(setpgid(0, 0));
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(15).collect();
    let Ok(name) = std::ffi::CString::new(name) else { return };
    die_with_parent(&name);
    // SAFETY: both calls only have numbers as arguments.
    unsafe {
        // It may have ended before the system was asked.
        if libc::getppid() != supervisor {
            libc::raise(libc::SIGTERM);
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with_parent(name: &std::ffi::CStr) {
    // SAFETY: both only read their arguments, and the name ends with NUL.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
    }
}

#[cfg(target_os = "freebsd")]
fn die_with_parent(name: &std::ffi::CStr) {
    let mut signal: libc::c_int = libc::SIGTERM;
    // SAFETY: the kernel reads an int at the address, and setproctitle(3) a text that ends with NUL.
    unsafe {
        libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast());
        libc::setproctitle(c"-%s".as_ptr(), name.as_ptr());
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn die_with_parent(_name: &std::ffi::CStr) {}

/// Sends a signal to a process.
///
/// # Errors
/// Returns the error of kill(2).
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    syscall!(kill(pid, signal)).map(drop)
}

/// The exit status of a child that has ended, or 128 and the number of the signal that ended it; `None` while it runs. The child is
/// then gone, and its number may be used again.
///
/// # Errors
/// Returns the error of waitpid(2): ECHILD if this process has no such child.
pub fn reap(pid: i32) -> Result<Option<i32>, Errno> {
    let mut status = 0;
    if syscall!(waitpid(pid, &mut status, libc::WNOHANG))? == 0 {
        return Ok(None);
    }
    Ok(Some(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }))
}
