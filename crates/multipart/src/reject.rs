//! Every reason for which the body of a form is refused, with the status of the response.

use std::fmt;

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status of the response.
    pub status: u16,
    /// What is wrong with the form, in words that can be the body of the response.
    pub reason: &'static str,
}

const fn reject(reason: &'static str) -> Reject {
    Reject { status: 400, reason }
}

/// Reasons to refuse a Content-Type.
impl Reject {
    /// Content-Type is not a media type with parameters (RFC 9110, 8.3.1).
    pub const CONTENT_TYPE: Self = reject("malformed Content-Type");
    /// A form with parts has no boundary (RFC 7578, 4.1).
    pub const NO_BOUNDARY: Self = reject("Content-Type has no boundary");
    /// A parameter appears twice.
    pub const BOUNDARY_REPEATED: Self = reject("Content-Type has more than one boundary");
    /// The boundary is not 1 to 70 printable characters, or ends in a space (RFC 2046, 5.1.1).
    pub const BOUNDARY: Self = reject("malformed boundary");
}

/// Reasons to refuse a body.
impl Reject {
    /// The body ends before the delimiter that closes it (RFC 2046, 5.1.1).
    pub const TRUNCATED: Self = reject("the form ends before its last boundary");
    /// Before the first boundary there is text that does not end in CRLF or has no end. Forms have no such text (RFC 2046, 5.1.1
    /// allows it).
    pub const PREAMBLE: Self = reject("malformed text before the first boundary");
    /// The line of a delimiter has something after the boundary (RFC 2046, 5.1.1), or does not end in CRLF. Some readers
    /// would take it for data, and others for a delimiter.
    pub const DELIMITER: Self = reject("malformed line after a boundary");
    /// The headers of a part are larger than their limit.
    pub const HEAD_TOO_LARGE: Self = Self { status: 413, reason: "the head of a part is too large" };
    /// A part has more than [`MAX_HEADERS`](crate::MAX_HEADERS) headers.
    pub const TOO_MANY_HEADERS: Self = Self { status: 413, reason: "a part has too many headers" };
    /// A header of a part is not a token, a colon and a value, is folded over several lines, or has a control byte.
    pub const HEADER: Self = reject("malformed header of a part");
    /// A part has more than one Content-Disposition, Content-Type or Content-Transfer-Encoding.
    pub const HEADER_REPEATED: Self = reject("a part has a header twice");
    /// A part has no Content-Disposition (RFC 7578, 4.2).
    pub const NO_DISPOSITION: Self = reject("a part has no Content-Disposition");
    /// Content-Disposition is malformed, is not `form-data`, or has a parameter twice (RFC 7578, 4.2).
    pub const DISPOSITION: Self = reject("malformed Content-Disposition of a part");
    /// Content-Disposition has no name (RFC 7578, 4.2).
    pub const NO_NAME: Self = reject("a part has no name");
    /// `filename*` is not an extended value in UTF-8 or ISO-8859-1 (RFC 8187, 3.2).
    pub const FILE_NAME: Self = reject("malformed filename* of a part");
    /// A part is encoded (RFC 7578, 4.7 says not to do that).
    pub const ENCODED: Self = reject("Content-Transfer-Encoding is not supported");
    /// A part has parts of its own (RFC 7578, 4.3 says not to do that).
    pub const NESTED: Self = reject("parts within a part are not supported");
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.status)
    }
}

impl std::error::Error for Reject {}
