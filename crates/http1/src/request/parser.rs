//! The parser of a head that arrives piece by piece: it finds the lines, and keeps their limits.

use crate::grammar::position;
use crate::reject::Reject;
use crate::request::fields::parse_headers;
use crate::request::head::Head;
use crate::request::known::KnownHeaders;
use crate::request::line::{LineEnds, method_end};

/// How many empty lines may precede the request line. RFC 9112, 2.2 asks a server to ignore at least one, which old
/// clients send after a body. With no bound, a client could hold a connection by sending nothing but line ends.
pub const MAX_EMPTY_LINES: u8 = 4;

/// How large a request head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The bytes of the whole head, from the first one to the empty line that ends it.
    pub max_head: usize,
    /// The bytes of the request line without its CRLF. RFC 9112, 3 recommends at least 8000.
    pub max_request_line: usize,
    /// The number of header lines.
    pub max_headers: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_head: 16 * 1024, max_request_line: 8 * 1024, max_headers: 100 }
    }
}

/// How far a parser got with the bytes that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parse<T> {
    /// Nothing is wrong so far, and more bytes are needed.
    Partial,
    /// Everything has arrived.
    Complete(T),
}

/// Parses the head of one request from a buffer that its caller appends to. It holds no bytes itself, but remembers
/// which ones it has examined, so that a client that sends one byte at a time costs no more than one that sends all at
/// once.
#[derive(Clone, Debug)]
pub struct HeadParser {
    limits: HeadLimits,
    /// No line end is left to be found before this index.
    examined: usize,
    /// Where the incomplete line begins.
    line: usize,
    /// Where the request line begins, after the empty lines.
    start: usize,
    /// Where the headers begin; 0 until the request line is complete.
    headers: usize,
    /// The parts of the request line once it is complete.
    request_line: LineEnds,
    /// How many header lines are complete.
    lines: usize,
    empty_lines: u8,
}

impl HeadParser {
    /// Makes a parser for one head.
    pub fn new(limits: HeadLimits) -> Self {
        let request_line = LineEnds::default();
        Self { limits, examined: 0, line: 0, start: 0, headers: 0, request_line, lines: 0, empty_lines: 0 }
    }

    /// Forgets what is remembered of a head, for the next one.
    pub fn restart(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Returns whether a byte of the request itself has arrived, and not just empty lines. Until then the connection is
    /// idle.
    pub fn has_begun(&self) -> bool {
        self.examined > self.start
    }

    /// Parses `buffer`, which has all bytes of the last call and perhaps more.
    ///
    /// Lines are checked in their order. The request line is checked as soon as it is complete, and its method and
    /// length even before. Line ends and sizes are checked as they arrive. The headers are checked when all of them
    /// have arrived: first their syntax, then Host, then what frames the body, then Expect.
    ///
    /// # Errors
    /// Returns the [`Reject`] to respond with: 400 for anything malformed or ambiguous, or 414, 417, 431, 501 or 505 as
    /// its constants say.
    pub fn parse<'b>(&mut self, buffer: &'b [u8]) -> Result<Parse<Head<'b>>, Reject> {
        self.parse_known::<()>(buffer, &mut KnownHeaders::default())
    }

    /// Does the same as [`parse`](Self::parse), but does not parse header lines that are among the known ones.
    ///
    /// # Errors
    /// Returns the errors of [`parse`](Self::parse).
    pub fn parse_known<'b, T>(
        &mut self,
        buffer: &'b [u8],
        known: &mut KnownHeaders<T>,
    ) -> Result<Parse<Head<'b>>, Reject> {
        let Some(window) = self.find_request_line(buffer)? else { return Ok(Parse::Partial) };
        let line = self.request_line.parts(&window[self.start..self.headers])?;
        if self.lines == 0 {
            let headers = &window[self.headers..];
            if let Some(meaning) = known.find(headers, line.version, self.limits.max_headers) {
                let (block, len) = (&headers[..meaning.len()], self.headers + meaning.len());
                return Ok(Parse::Complete(Head::known(line, meaning, block, len)));
            }
        }
        let Some(end) = self.find_end(window)? else {
            return if self.is_full(buffer) { Err(Reject::HEAD_TOO_LARGE) } else { Ok(Parse::Partial) };
        };
        let block = &window[self.headers..end];
        let headers = parse_headers(block, self.lines)?;
        Head::new(line, headers, block, end).map(Parse::Complete)
    }

    /// Returns the method and the target, up to its query, of the head at the start of `buffer`, if all of the head has arrived.
    /// The headers are not checked yet. What is found out here is not looked for again by
    /// [`parse_known`](Self::parse_known).
    ///
    /// ```
    /// use kqnet_http1::{HeadLimits, HeadParser, KnownHeaders};
    ///
    /// let known = &mut KnownHeaders::<()>::default();
    /// let parser = &mut HeadParser::new(HeadLimits::default());
    /// assert_eq!(parser.arrived(b"GET /a?b HTTP/1.1\r\nHost: h\r\n", known), None);
    /// assert_eq!(parser.arrived(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\nGET", known), Some(&b"GET /a"[..]));
    /// ```
    pub fn arrived<'b, T>(&mut self, buffer: &'b [u8], known: &mut KnownHeaders<T>) -> Option<&'b [u8]> {
        let window = self.find_request_line(buffer).ok()??;
        let (line, headers) = (&self.request_line, &window[self.headers..]);
        let is_known = self.lines == 0 && known.find(headers, line.version, self.limits.max_headers).is_some();
        let path = line.without_query(&window[self.start..]);
        (is_known || self.find_end(window).ok()?.is_some()).then_some(path)
    }

    /// Returns whether `buffer` has as many bytes as a head may have.
    fn is_full(&self, buffer: &[u8]) -> bool {
        buffer.len() >= self.limits.max_head
    }

    /// Finds the request line, unless it was found before. Returns as much of the buffer as the head may take up, or `None` if
    /// the line is not complete.
    fn find_request_line<'b>(&mut self, buffer: &'b [u8]) -> Result<Option<&'b [u8]>, Reject> {
        if buffer.len() < self.examined {
            // Bytes were taken away, so what is remembered is about another buffer.
            self.restart();
        }
        let window = &buffer[..buffer.len().min(self.limits.max_head)];
        let is_found = self.headers != 0 || self.search_request_line(window, self.is_full(buffer))?;
        Ok(is_found.then_some(window))
    }

    /// Searches for the request line. Returns whether it is complete.
    #[inline(never)] // So that what comes before it is inlined, which for most calls is all.
    fn search_request_line(&mut self, window: &[u8], is_full: bool) -> Result<bool, Reject> {
        let longest = self.limits.max_request_line.saturating_add(2);
        if self.examined == 0 {
            if let Some((line, len)) = LineEnds::usual(window).filter(|(_, len)| *len <= longest) {
                self.begin_headers(line, len);
                return Ok(true);
            }
        }
        loop {
            let line = &window[self.start..];
            let line = &line[..line.len().min(longest)];
            match line_end(line, self.examined - self.start) {
                Some(2) if line[0] == b'\r' => {
                    if self.empty_lines == MAX_EMPTY_LINES {
                        return Err(Reject::EMPTY_LINES);
                    }
                    self.empty_lines += 1;
                    self.start += 2;
                    self.examined = self.start;
                }
                Some(end) => {
                    // The method is checked before the line end, as it would be if the line had arrived in pieces.
                    let method = method_end(&line[..end - 1])?;
                    let line = line[..end].strip_suffix(b"\r\n").ok_or(Reject::BARE_LF)?;
                    self.begin_headers(LineEnds::parse(line, method)?, self.start + end);
                    return Ok(true);
                }
                None => {
                    // Bytes that are not HTTP, such as a TLS ClientHello, may never have a line end.
                    let is_half_empty_line = line == b"\r";
                    if !is_half_empty_line {
                        method_end(line)?;
                    }
                    if is_full || line.len() == longest {
                        return Err(Reject::REQUEST_LINE_TOO_LONG);
                    }
                    if !is_half_empty_line {
                        self.examined = window.len();
                    }
                    return Ok(false);
                }
            }
        }
    }

    /// Takes note of the request line, behind which the headers begin.
    fn begin_headers(&mut self, line: LineEnds, at: usize) {
        self.request_line = line;
        (self.headers, self.examined, self.line) = (at, at, at);
    }

    /// Returns where the head ends. The empty line that ends it is not counted as examined, so that another call finds
    /// it again.
    fn find_end(&mut self, window: &[u8]) -> Result<Option<usize>, Reject> {
        while let Some(end) = line_end(window, self.examined) {
            match &window[self.line..end] {
                b"\r\n" => return Ok(Some(end)),
                line if line.ends_with(b"\r\n") => {}
                _ => return Err(Reject::BARE_LF),
            }
            if self.lines == self.limits.max_headers {
                return Err(Reject::TOO_MANY_HEADERS);
            }
            self.lines += 1;
            self.line = end;
            self.examined = end;
        }
        self.examined = window.len();
        Ok(None)
    }
}

/// Returns the index after the first LF of `bytes` at or after `from`.
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    position(bytes.get(from..)?, b'\n').map(|i| from + i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_slow_client_are_examined_once() {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(16_000)).into_bytes();
        let mut parser = HeadParser::new(HeadLimits::default());
        for end in 0..head.len() {
            assert!(matches!(parser.parse(&head[..end]), Ok(Parse::Partial)));
            assert_eq!(parser.examined, end);
        }
        assert!(matches!(parser.parse(&head), Ok(Parse::Complete(_))));
    }
}
