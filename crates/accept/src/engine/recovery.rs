//! What the accept loop does about each error of accept(2).

use crate::errno::Errno;

/// What to do after `accept` has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// End the batch: the backlog is empty.
    EndBatch,
    /// Try the next connection: this one is gone, or the call was interrupted.
    TryNext,
    /// Pause, then try again: there is a shortage, or the reason is unknown.
    Pause,
    /// Give up: the descriptor is not a listening socket any more.
    GiveUp,
}

impl Recovery {
    /// Decides by accept(2) of each system. Linux also returns errors that were pending on the new connection's network;
    /// its manual asks for them to be treated as "try again".
    pub(super) fn after(errno: Errno) -> Self {
        match errno.0 {
            // EAGAIN and EWOULDBLOCK are one number on all of the systems supported here.
            libc::EAGAIN => Self::EndBatch,
            libc::EINTR | libc::ECONNABORTED | libc::EPROTO | libc::EPERM => Self::TryNext,
            libc::ENETDOWN | libc::EHOSTDOWN | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ETIMEDOUT => {
                Self::TryNext
            }
            #[cfg(target_os = "linux")]
            libc::ENONET | libc::EOPNOTSUPP | libc::ENOPROTOOPT => Self::TryNext,
            libc::EBADF | libc::EINVAL | libc::ENOTSOCK => Self::GiveUp,
            #[cfg(not(target_os = "linux"))]
            libc::EOPNOTSUPP => Self::GiveUp,
            _ => Self::Pause,
        }
    }
}
