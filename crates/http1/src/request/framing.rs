//! The rules for the length of a request body: Content-Length and Transfer-Encoding (RFC 9112, 6.3).

use crate::grammar::{decimal, elements, is_token};
use crate::reject::Reject;
use crate::version::Version;

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body has this many bytes, possibly none.
    Length(u64),
    /// The body is chunked.
    Chunked,
}

/// What the headers that frame the body mean in combination.
#[derive(Default)]
pub(crate) struct FramingHeaders {
    lengths: usize,
    length: Option<u64>,
    codings: Codings,
}

impl FramingHeaders {
    /// Adds the value of a Content-Length header.
    pub(crate) fn add_content_length(&mut self, value: &[u8]) {
        self.lengths += 1;
        self.length = decimal(value);
    }

    /// Adds the value of a Transfer-Encoding header.
    pub(crate) fn add_transfer_encoding(&mut self, value: &[u8]) {
        self.codings.add(value);
    }

    /// Decides how the body is framed, or why that is malformed or ambiguous.
    pub(crate) fn framing(&self, version: Version) -> Result<Framing, Reject> {
        match (self.codings.lines, self.lengths) {
            (0, 0) => Ok(Framing::None),
            (0, 1) => self.length.map(Framing::Length).ok_or(Reject::CONTENT_LENGTH),
            (0, _) => Err(Reject::CONTENT_LENGTH_REPEATED),
            (_, 0) if version == Version::Http11 => self.codings.framing(),
            (_, 0) => Err(Reject::TRANSFER_ENCODING_IN_1_0),
            _ => Err(Reject::LENGTH_AND_ENCODING),
        }
    }
}

/// What all Transfer-Encoding headers mean in combination.
#[derive(Default)]
struct Codings {
    lines: usize,
    count: usize,
    chunked: usize,
    ends_in_chunked: bool,
    is_malformed: bool,
}

impl Codings {
    fn add(&mut self, value: &[u8]) {
        self.lines += 1;
        for coding in elements(value) {
            self.count += 1;
            self.ends_in_chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.chunked += usize::from(self.ends_in_chunked);
            // A coding with parameters is malformed too: chunked has none (RFC 9112, 7.1), and no other coding is
            // supported. `identity` is no longer a coding (RFC 7230 removed it), and readers differ on what it means.
            self.is_malformed |= !is_token(coding) || coding.eq_ignore_ascii_case(b"identity");
        }
    }

    fn framing(&self) -> Result<Framing, Reject> {
        if self.is_malformed || self.chunked != 1 || !self.ends_in_chunked {
            Err(Reject::TRANSFER_ENCODING)
        } else if self.count > 1 {
            Err(Reject::TRANSFER_ENCODING_UNSUPPORTED)
        } else {
            Ok(Framing::Chunked)
        }
    }
}
