//! Which response a request gets by its route and its method.

use std::cell::RefCell;

use janetrs::Janet;
use janetrs::lowlevel as c;

use super::OpenFile;
use super::find::Target;
use super::folder::{self, ServedFolder};
use super::request_headers::RequestHeaders;
use super::serve::serve;
use crate::boundary::Outcome;
use crate::common_strings::new_string;
use crate::request_layouts::Field;
use crate::value::{bytes, describe, look_up};
use crate::vm::{self, Vm};

/// A header of a response without a file.
type Header<'a> = (&'static str, &'a [u8]);

/// The methods that a file allows.
const ALLOWED: Header<'static> = ("Allow", b"GET, HEAD, OPTIONS");

const TEXT: Header<'static> = ("Content-Type", b"text/plain; charset=utf-8");

/// A response, or nil if the next handler is to answer. A file that is its body is to be closed when the request ends.
pub type Response = (Janet, Option<*const RefCell<OpenFile>>);

/// Makes the response to a request for a file of a folder. Returns what `native/file-response` returns. `opened` is called
/// with the stream of the request's connection and with the open file that is the body of the response, if there is one.
///
/// # Errors
/// Returns an error if the arguments are not a folder and a request, or if the file cannot be opened or read.
pub fn respond(
    folder: Janet,
    request: Janet,
    opened: impl FnOnce(Janet, *const RefCell<OpenFile>),
) -> Result<Outcome, String> {
    let folder = folder::get(&folder)?;
    let (value, file) = vm::with(|vm| {
        let (value, file) = respond_with(vm, folder, request)?;
        Ok((value, file.map(|file| (vm.layouts.get(request, Field::Connection), file))))
    })?;
    if let Some((stream, file)) = file {
        opened(stream, file);
    }
    Ok(Outcome::Value(value))
}

fn respond_with(vm: &Vm, folder: &ServedFolder, request: Janet) -> Result<Response, String> {
    let field = |field| vm.layouts.get(request, field);
    let (method, route) = (field(Field::Method), field(Field::Route));
    let method = bytes(&method).unwrap_or_default();
    let route = bytes(&route).ok_or_else(|| format!("expected a request with a :route, got {}", describe(request)))?;
    let is_read = matches!(method, b"GET" | b"HEAD");
    if !is_read && !folder.is_last {
        return Ok((Janet::nil(), None));
    }
    let response = |status, headers: &[Header<'_>], body| without_file(vm, status, headers, body);
    let value = match folder.find(route)? {
        Target::File(file) if is_read => {
            let headers = RequestHeaders::new(field(Field::Headers));
            return serve(vm, folder, &headers, method == b"GET", file);
        }
        // It is about the server, and not about a file (RFC 9110, 9.3.7).
        Target::Nothing if method == b"OPTIONS" && route == b"*" => response(204, &[ALLOWED], ""),
        Target::Nothing => Janet::nil(),
        Target::Forbidden => response(403, &[TEXT], "Forbidden"),
        Target::Shortage => response(503, &[TEXT, ("Retry-After", b"1")], "Service Unavailable"),
        Target::Folder if is_read => {
            response(301, &[("Location", &location(route, look_up(request, vm.keys.query_string)))], "")
        }
        Target::File(_) | Target::Folder if method == b"OPTIONS" => response(204, &[ALLOWED], ""),
        Target::File(_) | Target::Folder => response(405, &[TEXT, ALLOWED], "Method Not Allowed"),
    };
    Ok((value, None))
}

/// The route of a folder with a slash at its end, and the query.
fn location(route: &[u8], query: Janet) -> Vec<u8> {
    // There is a single slash in front, since two would begin the name of a host.
    let first = route.iter().position(|&byte| byte != b'/').unwrap_or(route.len());
    let mut location = [b"/", &route[first..], b"/"].concat();
    if let Some(query) = bytes(&query) {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    location
}

/// Makes a response that has no file. If the body is empty, it has none.
fn without_file(vm: &Vm, status: u16, headers: &[Header<'_>], body: &str) -> Janet {
    // SAFETY: all values are new, and nothing collects garbage before the response is returned.
    unsafe {
        let table = c::janet_table(headers.len() as i32);
        for (name, value) in headers {
            c::janet_table_put(table, new_string(name.as_bytes()), new_string(value));
        }
        let body = (!body.is_empty()).then(|| new_string(body.as_bytes()));
        vm.file_responses.response(&vm.spare_tables, status, table, body)
    }
}
