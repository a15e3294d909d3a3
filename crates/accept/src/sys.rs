//! Turns the -1 of a system call into an [`Errno`](crate::Errno).

/// Calls a libc function and returns its result, or errno if it is -1.
macro_rules! syscall {
    ($name:ident($($arg:expr),* $(,)?)) => {{
        // SAFETY: each use passes valid arguments: pointers are null where the call allows it, or point to live values
        // of the type and length that the call expects.
        let result = unsafe { libc::$name($($arg),*) };
        if result == -1 { Err($crate::Errno::last()) } else { Ok(result) }
    }};
}

pub(crate) use syscall;
