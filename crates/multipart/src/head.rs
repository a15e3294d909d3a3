//! The headers of a part (RFC 7578, 4.8).

use crate::disposition::Disposition;
use crate::parameters::{is_token, trim};
use crate::reject::Reject;

/// The most headers of a part. Browsers send two.
pub const MAX_HEADERS: usize = 32;

/// A header of a part: its name as it was sent, and its value without spaces around it.
pub type Header<'i> = (&'i [u8], &'i [u8]);

/// What the headers of a part say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead<'i> {
    /// The part's name, and that of its file.
    pub disposition: Disposition<'i>,
    /// The value of Content-Type, if there is one. Nothing says that it is true.
    pub content_type: Option<&'i [u8]>,
    /// All headers, in their order.
    pub headers: Vec<Header<'i>>,
}

impl<'i> PartHead<'i> {
    /// Parses a head without its last two CRLFs.
    ///
    /// # Errors
    /// Returns the [`Reject`] to respond with.
    pub fn parse(head: &'i [u8]) -> Result<Self, Reject> {
        let mut headers = Vec::with_capacity(4);
        for line in lines(head) {
            let colon = line.iter().position(|&b| b == b':').ok_or(Reject::HEADER)?;
            let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
            // A bare CR or LF, and the space that continues a folded line, are refused here.
            if !is_token(name) || !value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..)) {
                return Err(Reject::HEADER);
            }
            if headers.len() == MAX_HEADERS {
                return Err(Reject::TOO_MANY_HEADERS);
            }
            headers.push((name, value));
        }
        let only = |name: &str| {
            let mut found = headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name.as_bytes()));
            let value = found.next().map(|header| header.1);
            if found.next().is_some() { Err(Reject::HEADER_REPEATED) } else { Ok(value) }
        };
        let disposition = Disposition::parse(only("Content-Disposition")?.ok_or(Reject::NO_DISPOSITION)?)?;
        let content_type = only("Content-Type")?;
        let encoding = only("Content-Transfer-Encoding")?.unwrap_or(b"binary");
        if ![&b"binary"[..], b"8bit", b"7bit"].iter().any(|known| encoding.eq_ignore_ascii_case(known)) {
            return Err(Reject::ENCODED);
        }
        // A file may have such a type, which has no meaning here.
        let is_nested = content_type
            .is_some_and(|value| value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")));
        if is_nested && disposition.filename.is_none() {
            return Err(Reject::NESTED);
        }
        Ok(Self { disposition, content_type, headers })
    }
}

/// Splits a head at its CRLFs.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.windows(2).position(|two| two == b"\r\n") {
            Some(end) => {
                rest = Some(&text[end + 2..]);
                Some(&text[..end])
            }
            None => rest.take(),
        }
    })
}
