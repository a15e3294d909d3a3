//! Range requests: one range of bytes (RFC 9110, 14).

use crate::grammar::elements;

/// What part of a file a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with 200.
    All,
    /// The bytes from `first` to `last`, both included, with 206.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte; not before the first.
        last: u64,
    },
    /// Nothing that there is: 416.
    Unsatisfiable,
}

/// Judges the value of a Range header for something of `len` bytes. To be asked for GET only (RFC 9110, 14.2), after the
/// preconditions, and only if If-Range allows it ([`if_range`](crate::conditional::if_range)).
///
/// Several ranges select all: RFC 9110, 14.2 allows to ignore them, clients that read multipart answers are rare, and
/// many small ranges are a known way to make a server send much. So does a malformed value or an unknown unit.
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
            // Satisfiable, says RFC 9110, 14.1.2, but Content-Range has no way to write it.
            Self::Suffix(_) if len == 0 => Selection::All,
            Self::Suffix(count) => Selection::Part { first: len.saturating_sub(count), last: len - 1 },
        }
    }
}

/// The range of a value that has just one.
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

/// A number of any length; what does not fit is beyond the end of everything.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |n, &b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
    Some(number)
}
