//! Request heads: the request line and the headers, and what they say about body and connection.

use crate::Reject;
use crate::grammar::{decimal, elements, is_tchar, is_token};
use crate::response::Exchange;
use crate::target::{self, Target};

/// One header line: its name as the client spelled it, its value without the spaces around it.
pub use httparse::Header;

/// How many empty lines may precede the request line. RFC 9112, 2.2 asks for one, which old clients send after a body;
/// a bound keeps a client from holding a connection with nothing but line ends.
pub const MAX_EMPTY_LINES: u8 = 4;

/// How long a method may be. The longest one registered has 17 bytes (`UPDATEREDIRECTREF`).
pub const MAX_METHOD: usize = 32;

/// How large a request head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, from the first byte to the empty line that ends it.
    pub max_head: usize,
    /// Bytes of the request line without its CRLF. RFC 9112, 3 recommends to support at least 8000.
    pub max_request_line: usize,
    /// Number of header lines.
    pub max_headers: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_head: 16 * 1024, max_request_line: 8 * 1024, max_headers: 100 }
    }
}

/// What a parser made of the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parse<T> {
    /// Nothing is wrong yet, and more bytes are needed.
    Partial,
    /// All of it was there.
    Complete(T),
}

/// The version of HTTP that a client speaks. HTTP/1.2 and up count as 1.1 (RFC 9110, 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// Where the body of a request ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body is so many bytes long, possibly none.
    Length(u64),
    /// The body is chunked.
    Chunked,
}

/// A request head. It borrows from the buffer that it was parsed from.
#[derive(Clone, Debug)]
pub struct Head<'b> {
    /// The method as sent; methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'b [u8],
    /// The request target as sent.
    pub raw_target: &'b [u8],
    /// The request target taken apart.
    pub target: Target<'b>,
    /// The version of the request.
    pub version: Version,
    /// The headers in the order in which they came.
    pub headers: Vec<Header<'b>>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client will take another response on this connection (RFC 9112, 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends its body (RFC 9110, 10.1.1). Only if there is a body to come.
    pub expect_continue: bool,
    /// How many bytes of the buffer the head took, the empty lines before it among them. The body begins there.
    pub len: usize,
}

impl Head<'_> {
    /// What a response to this request has to know.
    pub fn exchange(&self) -> Exchange {
        Exchange::new(self.method, self.version, self.keep_alive)
    }
}

/// Parses the head of one request from a buffer to which its caller appends. It remembers how far it has looked, so that
/// a client that sends a byte at a time costs no more than one that sends all at once. It holds no bytes itself.
#[derive(Clone, Debug)]
pub struct HeadParser {
    limits: HeadLimits,
    /// Bytes in which no more line end is to be found.
    examined: usize,
    /// Where the line begins that is not complete yet.
    line: usize,
    /// Where the request line begins: after the empty lines.
    start: usize,
    /// Where the headers begin; 0 until the request line is complete.
    headers: usize,
    /// Complete header lines.
    lines: usize,
    empty_lines: u8,
}

impl HeadParser {
    /// A parser for one head.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, examined: 0, line: 0, start: 0, headers: 0, lines: 0, empty_lines: 0 }
    }

    /// Whether the request has begun: a byte other than those of empty lines was seen. Until then a connection is idle.
    pub fn has_begun(&self) -> bool {
        self.examined > self.start
    }

    /// Looks at `buffer`, which has what it had at the last call, and more.
    ///
    /// Lines are judged in their order, the request line as soon as it is complete (its method and its length even
    /// before), line ends and sizes as they come, and the headers when all are there: first their syntax, then Host,
    /// then what frames the body, then Expect.
    ///
    /// # Errors
    /// The [`Reject`] to answer with: 400 for what is malformed or ambiguous, 414, 417, 431, 501 or 505 as documented
    /// with its constants.
    pub fn parse<'b>(&mut self, buffer: &'b [u8]) -> Result<Parse<Head<'b>>, Reject> {
        if buffer.len() < self.examined {
            // Bytes were taken away: what was remembered is about another buffer.
            *self = Self::new(self.limits);
        }
        let window = &buffer[..buffer.len().min(self.limits.max_head)];
        let is_full = buffer.len() >= self.limits.max_head;

        let mut request_line = None;
        if self.headers == 0 {
            request_line = self.find_request_line(window, is_full)?;
            if request_line.is_none() {
                return Ok(Parse::Partial);
            }
        }
        let Some(end) = self.find_end(window)? else {
            return if is_full { Err(Reject::HEAD_TOO_LARGE) } else { Ok(Parse::Partial) };
        };
        let request_line = match request_line {
            Some(request_line) => request_line,
            None => RequestLine::parse(&window[self.start..self.headers - 2])?,
        };
        let headers = parse_headers(&window[self.headers..end], self.lines)?;
        Head::new(request_line, headers, end).map(Parse::Complete)
    }

    fn find_request_line<'b>(&mut self, window: &'b [u8], is_full: bool) -> Result<Option<RequestLine<'b>>, Reject> {
        let longest = self.limits.max_request_line.saturating_add(2);
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
                    // Before the line end, in the order in which an incomplete line would have shown it.
                    method_end(&line[..end - 1])?;
                    let line = line[..end].strip_suffix(b"\r\n").ok_or(Reject::BARE_LF)?;
                    let request_line = RequestLine::parse(line)?;
                    self.headers = self.start + end;
                    self.examined = self.headers;
                    self.line = self.headers;
                    return Ok(Some(request_line));
                }
                None => {
                    // Bytes that are no HTTP at all, such as the hello of TLS, may never have a line end.
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
                    return Ok(None);
                }
            }
        }
    }

    /// Looks for the empty line. Where it is found, nothing is remembered, so that a further call finds it again.
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

/// The index after the first LF of `bytes` at or after `from`.
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.iter().position(|&b| b == b'\n').map(|i| from + i + 1)
}

/// Where the method ends that `line` begins with; `None` if `line` ends first.
fn method_end(line: &[u8]) -> Result<Option<usize>, Reject> {
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

struct RequestLine<'b> {
    method: &'b [u8],
    raw_target: &'b [u8],
    target: Target<'b>,
    version: Version,
}

impl<'b> RequestLine<'b> {
    fn parse(line: &'b [u8]) -> Result<Self, Reject> {
        let method_end = method_end(line)?.ok_or(Reject::METHOD)?;
        let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
        let space = rest.iter().position(|&b| b == b' ').ok_or(Reject::REQUEST_LINE)?;
        let (raw_target, version) = (&rest[..space], &rest[space + 1..]);
        // The version first: of the targets of other versions nothing is known.
        let version = match version {
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Reject::VERSION_UNSUPPORTED),
            _ => return Err(Reject::VERSION),
        };
        let target = Target::parse(method, raw_target)?;
        Ok(Self { method, raw_target, target, version })
    }
}

/// Parses `block`, which has `lines` header lines and the empty line.
fn parse_headers(block: &[u8], lines: usize) -> Result<Vec<Header<'_>>, Reject> {
    let mut headers = vec![httparse::EMPTY_HEADER; lines];
    // Should httparse ever see another end than was found here, that is refused too.
    match httparse::parse_headers(block, &mut headers) {
        Ok(httparse::Status::Complete((len, parsed))) if len == block.len() && parsed.len() == lines => Ok(headers),
        Err(httparse::Error::HeaderValue) => Err(Reject::HEADER_VALUE),
        // What else can be wrong is the beginning of a line.
        _ => Err(Reject::HEADER_NAME),
    }
}

impl<'b> Head<'b> {
    fn new(line: RequestLine<'b>, headers: Vec<Header<'b>>, len: usize) -> Result<Self, Reject> {
        let mut host = None;
        let mut hosts = 0usize;
        let mut content_length = None;
        let mut lengths = 0usize;
        let mut codings = Codings::default();
        let mut connection = Connection::default();
        let mut has_expectation = false;
        let mut has_unknown_expectation = false;

        for &Header { name, value } in &headers {
            // The length decides most names without looking at them.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => {
                    hosts += 1;
                    host = Some(value);
                }
                6 if name.eq_ignore_ascii_case("expect") => {
                    for expectation in elements(value).filter(|e| !e.is_empty()) {
                        let is_known = expectation.eq_ignore_ascii_case(b"100-continue");
                        has_expectation |= is_known;
                        has_unknown_expectation |= !is_known;
                    }
                }
                10 if name.eq_ignore_ascii_case("connection") => connection.add(value, &mut |_| {}),
                14 if name.eq_ignore_ascii_case("content-length") => {
                    lengths += 1;
                    content_length = decimal(value);
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => codings.add(value),
                _ => {}
            }
        }

        let is_11 = line.version == Version::Http11;
        match (hosts, host) {
            (0, _) if is_11 => return Err(Reject::HOST_MISSING),
            // Empty for a target that has no host (RFC 9112, 3.2).
            (0, _) | (1, Some(b"")) => {}
            (1, Some(host)) if target::is_host_and_port(host) => {}
            (1, _) => return Err(Reject::HOST),
            _ => return Err(Reject::HOST_REPEATED),
        }
        let framing = match (codings.lines, lengths) {
            (0, 0) => Framing::None,
            (0, 1) => Framing::Length(content_length.ok_or(Reject::CONTENT_LENGTH)?),
            (0, _) => return Err(Reject::CONTENT_LENGTH_REPEATED),
            (_, 0) if is_11 => codings.framing()?,
            (_, 0) => return Err(Reject::TRANSFER_ENCODING_IN_1_0),
            _ => return Err(Reject::LENGTH_AND_ENCODING),
        };
        if has_unknown_expectation {
            return Err(Reject::EXPECTATION);
        }

        Ok(Self {
            method: line.method,
            raw_target: line.raw_target,
            version: line.version,
            target: line.target,
            headers,
            framing,
            keep_alive: !connection.close && (is_11 || connection.keep_alive),
            // RFC 9110, 10.1.1: ignored in HTTP/1.0.
            expect_continue: has_expectation && is_11 && !matches!(framing, Framing::None | Framing::Length(0)),
            len,
        })
    }
}

/// What the Connection headers say (RFC 9110, 7.6.1; RFC 9112, 9.3).
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

impl Connection {
    /// Takes a header's value. Options beside `close` and `keep-alive` are given to `other`.
    pub(crate) fn add(&mut self, value: &[u8], other: &mut dyn FnMut(&[u8])) {
        for option in elements(value).filter(|option| !option.is_empty()) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                other(option);
            }
        }
    }
}

/// What the Transfer-Encoding headers say.
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
            // Parameters too: chunked has none (RFC 9112, 7.1), and no other coding is supported. `identity` is no
            // coding any more (RFC 7230 removed it), and readers differ on what it means.
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
