//! The rules for how the body of a response is framed and sent.

use crate::exchange::Exchange;
use crate::version::Version;

/// The body that a handler responds with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A body of this many bytes; 0 for no body.
    Known(u64),
    /// Pieces whose number and sizes are not known when the head is written.
    Streamed,
}

/// How the bytes of a body are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// No body is sent.
    None,
    /// The bytes are sent unchanged; the head has their number.
    Plain,
    /// Each piece is sent as a chunk, and the last chunk ends the body.
    Chunked,
    /// The bytes are sent unchanged; the end of the connection ends the body.
    UntilClose,
}

/// What the head says about the body, and how the body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The Content-Length in the head. In a response to HEAD it is the length of the body that GET would get.
    pub content_length: Option<u64>,
    /// How to send the body.
    pub delivery: Delivery,
}

/// Decides how a response with `status` and `body` is delivered.
///
/// | response | Content-Length | body |
/// | --- | --- | --- |
/// | 1xx, 204, 304, 2xx to CONNECT (RFC 9110, 8.6, 15.4.5 and 9.3.6) | none | none |
/// | 205 (RFC 9110, 15.3.6) | 0 | none |
/// | to HEAD (RFC 9110, 9.3.2) | if known | none |
/// | of a known length | yes | plain |
/// | streamed to an HTTP/1.1 client (RFC 9112, 6.1) | none | chunked |
/// | streamed to an HTTP/1.0 client (RFC 9112, 6.3) | none | until close |
pub fn plan(exchange: &Exchange, status: u16, body: Body) -> Plan {
    let known = match body {
        Body::Known(length) => Some(length),
        Body::Streamed => None,
    };
    let (content_length, delivery) = match status {
        100..=199 | 204 | 304 => (None, Delivery::None),
        _ if exchange.opens_tunnel(status) => (None, Delivery::None),
        205 => (Some(0), Delivery::None),
        _ if exchange.is_head => (known, Delivery::None),
        _ => match known {
            Some(_) => (known, Delivery::Plain),
            None if exchange.version == Version::Http11 => (None, Delivery::Chunked),
            None => (None, Delivery::UntilClose),
        },
    };
    Plan { content_length, delivery }
}
