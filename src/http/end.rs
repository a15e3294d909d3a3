//! The end of a connection.

use std::cell::RefCell;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use super::connection::{self, Connection};
use crate::boundary::{Function, Outcome, native};
use crate::value::arg;
use crate::{collected, listeners, stream, vm};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] =
    &[native!("http-finish", "stream serving listener", finish), native!("http-close", "http", close)];

impl Connection {
    /// Ends the running request and forgets the connection. The stream stays open.
    fn close(&mut self) {
        self.end_request();
        self.push_held();
        self.give_back_deadlines();
        vm::with_existing(|vm| {
            self.close_account(vm.engine.now());
            // SAFETY: the table is rooted.
            unsafe { c::janet_table_remove(vm.connections, self.stream.into()) };
        });
    }

    /// Whether nobody has to be told anything when the connection ends, and its stream is still the server's.
    fn may_finish(&self) -> bool {
        !self.account.is_open() && self.ending.is_nil() && !self.is_detached
    }
}

/// `(native/http-finish stream serving listener)`: Closes the connection of a stream together with the stream, and gives its place
/// back to the listener, if `serving`, the fiber that has served it, has returned, and nothing else is left to do. Returns
/// whether that was so.
fn finish(args: &[Janet]) -> Result<Outcome, String> {
    let TaggedJanet::Fiber(_) = arg(args, 1).unwrap() else { return Ok(Outcome::Value(Janet::boolean(false))) };
    // SAFETY: the type was checked.
    let status = unsafe { c::janet_fiber_status(c::janet_unwrap_fiber(arg(args, 1).into())) };
    if status != c::JanetFiberStatus_JANET_STATUS_DEAD {
        return Ok(Outcome::Value(Janet::boolean(false)));
    }
    let mut found = Janet::nil();
    vm::with_existing(|vm| {
        // SAFETY: the table is rooted.
        found = unsafe { c::janet_table_get(vm.connections, arg(args, 0).into()) }.into();
    });
    let Some(mut connection) = collected::of::<RefCell<Connection>>(&found).map(RefCell::borrow_mut) else {
        return Ok(Outcome::Value(Janet::boolean(false)));
    };
    if !connection.may_finish() {
        return Ok(Outcome::Value(Janet::boolean(false)));
    }
    connection.close();
    // Closing the stream calls the callbacks of tasks that wait for it, which borrow the connection.
    drop(connection);
    stream::close(stream::get(arg(args, 0))?);
    listeners::release(stream::get(arg(args, 2))?)?;
    Ok(Outcome::Value(Janet::boolean(true)))
}

/// `(native/http-close http)`: Ends the running request and forgets the connection. The stream stays open.
fn close(args: &[Janet]) -> Result<Outcome, String> {
    connection::borrow(args)?.close();
    Ok(Outcome::Value(Janet::nil()))
}
