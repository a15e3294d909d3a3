//! Every reason for which a request is refused, with the status of the response.

use std::fmt;

/// Why a request cannot be served. The connection must be closed after the response, since nobody knows where the next
/// request would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status of the response.
    pub status: u16,
    /// What is wrong with the request, in words that can be the body of the response.
    pub reason: &'static str,
}

const fn reject(status: u16, reason: &'static str) -> Reject {
    Reject { status, reason }
}

/// Reasons to refuse a request head.
impl Reject {
    /// More than [`MAX_EMPTY_LINES`](crate::MAX_EMPTY_LINES) empty lines precede the request line. RFC 9112, 2.2 asks a
    /// server to ignore at least one.
    pub const EMPTY_LINES: Self = reject(400, "too many empty lines before the request line");
    /// A line ends in a bare LF. RFC 9112, 2.2 lets a recipient take it for a line ending, but a recipient that does
    /// and one that does not see different requests.
    pub const BARE_LF: Self = reject(400, "line does not end in CRLF");
    /// The method is empty or not a token (RFC 9110, 9.1), or is not followed by a space (RFC 9112, 3).
    pub const METHOD: Self = reject(400, "method is not a token followed by a space");
    /// The method is longer than [`MAX_METHOD`](crate::MAX_METHOD), and so longer than any in use (RFC 9112, 3).
    pub const METHOD_TOO_LONG: Self = reject(501, "method is too long");
    /// The request line is longer than its limit (RFC 9112, 3).
    pub const REQUEST_LINE_TOO_LONG: Self = reject(414, "request line is too long");
    /// The request line is not a method, a target and a version with one space between them (RFC 9112, 3).
    pub const REQUEST_LINE: Self = reject(400, "request line is not method, target and version");
    /// The last word of the request line is not a version (RFC 9112, 2.3).
    pub const VERSION: Self = reject(400, "malformed HTTP version");
    /// The version is not HTTP/1.x (RFC 9110, 15.6.6). The preface of HTTP/2 is refused for this reason.
    pub const VERSION_UNSUPPORTED: Self = reject(505, "only HTTP/1.x is supported");
    /// The target has a byte that no target may have, or it has none of the forms that RFC 9112, 3.2 defines for the
    /// method.
    pub const TARGET: Self = reject(400, "malformed request target");
    /// The head is larger than its limit (RFC 6585, 5).
    pub const HEAD_TOO_LARGE: Self = reject(431, "request head is too large");
    /// The head has more header lines than the limit allows (RFC 6585, 5).
    pub const TOO_MANY_HEADERS: Self = reject(431, "too many headers");
    /// A header name is empty, has a byte that no token has, or is followed by a space (RFC 9112, 5.1), or the line is
    /// folded (RFC 9112, 5.2).
    pub const HEADER_NAME: Self = reject(400, "malformed header name or folded header");
    /// A header value has a CR, a NUL or another control byte (RFC 9110, 5.5).
    pub const HEADER_VALUE: Self = reject(400, "control byte in a header value");
    /// An HTTP/1.1 request has no Host header (RFC 9112, 3.2).
    pub const HOST_MISSING: Self = reject(400, "no Host header");
    /// There is more than one Host header (RFC 9112, 3.2).
    pub const HOST_REPEATED: Self = reject(400, "more than one Host header");
    /// The value of Host is not a host and a port (RFC 9110, 7.2; RFC 9112, 3.2).
    pub const HOST: Self = reject(400, "malformed Host header");
    /// Content-Length is not a decimal number that fits 64 bits (RFC 9110, 8.6; RFC 9112, 6.3).
    pub const CONTENT_LENGTH: Self = reject(400, "malformed Content-Length");
    /// There is more than one Content-Length. RFC 9112, 6.3 allows equal ones to count as one, but no client in use
    /// sends them.
    pub const CONTENT_LENGTH_REPEATED: Self = reject(400, "more than one Content-Length");
    /// There are both Content-Length and Transfer-Encoding (RFC 9112, 6.3).
    pub const LENGTH_AND_ENCODING: Self = reject(400, "both Content-Length and Transfer-Encoding");
    /// Transfer-Encoding does not end in its only `chunked`, or an element of it is not just the name of a coding
    /// (RFC 9112, 6.3 and 7.1).
    pub const TRANSFER_ENCODING: Self = reject(400, "malformed Transfer-Encoding");
    /// An HTTP/1.0 request has Transfer-Encoding (RFC 9112, 6.1).
    pub const TRANSFER_ENCODING_IN_1_0: Self = reject(400, "Transfer-Encoding in an HTTP/1.0 request");
    /// A transfer coding other than chunked was applied (RFC 9112, 6.1).
    pub const TRANSFER_ENCODING_UNSUPPORTED: Self = reject(501, "only the chunked transfer coding is supported");
    /// The client expects something other than `100-continue` (RFC 9110, 10.1.1).
    pub const EXPECTATION: Self = reject(417, "only 100-continue can be expected");
}

/// Reasons to refuse a request body.
impl Reject {
    /// The body is larger than its limit (RFC 9110, 15.5.14).
    pub const BODY_TOO_LARGE: Self = reject(413, "request body is too large");
    /// A chunk size is not a hexadecimal number of at most 16 digits (RFC 9112, 7.1).
    pub const CHUNK_SIZE: Self = reject(400, "malformed chunk size");
    /// A chunk extension does not follow its grammar (RFC 9112, 7.1.1).
    pub const CHUNK_EXTENSION: Self = reject(400, "malformed chunk extension");
    /// The chunk extensions are too long, by themselves or in proportion to the data (RFC 9112, 7.1.1).
    pub const CHUNK_OVERHEAD: Self = reject(400, "chunk extensions are too long");
    /// The data of a chunk is not followed by CRLF (RFC 9112, 7.1).
    pub const CHUNK_END: Self = reject(400, "chunk data does not end in CRLF");
    /// A trailer field is malformed (RFC 9112, 7.1.2 and 5).
    pub const TRAILER: Self = reject(400, "malformed trailer field");
    /// The trailer section is larger than its limit (RFC 6585, 5).
    pub const TRAILERS_TOO_LARGE: Self = reject(431, "trailer section is too large");
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.status)
    }
}

impl std::error::Error for Reject {}
