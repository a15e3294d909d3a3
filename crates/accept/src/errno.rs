//! Error numbers of system calls, and what the accept policy makes of each.

use std::fmt;

/// An error number as errno gives it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

/// What a failed `accept` means for the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The backlog is empty: the batch ends here.
    Empty,
    /// This connection is gone; the next one may be fine.
    Skip,
    /// The system is short of something, or the reason is unknown: pause, then try again.
    Pause,
    /// The descriptor is no listening socket any more.
    Broken,
}

impl Errno {
    /// The calling thread's errno.
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// The system's words, as strerror(3) gives them.
    pub fn text(self) -> String {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        // std appends " (os error N)", which a person cannot act on.
        text.split(" (os error").next().unwrap_or_default().to_owned()
    }

    /// Sorts an error of `accept` (accept(2) of each system; Linux also passes on errors that were pending
    /// on the new connection's network, which its manual asks to be treated as "try again").
    pub fn verdict(self) -> Verdict {
        match self.0 {
            // EAGAIN and EWOULDBLOCK are one number on all of the systems supported here.
            libc::EAGAIN => Verdict::Empty,
            libc::EINTR | libc::ECONNABORTED | libc::EPROTO | libc::EPERM => Verdict::Skip,
            libc::ENETDOWN | libc::EHOSTDOWN | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ETIMEDOUT => {
                Verdict::Skip
            }
            #[cfg(target_os = "linux")]
            libc::ENONET | libc::EOPNOTSUPP | libc::ENOPROTOOPT => Verdict::Skip,
            libc::EBADF | libc::EINVAL | libc::ENOTSOCK => Verdict::Broken,
            #[cfg(not(target_os = "linux"))]
            libc::EOPNOTSUPP => Verdict::Broken,
            _ => Verdict::Pause,
        }
    }

    /// True where reading or writing failed because the peer, or the way to it, is gone. The texts of these differ between
    /// systems.
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

    /// True where the process or the system has no descriptor or no memory left.
    pub fn is_exhaustion(self) -> bool {
        matches!(self.0, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    }

    /// The symbolic name of the errors that `accept` gives, such as `EMFILE`; `E<number>` for others.
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
    /// The system's words with a small first letter, fit for the end of a line: `address already in use`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let mut chars = text.chars();
        match (chars.next(), chars.clone().next()) {
            // "I/O error" keeps its capital.
            (Some(first), Some(second)) if second.is_lowercase() => {
                write!(f, "{}{}", first.to_lowercase(), chars.as_str())
            }
            _ => f.write_str(&text),
        }
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
