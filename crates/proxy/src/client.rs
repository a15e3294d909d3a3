//! Who the client is: the hops of a request are followed from the nearest proxy back to the first that is not trusted.

use crate::{Endpoint, Trusted, forwarded, x_forwarded};

/// How the client reached the first proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// The scheme in a header. For a WebSocket some proxies name `ws` and `wss`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        if is("https") || is("wss") {
            Some(Self::Https)
        } else if is("http") || is("ws") {
            Some(Self::Http)
        } else {
            None
        }
    }
}

/// The lines of each header that a proxy may have added, in the order in which they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// The values of X-Forwarded-For.
    pub x_forwarded_for: &'a [&'a [u8]],
    /// The values of X-Forwarded-Proto.
    pub x_forwarded_proto: &'a [&'a [u8]],
    /// The values of Forwarded (RFC 7239).
    pub forwarded: &'a [&'a [u8]],
}

/// Which headers the proxies set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// X-Forwarded-For and X-Forwarded-Proto if a request has one of them, and Forwarded otherwise.
    #[default]
    Either,
    /// Only X-Forwarded-For and X-Forwarded-Proto.
    XForwarded,
    /// Only Forwarded.
    Forwarded,
}

/// What is known of the client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How it has reached the first proxy, if a proxy says so.
    pub scheme: Option<Scheme>,
}

/// Finds the client of a request that came from `peer`. Takes time in proportion to the length of the headers.
///
/// Each proxy appends the address that its own request came from. So the last address is true if the peer is trusted, the one
/// before it if the last address is trusted too, and so on. The client is the first that is not trusted, or the last one there is.
/// It is unknown if a proxy does not say where its request came from.
pub fn client(trusted: &Trusted, kind: Kind, peer: Endpoint, headers: &Headers<'_>) -> Client {
    if !trusted.has(peer) {
        return Client { endpoint: peer, scheme: None };
    }
    let has_x = !headers.x_forwarded_for.is_empty() || !headers.x_forwarded_proto.is_empty();
    match kind {
        Kind::Forwarded => forwarded::client(trusted, peer, headers.forwarded),
        Kind::Either if !has_x => forwarded::client(trusted, peer, headers.forwarded),
        Kind::Either | Kind::XForwarded => {
            x_forwarded::client(trusted, peer, headers.x_forwarded_for, headers.x_forwarded_proto)
        }
    }
}

/// Removes the spaces and tabs around a value.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
