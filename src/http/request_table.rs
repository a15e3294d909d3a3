//! Makes the table that a handler gets from a request's head, with the keys that `spork/http` uses.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::{Head, Version, parse_query};

use crate::boundary::{Function, Outcome, native};
use crate::common_strings::new_string;
use crate::header_tables::accumulate;
use crate::vm::{self, Vm};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-spare-tables", "", spare_tables)];

/// Makes the request table. `number` counts the connection's requests from 1, and `buffer` is what the head was read from.
pub fn request_table(vm: &mut Vm, number: u32, stream: Janet, head: &Head<'_>, buffer: Janet) -> Janet {
    // SAFETY: all values are new or live, and nothing starts a collection before the table is returned.
    unsafe {
        let headers = vm.headers.table(head, &vm.common, &vm.spare_tables);
        // The host of an absolute target takes precedence over the Host header (RFC 9112, 3.2.2).
        if let Some(host) = head.target.authority() {
            c::janet_table_put(headers, vm.common.string(b"host"), new_string(host));
        }
        let (route, query) = (head.target.path(), head.target.query());
        // A query may have secrets, so it is not kept.
        let path = if query.is_none() { vm.paths.string(head.raw_target) } else { new_string(head.raw_target) };
        let always = [
            c::janet_wrap_number(number.into()),
            c::janet_wrap_table(headers),
            stream.into(),
            buffer.into(),
            c::janet_wrap_number(head.len as f64),
            vm.common.string(head.method),
            path,
            if route.len() == head.raw_target.len() { path } else { vm.paths.string(route) },
        ];
        let layout = if query.is_some() { &vm.layouts.with_query } else { &vm.layouts.without_query };
        let table = layout.copy(&vm.spare_tables);
        (*table).proto = vm.request_prototype;
        for (index, value) in always.into_iter().enumerate() {
            layout.set(table, index, value);
        }
        if let Some(query) = query {
            layout.set(table, always.len(), new_string(query));
            layout.set(table, always.len() + 1, c::janet_wrap_table(query_table(query)));
        }
        if head.version == Version::Http10 {
            c::janet_table_put(table, vm.keys.http_version, new_string(b"1.0"));
        }
        c::janet_wrap_table(table).into()
    }
}

/// Gives a request table a scheme of its own. Without it, its prototype says "http".
pub fn put_scheme(vm: &Vm, request: Janet, scheme: c::Janet) {
    // SAFETY: the request was made by `request_table`, so it is a live table.
    unsafe { c::janet_table_put(c::janet_unwrap_table(request.into()), vm.keys.scheme, scheme) };
}

/// The decoded parameters of a query string. One without a value is true.
///
/// # Safety
/// The caller runs in a native function, so that nothing collects the new table before it is returned.
unsafe fn query_table(query: &[u8]) -> *mut c::JanetTable {
    // SAFETY: all values are new.
    unsafe {
        let table = c::janet_table(4);
        for (key, value) in parse_query(query) {
            let value = value.map_or_else(|| c::janet_wrap_true(), |value| new_string(&value));
            accumulate(table, new_string(&key), value);
        }
        table
    }
}

/// `(native/http-spare-tables)`: Returns how many tables of earlier requests are ready to be used again.
fn spare_tables(_args: &[Janet]) -> Result<Outcome, String> {
    vm::with(|vm| Ok(Outcome::Value(Janet::number(vm.spare_tables.count() as f64))))
}
