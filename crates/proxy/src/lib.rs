//! What proxies say about their clients, as bytes, and which proxies to believe.
//!
//! This crate may know bytes and addresses only: no sockets, clocks or HTTP connections, and no Janet. The caller reads the
//! bytes, and knows the peer of its connection.
//!
//! # Rules
//!
//! Anyone can send a header. So what a header says is only believed if a trusted proxy has added it, and that proxy was reached
//! through trusted proxies alone. Whatever is malformed is not guessed at: the address is then unknown, and a malformed PROXY
//! header is refused.
//!
//! # Files
//!
//! | file | question that it answers |
//! | --- | --- |
//! | `endpoint.rs` | What is at the other end of a connection? |
//! | `trusted.rs` | Which peers are trusted proxies? |
//! | `node.rs` | Which address and port does a text name? |
//! | `x_forwarded.rs`, `forwarded.rs` | What do the headers of a request say about each hop? |
//! | `client.rs` | Which of the hops is the client? |
//! | `protocol.rs`, `protocol/v1.rs`, `protocol/v2.rs` | What does a PROXY header at the beginning of a connection say? |
//!
//! # Example
//!
//! ```
//! use kqnet_proxy::{Endpoint, Headers, Kind, Scheme, Trusted, client};
//!
//! let mut trusted = Trusted::default();
//! assert!(trusted.add("10.0.0.0/8"));
//! let headers = Headers {
//!     x_forwarded_for: &[b"1.2.3.4, 198.51.100.7, 10.0.0.2"],
//!     x_forwarded_proto: &[b"https"],
//!     ..Headers::default()
//! };
//! let peer = Endpoint::from_ip([10, 0, 0, 1].into(), None);
//! let found = client(&trusted, Kind::Either, peer, &headers);
//! // What is to the left of the first address that is not trusted may be made up.
//! assert_eq!(found.endpoint, Endpoint::from_ip([198, 51, 100, 7].into(), None));
//! assert_eq!(found.scheme, Some(Scheme::Https));
//! ```
#![forbid(unsafe_code)]

mod client;
mod endpoint;
mod forwarded;
mod node;
pub mod protocol;
mod trusted;
mod x_forwarded;

pub use client::{Client, Headers, Kind, Scheme, client};
pub use endpoint::Endpoint;
pub use trusted::Trusted;
