//! What a supervisor passes on to its workers, how a worker belongs to its supervisor, and how a process ends.

use std::os::fd::RawFd;

use crate::errno::Errno;
use crate::sys::{new_descriptor, syscall};

/// Has programs that this process starts inherit a descriptor, or not.
///
/// # Errors
/// Returns the error of fcntl(2).
pub fn set_inheritable(fd: RawFd, inheritable: bool) -> Result<(), Errno> {
    syscall!(fcntl(fd, libc::F_SETFD, if inheritable { 0 } else { libc::FD_CLOEXEC })).map(drop)
}

/// Gives this process a process group of its own, ends it if its parent is not `supervisor` any more, and has the system send it
/// SIGTERM when its parent ends, where there is a way to ask for that: prctl(2) on Linux, procctl(2) on FreeBSD. What fails is
/// left out, since a worker serves without it too.
pub fn join_supervisor(supervisor: i32) {
    let _ = syscall!(setpgid(0, 0));
    end_with_parent();
    // SAFETY: both calls only have numbers as arguments.
    unsafe {
        // It may have ended before the system was asked.
        if libc::getppid() != supervisor {
            libc::raise(libc::SIGTERM);
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn end_with_parent() {
    // SAFETY: the arguments are numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
}

#[cfg(target_os = "freebsd")]
fn end_with_parent() {
    let mut signal: libc::c_int = libc::SIGTERM;
    // SAFETY: the kernel reads an int at the address.
    unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn end_with_parent() {}

/// Gives this process the name that ps(1) and top(1) show: prctl(2) on Linux, which takes 15 bytes, and setproctitle(3) on
/// FreeBSD. Other systems have no call for it.
pub fn set_name(name: &str) {
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(15).collect();
    if let Ok(name) = std::ffi::CString::new(name) {
        set_c_name(&name);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_c_name(name: &std::ffi::CStr) {
    // SAFETY: the kernel reads the name, which ends with NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

#[cfg(target_os = "freebsd")]
fn set_c_name(name: &std::ffi::CStr) {
    // SAFETY: setproctitle(3) reads both texts, which end with NUL.
    unsafe { libc::setproctitle(c"-%s".as_ptr(), name.as_ptr()) };
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn set_c_name(_name: &std::ffi::CStr) {}

/// Sends a signal to a process.
///
/// # Errors
/// Returns the error of kill(2).
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    syscall!(kill(pid, signal)).map(drop)
}

/// How a child of this process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The number of the process, which another one may have from now on.
    pub pid: i32,
    /// Its exit status, or 128 and the number of the signal that ended it.
    pub status: i32,
    /// Whether that was a signal which a process gets from others only, and not for a mistake of its own.
    pub by_others: bool,
}

/// Returns a child that has ended, if there is one that was not returned before. The first process of a container, and a subreaper
/// of Linux (prctl(2)), also have children that others have started and left behind.
pub fn reap() -> Option<Ended> {
    let mut status = 0;
    // ECHILD means that there are no children.
    let pid = syscall!(waitpid(-1, &mut status, libc::WNOHANG)).ok().filter(|pid| *pid != 0)?;
    if libc::WIFEXITED(status) {
        return Some(Ended { pid, status: libc::WEXITSTATUS(status), by_others: false });
    }
    let signal = libc::WTERMSIG(status);
    let by_others = matches!(signal, libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP);
    Some(Ended { pid, status: 128 + signal, by_others })
}

/// Whether this process has a terminal that it is controlled from. It has none after that was closed.
pub fn has_terminal() -> bool {
    new_descriptor!(open(c"/dev/tty".as_ptr(), libc::O_RDONLY | libc::O_NOCTTY | libc::O_CLOEXEC)).is_ok()
}

/// Whether this process ignores a signal, as nohup(1) has programs do with SIGHUP.
pub fn ignores(signal: i32) -> bool {
    // SAFETY: the call fills in the structure, for which zeros are valid, and changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Has a signal end this process again, as it does in a process that has no handler for it.
pub fn restore_default(signal: i32) {
    // SAFETY: both structures live until the calls return, and a zeroed sigaction is valid: SIG_DFL, with no flags.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        let mut unblocked: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut unblocked);
        libc::sigaddset(&raw mut unblocked, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const unblocked, std::ptr::null_mut());
    }
}
