//! The methods of kqnet's streams, such as `:read` and `:close`: most are core's functions for its own sockets.

use std::ffi::CStr;
use std::ptr;

use janetrs::lowlevel as c;
use once_cell::sync::OnceCell;

/// The methods of core's sockets, and the core functions that they are. Only C functions can be methods here, so `close` is
/// not `net/close`, which is a Janet function.
const METHODS: [(&CStr, &CStr); 14] = [
    (c"chunk", c"net/chunk"),
    (c"close", c"ev/close"),
    (c"read", c"net/read"),
    (c"write", c"net/write"),
    (c"flush", c"net/flush"),
    (c"accept", c"net/accept"),
    (c"accept-loop", c"net/accept-loop"),
    (c"send-to", c"net/send-to"),
    (c"recv-from", c"net/recv-from"),
    (c"evread", c"ev/read"),
    (c"evchunk", c"ev/chunk"),
    (c"evwrite", c"ev/write"),
    (c"shutdown", c"net/shutdown"),
    (c"setsockopt", c"net/setsockopt"),
];

/// A method table for each kind of socket, ended by a row of nulls.
struct Methods {
    connection: Vec<c::JanetMethod>,
    listener: Vec<c::JanetMethod>,
}

// SAFETY: the tables point to static strings and C functions, and never change.
unsafe impl Send for Methods {}
// SAFETY: the tables point to static strings and C functions, and never change.
unsafe impl Sync for Methods {}

static TABLES: OnceCell<Methods> = OnceCell::new();

/// The methods that are kqnet's instead of core's.
pub struct Own {
    /// `accept`, of listeners.
    pub accept: c::JanetCFunction,
    /// `accept-loop`, of listeners.
    pub accept_loop: c::JanetCFunction,
    /// `close`, of all sockets.
    pub close: c::JanetCFunction,
}

/// Looks the methods up when the module is loaded, before kqnet/install replaces any of core's functions.
pub fn resolve(own: &Own) {
    TABLES.get_or_init(|| {
        let row = |name: &CStr, cfun| c::JanetMethod { name: name.as_ptr(), cfun };
        let mut connection = Vec::new();
        for (name, function) in METHODS {
            // SAFETY: this looks a name up in the core environment, and checks the type before it unwraps the value.
            let cfun = unsafe {
                let value = c::janet_resolve_core(function.as_ptr());
                if c::janet_checktype(value, c::JanetType_JANET_CFUNCTION) == 0 {
                    continue;
                }
                c::janet_unwrap_cfunction(value)
            };
            connection.push(row(name, if name == c"close" { own.close } else { cfun }));
        }
        let mut listener = connection.clone();
        for method in &mut listener {
            // SAFETY: the names are the static strings in METHODS.
            match unsafe { CStr::from_ptr(method.name) }.to_bytes() {
                b"accept" => method.cfun = own.accept,
                b"accept-loop" => method.cfun = own.accept_loop,
                _ => {}
            }
        }
        let end = c::JanetMethod { name: ptr::null(), cfun: None };
        connection.push(end);
        listener.push(end);
        Methods { connection, listener }
    });
}

/// The methods of connections and of sockets for datagrams, or null before they are resolved.
pub fn of_connection() -> *const c::JanetMethod {
    TABLES.get().map_or(ptr::null(), |tables| tables.connection.as_ptr())
}

/// The methods of listeners, or null before they are resolved.
pub fn of_listener() -> *const c::JanetMethod {
    TABLES.get().map_or(ptr::null(), |tables| tables.listener.as_ptr())
}
