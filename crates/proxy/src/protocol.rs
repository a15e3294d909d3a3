//! The PROXY protocol: a header that a proxy sends at the beginning of a connection, before the bytes of its client.
//!
//! Versions 1 and 2, as HAProxy's proxy-protocol.txt describes them. A connection without a header is refused: the protocol
//! forbids a receiver to guess whether there is one (section 2).

mod v1;
mod v2;

use std::fmt;
use std::net::SocketAddr;

use crate::Endpoint;

/// The most bytes of a header of version 1 (section 2.1).
pub const MAX_V1: usize = 107;
/// The most bytes of a header of version 2. The protocol allows 64 KiB, of which no proxy needs much; nginx has the same limit.
pub const MAX_V2: usize = 4096;

/// How far the header was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parse {
    /// Nothing is wrong so far, and at least this many more bytes belong to the header.
    Partial(usize),
    /// The header is complete.
    Complete(Header),
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Between which addresses the client's connection is.
    pub addresses: Addresses,
    /// The client's connection has TLS (`PP2_TYPE_SSL`).
    pub is_tls: bool,
    /// How many bytes it has.
    pub len: usize,
}

/// The client's end of its connection to the proxy, and the proxy's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The proxy itself has made this connection (`LOCAL`), for example to check that the server answers.
    Local,
    /// The proxy does not know them, or there are none (`UNKNOWN`, `AF_UNSPEC`).
    Unknown,
    /// Addresses and ports.
    Inet {
        /// The client's end.
        source: SocketAddr,
        /// The proxy's end.
        destination: SocketAddr,
    },
    /// The paths of unix sockets, which may be empty.
    Unix {
        /// The client's end.
        source: Vec<u8>,
        /// The proxy's end.
        destination: Vec<u8>,
    },
}

impl Addresses {
    /// The client, or `None` if it is the peer of the connection.
    pub fn client(&self) -> Option<Endpoint> {
        match self {
            Self::Local | Self::Unknown => None,
            Self::Inet { source, .. } => Some(Endpoint::from_ip(source.ip(), Some(source.port()))),
            Self::Unix { .. } => Some(Endpoint::Unix),
        }
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It does not begin with a header.
    Missing,
    /// The header does not follow the protocol.
    Malformed,
    /// The header is longer than [`MAX_V1`] or [`MAX_V2`].
    TooLarge,
}

impl Invalid {
    /// What is wrong, in words that can be the body of a response.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "no PROXY protocol header",
            Self::Malformed => "malformed PROXY protocol header",
            Self::TooLarge => "PROXY protocol header is too large",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Invalid {}

/// Reads the header that the bytes of a connection begin with.
///
/// # Errors
/// Returns an error as soon as it is certain that there is no valid header, whatever comes next.
pub fn parse(bytes: &[u8]) -> Result<Parse, Invalid> {
    // The two versions differ in the first byte.
    if bytes.first() == v2::SIGNATURE.first() { v2::parse(bytes) } else { v1::parse(bytes) }
}

/// Whether the bytes may be the beginning of something that begins with `prefix`.
fn may_begin_with(bytes: &[u8], prefix: &[u8]) -> bool {
    let common = bytes.len().min(prefix.len());
    bytes[..common] == prefix[..common]
}
