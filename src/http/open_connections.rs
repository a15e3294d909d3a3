//! The open connections of a VM: finding one by its stream, and all of a server.

use std::cell::RefCell;

use janetrs::Janet;
use janetrs::lowlevel as c;

use super::config;
use super::connection::Connection;
use crate::boundary::{Function, Outcome, native};
use crate::collected;
use crate::value::{arg, tuple};
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] =
    &[native!("http-of", "stream", of), native!("http-connections", "config", connections)];

/// `(native/http-of stream)`: Returns the connection that is open on a stream, or nil.
fn of(args: &[Janet]) -> Result<Outcome, String> {
    // SAFETY: the table is rooted.
    vm::with(|vm| Ok(Outcome::Value(unsafe { c::janet_table_get(vm.connections, arg(args, 0).into()) }.into())))
}

/// `(native/http-connections config)`: Returns the open connections of the server with this configuration, a tuple.
fn connections(args: &[Janet]) -> Result<Outcome, String> {
    let config_value = arg(args, 0);
    let config = config::get(&config_value)?;
    vm::with(|vm| {
        // SAFETY: the table is rooted, and `data` has `capacity` slots. The values of free slots are nil.
        let slots = unsafe {
            let table = &*vm.connections;
            (0..table.capacity as usize).map(|index| Janet::from((*table.data.add(index)).value))
        };
        let is_of_server = |value: &Janet| {
            let connection = collected::of::<RefCell<Connection>>(value);
            connection.is_some_and(|connection| std::ptr::eq(&*connection.borrow().config, config))
        };
        Ok(Outcome::Value(tuple(&slots.filter(is_of_server).collect::<Vec<_>>())))
    })
}
