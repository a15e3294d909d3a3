//! Makes the table that a handler gets from a request's head, with the keys that `spork/http` uses.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::{Head, Header, Version, parse_query, push_lower};

use crate::common_strings::new_string;
use crate::value::bytes;
use crate::vm::Vm;

/// Makes the request table. `number` counts the connection's requests from 1, and `buffer` is what the head was read from.
pub fn request_table(vm: &mut Vm, number: u32, stream: Janet, head: &Head<'_>, buffer: Janet) -> Janet {
    // SAFETY: all values are new or live, and nothing starts a collection before the table is returned.
    unsafe {
        let headers = headers_table(vm, &head.headers);
        // The host of an absolute target takes precedence over the Host header (RFC 9112, 3.2.2).
        if let Some(host) = head.target.authority() {
            c::janet_table_put(headers, vm.common.string(b"host"), new_string(host));
        }
        let (route, query) = (head.target.path(), head.target.query());
        let path = new_string(head.raw_target);
        let always = [
            c::janet_wrap_number(number.into()),
            c::janet_wrap_table(headers),
            stream.into(),
            buffer.into(),
            c::janet_wrap_number(head.len as f64),
            vm.common.string(head.method),
            path,
            if route.len() == head.raw_target.len() { path } else { new_string(route) },
        ];
        let table = match query {
            None => vm.layouts.without_query.table(always.into_iter()),
            Some(query) => {
                let query = [new_string(query), c::janet_wrap_table(query_table(query))];
                vm.layouts.with_query.table(always.into_iter().chain(query))
            }
        };
        (*table).proto = vm.request_prototype;
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

/// The headers by their names in lower case.
///
/// # Safety
/// The caller runs in a native function, so that nothing collects the new table before it is returned.
unsafe fn headers_table(vm: &mut Vm, headers: &[Header<'_>]) -> *mut c::JanetTable {
    // SAFETY: all values are new or live.
    unsafe {
        if let Some(layout) = vm.layouts.of_headers(headers) {
            return layout.table(headers);
        }
        vm.layouts.remember(headers, &vm.common);
        let mut name = Vec::with_capacity(32);
        // Janet's tables are at most half full.
        let table = c::janet_table(2 * headers.len() as i32);
        for header in headers {
            name.clear();
            push_lower(header.name, &mut name);
            let key = vm.common.string(&name);
            if name == b"cookie" {
                join_cookies(table, key, header.value);
            } else {
                accumulate(table, key, new_string(header.value));
            }
        }
        table
    }
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

/// Adds a value to those that a key has already. As in `spork/http`, a second value makes an array.
///
/// # Safety
/// The table and the values are live.
pub unsafe fn accumulate(table: *mut c::JanetTable, key: c::Janet, value: c::Janet) {
    // SAFETY: the caller promises that all are live.
    unsafe {
        let old = c::janet_table_rawget(table, key);
        if c::janet_checktype(old, c::JanetType_JANET_NIL) != 0 {
            c::janet_table_put(table, key, value);
        } else if c::janet_checktype(old, c::JanetType_JANET_ARRAY) != 0 {
            c::janet_array_push(c::janet_unwrap_array(old), value);
        } else {
            let both = [old, value];
            c::janet_table_put(table, key, c::janet_wrap_array(c::janet_array_n(both.as_ptr(), 2)));
        }
    }
}

/// Appends a Cookie line to the ones before it. HTTP/2 splits cookies over several lines, and a proxy may forward them
/// like that. Joined by "; " they are what the client meant (RFC 9113, 8.2.3).
///
/// # Safety
/// The table and the key are live, and the table has nothing but a string of this function under the key.
unsafe fn join_cookies(headers: *mut c::JanetTable, key: c::Janet, value: &[u8]) {
    // SAFETY: the caller promises that the table and the key are live.
    unsafe {
        let old = Janet::from(c::janet_table_rawget(headers, key));
        let joined = match bytes(&old) {
            Some(old) => new_string(&[old, b"; ", value].concat()),
            None => new_string(value),
        };
        c::janet_table_put(headers, key, joined);
    }
}
