//! Bodies of requests: giving them to the handler that reads them, and discarding what no handler has read.

use std::cell::Cell;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::{BodyReader, Reject};

use super::connection::{self, Connection};
use super::refusal::refused;
use crate::boundary::{Function, Outcome, native};
use crate::buffer::{self, Buffer};
use crate::value::{arg, describe, integer};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-body-buffer", "size", body_buffer),
    native!("http-take-body", "http buffer out number", take_body),
    native!("http-awaits-continue?", "http number", awaits_continue),
];

/// How many bytes of bodies Janet's collector may not have been told of.
const MAX_UNTOLD: usize = 16 * 1024 * 1024;

thread_local! {
    /// How many bytes of bodies Janet's collector was not told of, in the VM of this thread.
    static UNTOLD: Cell<usize> = const { Cell::new(0) };
}

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

    /// How many more bytes come before anything else: the rest of a body of known length, of which `buffer` has nothing. `None` for
    /// other bodies, which have to be parsed.
    ///
    /// # Errors
    /// Returns an error if `buffer` is not a buffer.
    pub fn expected_content(&self, buffer: Janet) -> Result<Option<usize>, String> {
        let is_empty = buffer::contents(&buffer::get(buffer)?).is_empty();
        Ok(match &self.body {
            BodyReader::Length { remaining } if is_empty && *remaining > 0 => {
                Some(usize::try_from(*remaining).unwrap_or(usize::MAX))
            }
            _ => None,
        })
    }

    /// Counts bytes that were read of a body of known length.
    pub fn count_content(&mut self, count: usize) {
        if let BodyReader::Length { remaining } = &mut self.body {
            *remaining = remaining.saturating_sub(count as u64);
        }
        self.config.statistics.count_received(count);
    }

    /// Whether the remainder of an unread body is small enough to be discarded, so that the connection can stay open.
    pub fn can_discard_body(&self) -> bool {
        match &self.body {
            BodyReader::Length { remaining } => *remaining <= MAX_DISCARD && !self.awaits_continue,
            BodyReader::Chunked(_) => self.body.is_done(),
        }
    }
}

/// `(native/http-body-buffer size)`: Returns an empty buffer with space for a body of this size.
///
/// Janet collects when so many bytes were allocated, whatever they are. A collection takes as long as receiving several megabytes,
/// and frees but a few bodies. So Janet is told of bodies only when there may be [`MAX_UNTOLD`] bytes of them.
fn body_buffer(args: &[Janet]) -> Result<Outcome, String> {
    let size = integer(arg(args, 0)).and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, 0))))?;
    let mut buffer = buffer::new(0)?;
    if buffer::reserve(&mut buffer, size) {
        let untold = UNTOLD.get() + size;
        UNTOLD.set(if untold < MAX_UNTOLD { untold } else { 0 });
        if untold >= MAX_UNTOLD {
            // SAFETY: this only adds to a number of Janet's.
            unsafe { c::janet_gcpressure(untold) };
        }
    }
    Ok(Outcome::Value(buffer.value()))
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
