//! The syntax of header lines, as the `httparse` crate reads it.

use crate::reject::Reject;

/// One header line: its name as the client spelled it, and its value without the spaces around it.
pub use httparse::Header;

/// Parses `block`, which consists of this many header lines and the empty line.
pub(crate) fn parse_headers(block: &[u8], lines: usize) -> Result<Vec<Header<'_>>, Reject> {
    let mut headers = vec![httparse::EMPTY_HEADER; lines];
    // If httparse finds a different end from our parser, the request is refused too.
    match httparse::parse_headers(block, &mut headers) {
        Ok(httparse::Status::Complete((len, parsed))) if len == block.len() && parsed.len() == lines => Ok(headers),
        Err(httparse::Error::HeaderValue) => Err(Reject::HEADER_VALUE),
        // Any other error concerns the beginning of a line.
        _ => Err(Reject::HEADER_NAME),
    }
}

/// Appends a header's name in lower case, which is how `spork/http` spells it in the request table.
pub fn push_lower(name: &str, out: &mut Vec<u8>) {
    out.extend(name.bytes().map(|b| b.to_ascii_lowercase()));
}
