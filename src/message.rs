//! Messages to stderr. A message that cannot be written is lost, and has no other effect.

use std::mem::MaybeUninit;

/// Writes a line that begins with kqnet's name.
pub fn say(text: &str) {
    line(&format!("kqnet: {text}"));
}

/// Writes a line to stderr. If the disk is full, the descriptor closed, or the reader slow or gone, the line is lost and
/// nothing else happens: `eprintln!` would panic, and SIGPIPE would end the process.
pub fn line(text: &str) {
    write(format!("{text}\n").as_bytes(), 0);
}

/// Writes what another process wrote, like `line`, but gives a slow reader a moment.
pub fn pass_on(text: &[u8]) {
    // POSIX promises that a pipe that can be written to takes this much at least.
    for piece in text.chunks(512) {
        if !write(piece, 100) {
            return;
        }
    }
}

/// Writes to stderr if it can be written to within some milliseconds. Returns whether it could.
fn write(text: &[u8], milliseconds: libc::c_int) -> bool {
    let mut poll = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: there is one entry, which outlives the call.
    if unsafe { libc::poll(&mut poll, 1, milliseconds) } != 1 || poll.revents & (libc::POLLERR | libc::POLLHUP) != 0 {
        return false;
    }
    let mut pipe = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // Without this mask, a reader that goes away between poll and write would end the process, as when Ctrl-C ends a `tee`.
    // SAFETY: sigemptyset fills the one set, and pthread_sigmask the set that is put back. Both outlive the calls.
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
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
    }
    true
}

/// Whether a SIGPIPE is pending.
fn is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending fills the set if it returns 0.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1 }
}
