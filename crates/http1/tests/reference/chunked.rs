//! The reference parser of chunked bodies: recursive descent by the grammar of RFC 9112, 7.1, from the start each time.

/// Why a body is not complete: more bytes are needed, or it is refused with this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    More,
    Refused(u16),
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    data: Vec<u8>,
}

/// Returns the data that was read, and where the body ends or why it is not complete.
pub fn chunked(bytes: &[u8], max_body: u64) -> (Vec<u8>, Result<usize, Stop>) {
    let mut reader = Reader { bytes, at: 0, data: vec![] };
    let end = reader.body(u128::from(max_body)).map(|()| reader.at);
    (reader.data, end)
}

const REFUSED: Stop = Stop::Refused(400);

fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

impl Reader<'_> {
    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::More)
    }

    fn take(&mut self) -> Result<u8, Stop> {
        let b = self.peek()?;
        self.at += 1;
        Ok(b)
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), Stop> {
        for b in expected {
            if self.take()? != *b {
                return Err(REFUSED);
            }
        }
        Ok(())
    }

    /// Takes bytes as long as they are `allowed`, and returns how many there were.
    fn many(&mut self, allowed: impl Fn(u8) -> bool) -> Result<usize, Stop> {
        let start = self.at;
        while allowed(self.peek()?) {
            self.at += 1;
        }
        Ok(self.at - start)
    }

    fn spaces(&mut self) -> Result<usize, Stop> {
        self.many(|b| b == b' ' || b == b'\t')
    }

    fn token(&mut self) -> Result<(), Stop> {
        if self.many(is_tchar)? == 0 { Err(REFUSED) } else { Ok(()) }
    }

    fn body(&mut self, max_body: u128) -> Result<(), Stop> {
        let mut total = 0u128;
        let mut overhead = 0i128;
        loop {
            let start = self.at;
            let size = self.size_line();
            // A line that is too long is refused even if it is incomplete, or malformed further on.
            let end = self.bytes[start..].iter().position(|b| b"\r\n".contains(b)).unwrap_or(self.bytes.len() - start);
            let shown = end.min(self.at - start);
            if shown > 1024 {
                return Err(REFUSED);
            }
            let size = size?;
            total += size;
            if total > max_body {
                return Err(Stop::Refused(413));
            }
            overhead = (overhead + shown as i128 - 16 - 2 * size as i128).max(0);
            if overhead > 16 * 1024 {
                return Err(REFUSED);
            }
            if size == 0 {
                return self.trailers();
            }
            for _ in 0..size {
                let b = self.take()?;
                self.data.push(b);
            }
            self.expect(b"\r\n")?;
        }
    }

    fn size_line(&mut self) -> Result<u128, Stop> {
        let start = self.at;
        let digits = self.many(|b| b.is_ascii_hexdigit());
        if self.at - start > 16 {
            return Err(REFUSED);
        }
        if digits? == 0 {
            return Err(REFUSED);
        }
        let digits = String::from_utf8(self.bytes[start..self.at].to_vec()).unwrap();
        let size = u128::from_str_radix(&digits, 16).unwrap();
        let mut spaces = self.spaces()?;
        while self.peek()? == b';' {
            self.at += 1;
            spaces = self.extension()?;
        }
        if spaces > 0 {
            return Err(REFUSED);
        }
        self.expect(b"\r\n")?;
        Ok(size)
    }

    /// Takes an extension, and returns how many spaces follow it.
    fn extension(&mut self) -> Result<usize, Stop> {
        self.spaces()?;
        self.token()?;
        let spaces = self.spaces()?;
        if self.peek()? != b'=' {
            return Ok(spaces);
        }
        self.at += 1;
        self.spaces()?;
        if self.peek()? == b'"' {
            self.at += 1;
            self.quoted()?;
        } else {
            self.token()?;
        }
        self.spaces()
    }

    fn quoted(&mut self) -> Result<(), Stop> {
        loop {
            let b = match self.take()? {
                b'"' => return Ok(()),
                b'\\' => self.take()?,
                b => b,
            };
            if (b < b' ' && b != b'\t') || b == 0x7f {
                return Err(REFUSED);
            }
        }
    }

    fn trailers(&mut self) -> Result<(), Stop> {
        let start = self.at;
        let result = self.trailer_lines();
        // The section is too large if its well-formed bytes alone exceed the limit.
        let well_formed = self.at - start - usize::from(result == Err(REFUSED));
        if well_formed > 8 * 1024 { Err(Stop::Refused(431)) } else { result }
    }

    fn trailer_lines(&mut self) -> Result<(), Stop> {
        while self.peek()? != b'\r' {
            if self.many(is_tchar)? == 0 || self.peek()? != b':' {
                self.at += 1;
                return Err(REFUSED);
            }
            self.at += 1;
            self.many(|b| b == b'\t' || (b >= b' ' && b != 0x7f))?;
            self.expect(b"\r\n")?;
        }
        self.expect(b"\r\n")
    }
}
