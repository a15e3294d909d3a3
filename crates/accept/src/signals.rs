//! SIGPIPE, which must not end a server.

use std::mem::MaybeUninit;

/// Makes writing to a pipe that nobody reads fail with EPIPE instead of ending the process: a server must outlive the
/// reader of its log. It installs an empty handler: if the signal were ignored, child processes would inherit that. Does
/// nothing if the program has already chosen what to do with the signal.
pub fn survive_broken_pipes() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: sigaction is called with live, initialized structs. The handler does nothing, which is allowed at any time.
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
