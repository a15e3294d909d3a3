//! Signals that would end a server which could go on.

use std::mem::MaybeUninit;

/// Makes writing to a pipe that nobody reads fail with EPIPE instead of ending the process: a server must outlive whoever
/// reads its log. Installs a handler instead of ignoring the signal, since the programs that this one starts would
/// ignore it too. Does nothing if the program has chosen something itself.
pub fn survive_broken_pipes() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: sigaction is called with live and initialized places; the handler does nothing, which any signal may.
    unsafe {
        let mut current = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut current) == 0
            && current.sa_sigaction == libc::SIG_DFL
        {
            current.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
            current.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGPIPE, &raw const current, std::ptr::null_mut());
        }
    }
}
