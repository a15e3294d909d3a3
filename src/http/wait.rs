//! Waits of fibers for a connection's stream, outside of Janet's list of waits.
//!
//! What keeps a waiting fiber alive is the VM's table of open connections: connection, stream, waiting fiber.

use janetrs::Janet;
use janetrs::lowlevel as c;

use super::Conn;

/// What a fiber waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Bytes, or their end.
    Read,
    /// Room for bytes.
    Write,
}

/// Has Janet call a function with the events of a stream.
///
/// # Safety
/// The fiber waits for nothing, and is suspended before Janet's loop goes on. Connection and stream are in the VM's table
/// of open connections for as long as it waits.
pub unsafe fn begin(
    fiber: *mut c::JanetFiber,
    stream: *mut c::JanetStream,
    conn: *mut Conn,
    side: Side,
    callback: unsafe extern "C-unwind" fn(*mut c::JanetFiber, c::JanetAsyncEvent),
) {
    // SAFETY: as the caller promises.
    unsafe {
        (*fiber).ev_callback = Some(callback);
        (*fiber).ev_stream = stream;
        // Janet frees it with a fiber that is collected while it waits.
        let state: *mut *mut Conn = c::janet_malloc(size_of::<*mut Conn>()).cast();
        state.write(conn);
        (*fiber).ev_state = state.cast();
        match side {
            Side::Read => (*stream).read_fiber = fiber,
            Side::Write => (*stream).write_fiber = fiber,
        }
        c::janet_ev_inc_refcount();
    }
}

/// The connection and the stream that a fiber waits for.
///
/// # Safety
/// The fiber waits since [`begin`].
pub unsafe fn of<'a>(fiber: *mut c::JanetFiber) -> (&'a mut Conn, *mut c::JanetStream) {
    // SAFETY: its state is a connection that the marking keeps alive.
    unsafe { (&mut **(*fiber).ev_state.cast::<*mut Conn>(), (*fiber).ev_stream) }
}

/// Ends a wait: the fiber goes on with a value, or with an error.
///
/// # Safety
/// The fiber waits since [`begin`].
pub unsafe fn finish(fiber: *mut c::JanetFiber, value: Janet, signal: c::JanetSignal) {
    // SAFETY: as the caller promises; this undoes what `begin` did.
    unsafe {
        let stream = (*fiber).ev_stream;
        if (*stream).read_fiber == fiber {
            (*stream).read_fiber = std::ptr::null_mut();
        }
        if (*stream).write_fiber == fiber {
            (*stream).write_fiber = std::ptr::null_mut();
        }
        (*fiber).ev_callback = None;
        c::janet_free((*fiber).ev_state);
        (*fiber).ev_state = std::ptr::null_mut();
        c::janet_ev_dec_refcount();
        c::janet_schedule_signal(fiber, value.into(), signal);
    }
}

/// What a callback does last when a fiber was cancelled: Janet takes its stream off the list of waits, on which it is not.
pub fn cancelled(stream: *mut c::JanetStream) {
    // SAFETY: the stream is live.
    unsafe { c::janet_gcroot(c::janet_wrap_abstract(stream.cast())) };
}

/// Marks what a wait needs.
///
/// # Safety
/// The collector asks for it.
pub unsafe fn mark(conn: *mut Conn) {
    // SAFETY: a live value of this VM.
    unsafe { c::janet_mark(c::janet_wrap_abstract(conn.cast())) };
}
