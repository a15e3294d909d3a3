//! What a body reader returns for a piece of its input.

use std::ops::Range;

/// The part of its input that one step of a reader took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bytes were taken, of framing and data together. The next step begins after them, and if the body is
    /// complete, so does the next request.
    pub consumed: usize,
    /// Which of these bytes are data of the body. The range may be empty.
    pub data: Range<usize>,
}
