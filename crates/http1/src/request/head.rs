//! What the headers of a head mean in combination: the rules for Host, the framing of the body, Expect and Connection.

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::grammar::elements;
use crate::reject::Reject;
use crate::request::authority::is_host_and_port;
use crate::request::fields::Header;
use crate::request::framing::{Framing, FramingHeaders};
use crate::request::known::Meaning;
use crate::request::line::RequestLine;
use crate::request::target::Target;
use crate::version::Version;

/// A request head. It borrows from the buffer that it was parsed from.
#[derive(Clone, Debug)]
pub struct Head<'b> {
    /// The method as sent; methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'b [u8],
    /// The request target as sent.
    pub raw_target: &'b [u8],
    /// The request target by its parts.
    pub target: Target<'b>,
    /// The version of the request.
    pub version: Version,
    /// The headers in the order in which they came. Empty if they are known.
    pub headers: Vec<Header<'b>>,
    /// The header lines as they came, with the empty line at their end.
    pub block: &'b [u8],
    /// The header lines were found in the [`KnownHeaders`](crate::KnownHeaders) that were passed, and are now the last ones.
    pub is_known: bool,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client would take another response on this connection (RFC 9112, 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for a 100 response before it sends its body (RFC 9110, 10.1.1). False without a body.
    pub expect_continue: bool,
    /// How many bytes of the buffer the head has, including the empty lines before it. The body begins there.
    pub len: usize,
}

impl<'b> Head<'b> {
    /// Makes a head of its parsed parts. Host is checked first, then the framing of the body, then Expect.
    pub(crate) fn new(
        line: RequestLine<'b>,
        headers: Vec<Header<'b>>,
        block: &'b [u8],
        len: usize,
    ) -> Result<Self, Reject> {
        let mut host = None;
        let mut hosts = 0usize;
        let mut framing = FramingHeaders::default();
        let mut connection = Connection::default();
        let mut has_expectation = false;
        let mut has_unknown_expectation = false;

        for &Header { name, value } in &headers {
            // The length alone rules out most names.
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
                14 if name.eq_ignore_ascii_case("content-length") => framing.add_content_length(value),
                17 if name.eq_ignore_ascii_case("transfer-encoding") => framing.add_transfer_encoding(value),
                _ => {}
            }
        }

        let is_11 = line.version == Version::Http11;
        match (hosts, host) {
            (0, _) if is_11 => return Err(Reject::HOST_MISSING),
            // Host is empty for a target without a host (RFC 9112, 3.2).
            (0, _) | (1, Some(b"")) => {}
            (1, Some(host)) if is_host_and_port(host) => {}
            (1, _) => return Err(Reject::HOST),
            _ => return Err(Reject::HOST_REPEATED),
        }
        let framing = framing.framing(line.version)?;
        if has_unknown_expectation {
            return Err(Reject::EXPECTATION);
        }

        Ok(Self {
            method: line.method,
            raw_target: line.raw_target,
            version: line.version,
            target: line.target,
            headers,
            block,
            is_known: false,
            framing,
            keep_alive: !connection.close && (is_11 || connection.keep_alive),
            // In an HTTP/1.0 request it is ignored (RFC 9110, 10.1.1).
            expect_continue: has_expectation && is_11 && !matches!(framing, Framing::None | Framing::Length(0)),
            len,
        })
    }

    /// Makes a head whose header lines are known.
    pub(crate) fn known(line: RequestLine<'b>, meaning: &Meaning, block: &'b [u8], len: usize) -> Self {
        Self {
            method: line.method,
            raw_target: line.raw_target,
            version: line.version,
            target: line.target,
            headers: Vec::new(),
            block,
            is_known: true,
            framing: meaning.framing,
            keep_alive: meaning.keep_alive,
            expect_continue: meaning.expect_continue,
            len,
        }
    }

    /// Returns what a response to this request has to know of it.
    pub fn exchange(&self) -> Exchange {
        Exchange::new(self.method, self.version, self.keep_alive)
    }
}
