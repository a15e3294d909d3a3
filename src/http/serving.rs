//! The fiber that serves a connection's requests, inside of the connection's task.
//!
//! It is made here, and not by `fiber/new`, since that and a tuple of its arguments would cost 900 instructions for each connection.

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use super::config::Config;
use crate::value::describe;

/// How many values the stack of a fiber that serves requests has room for at first. `fiber/new` makes them as large.
const STACK: i32 = 64;

/// Makes the fiber that serves a connection's requests by `(serve http received)`. Like one of `(fiber/new serve :t)`, it
/// keeps errors to itself. Each request has an environment of its own ([`super::running_request`]).
///
/// # Errors
/// Returns an error if `serve` is not such a function.
pub fn fiber(serve: Janet, http: Janet, received: Janet, config: &Config) -> Result<Janet, String> {
    let TaggedJanet::Function(_) = serve.unwrap() else {
        return Err(format!("expected a function, got {}", describe(serve)));
    };
    let terminating = [
        c::JanetSignal_JANET_SIGNAL_ERROR,
        c::JanetSignal_JANET_SIGNAL_USER0,
        c::JanetSignal_JANET_SIGNAL_USER1,
        c::JanetSignal_JANET_SIGNAL_USER2,
        c::JanetSignal_JANET_SIGNAL_USER3,
        c::JanetSignal_JANET_SIGNAL_USER4,
    ];
    let args: [c::Janet; 2] = [http.into(), received.into()];
    // SAFETY: the type was checked, and the arguments are live. Janet numbers the bits of the signals that a fiber keeps by the
    // signals; a new fiber keeps yields.
    unsafe {
        let fiber = c::janet_fiber(c::janet_unwrap_function(serve.into()), STACK, 2, args.as_ptr());
        if fiber.is_null() {
            return Err("the function that serves requests must take two arguments".into());
        }
        (*fiber).flags &= !(1 << c::JanetSignal_JANET_SIGNAL_YIELD);
        (*fiber).flags |= terminating.iter().fold(0, |mask, signal| mask | 1 << signal);
        (*fiber).env = config.env;
        Ok(c::janet_wrap_fiber(fiber).into())
    }
}
