//! Calls of libc with Rust's results: turns -1 into an [`Errno`](crate::Errno), and a new descriptor into an owned one.

/// Calls a libc function and returns its result, or errno if it is -1.
macro_rules! syscall {
    ($name:ident($($arg:expr),* $(,)?)) => {{
        // SAFETY: each use passes valid arguments: pointers are null where the call allows it, or point to live values
        // of the type and length that the call expects.
        let result = unsafe { libc::$name($($arg),*) };
        if result == -1 { Err($crate::Errno::last()) } else { Ok(result) }
    }};
}

/// Calls a libc function that makes a descriptor and returns it, or errno if it is -1.
macro_rules! new_descriptor {
    ($name:ident($($arg:expr),* $(,)?)) => {
        $crate::sys::syscall!($name($($arg),*)).map(|fd| {
            // SAFETY: each use calls a function whose result is a new descriptor, which is ours alone.
            unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) }
        })
    };
}

pub(crate) use {new_descriptor, syscall};
