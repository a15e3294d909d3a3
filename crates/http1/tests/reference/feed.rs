//! Runs a body reader over some bytes, as a server does.

use kqnet_http1::{BodyReader, Reject};

/// Appends the data that `input` has to `data`, and returns how many bytes of `input` belong to the body.
pub fn feed(reader: &mut BodyReader, input: &[u8], data: &mut Vec<u8>) -> Result<usize, Reject> {
    let mut consumed = 0;
    while !reader.is_done() && consumed < input.len() {
        let rest = &input[consumed..];
        let step = reader.step(rest)?;
        data.extend_from_slice(&rest[step.data]);
        consumed += step.consumed;
    }
    Ok(consumed)
}
