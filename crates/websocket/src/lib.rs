//! WebSocket (RFC 6455) for a server as bytes: the handshake's key, messages from a client's frames, and the heads of frames to
//! send.
//!
//! This crate may know bytes only: no sockets, files, threads or clocks, and no Janet. No extension is supported, so the
//! reserved bits of a frame must be 0.
//!
//! # Rules
//!
//! What RFC 6455 forbids a client is a [`Violation`], with the code of the Close frame that tells the client. It is
//! reported as early as possible: a message that is too large when its frame is announced, and text that is not UTF-8 at the
//! first wrong byte.
//!
//! How the bytes of a frame were split up on the way makes no difference to the result. A message costs memory only for
//! what has arrived of it.
//!
//! # Files
//!
//! | file | question that it answers |
//! | --- | --- |
//! | `handshake.rs`, `sha1.rs` | What is the answer to a client's key? |
//! | `head.rs` | What does the head of a frame say? How is one written? |
//! | `mask.rs` | What is under the mask? |
//! | `text.rs` | Is a message UTF-8 so far? |
//! | `close.rs` | What does a Close frame say, and which codes may it have? |
//! | `decoder.rs` | Which messages and control frames do these bytes make? |
//! | `violation.rs` | What did the client do wrong? |
//!
//! # Example
//!
//! ```
//! use kqnet_websocket::{Decoder, Head, Kind, Opcode, Step, accept_key};
//!
//! assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
//!
//! let mut decoder = Decoder::new(1024);
//! let mut frame = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
//! let (count, step) = decoder.decode(&mut frame)?;
//! assert_eq!(count, 11);
//! assert_eq!(step, Step::Message(Kind::Text, b"Hello"));
//!
//! let mut answer = Head::new(Opcode::Text, 5).as_bytes().to_vec();
//! answer.extend_from_slice(b"Hello");
//! assert_eq!(answer, b"\x81\x05Hello");
//! # Ok::<(), kqnet_websocket::Violation>(())
//! ```
#![forbid(unsafe_code)]

mod close;
mod decoder;
mod handshake;
mod head;
mod mask;
mod sha1;
mod text;
mod violation;

pub use close::{Close, MAX_REASON, is_sendable};
pub use decoder::{Decoder, Kind, Step};
pub use handshake::accept_key;
pub use head::{Head, MAX_CONTROL, Opcode};
pub use violation::Violation;
