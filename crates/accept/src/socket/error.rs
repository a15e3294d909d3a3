//! Why a listener cannot be made.

use std::fmt;

use crate::errno::Errno;

/// Why there is no listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// The host or service is unknown. The text is that of gai_strerror(3).
    Lookup(String),
    /// The path does not fit in a socket address.
    PathTooLong {
        /// Bytes in the path.
        length: usize,
        /// Bytes that fit.
        most: usize,
    },
    /// An option that has no effect at this address: its name, and what it applies to.
    Misplaced(&'static str, &'static str),
    /// A system call failed.
    System(Errno),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(text) => f.write_str(text),
            Self::PathTooLong { length, most } => {
                write!(f, "the path has {length} bytes; a unix socket's path may have at most {most}")
            }
            Self::Misplaced(option, purpose) => write!(f, ":{option} applies only to {purpose}"),
            Self::System(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

impl From<Errno> for ListenError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}
