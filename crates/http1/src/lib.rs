//! HTTP/1.1 for a server as bytes in and bytes out: no I/O, no threads, no clock, no Janet.
//!
//! | what | where |
//! | --- | --- |
//! | request heads, resumable as bytes arrive | [`HeadParser`] |
//! | request targets and query strings | [`target`] |
//! | request bodies, counted or chunked | [`BodyReader`], [`ChunkedDecoder`] |
//! | response heads | [`response`] |
//! | dates, preconditions, ranges, paths and codings for serving files | [`date`], [`conditional`], [`range`], [`path`], [`coding`] |
//!
//! Whatever two readers of the same bytes could understand differently is refused, because that is what request
//! smuggling lives on. A refusal is a [`Reject`]: the status to answer with before the connection is closed.
//!
//! The verdict on a request does not depend on how its bytes were cut up on the way: a parser that is given more and
//! more of a request says [`Parse::Partial`] until it gives the answer that it would have given for the whole.
#![forbid(unsafe_code)]

mod body;
mod chunked;
pub mod coding;
pub mod conditional;
pub mod date;
mod grammar;
mod head;
pub mod path;
pub mod range;
mod reject;
pub mod response;
pub mod target;

pub use body::{BodyReader, Step};
pub use chunked::{ChunkedDecoder, MAX_CHUNK_LINE, MAX_OVERHEAD, MAX_TRAILERS};
pub use grammar::push_lower;
pub use head::{Framing, Head, HeadLimits, HeadParser, Header, MAX_EMPTY_LINES, MAX_METHOD, Parse, Version};
pub use reject::Reject;
