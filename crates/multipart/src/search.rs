//! Finding a delimiter in data, by Horspool's algorithm.

/// A delimiter: CRLF, two hyphens, and a boundary. No boundary has a CR, so the only one is the first byte.
#[derive(Clone, Debug)]
pub struct Delimiter {
    bytes: Vec<u8>,
    /// How far to move on if a byte is where the last byte of the delimiter would be.
    shift: [u8; 256],
}

impl Delimiter {
    /// Makes the delimiter of a boundary, which has at most 70 bytes.
    pub fn new(boundary: &[u8]) -> Self {
        let bytes = [b"\r\n--", boundary].concat();
        let last = bytes.len() - 1;
        let mut shift = [bytes.len() as u8; 256];
        for (i, &b) in bytes[..last].iter().enumerate() {
            shift[usize::from(b)] = (last - i) as u8;
        }
        Self { bytes, shift }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The delimiter without its CRLF, which is not there at the start of a body.
    pub fn without_crlf(&self) -> &[u8] {
        &self.bytes[2..]
    }

    /// Returns where the delimiter begins in `data`.
    ///
    /// The time is linear in the worst case: a comparison goes on only where a CR is, and what it has compared has no
    /// other one.
    pub fn find(&self, data: &[u8]) -> Option<usize> {
        let last = self.bytes.len() - 1;
        let mut end = last;
        while let Some(&b) = data.get(end) {
            let start = end - last;
            if b == self.bytes[last] && data[start..].starts_with(&self.bytes) {
                return Some(start);
            }
            end += usize::from(self.shift[usize::from(b)]);
        }
        None
    }

    /// Returns how many bytes at the end of `data`, which has no delimiter, may be the beginning of one.
    pub fn partial(&self, data: &[u8]) -> usize {
        let tail = &data[data.len().saturating_sub(self.bytes.len() - 1)..];
        let start = tail.iter().rposition(|&b| b == b'\r').unwrap_or(tail.len());
        if self.bytes.starts_with(&tail[start..]) { tail.len() - start } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_found_at_its_first_place() {
        let delimiter = Delimiter::new(b"aba");
        for (data, found) in [
            (&b"\r\n--aba"[..], Some(0)),
            (b"\r\r\n--aba\r\n--aba", Some(1)),
            (b"x\r\n--ab\r\n--aba", Some(7)),
            (b"\r\n--abb", None),
            (b"\n--aba", None),
            (b"", None),
        ] {
            assert_eq!(delimiter.find(data), found, "{}", data.escape_ascii());
        }
    }

    #[test]
    fn the_beginning_of_a_delimiter_is_kept_back() {
        let delimiter = Delimiter::new(b"aba");
        for (data, kept) in [
            (&b"x\r\n--ab"[..], 6),
            (b"\r\n--\r", 1),
            (b"\r\n\r\n", 2),
            (b"\r\n-x", 0),
            (b"x\n--ab", 0),
            (b"\r", 1),
            (b"", 0),
        ] {
            assert_eq!(delimiter.partial(data), kept, "{}", data.escape_ascii());
        }
    }
}
