//! Maps the path of a request to the path of a file below a folder, with no way out of the folder.

use crate::grammar::hex_pair;
use std::fmt;

/// A path relative to a folder: segments with `/` between them, none of which is empty, `.` or `..`.
///
/// Whether symbolic links are followed is up to the caller: they are in the file system, not in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelativePath {
    bytes: Vec<u8>,
    is_directory: bool,
}

/// Why a path maps to no file. Every reason should get the same response, 404, so that a client learns nothing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` is not followed by two hexadecimal digits.
    Escape,
    /// It has a segment `..`, percent-encoded or not.
    Parent,
    /// After decoding it has a NUL or another control byte, a backslash, or a `/` that was percent-encoded.
    Byte,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "path does not begin with a slash",
            Self::Escape => "path has a malformed percent escape",
            Self::Parent => "path has a segment \"..\"",
            Self::Byte => "path has a control byte, a backslash or an encoded slash",
        })
    }
}

impl std::error::Error for PathError {}

impl RelativePath {
    /// Maps the path of a request, without its query, to a file. The path is percent-decoded once. Empty segments and
    /// `.` are dropped, as file systems do.
    ///
    /// `..` is refused rather than resolved: clients resolve it before they send a request, so one that arrives is not
    /// there by accident.
    ///
    /// # Errors
    /// Returns a [`PathError`] for a path that could lead out of the folder or could be read in two ways.
    pub fn new(path: &[u8]) -> Result<Self, PathError> {
        let path = path.strip_prefix(b"/").ok_or(PathError::NotAbsolute)?;
        let mut bytes = Vec::with_capacity(path.len());
        let mut is_directory = true;
        for segment in path.split(|&b| b == b'/') {
            let start = bytes.len();
            if start > 0 {
                bytes.push(b'/');
            }
            let name = bytes.len();
            decode(segment, &mut bytes)?;
            is_directory = false;
            match &bytes[name..] {
                b".." => return Err(PathError::Parent),
                b"" | b"." => {
                    bytes.truncate(start);
                    is_directory = true;
                }
                _ => {}
            }
        }
        Ok(Self { bytes, is_directory })
    }

    /// Returns the bytes of the path, which need not be UTF-8. They are empty for the folder itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether the request named a folder: its path ends in an empty segment or in `.`.
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// Returns whether a segment begins with a dot, as in `.git` and `.env`. A first segment `.well-known` does not
    /// count, since it is meant for clients (RFC 8615, 3).
    pub fn is_hidden(&self) -> bool {
        let mut segments = self.bytes.split(|&b| b == b'/');
        let first = segments.next().unwrap_or_default();
        first.starts_with(b".") && first != b".well-known" || segments.any(|segment| segment.starts_with(b"."))
    }
}

fn decode(segment: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut rest = segment;
    while let [b, tail @ ..] = rest {
        let (b, tail) = match (b, tail) {
            (b'%', [high, low, tail @ ..]) => (hex_pair(*high, *low).ok_or(PathError::Escape)?, tail),
            (b'%', _) => return Err(PathError::Escape),
            (b, tail) => (*b, tail),
        };
        if b.is_ascii_control() || matches!(b, b'\\' | b'/') {
            return Err(PathError::Byte);
        }
        out.push(b);
        rest = tail;
    }
    Ok(())
}
