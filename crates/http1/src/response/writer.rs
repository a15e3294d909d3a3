//! The head of a response: its status line, the handler's headers, and those that are the server's to write.

use std::fmt;

use crate::connection::Connection;
use crate::date;
use crate::exchange::Exchange;
use crate::grammar::{decimal, is_field_value, is_token};
use crate::response::plan::{Delivery, Plan};
use crate::response::status::reason;
use crate::version::Version;

/// How many bytes most heads have at most.
const USUAL_HEAD: usize = 256;

/// Why a response head cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The status is not a number of three digits from 100 (RFC 9110, 15).
    Status(u16),
    /// A header name is not a token (RFC 9110, 5.1).
    Name(Vec<u8>),
    /// The value of this header has a CR, LF, NUL or another control byte (RFC 9110, 5.5), with which it could end the
    /// header and begin another.
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

/// The beginning of a head: what follows from its status and the handler's headers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning<'b> {
    /// The status line and the lines of the headers.
    pub bytes: &'b [u8],
    /// The number in the handler's Content-Length, if there is one.
    pub declared_length: Option<u64>,
}

/// Appends a response head to a buffer. A writer that is dropped before [`finish`](Self::finish) leaves the buffer as
/// it was.
///
/// The server alone decides how the body is framed. A handler's Transfer-Encoding is dropped. So is its Content-Length,
/// unless the response has no body to count: a response to HEAD, or a 304. A handler's Date is kept. A handler's
/// Connection can ask to close and can name other options, but it cannot keep a connection that has to close; all its
/// options end up in one line.
#[derive(Debug)]
pub struct HeadWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    is_finished: bool,
    status: u16,
    declared_length: Option<u64>,
    has_date: bool,
    closes: bool,
    /// Each header of the handler's is a line, or its Content-Length, and has no other meaning for the head.
    is_plain: bool,
    /// The handler's Connection options, without `close` and `keep-alive`, which the server decides on.
    options: Vec<u8>,
}

impl<'o> HeadWriter<'o> {
    /// Begins a head by writing its status line. The version is 1.1 whatever the client's (RFC 9110, 2.5).
    ///
    /// # Errors
    /// Returns [`HeadError::Status`] if the status is not between 100 and 999.
    pub fn new(out: &'o mut Vec<u8>, status: u16) -> Result<Self, HeadError> {
        if !(100..=999).contains(&status) {
            return Err(HeadError::Status(status));
        }
        let head = Self::empty(out, status);
        let digit = |divisor: u16| b'0' + (status / divisor % 10) as u8;
        head.out.extend_from_slice(b"HTTP/1.1 ");
        head.out.extend_from_slice(&[digit(100), digit(10), digit(1), b' ']);
        head.out.extend_from_slice(reason(status).as_bytes());
        head.out.extend_from_slice(b"\r\n");
        Ok(head)
    }

    /// Begins a head with what [`beginning`](Self::beginning) returned for the same status and headers.
    pub fn with_beginning(out: &'o mut Vec<u8>, status: u16, beginning: Beginning<'_>) -> Self {
        let mut head = Self::empty(out, status);
        head.out.extend_from_slice(beginning.bytes);
        head.declared_length = beginning.declared_length;
        head
    }

    fn empty(out: &'o mut Vec<u8>, status: u16) -> Self {
        let start = out.len();
        out.reserve(USUAL_HEAD);
        Self {
            out,
            start,
            is_finished: false,
            status,
            declared_length: None,
            has_date: false,
            closes: false,
            is_plain: true,
            options: Vec::new(),
        }
    }

    /// The status line and the headers so far, with which any head with this status and these headers can begin. `None` if a
    /// header decides on something else than its own line: Date, Connection or Transfer-Encoding.
    pub fn beginning(&self) -> Option<Beginning<'_>> {
        self.is_plain.then(|| Beginning { bytes: &self.out[self.start..], declared_length: self.declared_length })
    }

    /// The number in the handler's Content-Length, if there is one.
    pub fn declared_length(&self) -> Option<u64> {
        self.declared_length
    }

    /// Adds a header of the handler's.
    ///
    /// # Errors
    /// Returns [`HeadError::Name`] or [`HeadError::Value`] if the name or the value could be mistaken for something
    /// else. Headers that are dropped are checked too.
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_token(name) {
            return Err(HeadError::Name(name.to_vec()));
        }
        if !is_field_value(value) {
            return Err(HeadError::Value(name.to_vec()));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => {
                self.has_date = true;
                self.is_plain = false;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.is_plain = false;
                let mut connection = Connection::default();
                connection.add(value, &mut |option| push_option(&mut self.options, option));
                self.closes |= connection.close;
                return Ok(());
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.declared_length = decimal(value);
                return Ok(());
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.is_plain = false;
                return Ok(());
            }
            _ => {}
        }
        self.line(name, value);
        Ok(())
    }

    /// Ends the head with the headers that frame the body as planned, with Connection, and with Date if `now` is given,
    /// in seconds since 1970. A server without a clock sends no Date (RFC 9110, 6.6.1). Returns whether the connection
    /// can be kept.
    #[inline]
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
            push_last_number(self.out, length);
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
        if !self.options.is_empty() {
            let options = std::mem::take(&mut self.options);
            self.line(b"Connection", &options);
        }
        match now.filter(|_| !self.has_date && !is_interim) {
            Some(now) => {
                let mut end = *b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
                end[6..35].copy_from_slice(&date::format(now));
                self.out.extend_from_slice(&end);
            }
            None => self.out.extend_from_slice(b"\r\n"),
        }
        self.is_finished = true;
        keep_alive
    }

    /// Writes a header line unchecked.
    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.out.reserve(name.len() + value.len() + 4);
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Drop for HeadWriter<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.out.truncate(self.start);
        }
    }
}

/// Adds an option to a comma-separated list.
fn push_option(options: &mut Vec<u8>, option: &[u8]) {
    if !options.is_empty() {
        options.extend_from_slice(b", ");
    }
    options.extend_from_slice(option);
}

/// Writes a number that ends its line.
fn push_last_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = *b"18446744073709551615\r\n";
    let mut first = digits.len() - 2;
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
