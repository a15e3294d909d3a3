//! The version of HTTP that a client speaks.

/// A minor version of HTTP/1. HTTP/1.2 and later count as 1.1 (RFC 9110, 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}
