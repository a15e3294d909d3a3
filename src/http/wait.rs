//! Waits of fibers for a connection's stream, outside of Janet's list of waits.
//!
//! Whenever a wait of Janet's own ends, Janet looks through the streams of all waits, one after the other. With 10,000 idle
//! connections that alone took six times as long as everything else in a request. So here a fiber waits without being in
//! that list. What keeps it alive instead is the VM's table of open connections: the table refers to the connection, and the
//! connection to the waiting fiber.

use std::ffi::c_void;
use std::ptr::NonNull;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::Errno;

use crate::collected::{self, Collected};

/// A function that Janet calls with the events of a wait.
type Callback = unsafe extern "C-unwind" fn(*mut c::JanetFiber, c::JanetAsyncEvent);

/// What a fiber waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Bytes, or their end.
    Read,
    /// Space for bytes.
    Write,
}

/// The result of a wait that ends because the client is gone.
pub fn gone() -> Janet {
    Janet::keyword("gone".into())
}

/// The error for a connection that the system cannot read from or write to. The caller has already checked
/// `Errno::is_lost_peer`, so the client is not gone.
pub fn io_error(what: &str, errno: Errno) -> String {
    format!("cannot {what} the connection: {errno}")
}

/// The memory for the state of a wait, which is kept from one wait to the next. Waiting for requests without it costs an
/// allocation for each.
#[derive(Default)]
pub struct Spare(Option<NonNull<c_void>>);

impl Spare {
    /// Memory for a pointer, from Janet's allocator.
    fn take(&mut self) -> *mut c_void {
        match self.0.take() {
            Some(memory) => memory.as_ptr(),
            // SAFETY: any size may be allocated.
            None => unsafe { c::janet_malloc(size_of::<*const ()>()) },
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(memory) = self.0.take() {
            // SAFETY: the memory is from `take`, and no wait has it.
            unsafe { c::janet_free(memory.as_ptr()) };
        }
    }
}

/// Has Janet call a function with the events of a stream. `owner` is what
/// the function finds by [`of`]: a connection, or its WebSocket. The state of the wait is in memory of its own.
///
/// # Safety
/// The fiber waits for nothing, and is suspended before Janet's loop goes on. The owner and the stream are reachable from
/// the VM's table of open connections for as long as it waits.
pub unsafe fn begin<T: Collected>(
    fiber: *mut c::JanetFiber,
    stream: *mut c::JanetStream,
    owner: *const T,
    side: Side,
    callback: Callback,
) {
    // SAFETY: the caller promises all of it.
    unsafe { begin_in(&mut Spare::default(), fiber, stream, owner, side, callback) };
}

/// Does what [`begin`] does, with the state in spare memory if there is some.
///
/// # Safety
/// That of [`begin`].
pub unsafe fn begin_in<T: Collected>(
    spare: &mut Spare,
    fiber: *mut c::JanetFiber,
    stream: *mut c::JanetStream,
    owner: *const T,
    side: Side,
    callback: Callback,
) {
    // SAFETY: the fiber and the stream are live, as the caller promises, and the state has room for a pointer.
    unsafe {
        (*fiber).ev_callback = Some(callback);
        (*fiber).ev_stream = stream;
        // Janet frees the state of a wait that is cancelled, and that of a fiber which is collected while it waits.
        let state: *mut *const T = spare.take().cast();
        state.write(owner);
        (*fiber).ev_state = state.cast();
        match side {
            Side::Read => (*stream).read_fiber = fiber,
            Side::Write => (*stream).write_fiber = fiber,
        }
        c::janet_ev_inc_refcount();
    }
}

/// The owner of a wait, and the stream that its fiber waits for.
///
/// # Safety
/// The fiber has waited since [`begin`] was called with an owner of this type, and the references are used only until the
/// callback returns.
pub unsafe fn of<'a, T: Collected>(fiber: *mut c::JanetFiber) -> (&'a T, *mut c::JanetStream) {
    // SAFETY: the fiber's state refers to an owner that is alive for as long as the fiber waits.
    unsafe { (&**(*fiber).ev_state.cast::<*const T>(), (*fiber).ev_stream) }
}

/// Ends a wait: the fiber goes on with a value, or with an error.
///
/// # Safety
/// The fiber has waited since [`begin`].
pub unsafe fn finish(fiber: *mut c::JanetFiber, value: Janet, signal: c::JanetSignal) {
    // SAFETY: the caller promises it.
    unsafe { finish_into(&mut Spare::default(), fiber, value, signal) };
}

/// Does what [`finish`] does, and keeps the memory of the state for another wait.
///
/// # Safety
/// That of [`finish`].
pub unsafe fn finish_into(spare: &mut Spare, fiber: *mut c::JanetFiber, value: Janet, signal: c::JanetSignal) {
    // SAFETY: the fiber and its stream are live while it waits. This undoes what `begin` did.
    unsafe {
        let stream = (*fiber).ev_stream;
        if (*stream).read_fiber == fiber {
            (*stream).read_fiber = std::ptr::null_mut();
        }
        if (*stream).write_fiber == fiber {
            (*stream).write_fiber = std::ptr::null_mut();
        }
        (*fiber).ev_callback = None;
        *spare = Spare(NonNull::new((*fiber).ev_state));
        (*fiber).ev_state = std::ptr::null_mut();
        c::janet_ev_dec_refcount();
        c::janet_schedule_signal(fiber, value.into(), signal);
    }
}

/// Roots the stream, because Janet unroots it after a cancelled wait. Call this last in the callback.
pub fn root_for_cancel(stream: *mut c::JanetStream) {
    // SAFETY: the stream is live.
    unsafe { c::janet_gcroot(c::janet_wrap_abstract(stream.cast())) };
}

/// Marks the owner of a wait. It is not borrowed, since marking it may lead to another fiber that waits for it.
///
/// # Safety
/// The collector asks for what is reachable, and the fiber has waited since [`begin`] was called with an owner of this type.
pub unsafe fn mark<T: Collected>(fiber: *mut c::JanetFiber) {
    // SAFETY: the fiber's state refers to an owner that is alive for as long as the fiber waits.
    unsafe { collected::mark(*(*fiber).ev_state.cast::<*const T>()) };
}
