//! Janet streams: making them from descriptors, closing them, and reading what they are.
//!
//! The functions here take the address of a stream, under one rule that the SAFETY comments refer to: it is the address of a
//! stream of this VM that is not freed. An address is either just taken from a value ([`of`], [`make`]) or from a fiber that
//! waits for the stream, and so keeps it alive. It is not kept after the call from Janet has returned, and references to a
//! stream do not leave the functions here.

pub mod methods;

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::fork;
use crate::value::describe;

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

/// What kind of stream a descriptor becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connection.
    Connection,
    /// A listening socket.
    Listener,
    /// A socket for datagrams.
    Datagram,
    /// A descriptor that only tells of events: an event queue of kqnet's, or inotify(7).
    Queue,
}

/// Makes a stream, which owns the descriptor from then on.
///
/// # Errors
/// Returns the error of Janet's loop if it does not take the descriptor, which is then closed.
pub fn make(fd: OwnedFd, kind: Kind) -> Result<*mut c::JanetStream, String> {
    let (flags, methods) = match kind {
        Kind::Connection => {
            (c::JANET_STREAM_READABLE | c::JANET_STREAM_WRITABLE | c::JANET_STREAM_SOCKET, methods::of_connection())
        }
        Kind::Listener => (c::JANET_STREAM_ACCEPTABLE | c::JANET_STREAM_SOCKET, methods::of_listener()),
        Kind::Datagram => {
            (c::JANET_STREAM_READABLE | c::JANET_STREAM_UDPSERVER | c::JANET_STREAM_SOCKET, methods::of_connection())
        }
        // Never writable: kqueue descriptors have no EVFILT_WRITE.
        Kind::Queue => (c::JANET_STREAM_READABLE, std::ptr::null()),
    };
    // kqueue forgets a descriptor that is closed. epoll does not while another process has the socket: a child that it was
    // passed to, or the parent that it was inherited from. The queue's descriptor is never passed on.
    // SAFETY: it is a constant of the C code.
    let flags = flags | if cfg!(kqueue) || kind == Kind::Queue { unsafe { kqnet_stays_registered } } else { 0 };
    let raw = fd.into_raw_fd();
    let mut error = Janet::nil();
    // SAFETY: this function owns the descriptor, and gives it away; the method tables are never freed.
    let stream = unsafe { kqnet_stream(raw, flags, methods, (&raw mut error).cast()) };
    if stream.is_null() {
        // janet_stream allocates before it registers: the descriptor belongs to that stream already, and the
        // collector closes it.
        return Err(format!("cannot watch the descriptor: {}", describe(error)));
    }
    Ok(stream)
}

/// Whether a stream that is collected before it is closed may stay registered with Janet's loop, which then has the address of
/// freed memory. That happens on epoll before Janet 1.42, when another process has the socket too.
pub fn must_be_closed() -> bool {
    // SAFETY: it is a constant of the C code.
    !cfg!(kqueue) && unsafe { kqnet_stays_registered } == 0
}

/// Makes Janet's loop forget an open stream that is about to be closed.
pub fn unregister(stream: *mut c::JanetStream) {
    if descriptor(stream).is_none() {
        return;
    }
    // SAFETY: the stream is live by the rule of this file, and open; the flag is a constant of the C code.
    unsafe {
        if fork::is_loop_shared() {
            // The loop is the parent's, and must not be touched.
            (*stream).flags |= kqnet_stays_registered;
        } else if must_be_closed() {
            kqnet_unregister(stream);
        }
    }
}

/// Closes a stream, if it is open.
pub fn close(stream: *mut c::JanetStream) {
    unregister(stream);
    // SAFETY: the stream is live by the rule of this file. Closing it twice is allowed.
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
    // SAFETY: every stream is an abstract value.
    unsafe { c::janet_wrap_abstract(stream.cast()) }.into()
}

/// The descriptor of a stream, unless it is closed.
pub fn descriptor(stream: *mut c::JanetStream) -> Option<RawFd> {
    // SAFETY: the stream is live by the rule of this file.
    let stream = unsafe { &*stream };
    (stream.flags & c::JANET_STREAM_CLOSED == 0).then_some(stream.handle)
}

/// Whether a fiber waits to read from the stream.
pub fn is_read(stream: *mut c::JanetStream) -> bool {
    // SAFETY: the stream is live by the rule of this file.
    waits(unsafe { (*stream).read_fiber })
}

/// Whether a fiber waits to write to the stream.
pub fn is_written(stream: *mut c::JanetStream) -> bool {
    // SAFETY: the stream is live by the rule of this file.
    waits(unsafe { (*stream).write_fiber })
}

/// Whether the reader or writer of a stream still waits.
fn waits(fiber: *const c::JanetFiber) -> bool {
    // SAFETY: it is null or a fiber that the stream keeps alive, by marking it.
    unsafe { fiber.as_ref() }.is_some_and(|fiber| fiber.ev_callback.is_some())
}

/// Whether the stream is bound to an address: a listener, or a socket for datagrams.
pub fn is_bound(stream: *mut c::JanetStream) -> bool {
    // SAFETY: the stream is live by the rule of this file.
    unsafe { (*stream).flags & (c::JANET_STREAM_ACCEPTABLE | c::JANET_STREAM_UDPSERVER) != 0 }
}

/// Whether the stream was made as a listener.
pub fn is_acceptable(stream: *mut c::JanetStream) -> bool {
    // SAFETY: the stream is live by the rule of this file.
    unsafe { (*stream).flags & c::JANET_STREAM_ACCEPTABLE != 0 }
}
