//! Writing to stderr such that it costs nothing if nobody takes it.

use std::mem::MaybeUninit;
use std::ptr;

use crate::sys::syscall;

/// Writes to stderr, or does not where that would fail, end the process by SIGPIPE, or wait for a reader.
pub fn say(text: &[u8]) {
    let mut poll = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    let failures = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
    if syscall!(poll(&mut poll, 1, 0)) != Ok(1) || poll.revents & failures != 0 {
        return;
    }
    // A reader that goes away now would still end the process, as Ctrl-C does to the `tee` behind it.
    let mut pipe = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the set, and pthread_sigmask the one that is put back; both outlive the calls.
    unsafe {
        libc::sigemptyset(pipe.as_mut_ptr());
        libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), before.as_mut_ptr());
        let was_pending = is_pending();
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        if !was_pending && is_pending() {
            let mut signal = 0;
            libc::sigwait(pipe.as_ptr(), &mut signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
    }
}

/// Whether a SIGPIPE waits to be delivered.
fn is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending fills the set.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1 }
}
