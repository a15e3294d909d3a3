//! Range requests: which part of a file is asked for (RFC 9110, 14).

use crate::grammar::elements;

/// The part of a file that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it; the status is 200.
    All,
    /// The bytes from `first` to `last`, both included; the status is 206.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte, which is not before the first.
        last: u64,
    },
    /// Bytes that the file does not have; the status is 416.
    Unsatisfiable,
}

/// Applies the value of a Range header to a file of `len` bytes. Call this only for GET (RFC 9110, 14.2), after the
/// preconditions, and only if If-Range allows a range ([`if_range`](crate::conditional::if_range)).
///
/// Several ranges select all of the file: RFC 9110, 14.2 allows a server to ignore them, clients that understand
/// multipart responses are rare, and many small ranges are a known way to make a server send a lot. A malformed value
/// and an unknown unit select all of the file too.
pub fn select(value: &[u8], len: u64) -> Selection {
    single(value).map_or(Selection::All, |range| range.of(len))
}

enum Range {
    From(u64),
    FromTo(u64, u64),
    Suffix(u64),
}

impl Range {
    fn of(&self, len: u64) -> Selection {
        match *self {
            Self::From(first) | Self::FromTo(first, _) if first >= len => Selection::Unsatisfiable,
            Self::From(first) => Selection::Part { first, last: len - 1 },
            Self::FromTo(first, last) => Selection::Part { first, last: last.min(len - 1) },
            Self::Suffix(0) => Selection::Unsatisfiable,
            // RFC 9110, 14.1.2 calls this satisfiable, but Content-Range cannot express it.
            Self::Suffix(_) if len == 0 => Selection::All,
            Self::Suffix(count) => Selection::Part { first: len.saturating_sub(count), last: len - 1 },
        }
    }
}

/// Parses a value that has exactly one range.
fn single(value: &[u8]) -> Option<Range> {
    let equals = value.iter().position(|&b| b == b'=')?;
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut ranges = elements(set).filter(|range| !range.is_empty());
    let (range, None) = (ranges.next()?, ranges.next()) else {
        return None;
    };
    let dash = range.iter().position(|&b| b == b'-')?;
    match (&range[..dash], &range[dash + 1..]) {
        (b"", count) => position(count).map(Range::Suffix),
        (first, b"") => position(first).map(Range::From),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then_some(Range::FromTo(first, last))
        }
    }
}

/// Parses a number of any length. One that does not fit 64 bits becomes the largest one, which is beyond the end of any
/// file.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |n, &b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
    Some(number)
}
