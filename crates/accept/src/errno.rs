//! Error numbers of system calls: their names, their texts, and which of them mean that a peer is gone.

use std::fmt;

/// An error number, as errno holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The errno of the calling thread.
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Whether reading or writing failed because the peer, or the way to it, is gone. The texts of these errors differ
    /// between systems.
    pub fn is_lost_peer(self) -> bool {
        matches!(
            self.0,
            libc::EPIPE
                | libc::ECONNRESET
                | libc::ECONNABORTED
                | libc::ENOTCONN
                | libc::ETIMEDOUT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::ENETRESET
                | libc::ENETUNREACH
        )
    }

    /// The symbolic name of an error that `accept` may return, such as `EMFILE`. `E<number>` for other errors.
    pub fn name(self) -> String {
        let known = [
            (libc::EINTR, "EINTR"),
            (libc::ECONNABORTED, "ECONNABORTED"),
            (libc::EPROTO, "EPROTO"),
            (libc::EPERM, "EPERM"),
            (libc::ENETDOWN, "ENETDOWN"),
            (libc::EHOSTDOWN, "EHOSTDOWN"),
            (libc::EHOSTUNREACH, "EHOSTUNREACH"),
            (libc::ENETUNREACH, "ENETUNREACH"),
            (libc::ETIMEDOUT, "ETIMEDOUT"),
            (libc::EMFILE, "EMFILE"),
            (libc::ENFILE, "ENFILE"),
            (libc::ENOBUFS, "ENOBUFS"),
            (libc::ENOMEM, "ENOMEM"),
            (libc::EBADF, "EBADF"),
            (libc::EINVAL, "EINVAL"),
            (libc::ENOTSOCK, "ENOTSOCK"),
            (libc::EOPNOTSUPP, "EOPNOTSUPP"),
        ];
        known
            .iter()
            .find(|(number, _)| *number == self.0)
            .map_or_else(|| format!("E{}", self.0), |(_, name)| (*name).into())
    }
}

impl fmt::Display for Errno {
    /// The text of strerror(3) with a small first letter, so that it can end a sentence: `address already in use`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        // std appends " (os error N)", which does not help a person.
        f.write_str(&uncapitalized(text.split(" (os error").next().unwrap_or_default()))
    }
}

/// A text of the system with a small first letter. "I/O error" keeps its capital.
pub(crate) fn uncapitalized(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.into(),
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_lost_by_number() {
        let lost = [libc::EPIPE, libc::ECONNRESET, libc::ETIMEDOUT, libc::ENOTCONN, libc::ECONNABORTED];
        let unreachable = [libc::EHOSTUNREACH, libc::EHOSTDOWN, libc::ENETDOWN, libc::ENETRESET, libc::ENETUNREACH];
        assert!(lost.into_iter().chain(unreachable).all(|number| Errno(number).is_lost_peer()));
        let others = [libc::EBADF, libc::EAGAIN, libc::EINTR, libc::ENOBUFS, libc::ENOTSOCK, libc::EINVAL];
        assert!(!others.into_iter().any(|number| Errno(number).is_lost_peer()));
    }
}
