//! The request line: method, target and version (RFC 9112, 3).

use crate::grammar::is_tchar;
use crate::reject::Reject;
use crate::request::target::Target;
use crate::version::Version;

/// The longest method that is taken. The longest registered one has 17 bytes (`UPDATEREDIRECTREF`).
pub const MAX_METHOD: usize = 32;

/// A complete request line by its parts.
#[derive(Clone)]
pub(crate) struct RequestLine<'b> {
    pub(crate) method: &'b [u8],
    pub(crate) raw_target: &'b [u8],
    pub(crate) target: Target<'b>,
    pub(crate) version: Version,
}

impl<'b> RequestLine<'b> {
    /// Parses a line without its CRLF.
    pub(crate) fn parse(line: &'b [u8]) -> Result<Self, Reject> {
        Self::with_method(line, method_end(line)?)
    }

    /// Parses a line without its CRLF, whose method ends at this index.
    pub(crate) fn with_method(line: &'b [u8], method_end: Option<usize>) -> Result<Self, Reject> {
        let method_end = method_end.filter(|&end| end < line.len()).ok_or(Reject::METHOD)?;
        let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
        let space = rest.iter().position(|&b| b == b' ').ok_or(Reject::REQUEST_LINE)?;
        let (raw_target, version) = (&rest[..space], &rest[space + 1..]);
        // The version comes first, since nothing is known about the targets of other versions.
        let version = match version {
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Reject::VERSION_UNSUPPORTED),
            _ => return Err(Reject::VERSION),
        };
        let target = Target::parse(method, raw_target)?;
        Ok(Self { method, raw_target, target, version })
    }
}

/// Returns where the method at the start of `line` ends, or `None` if the line, which may be incomplete, ends within
/// it.
pub(crate) fn method_end(line: &[u8]) -> Result<Option<usize>, Reject> {
    for (i, &b) in line.iter().enumerate() {
        match b {
            b' ' if i > 0 => return Ok(Some(i)),
            _ if !is_tchar(b) => return Err(Reject::METHOD),
            _ if i == MAX_METHOD => return Err(Reject::METHOD_TOO_LONG),
            _ => {}
        }
    }
    Ok(None)
}
