//! HTTP/1.1 for a server as bytes: parses the heads and bodies of requests, and writes the heads of responses.
//!
//! This crate may know bytes only: no sockets, files, threads or clocks, and no Janet. The caller reads and writes
//! the bytes, and passes the current time for dates.
//!
//! # Rules
//!
//! Anything that two readers of the same bytes could understand differently is refused, because request smuggling
//! depends on such differences. A refusal is a [`Reject`]: the status to respond with before the connection is closed.
//!
//! How the bytes of a request were split up on the way makes no difference to the result: a parser that is called with
//! more and more of a request returns [`Parse::Partial`] until it returns what it would have returned for all of it.
//!
//! # Files, in the order of one request
//!
//! | file | question that it answers |
//! | --- | --- |
//! | `request/parser.rs` | Has the head arrived, perhaps behind another request, and is it too large? |
//! | `request/line.rs`, `request/target.rs`, `request/authority.rs` | What does the request line ask for? |
//! | `request/fields.rs` | Is every header line well-formed? |
//! | `request/head.rs` | What do the headers say together? |
//! | `request/framing.rs` | Where does the body end? |
//! | `request/known.rs` | Did the same header lines come before? |
//! | `connection.rs` | May the connection be kept? |
//! | `request/query.rs` | Which pairs does a query string have? |
//! | `body.rs`, `body/chunked.rs` | Which of the following bytes are the body? |
//! | `path.rs` | Which file does a path name, if any? |
//! | `coding.rs` | Which compressed copies of a file does the client accept? |
//! | `conditional.rs` | Does the client have the current version of a file? |
//! | `range.rs` | Which part of a file is asked for? |
//! | `exchange.rs` | What must be remembered of the request for the response? |
//! | `handlers.rs` | Is the handler of the next pipelined request expected to be slow, or to be quick? |
//! | `response/plan.rs` | How is the body of the response sent? |
//! | `response/writer.rs`, `response/status.rs`, `date.rs` | What is in the head of the response? |
//! | `response/failure.rs` | What is sent in place of a response? |
//!
//! `grammar.rs`, `version.rs` and `reject.rs` are used by all of them.
//!
//! # Example
//!
//! ```
//! use kqnet_http1::response::{Body, HeadWriter, plan};
//! use kqnet_http1::{HeadLimits, HeadParser, Parse};
//!
//! let mut parser = HeadParser::new(HeadLimits::default());
//! let mut buffer = b"GET /greeting HTTP/1.1\r\nHost: exam".to_vec();
//! assert!(matches!(parser.parse(&buffer)?, Parse::Partial));
//! buffer.extend_from_slice(b"ple.org\r\n\r\n");
//! let Parse::Complete(head) = parser.parse(&buffer)? else { panic!("the head has arrived") };
//! assert_eq!(head.target.path(), b"/greeting");
//!
//! let exchange = head.exchange();
//! let plan = plan(&exchange, 200, Body::Known(5));
//! let mut response = Vec::new();
//! let mut writer = HeadWriter::new(&mut response, 200)?;
//! writer.header(b"Content-Type", b"text/plain")?;
//! let keeps_connection = writer.finish(&exchange, &plan, None);
//! response.extend_from_slice(b"hello");
//! assert_eq!(response, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
//! assert!(keeps_connection);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod body;
pub mod coding;
pub mod conditional;
mod connection;
pub mod date;
mod exchange;
mod grammar;
mod handlers;
pub mod path;
pub mod range;
mod reject;
mod request;
pub mod response;
mod version;

pub use body::{BodyReader, ChunkedDecoder, MAX_CHUNK_LINE, MAX_OVERHEAD, MAX_TRAILERS, Step};
pub use handlers::{Handlers, TargetHash};
pub use reject::Reject;
pub use request::{
    Framing, Head, HeadLimits, HeadParser, Header, KnownHeaders, MAX_EMPTY_LINES, MAX_METHOD, Parse, QueryPairs,
    Target, parse_form, parse_query, push_lower,
};
pub use version::Version;
