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

/// Those of the descriptors 0, 1 and 2 that this process was started without: they are closed, or were opened by it since, since
/// what a process inherits is not closed on exec.
#[must_use]
pub fn missing_descriptors() -> Vec<RawFd> {
    (0..3)
        .filter(|fd| syscall!(fcntl(*fd, libc::F_GETFD)).map_or(true, |flags| flags & libc::FD_CLOEXEC != 0))
        .collect()
}

/// Gives this process a process group of its own, and has it sent SIGTERM when its parent, the supervisor, ends: by the system
/// where it can do that, by prctl(2) on Linux and procctl(2) on FreeBSD, and elsewhere by a thread that waits for the end of
/// `lifeline`. What fails is left out, since a worker serves without it too.
pub fn join_supervisor(lifeline: RawFd) {
    let _ = syscall!(setpgid(0, 0));
    end_with_parent(lifeline);
    // It may have ended before the system was asked.
    if has_ended(lifeline) {
        end();
    }
}

/// Sends SIGTERM to this process.
pub fn end() {
    // SAFETY: both calls only have numbers as arguments.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn end_with_parent(_lifeline: RawFd) {
    // SAFETY: the arguments are numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
}

#[cfg(target_os = "freebsd")]
fn end_with_parent(_lifeline: RawFd) {
    let mut signal: libc::c_int = libc::SIGTERM;
    // SAFETY: the kernel reads an int at the address.
    unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn end_with_parent(lifeline: RawFd) {
    at_end(lifeline, end);
}

/// Has a thread call a function when the pipe to this descriptor has no writer any more. The descriptor stays open.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android", target_os = "freebsd"))))]
fn at_end(lifeline: RawFd, then: impl FnOnce() + Send + 'static) {
    // SAFETY: both sets live until the calls return. A thread inherits the mask of the one that starts it, and Janet's handlers
    // of signals must not run on this one, which has no VM.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let _ = std::thread::Builder::new().spawn(move || {
            loop {
                match poll(lifeline, -1) {
                    Ok(events) if events & END != 0 => return then(),
                    Err(errno) if errno.0 == libc::EINTR => {}
                    // The program has closed it.
                    _ => return,
                }
            }
        });
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}

/// Whether the pipe to this descriptor has no writer any more. Nobody ever writes to it.
pub fn has_ended(lifeline: RawFd) -> bool {
    poll(lifeline, 0).is_ok_and(|events| events & END != 0)
}

/// How systems report the end of a pipe.
const END: libc::c_short = libc::POLLIN | libc::POLLHUP;

fn poll(fd: RawFd, timeout: libc::c_int) -> Result<libc::c_short, Errno> {
    let mut asked = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    syscall!(poll(&mut asked, 1, timeout))?;
    Ok(asked.revents)
}

/// Whether a descriptor is open, and is a pipe.
pub fn is_pipe(fd: RawFd) -> bool {
    // SAFETY: the structure is valid when zeroed, and lives until the call returns.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    syscall!(fstat(fd, &mut found)).is_ok() && found.st_mode & libc::S_IFMT == libc::S_IFIFO
}

/// The process that has started this one.
pub fn parent() -> i32 {
    // SAFETY: the call has no arguments.
    unsafe { libc::getppid() }
}

/// Has signals do in this process what they do in one that nobody has prepared: none is blocked, and none is ignored, except
/// SIGPIPE and SIGHUP, which systemd and nohup(1) have ignored on purpose. Programs that this process starts inherit this.
pub fn reset_signals() {
    // SAFETY: the structures live until the calls return. What cannot be changed, such as SIGKILL, stays.
    unsafe {
        // SIGRTMAX is no constant. The system refuses numbers that it does not know.
        for signal in (1..=64).filter(|signal| ![libc::SIGPIPE, libc::SIGHUP].contains(signal)) {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Whether a signal does in this process what it does in one that has no handler for it.
pub fn is_default(signal: i32) -> bool {
    handler(signal) == Some(libc::SIG_DFL)
}

/// The handler that this process has for a signal, or `None` if the system does not know the signal.
fn handler(signal: i32) -> Option<libc::sighandler_t> {
    // SAFETY: the structure is valid when zeroed, lives until the call returns, and is filled in. Nothing is changed.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0).then_some(action.sa_sigaction)
    }
}

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
    handler(signal) == Some(libc::SIG_IGN)
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// The two ends of a pipe.
    fn pipe() -> Result<[std::fs::File; 2], Errno> {
        let mut ends = [0; 2];
        syscall!(pipe(ends.as_mut_ptr()))?;
        // SAFETY: both are new, and nothing else owns them.
        Ok(ends.map(|fd| unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }))
    }

    #[test]
    fn a_lifeline_ends_with_its_last_writer() -> Result<(), Box<dyn std::error::Error>> {
        let [reader, writer] = pipe()?;
        let other = writer.try_clone()?;
        assert!(is_pipe(reader.as_raw_fd()));
        let (told, ended) = std::sync::mpsc::channel();
        at_end(reader.as_raw_fd(), move || told.send(()).unwrap_or_default());
        drop(writer);
        assert!(!has_ended(reader.as_raw_fd()));
        drop(other);
        assert!(has_ended(reader.as_raw_fd()));
        assert_eq!(ended.recv(), Ok(()));
        Ok(())
    }

    #[test]
    fn what_is_no_pipe_is_told_from_one() -> std::io::Result<()> {
        assert!(!is_pipe(std::fs::File::open("/dev/null")?.as_raw_fd()));
        assert!(!is_pipe(-1));
        Ok(())
    }
}
