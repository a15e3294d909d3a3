//! Messages to stderr, which cost nothing but themselves where they cannot be written.

use std::io::Write;
use std::mem::MaybeUninit;

/// Writes a line to stderr. A full disk, a closed descriptor or a reader that is gone loses the line, and nothing else:
/// `eprintln!` would panic, and SIGPIPE would end the process.
pub fn say(text: &str) {
    // SAFETY: a signal set is filled before it is used, and the mask is put back.
    unsafe {
        let mut pipe = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(pipe.as_mut_ptr());
        libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE);
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        let is_blocked = libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), old.as_mut_ptr()) == 0;
        let was_pending = is_pending();
        let written = std::io::stderr().write_all(format!("kqnet: {text}\n").as_bytes());
        if written.is_err() && is_blocked && !was_pending && is_pending() {
            let mut signal = 0;
            libc::sigwait(pipe.as_ptr(), &mut signal);
        }
        if is_blocked {
            libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), std::ptr::null_mut());
        }
    }
}

/// Whether a SIGPIPE waits to be delivered.
fn is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending fills the set where it gives 0.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1 }
}
