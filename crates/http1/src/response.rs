//! Responses: how their body is delivered, and their heads.

use crate::date;
use crate::grammar::{decimal, is_field_byte, is_token};
use crate::head::{Connection, Version};
use std::fmt;

/// What a response has to know of its request. Outlives the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    is_head: bool,
    is_connect: bool,
    version: Version,
    keep_alive: bool,
}

impl Exchange {
    /// A request with this method and version. `keep_alive` says whether both sides want another request after it.
    pub fn new(method: &[u8], version: Version, keep_alive: bool) -> Self {
        Self { is_head: method == b"HEAD", is_connect: method == b"CONNECT", version, keep_alive }
    }

    /// A request that could not be read: it is answered with a body, and the connection is closed.
    pub fn unread() -> Self {
        Self::new(b"", Version::Http11, false)
    }

    /// Whether a response with this status makes the connection a tunnel for every proxy on its way (RFC 9110, 9.3.6).
    pub fn opens_tunnel(&self, status: u16) -> bool {
        self.is_connect && (200..300).contains(&status)
    }

    /// The same, but the connection closes after it: the server drains, or the request was the last allowed.
    pub fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }
}

/// The body that a handler answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; 0 for no body.
    Known(u64),
    /// Pieces, whose number and size show as they come.
    Streamed,
}

/// How the bytes of a body are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Not at all.
    None,
    /// As they are: their number is in the head.
    Plain,
    /// Each piece as a chunk, then the last chunk.
    Chunked,
    /// As they are; the end of the connection ends them.
    UntilClose,
}

/// What a head says about its body, and how that body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The Content-Length in the head. That of a HEAD response tells what GET would have got.
    pub content_length: Option<u64>,
    /// How to send the body.
    pub delivery: Delivery,
}

/// Decides how a response with `status` and `body` is delivered.
///
/// | response | Content-Length | body |
/// | --- | --- | --- |
/// | 1xx, 204, 304, 2xx to CONNECT (RFC 9110, 8.6, 15.4.5 and 9.3.6) | none | none |
/// | 205 (RFC 9110, 15.3.6) | 0 | none |
/// | to HEAD (RFC 9110, 9.3.2) | if known | none |
/// | known length | yes | plain |
/// | streamed to an HTTP/1.1 client (RFC 9112, 6.1) | none | chunked |
/// | streamed to an HTTP/1.0 client (RFC 9112, 6.3) | none | until close |
pub fn plan(exchange: &Exchange, status: u16, body: Body) -> Plan {
    let known = match body {
        Body::Known(length) => Some(length),
        Body::Streamed => None,
    };
    let (content_length, delivery) = match status {
        100..=199 | 204 | 304 => (None, Delivery::None),
        _ if exchange.opens_tunnel(status) => (None, Delivery::None),
        205 => (Some(0), Delivery::None),
        _ if exchange.is_head => (known, Delivery::None),
        _ => match known {
            Some(_) => (known, Delivery::Plain),
            None if exchange.version == Version::Http11 => (None, Delivery::Chunked),
            None => (None, Delivery::UntilClose),
        },
    };
    Plan { content_length, delivery }
}

/// Why a response head cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The status is not a number of three digits from 100 (RFC 9110, 15).
    Status(u16),
    /// A header name is not a token (RFC 9110, 5.1).
    Name(Vec<u8>),
    /// The value of this header has a CR, LF, NUL or another control byte (RFC 9110, 5.5): it could end the header and
    /// begin another.
    Value(Vec<u8>),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "response status {status} is not between 100 and 999"),
            Self::Name(name) => write!(f, "header name {:?} is not a token", String::from_utf8_lossy(name)),
            Self::Value(name) => {
                write!(f, "value of header {:?} has a control byte", String::from_utf8_lossy(name))
            }
        }
    }
}

impl std::error::Error for HeadError {}

/// Writes a response head to the end of a buffer. If it is dropped before [`finish`](Self::finish), the buffer is as it
/// was before.
///
/// What frames the body is the server's to say: a Transfer-Encoding of the handler is dropped, and a Content-Length too
/// where the body it tells of is not at hand (to HEAD, or 304). A Date of the handler is kept. Its Connection can ask to
/// close and can name other options, but not keep a connection that has to close; there is one line of them.
#[derive(Debug)]
pub struct HeadWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    is_finished: bool,
    status: u16,
    declared_length: Option<u64>,
    has_date: bool,
    closes: bool,
    /// The handler's options of Connection, but for those that are the server's to say.
    options: Vec<u8>,
}

impl<'o> HeadWriter<'o> {
    /// Begins a head with its status line. The version is 1.1 whatever the client's (RFC 9110, 2.5).
    ///
    /// # Errors
    /// [`HeadError::Status`]
    pub fn new(out: &'o mut Vec<u8>, status: u16) -> Result<Self, HeadError> {
        if !(100..=999).contains(&status) {
            return Err(HeadError::Status(status));
        }
        let start = out.len();
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(out, status.into());
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        Ok(Self {
            out,
            start,
            is_finished: false,
            status,
            declared_length: None,
            has_date: false,
            closes: false,
            options: Vec::new(),
        })
    }

    /// Adds a header.
    ///
    /// # Errors
    /// [`HeadError::Name`] and [`HeadError::Value`]
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_token(name) {
            return Err(HeadError::Name(name.to_vec()));
        }
        if !value.iter().all(|&b| is_field_byte(b)) {
            return Err(HeadError::Value(name.to_vec()));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut connection = Connection::default();
                connection.add(value, &mut |option| push_option(&mut self.options, option));
                self.closes |= connection.close;
                return Ok(());
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.declared_length = decimal(value);
                return Ok(());
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return Ok(()),
            _ => {}
        }
        self.line(name, value);
        Ok(())
    }

    /// Ends the head with what `plan` says of the body, with Connection, and with Date if `now` is given (seconds since
    /// 1970; a server without a clock sends none, RFC 9110, 6.6.1). Returns whether the connection can be kept.
    pub fn finish(mut self, exchange: &Exchange, plan: &Plan, now: Option<i64>) -> bool {
        let takes_declared = match self.status {
            304 => true,
            100..=199 | 204 | 205 => false,
            _ => exchange.is_head,
        };
        let length = match plan.content_length {
            None | Some(0) if takes_declared => self.declared_length.or(plan.content_length),
            length => length,
        };
        if let Some(length) = length {
            self.out.extend_from_slice(b"Content-Length: ");
            push_number(self.out, length);
            self.out.extend_from_slice(b"\r\n");
        }
        if plan.delivery == Delivery::Chunked {
            self.line(b"Transfer-Encoding", b"chunked");
        }
        let keep_alive = exchange.keep_alive && !self.closes && plan.delivery != Delivery::UntilClose;
        let is_interim = self.status < 200;
        match (keep_alive, exchange.version) {
            _ if is_interim => {}
            (false, _) => push_option(&mut self.options, b"close"),
            (true, Version::Http10) => push_option(&mut self.options, b"keep-alive"),
            (true, Version::Http11) => {}
        }
        let options = std::mem::take(&mut self.options);
        if !options.is_empty() {
            self.line(b"Connection", &options);
        }
        if let (Some(now), false, false) = (now, self.has_date, is_interim) {
            self.line(b"Date", &date::format(now));
        }
        self.out.extend_from_slice(b"\r\n");
        self.is_finished = true;
        keep_alive
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Adds an option to a list of them.
fn push_option(options: &mut Vec<u8>, option: &[u8]) {
    if !options.is_empty() {
        options.extend_from_slice(b", ");
    }
    options.extend_from_slice(option);
}

impl Drop for HeadWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.out.truncate(self.start);
        }
    }
}

/// Writes the whole response to a request that failed: `text` as the body, unless it is to HEAD, and the connection
/// closes. Writes nothing for a status that [`HeadWriter::new`] refuses.
pub fn write_failure(out: &mut Vec<u8>, exchange: &Exchange, status: u16, text: &str, now: Option<i64>) {
    let exchange = exchange.closing();
    let plan = plan(&exchange, status, Body::Known(text.len() as u64 + 1));
    let Ok(mut head) = HeadWriter::new(out, status) else { return };
    head.line(b"Content-Type", b"text/plain; charset=utf-8");
    head.finish(&exchange, &plan, now);
    if plan.delivery == Delivery::Plain {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// The reason phrase of a status: those of `spork/http`, and a few that it lacks. Empty for others, which RFC 9112, 4
/// allows.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "",
    }
}
