//! The bodies of HTML forms with files, multipart/form-data (RFC 7578, RFC 2046), as bytes that arrive in any pieces.
//!
//! This crate may know bytes only: no sockets, files, threads or clocks, and no Janet. The caller reads the body, and
//! decides what becomes of the data.
//!
//! # Rules
//!
//! Anything that two readers of the same bytes could understand differently is refused, because filters in front of a
//! server are bypassed by such differences. A refusal is a [`Reject`]: the status to respond with and the reason.
//!
//! How the bytes were split up on the way makes no difference to the parts. The data of a part is passed on as slices of
//! the input, without a copy.
//!
//! # Files, in the order of one body
//!
//! | file | question that it answers |
//! | --- | --- |
//! | `content_type.rs` | Is the body a form, and what separates its parts? |
//! | `parser.rs` | Where does a part begin and end? |
//! | `search.rs` | Where is the next delimiter? |
//! | `head.rs` | What do the headers of a part say? |
//! | `disposition.rs` | What is the name of a part, and that of its file? |
//! | `parameters.rs` | Which parameters does a header have? |
//! | `file_name.rs` | What is left of a file's name without its folders? |
//! | `reject.rs` | Why is a body refused? |
//!
//! # Example
//!
//! ```
//! use kqnet_multipart::{Event, Form, Parser, form};
//!
//! let Some(Form::Multipart(boundary)) = form(b"multipart/form-data; boundary=X")? else { panic!("it is one") };
//! let mut parser = Parser::new(&boundary, 8192);
//! let mut input = &b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhello\r\n--X--\r\n"[..];
//! let mut seen = vec![];
//! loop {
//!     let step = parser.step(input, usize::MAX)?;
//!     input = &input[step.consumed..];
//!     match step.event {
//!         Some(Event::Part(head)) => seen.push(head.disposition.name.into_owned()),
//!         Some(Event::Data(data)) => seen.push(data.to_vec()),
//!         Some(Event::End) => seen.push(b"end".to_vec()),
//!         // More bytes would be read here.
//!         None => break,
//!     }
//! }
//! parser.finish()?;
//! assert_eq!(seen, [&b"a"[..], b"hello", b"end"]);
//! # Ok::<(), kqnet_multipart::Reject>(())
//! ```
#![forbid(unsafe_code)]

mod content_type;
mod disposition;
mod file_name;
mod head;
mod parameters;
mod parser;
mod reject;
mod search;

pub use content_type::{Boundary, Form, MAX_BOUNDARY, form};
pub use disposition::Disposition;
pub use file_name::file_name;
pub use head::{Header, MAX_HEADERS, PartHead};
pub use parser::{Event, Parser, Step};
pub use reject::Reject;
