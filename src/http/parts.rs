//! What Janet code needs to know of a connection for what is rare: responses in pieces, refusals, errors.
//!
//! Most connections never need it, and each value of an idle connection costs memory, and time whenever Janet collects. So it is
//! made when it is first asked for.

use janetrs::Janet;
use janetrs::lowlevel as c;

use super::connection;
use crate::boundary::{Function, Outcome, native};
use crate::buffer;
use crate::proxies::elements;
use crate::value::{arg, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-parts", "http &opt out", parts)];

/// The index of the buffer for what is sent.
const OWN_OUTPUT: usize = 3;

/// `(native/http-parts http &opt out)`: Returns a tuple, always the same one for a connection: its stream, the connection itself,
/// the buffer with what was read from the client, a buffer for what is sent to it, the tracker of its listener, and a table for its
/// state. If `out` is given, what this buffer has is moved to the connection's own.
fn parts(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    if connection.parts.is_nil() {
        // SAFETY: the new values are alive, since nothing collects before this function returns.
        let (own, state) =
            unsafe { (c::janet_wrap_buffer(c::janet_buffer(0)).into(), c::janet_wrap_table(c::janet_table(0)).into()) };
        connection.parts =
            tuple(&[connection.stream, arg(args, 0), connection.received, own, connection.tracker, state]);
    }
    let out = arg(args, 1);
    if !out.is_nil() {
        let own = elements(&connection.parts).and_then(|parts| parts.get(OWN_OUTPUT)).copied();
        let (own, out) = (&mut buffer::get(own.unwrap_or(Janet::nil()))?, &mut buffer::get(out)?);
        buffer::clear(own);
        buffer::push(own, buffer::contents(out))?;
        connection.clear_output(out);
    }
    Ok(Outcome::Value(connection.parts))
}
