//! Bodies of requests: giving them to the handler that reads them, and discarding what no handler has read.

use janetrs::Janet;
use kqnet_http1::{BodyReader, Reject};

use super::connection::{self, Connection};
use super::refusal::refused;
use crate::boundary::{Function, Outcome, native};
use crate::buffer::{self, Buffer};
use crate::value::arg;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-take-body", "http buffer out number", take_body),
    native!("http-awaits-continue?", "http number", awaits_continue),
];

/// The most bytes of an unread body that are read and discarded to keep a connection open.
const MAX_DISCARD: u64 = 64 * 1024;

impl Connection {
    /// Discards what `buffer` has of a body that no handler has read.
    pub fn discard_body(&mut self, buffer: &mut Buffer) -> Result<(), Reject> {
        let mut taken = 0;
        let mut received = 0;
        while !self.body.is_done() && taken < buffer::contents(buffer).len() {
            let step = self.body.step(&buffer::contents(buffer)[taken..])?;
            taken += step.consumed;
            received += step.data.len();
        }
        buffer::consume(buffer, taken);
        self.config.statistics.count_received(received);
        Ok(())
    }

    /// Whether the remainder of an unread body is small enough to be discarded, so that the connection can stay open.
    pub fn can_discard_body(&self) -> bool {
        match &self.body {
            BodyReader::Length { remaining } => *remaining <= MAX_DISCARD && !self.awaits_continue,
            BodyReader::Chunked(_) => self.body.is_done(),
        }
    }
}

/// `(native/http-take-body http buffer out number)`: Moves what the buffer has of the body of the request with this number to
/// `out`. Returns true when the body is complete, false when more has to be read, and a tuple ([`refused`]) when the body
/// is refused.
fn take_body(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    connection.check_running(arg(args, 3))?;
    let from = &mut buffer::get(arg(args, 1))?;
    if arg(args, 1) == arg(args, 2) {
        return Err("a body cannot be read into the buffer that it comes from".into());
    }
    let to = &mut buffer::get(arg(args, 2))?;
    let mut taken = 0;
    while !connection.body.is_done() && taken < buffer::contents(from).len() {
        let remaining = &buffer::contents(from)[taken..];
        let step = match connection.body.step(remaining) {
            Ok(step) => step,
            Err(reject) => {
                // Where the next request begins cannot be known.
                connection.exchange = connection.exchange.closing();
                return Ok(Outcome::Value(refused(reject, Janet::nil())));
            }
        };
        connection.config.statistics.count_received(step.data.len());
        buffer::push(to, &remaining[step.data])?;
        taken += step.consumed;
    }
    // Done once at the end, since a body may have a chunk for each byte.
    buffer::consume(from, taken);
    Ok(Outcome::Value(Janet::boolean(connection.body.is_done())))
}

/// `(native/http-awaits-continue? http number)`: Returns whether the client waits for a 100. It is true at most once for a
/// request.
fn awaits_continue(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    connection.check_running(arg(args, 1))?;
    let awaits = std::mem::take(&mut connection.awaits_continue) && !connection.body.is_done();
    Ok(Outcome::Value(Janet::boolean(awaits)))
}
