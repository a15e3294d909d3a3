//! Request bodies of either framing behind one reader, with the limit on their size.

use crate::{ChunkedDecoder, Framing, Reject};
use std::ops::Range;

/// What one step of a reader made of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// The bytes among them that belong to the body; may be empty.
    pub data: Range<usize>,
}

/// Reads the body of one request from the bytes that follow its head.
#[derive(Clone, Debug)]
pub enum BodyReader {
    /// A body whose length was given, or none.
    Length {
        /// How many bytes are still to come.
        remaining: u64,
    },
    /// A chunked body.
    Chunked(ChunkedDecoder),
}

impl BodyReader {
    /// A reader for a body framed as `framing`, of at most `max_body` bytes.
    ///
    /// # Errors
    /// [`Reject::BODY_TOO_LARGE`] if the length is known to be over the limit. A chunked body shows it while it is read.
    pub fn new(framing: Framing, max_body: u64) -> Result<Self, Reject> {
        match framing {
            Framing::None => Ok(Self::Length { remaining: 0 }),
            Framing::Length(length) if length > max_body => Err(Reject::BODY_TOO_LARGE),
            Framing::Length(length) => Ok(Self::Length { remaining: length }),
            Framing::Chunked => Ok(Self::Chunked(ChunkedDecoder::new(max_body))),
        }
    }

    /// Whether the body is complete. One without bytes is from the start.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length { remaining } => *remaining == 0,
            Self::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Takes bytes from the start of `input`, at most up to the end of one run of data.
    ///
    /// # Errors
    /// Those of [`ChunkedDecoder::step`].
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
