//! What a response has to know of the request that it answers.

use crate::version::Version;

/// The part of a request that its response depends on. Unlike the head, it borrows nothing from a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub(crate) is_head: bool,
    is_connect: bool,
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
}

impl Exchange {
    /// Describes a request with this method and version. `keep_alive` says whether client and server would both take
    /// another request on the connection.
    pub fn new(method: &[u8], version: Version, keep_alive: bool) -> Self {
        Self { is_head: method == b"HEAD", is_connect: method == b"CONNECT", version, keep_alive }
    }

    /// Describes a request that could not be parsed: the response has a body, and the connection closes after it.
    pub fn unread() -> Self {
        Self::new(b"", Version::Http11, false)
    }

    /// Returns whether a response with this status would turn the connection into a tunnel for every proxy on its way
    /// (RFC 9110, 9.3.6).
    pub fn opens_tunnel(&self, status: u16) -> bool {
        self.is_connect && (200..300).contains(&status)
    }

    /// Returns the same exchange, but with the connection closed after the response: the server drains, or the request
    /// was the last one that it allows.
    pub fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }
}
