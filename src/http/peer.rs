//! The peer of a connection, and the client behind it if the peer is a trusted proxy (`crates/proxy`).
//!
//! The client is found when somebody asks for it, and its scheme when its request arrives. Neither costs anything for a server
//! without `:trusted-proxies` and `:proxy-protocol`.

use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::{Head, Reject};
use kqnet_proxy::protocol::{self, Parse};
use kqnet_proxy::{Client, Endpoint, Headers, Kind, Scheme, Trusted};

use super::connection::{self, Connection};
use super::next_request::Next;
use super::phase::Phase;
use super::refusal::refused;
use crate::boundary::{Function, Outcome, native};
use crate::buffer::{self, Buffer};
use crate::common_strings::new_string;
use crate::deadlines::Reason;
use crate::options::Options;
use crate::proxies;
use crate::value::{arg, describe, is_keyword, is_true};
use crate::vm::Vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-peer", "http", peer),
    native!("http-client", "http headers port", client),
    native!("proxy-name?", "text", is_proxy_name),
];

/// Which proxies a server believes, and what they send.
#[derive(Default)]
pub struct Proxies {
    /// The peers whose headers are believed, or `None` if there are no such peers. With a PROXY header, `None` stands for all.
    trusted: Option<Trusted>,
    /// Which headers of a request are believed.
    kind: Kind,
    /// Each connection begins with a PROXY header.
    has_protocol: bool,
}

impl Proxies {
    /// Reads the options `:trusted-proxies`, `:forwarded-header` and `:proxy-protocol`.
    ///
    /// # Errors
    /// Returns an error that names an option with a wrong value.
    pub fn of(options: Options) -> Result<Self, String> {
        let kind = match options.get("forwarded-header") {
            value if value.is_nil() => Kind::Either,
            value if is_keyword(value, "x-forwarded-for") => Kind::XForwarded,
            value if is_keyword(value, "forwarded") => Kind::Forwarded,
            value => return Err(format!(":forwarded-header is unknown: {}", describe(value))),
        };
        let trusted = proxies::trusted(options.get("trusted-proxies"))?;
        Ok(Self { trusted, kind, has_protocol: options.is_true("proxy-protocol") })
    }

    /// Whether a request or a connection can tell of a client that is not its peer.
    pub fn any(&self) -> bool {
        self.trusted.is_some() || self.has_protocol
    }
}

/// What is known of a connection's peer.
pub struct Peer {
    /// `None` until it is asked for, so that an idle connection has room for an address in memory only.
    known: Option<Box<Known>>,
    /// The PROXY header says that the client's connection has TLS.
    is_tls: bool,
    /// The PROXY header has not arrived.
    pub awaits_header: bool,
}

/// Who the peer is.
struct Known {
    /// The peer, or the client in the PROXY header.
    endpoint: Endpoint,
    /// The address as text, once it was asked for.
    text: Option<Janet>,
}

impl Peer {
    /// The peer of a connection that was just accepted.
    pub fn of(stream: Janet, proxies: &Proxies) -> Self {
        // The address of a client that has left cannot be found out, and an untrusted peer must not count as gone.
        let known = proxies.any().then(|| Known::of(proxies::peer_of(stream)));
        Self { known, is_tls: false, awaits_header: proxies.has_protocol }
    }

    fn known(&mut self, stream: Janet) -> &mut Known {
        self.known.get_or_insert_with(|| Known::of(proxies::peer_of(stream)))
    }

    fn endpoint(&mut self, stream: Janet) -> Endpoint {
        self.known(stream).endpoint
    }

    /// The address as text, or nil if there is none.
    fn text(&mut self, stream: Janet) -> Janet {
        let Known { endpoint, text } = self.known(stream);
        *text.get_or_insert_with(|| proxies::address_text(*endpoint))
    }

    /// Marks the text.
    ///
    /// # Safety
    /// The collector asks for what is reachable.
    pub unsafe fn mark(&self) {
        if let Some(text) = self.known.as_ref().and_then(|known| known.text) {
            // SAFETY: the text is live because of this marking.
            unsafe { c::janet_mark(text.into()) };
        }
    }
}

impl Known {
    fn of(endpoint: Endpoint) -> Box<Self> {
        Box::new(Self { endpoint, text: None })
    }
}

impl Connection {
    /// Takes the PROXY header from the beginning of the buffer. Returns what the connection does next, or `None` if the header
    /// was taken and its request may follow.
    pub fn take_proxy_header(&mut self, vm: &mut Vm, buffer: &mut Buffer, now: Duration) -> Option<Next> {
        let contents = buffer::contents(buffer);
        let peer = self.peer.endpoint(self.stream);
        let is_trusted = self.config.proxies.trusted.as_ref().is_none_or(|trusted| trusted.has(peer));
        let refusal = match protocol::parse(contents) {
            Ok(Parse::Partial(_)) if contents.is_empty() => {
                // A proxy sends its header at once. One that only looks whether the server accepts sends nothing.
                self.enter(vm, Phase::Idle, now);
                let timeout = self.silence_while_draining().or(self.config.head_timeout);
                self.set_deadline(vm, timeout.map(|timeout| now + timeout), Reason::Keyword("idle-timeout"));
                return Some(Next::Read);
            }
            _ if !is_trusted => Reject { status: 403, reason: "PROXY protocol from an address that is not trusted" },
            Ok(Parse::Partial(_)) => {
                self.enter(vm, Phase::Head, now);
                return Some(Next::Read);
            }
            Ok(Parse::Complete(header)) => {
                if let Some(client) = header.addresses.client() {
                    self.peer.known = Some(Known::of(client));
                }
                self.peer.is_tls = header.is_tls;
                self.peer.awaits_header = false;
                // The timeouts for the request begin anew.
                self.phase = Phase::Handler;
                buffer::consume(buffer, header.len);
                return None;
            }
            Err(invalid) => Reject { status: 400, reason: invalid.reason() },
        };
        Some(Next::Other(refused(refusal, Janet::boolean(true))))
    }

    /// Finds the client of a request with these headers.
    fn client(&mut self, headers: &Headers<'_>) -> Client {
        let peer = self.peer.endpoint(self.stream);
        let mut client = match &self.config.proxies.trusted {
            Some(trusted) => kqnet_proxy::client(trusted, self.config.proxies.kind, peer, headers),
            None => Client { endpoint: peer, scheme: None },
        };
        if self.peer.is_tls {
            client.scheme.get_or_insert(Scheme::Https);
        }
        client
    }

    /// The scheme of the URL that the client has asked for, as a string.
    pub fn scheme(&mut self, vm: &Vm, head: &Head<'_>) -> c::Janet {
        let mut lines = Lines::default();
        for header in &head.headers {
            // The length alone rules out most names.
            let lines = match header.name.len() {
                9 if header.name.eq_ignore_ascii_case("forwarded") => &mut lines.forwarded,
                15 if header.name.eq_ignore_ascii_case("x-forwarded-for") => &mut lines.x_forwarded_for,
                17 if header.name.eq_ignore_ascii_case("x-forwarded-proto") => &mut lines.x_forwarded_proto,
                _ => continue,
            };
            lines.push(header.value);
        }
        match self.client(&lines.headers()).scheme {
            Some(Scheme::Https) => vm.common.string(b"https"),
            Some(Scheme::Http) | None => vm.common.string(b"http"),
        }
    }
}

/// The lines of the headers that proxies set.
#[derive(Default)]
struct Lines<'a> {
    x_forwarded_for: Vec<&'a [u8]>,
    x_forwarded_proto: Vec<&'a [u8]>,
    forwarded: Vec<&'a [u8]>,
}

impl<'a> Lines<'a> {
    fn headers(&'a self) -> Headers<'a> {
        Headers {
            x_forwarded_for: &self.x_forwarded_for,
            x_forwarded_proto: &self.x_forwarded_proto,
            forwarded: &self.forwarded,
        }
    }
}

/// `(native/http-peer http)`: Returns the address of the peer, or of the client in the PROXY header, as a string. Returns nil if
/// there is none, or it is not known.
fn peer(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    Ok(Outcome::Value(connection.peer.text(connection.stream)))
}

/// `(native/http-client http headers port)`: Returns the address of the client of a request with these headers, a dictionary, as
/// a string, or its port if `port` is true. Returns nil if it is not known.
fn client(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let endpoint = if connection.config.proxies.trusted.is_some() {
        let headers = Options::new(arg(args, 1))?;
        let values = ["x-forwarded-for", "x-forwarded-proto", "forwarded"]
            .map(|name| headers.at(new_string(name.as_bytes()).into()));
        let [x_forwarded_for, x_forwarded_proto, forwarded] = [0, 1, 2].map(|index| proxies::lines(&values[index]));
        connection.client(&Lines { x_forwarded_for, x_forwarded_proto, forwarded }.headers()).endpoint
    } else {
        connection.peer.endpoint(connection.stream)
    };
    Ok(Outcome::Value(if is_true(arg(args, 2)) {
        endpoint.port().map_or_else(Janet::nil, |port| Janet::number(port.into()))
    } else if connection.peer.endpoint(connection.stream) == endpoint {
        connection.peer.text(connection.stream)
    } else {
        proxies::address_text(endpoint)
    }))
}

/// `(native/proxy-name? text)`: Returns whether a value can be an element of `:trusted-proxies`.
fn is_proxy_name(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(proxies::add(&mut Trusted::default(), arg(args, 0)))))
}
