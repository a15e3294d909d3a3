//! Request targets: their forms, the split into route and query string, and the pairs of a query string.

use crate::Reject;
use crate::grammar::{decimal, hex_pair};
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// A request target in one of the four forms of RFC 9112, 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`: nearly every request.
    Origin {
        /// Begins with `/`.
        path: &'b [u8],
        /// What follows the first `?`.
        query: Option<&'b [u8]>,
    },
    /// `http://host:port/path?query`, as a client sends to a proxy. A server must take it too (RFC 9112, 3.2.2).
    Absolute {
        /// Host and port.
        authority: &'b [u8],
        /// Begins with `/`; `/` if the target has none.
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
    /// Takes the target of a request with `method` apart.
    ///
    /// Taken is any byte but controls, space and `#`: more than RFC 3986 has, because browsers and curl send `|`, `[`,
    /// `{`, `"` unencoded, curl also what is not ASCII, and no reader takes these for the end of a target. The bytes are
    /// passed on as they are, as nginx, Go and Node do. A `#` would begin a fragment, which is never sent: readers differ
    /// on whether the path ends there.
    ///
    /// # Errors
    /// [`Reject::TARGET`] if it has another byte, or another form than its method has.
    pub fn parse(method: &[u8], target: &'b [u8]) -> Result<Self, Reject> {
        if !target.iter().all(|&b| b > b' ' && b != 0x7f && b != b'#') {
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
        // No other scheme can be meant for this server.
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return None;
        }
        let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (path, query) = split(rest);
        let path = if path.is_empty() { b"/" } else { path };
        // An empty host and a user are errors (RFC 9110, 4.2.1 and 4.2.4).
        is_host_and_port(authority).then_some(Self::Absolute { authority, path, query })
    }

    /// The path: what a router matches. The host and port for CONNECT, `*` for OPTIONS of the whole server.
    pub fn path(&self) -> &'b [u8] {
        match *self {
            Self::Origin { path, .. } | Self::Absolute { path, .. } | Self::Authority(path) => path,
            Self::Asterisk => b"*",
        }
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&'b [u8]> {
        match *self {
            Self::Origin { query, .. } | Self::Absolute { query, .. } => query,
            Self::Authority(_) | Self::Asterisk => None,
        }
    }

    /// The host and port, if the target has one. It takes precedence over Host (RFC 9112, 3.2.2).
    pub fn authority(&self) -> Option<&'b [u8]> {
        match *self {
            Self::Absolute { authority, .. } | Self::Authority(authority) => Some(authority),
            Self::Origin { .. } | Self::Asterisk => None,
        }
    }
}

/// Splits a target at its first `?` into route and query string, as `spork/http` does.
fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|&b| b == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// Whether `value` is a host that is not empty, perhaps with a port (RFC 9110, 7.2; RFC 3986, 3.2.2).
pub(crate) fn is_host_and_port(value: &[u8]) -> bool {
    match split_port(value) {
        Some((host, port)) => is_host(host) && port.iter().all(u8::is_ascii_digit),
        None => false,
    }
}

/// Whether `value` is `host:port` (RFC 9112, 3.2.3).
fn is_authority_with_port(value: &[u8]) -> bool {
    let is_port = |port: &[u8]| decimal(port).is_some_and(|port| port <= u64::from(u16::MAX));
    split_port(value).is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// Splits at the colon before the port, which is not one of an IPv6 address. `None` if neither a port nor the end
/// follows the closing bracket.
fn split_port(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let host_end = match value {
        [b'[', ..] => value.iter().position(|&b| b == b']')? + 1,
        _ => value.iter().position(|&b| b == b':').unwrap_or(value.len()),
    };
    match &value[host_end..] {
        [] => Some((value, b"")),
        [b':', port @ ..] => Some((&value[..host_end], port)),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let mut rest = host;
    while let [b, tail @ ..] = rest {
        rest = match (b, tail) {
            (b'%', [high, low, tail @ ..]) if hex_pair(*high, *low).is_some() => tail,
            (b, _) if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(b) => tail,
            _ => return false,
        };
    }
    !host.is_empty()
}

/// The pairs of a query string, as the `query-string-grammar` of `spork/http` reads them, but to the end.
///
/// - Pairs are separated by `&` or `;`, a key from its value by the first `=`.
/// - `+` is a space, `%` and two hexadecimal digits are a byte; any other `%` stands for itself.
/// - A key without `=` has no value, where `spork/http` puts `true`.
/// - If there is nothing between two separators, there is no pair. A key may be empty, as in the URL standard and in Go.
///   In both cases the grammar of `spork/http` stops, and loses what follows.
/// - It is never an error, so the request table always gets a `:query` if its target has a `?`.
pub fn query(query: &[u8]) -> Query<'_> {
    Query { rest: query }
}

/// The iterator that [`query`] returns.
#[derive(Clone, Debug)]
pub struct Query<'q> {
    rest: &'q [u8],
}

impl<'q> Iterator for Query<'q> {
    type Item = (Cow<'q, [u8]>, Option<Cow<'q, [u8]>>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.rest.iter().position(|b| !b"&;".contains(b))?;
        self.rest = &self.rest[start..];
        let end = self.rest.iter().position(|b| b"&;".contains(b)).unwrap_or(self.rest.len());
        let (pair, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match pair.iter().position(|&b| b == b'=') {
            Some(equals) => (decode(&pair[..equals]), Some(decode(&pair[equals + 1..]))),
            None => (decode(pair), None),
        })
    }
}

impl std::iter::FusedIterator for Query<'_> {}

fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().any(|b| b"%+".contains(b)) {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [b, tail @ ..] = rest {
        let (b, tail) = match (b, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match hex_pair(*high, *low) {
                Some(byte) => (byte, after),
                None => (b'%', tail),
            },
            _ => (*b, tail),
        };
        decoded.push(b);
        rest = tail;
    }
    Cow::Owned(decoded)
}
