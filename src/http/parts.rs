//! What Janet code needs to know of a connection for what is rare: responses in pieces, refusals, errors.
//!
//! Most connections never need it, and each value of an idle connection costs memory, and time whenever Janet collects. So it is
//! made when it is first asked for.

use janetrs::Janet;
use janetrs::lowlevel as c;

use super::connection::{self, Connection};
use crate::boundary::{Function, Outcome, native};
use crate::buffer;
use crate::value::{arg, elements, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-parts", "http", parts)];

/// The index of the buffer for what is sent.
const OWN_OUTPUT: usize = 3;

impl Connection {
    /// The tuple that [`parts`] returns. `http` is the value of this connection.
    fn parts(&mut self, http: Janet) -> Janet {
        if self.parts.is_nil() {
            // SAFETY: the new values are alive, since nothing collects before a native function returns.
            let (own, state) = unsafe {
                (c::janet_wrap_buffer(c::janet_buffer(0)).into(), c::janet_wrap_table(c::janet_table(0)).into())
            };
            self.parts = tuple(&[self.stream, http, self.received, own, self.tracker, state]);
        }
        self.parts
    }

    /// Moves what `out` has to the connection's own output buffer. `http` is the value of this connection.
    ///
    /// All connections of a server share `out`, and other tasks may run as soon as a native function has returned: an
    /// interrupt, as that of `os/sigaction` or `ev/deadline`, suspends a task anywhere.
    ///
    /// # Errors
    /// Returns an error if `out` is not a buffer.
    pub fn keep_output(&mut self, http: Janet, out: Janet) -> Result<(), String> {
        let out = &mut buffer::get(out)?;
        if buffer::contents(out).is_empty() {
            return Ok(());
        }
        let own = elements(&self.parts(http)).and_then(|parts| parts.get(OWN_OUTPUT)).copied();
        let own = &mut buffer::get(own.unwrap_or(Janet::nil()))?;
        buffer::clear(own);
        buffer::push(own, buffer::contents(out))?;
        self.clear_output(out);
        Ok(())
    }
}

/// `(native/http-parts http)`: Returns a tuple, always the same one for a connection: its stream, the connection itself, the buffer
/// with what was read from the client, a buffer for what is sent to it, the tracker of its listener, and a table for its state.
fn parts(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(connection::borrow(args)?.parts(arg(args, 0))))
}
