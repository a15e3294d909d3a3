//! Turns the -1 of a system call into an [`Errno`](crate::Errno).

/// Calls a libc function and gives its result, or errno where it is -1.
macro_rules! syscall {
    ($name:ident($($arg:expr),* $(,)?)) => {{
        // SAFETY: the caller passes descriptors it holds, and pointers to values that outlive the call.
        let result = unsafe { libc::$name($($arg),*) };
        if result == -1 { Err($crate::Errno::last()) } else { Ok(result) }
    }};
}

pub(crate) use syscall;
