//! Janet streams: making them from descriptors, and reading what they are.

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use janetrs::Janet;
use janetrs::lowlevel as c;
use once_cell::sync::OnceCell;

use crate::fork;
use crate::value::describe;

/// The methods of core's sockets and the functions that hold them. Only C functions: `net/close` is a Janet function.
const METHODS: [(&std::ffi::CStr, &std::ffi::CStr); 14] = [
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
// SAFETY: as above.
unsafe impl Sync for Methods {}

static TABLES: OnceCell<Methods> = OnceCell::new();

unsafe extern "C-unwind" {
    static kqnet_stays_registered: u32;
    fn kqnet_unregister(stream: *mut c::JanetStream);
    fn kqnet_close_stream(stream: *mut c::JanetStream);
    fn kqnet_stream(
        handle: c::JanetHandle,
        flags: u32,
        methods: *const c::JanetMethod,
        error: *mut c::Janet,
    ) -> *mut c::JanetStream;
}

/// The methods that are kqnet's instead of core's.
pub struct OwnMethods {
    /// `accept`, of listeners.
    pub accept: c::JanetCFunction,
    /// `accept-loop`, of listeners.
    pub accept_loop: c::JanetCFunction,
    /// `close`, of all sockets.
    pub close: c::JanetCFunction,
}

/// Looks the methods up when the module is loaded, before kqnet/install replaces any of core's functions.
pub fn resolve_methods(own: &OwnMethods) {
    TABLES.get_or_init(|| {
        let row = |name: &std::ffi::CStr, cfun| c::JanetMethod { name: name.as_ptr(), cfun };
        let mut connection = Vec::new();
        for (name, function) in METHODS {
            // SAFETY: a look-up in the core environment, which never changes its C functions.
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
            // SAFETY: the names are the static strings above.
            match unsafe { std::ffi::CStr::from_ptr(method.name) }.to_bytes() {
                b"accept" => method.cfun = own.accept,
                b"accept-loop" => method.cfun = own.accept_loop,
                _ => {}
            }
        }
        let end = c::JanetMethod { name: std::ptr::null(), cfun: None };
        connection.push(end);
        listener.push(end);
        Methods { connection, listener }
    });
}

/// What a descriptor is to be as a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connection.
    Connection,
    /// A listening socket.
    Listener,
    /// A socket for datagrams.
    Datagram,
    /// Our event queue.
    Queue,
}

/// Makes a stream, which owns the descriptor from then on.
///
/// # Errors
/// What Janet's loop says when it does not take the descriptor, which is closed then.
pub fn make(fd: OwnedFd, kind: Kind) -> Result<*mut c::JanetStream, String> {
    let tables = TABLES.get();
    let connection = tables.map_or(std::ptr::null(), |tables| tables.connection.as_ptr());
    let (flags, methods) = match kind {
        Kind::Connection => (c::JANET_STREAM_READABLE | c::JANET_STREAM_WRITABLE | c::JANET_STREAM_SOCKET, connection),
        Kind::Listener => (
            c::JANET_STREAM_ACCEPTABLE | c::JANET_STREAM_SOCKET,
            tables.map_or(std::ptr::null(), |tables| tables.listener.as_ptr()),
        ),
        Kind::Datagram => (c::JANET_STREAM_READABLE | c::JANET_STREAM_UDPSERVER | c::JANET_STREAM_SOCKET, connection),
        // Never writable: kqueue descriptors have no EVFILT_WRITE.
        Kind::Queue => (c::JANET_STREAM_READABLE, std::ptr::null()),
    };
    // kqueue forgets a descriptor that is closed. epoll does not while another process has the socket: a child to which
    // it was passed, or the parent from which it was inherited. The queue's descriptor is passed to nobody.
    // SAFETY: a constant of the trampolines.
    let flags = flags | if cfg!(kqueue) || kind == Kind::Queue { unsafe { kqnet_stays_registered } } else { 0 };
    let raw = fd.into_raw_fd();
    let mut error = Janet::nil();
    // SAFETY: the descriptor is ours to give away; the method tables are never freed.
    let stream = unsafe { kqnet_stream(raw, flags, methods, (&raw mut error).cast()) };
    if stream.is_null() {
        // janet_stream allocates before it registers: the descriptor belongs to that stream already, and the
        // collector closes it.
        return Err(format!("cannot watch the descriptor: {}", describe(error)));
    }
    Ok(stream)
}

/// Whether a stream that is collected unclosed stays registered with Janet's loop, which then has the address of freed
/// memory: on epoll before Janet 1.42, when another process has the socket too.
pub fn must_be_closed() -> bool {
    // SAFETY: a constant of the trampolines.
    !cfg!(kqueue) && unsafe { kqnet_stays_registered } == 0
}

/// Makes Janet's loop forget an open stream that is about to be closed.
pub fn unregister(stream: *mut c::JanetStream) {
    if descriptor(stream).is_none() {
        return;
    }
    // SAFETY: a live, open stream of this VM; a constant of the trampolines.
    unsafe {
        if fork::is_loop_shared() {
            // The loop is the parent's.
            (*stream).flags |= kqnet_stays_registered;
        } else if must_be_closed() {
            kqnet_unregister(stream);
        }
    }
}

/// Closes a stream, if it is open.
pub fn close(stream: *mut c::JanetStream) {
    unregister(stream);
    // SAFETY: a live stream of this VM. Closing it twice is allowed.
    unsafe { kqnet_close_stream(stream) };
}

/// The stream in a value.
///
/// # Errors
/// Returns an error that says what else the value is.
pub fn get(value: Janet) -> Result<*mut c::JanetStream, String> {
    of(value).ok_or_else(|| format!("expected a core/stream, got {}", describe(value)))
}

/// The stream in a value, if it is one.
pub fn of(value: Janet) -> Option<*mut c::JanetStream> {
    // SAFETY: it is a type check; `janet_stream_type` is a static of the host.
    let stream = unsafe { c::janet_checkabstract(value.into(), &raw const c::janet_stream_type) };
    (!stream.is_null()).then_some(stream.cast())
}

/// A stream as a value.
pub fn wrap(stream: *mut c::JanetStream) -> Janet {
    // SAFETY: every stream is an abstract.
    unsafe { c::janet_wrap_abstract(stream.cast()) }.into()
}

/// The descriptor of a stream that is not closed.
pub fn descriptor(stream: *mut c::JanetStream) -> Option<RawFd> {
    // SAFETY: a live stream of this VM, only read here.
    let stream = unsafe { &*stream };
    (stream.flags & c::JANET_STREAM_CLOSED == 0).then_some(stream.handle)
}

/// Whether a fiber waits to read from the stream.
pub fn is_read(stream: *mut c::JanetStream) -> bool {
    // SAFETY: a live stream of this VM.
    waits(unsafe { (*stream).read_fiber })
}

/// Whether a fiber waits to write to the stream.
pub fn is_written(stream: *mut c::JanetStream) -> bool {
    // SAFETY: a live stream of this VM.
    waits(unsafe { (*stream).write_fiber })
}

/// Whether a stream's reader or writer still waits.
fn waits(fiber: *const c::JanetFiber) -> bool {
    // SAFETY: null, or a fiber that the stream's marking keeps alive.
    unsafe { fiber.as_ref() }.is_some_and(|fiber| fiber.ev_callback.is_some())
}

/// Whether the stream is bound to an address: a listener, or a socket for datagrams.
pub fn is_bound(stream: *mut c::JanetStream) -> bool {
    // SAFETY: a live stream of this VM.
    unsafe { (*stream).flags & (c::JANET_STREAM_ACCEPTABLE | c::JANET_STREAM_UDPSERVER) != 0 }
}

/// Whether the stream was made as a listener.
pub fn is_acceptable(stream: *mut c::JanetStream) -> bool {
    // SAFETY: as above.
    unsafe { (*stream).flags & c::JANET_STREAM_ACCEPTABLE != 0 }
}
