//! Request bodies: one reader for both framings, with a limit on the size of a body.

mod chunked;
mod step;

pub use chunked::{ChunkedDecoder, MAX_CHUNK_LINE, MAX_OVERHEAD, MAX_TRAILERS};
pub use step::Step;

use crate::reject::Reject;
use crate::request::Framing;

/// Reads the body of one request from the bytes that follow its head.
#[derive(Clone, Debug)]
pub enum BodyReader {
    /// A body of a given length, which may be 0.
    Length {
        /// How many bytes are still to come.
        remaining: u64,
    },
    /// A chunked body.
    Chunked(ChunkedDecoder),
}

impl BodyReader {
    /// Makes a reader for a body that is framed this way and has at most `max_body` bytes.
    ///
    /// # Errors
    /// Returns [`Reject::BODY_TOO_LARGE`] if the length is given and over the limit. Whether a chunked body is over the
    /// limit is found out while it is read.
    pub fn new(framing: Framing, max_body: u64) -> Result<Self, Reject> {
        match framing {
            Framing::None => Ok(Self::Length { remaining: 0 }),
            Framing::Length(length) if length > max_body => Err(Reject::BODY_TOO_LARGE),
            Framing::Length(length) => Ok(Self::Length { remaining: length }),
            Framing::Chunked => Ok(Self::Chunked(ChunkedDecoder::new(max_body))),
        }
    }

    /// Returns whether the body is complete. A body without bytes is complete from the start.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length { remaining } => *remaining == 0,
            Self::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Takes bytes from the start of `input`, at most up to the end of one run of data. Call it again with what follows
    /// until the input is used up or the body [is complete](Self::is_done).
    ///
    /// # Errors
    /// Returns the [`Reject`] to respond with if a chunked body is malformed or over a limit, at the first byte that
    /// shows it. Every later call returns the same error.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Reject> {
        match self {
            Self::Length { remaining } => {
                let taken = usize::try_from(*remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
                *remaining -= taken as u64;
                Ok(Step { consumed: taken, data: 0..taken })
            }
            Self::Chunked(decoder) => decoder.step(input),
        }
    }
}
