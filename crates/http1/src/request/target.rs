//! The four forms of a request target (RFC 9112, 3.2).

use crate::reject::Reject;
use crate::request::authority::{is_authority_with_port, is_host_and_port};

/// A request target by its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`, which nearly every request has.
    Origin {
        /// Begins with `/`.
        path: &'b [u8],
        /// What follows the first `?`.
        query: Option<&'b [u8]>,
    },
    /// `http://host:port/path?query`, which clients send to a proxy. A server must take it too (RFC 9112, 3.2.2).
    Absolute {
        /// The host, and the port if there is one.
        authority: &'b [u8],
        /// Begins with `/`, and is `/` if the target has no path.
        path: &'b [u8],
        /// What follows the first `?`.
        query: Option<&'b [u8]>,
    },
    /// `host:port`, for CONNECT only.
    Authority(&'b [u8]),
    /// `*`, for OPTIONS only.
    Asterisk,
}

impl<'b> Target<'b> {
    /// Parses the target of a request with this method.
    ///
    /// Any byte is allowed except control bytes, space and `#`. RFC 3986 allows fewer, but browsers and curl send `|`,
    /// `[`, `{` and `"` unencoded, curl also sends bytes beyond ASCII, and no reader takes any of these for the end of
    /// the target. The bytes are passed on unchanged, as nginx, Go and Node do. A `#` would begin a fragment, which
    /// clients never send, and readers differ on whether the path ends there.
    ///
    /// # Errors
    /// Returns [`Reject::TARGET`] if the target has a byte that is not allowed, or a form that does not go with the
    /// method.
    pub fn parse(method: &[u8], target: &'b [u8]) -> Result<Self, Reject> {
        if !target.iter().all(|&b| is_target_byte(b) || b == b'?') {
            return Err(Reject::TARGET);
        }
        match (method, target) {
            (b"CONNECT", _) if is_authority_with_port(target) => Ok(Self::Authority(target)),
            (b"CONNECT", _) => Err(Reject::TARGET),
            (b"OPTIONS", b"*") => Ok(Self::Asterisk),
            (_, [b'/', ..]) => {
                let (path, query) = split(target);
                Ok(Self::Origin { path, query })
            }
            _ => Self::parse_absolute(target).ok_or(Reject::TARGET),
        }
    }

    fn parse_absolute(target: &'b [u8]) -> Option<Self> {
        let colon = target.iter().position(|&b| b == b':')?;
        let (scheme, rest) = (&target[..colon], target[colon..].strip_prefix(b"://")?);
        // A target of any other scheme cannot be meant for this server.
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return None;
        }
        let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (path, query) = split(rest);
        let path = if path.is_empty() { b"/" } else { path };
        // An empty host is an error, and so is a user (RFC 9110, 4.2.1 and 4.2.4).
        is_host_and_port(authority).then_some(Self::Absolute { authority, path, query })
    }

    /// Returns the path, which is what a router matches. It is the host and port for CONNECT, and `*` for OPTIONS of
    /// the whole server.
    pub fn path(&self) -> &'b [u8] {
        match *self {
            Self::Origin { path, .. } | Self::Absolute { path, .. } | Self::Authority(path) => path,
            Self::Asterisk => b"*",
        }
    }

    /// Returns what follows the first `?`.
    pub fn query(&self) -> Option<&'b [u8]> {
        match *self {
            Self::Origin { query, .. } | Self::Absolute { query, .. } => query,
            Self::Authority(_) | Self::Asterisk => None,
        }
    }

    /// Returns the host and port if the target has them. They take precedence over the Host header (RFC 9112, 3.2.2).
    pub fn authority(&self) -> Option<&'b [u8]> {
        match *self {
            Self::Absolute { authority, .. } | Self::Authority(authority) => Some(authority),
            Self::Origin { .. } | Self::Asterisk => None,
        }
    }
}

/// The bytes that may stand in a target and do not end its path.
const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = b' ' as usize + 1;
    while b < 256 {
        table[b] = b != 0x7f && b != b'#' as usize && b != b'?' as usize;
        b += 1;
    }
    table
};

/// Returns whether `b` may stand in a target, and is not the `?` that ends its path.
pub(crate) fn is_target_byte(b: u8) -> bool {
    TARGET[usize::from(b)]
}

/// Splits a target at its first `?` into path and query string, as `spork/http` does.
fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|&b| b == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}
