//! The request line: method, target and version (RFC 9112, 3).

use crate::grammar::is_tchar;
use crate::reject::Reject;
use crate::request::target::{Target, is_target_byte};
use crate::version::Version;

/// The longest method that is taken. The longest registered one has 17 bytes (`UPDATEREDIRECTREF`).
pub const MAX_METHOD: usize = 32;

/// A complete request line by its parts.
pub(crate) struct RequestLine<'b> {
    pub(crate) method: &'b [u8],
    pub(crate) raw_target: &'b [u8],
    pub(crate) target: Target<'b>,
    pub(crate) version: Version,
}

/// Where the parts of a complete request line end, so that it is parsed once even if its headers arrive later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineEnds {
    method: usize,
    /// The end of the part of the target before its query.
    path: usize,
    target: usize,
    pub(crate) version: Version,
    /// The target is a path, with or without a query.
    is_path: bool,
}

impl Default for LineEnds {
    /// The ends of no line.
    fn default() -> Self {
        Self { method: 0, path: 0, target: 0, version: Version::Http11, is_path: false }
    }
}

impl LineEnds {
    /// Parses a line without its CRLF, whose method ends at this index.
    pub(crate) fn parse(line: &[u8], method_end: Option<usize>) -> Result<Self, Reject> {
        let method = method_end.filter(|&end| end < line.len()).ok_or(Reject::METHOD)?;
        let rest = &line[method + 1..];
        let length = rest.iter().position(|&b| b == b' ').ok_or(Reject::REQUEST_LINE)?;
        // The version comes first, since nothing is known about the targets of other versions.
        let version = match &rest[length + 1..] {
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Reject::VERSION_UNSUPPORTED),
            _ => return Err(Reject::VERSION),
        };
        let raw_target = &rest[..length];
        let is_path = matches!(Target::parse(&line[..method], raw_target)?, Target::Origin { .. });
        let path = raw_target.iter().position(|&b| b == b'?').unwrap_or(length);
        Ok(Self { method, path: method + 1 + path, target: method + 1 + length, version, is_path })
    }

    /// Reads a line of the usual kind at the start of `bytes`: it asks for a path by HTTP/1.1, and has arrived with its CRLF. Returns
    /// its length too. Any other line, and one that is wrong, is left to `parse`.
    pub(crate) fn usual(bytes: &[u8]) -> Option<(Self, usize)> {
        const END: &[u8] = b" HTTP/1.1\r\n";
        let method = method_end(bytes).ok()??;
        let is_path = bytes.get(method + 1) == Some(&b'/') && &bytes[..method] != b"CONNECT";
        let end_of = |from: usize| Some(from + bytes.get(from..)?.iter().position(|&byte| !is_target_byte(byte))?);
        let path = end_of(method + 1)?;
        let mut target = path;
        while bytes[target] == b'?' {
            target = end_of(target + 1)?;
        }
        if !is_path || !bytes[target..].starts_with(END) {
            return None;
        }
        Some((Self { method, path, target, version: Version::Http11, is_path }, target + END.len()))
    }

    /// The parts of the line that has these ends.
    pub(crate) fn parts<'b>(&self, line: &'b [u8]) -> Result<RequestLine<'b>, Reject> {
        let (method, raw_target) = (&line[..self.method], &line[self.method + 1..self.target]);
        let target = if self.is_path {
            let query = (self.path < self.target).then(|| &line[self.path + 1..self.target]);
            Target::Origin { path: &line[self.method + 1..self.path], query }
        } else {
            Target::parse(method, raw_target)?
        };
        Ok(RequestLine { method, raw_target, target, version: self.version })
    }

    /// The method and the target, up to its query, of the line that has these ends.
    pub(crate) fn without_query<'b>(&self, line: &'b [u8]) -> &'b [u8] {
        &line[..self.path]
    }
}

/// Returns where the method at the start of `line` ends, or `None` if the line, which may be incomplete, ends within
/// it.
pub(crate) fn method_end(line: &[u8]) -> Result<Option<usize>, Reject> {
    // Most requests have this method.
    if line.starts_with(b"GET ") {
        return Ok(Some(3));
    }
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
