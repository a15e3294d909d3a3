//! The fiber that waits for a listener's connections: how its wait begins, and how it ends.
//!
//! Its callback is also told when the stream is closed, so it stands in for the sentinel (src/listeners.rs) while it waits.

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::boundary::catch_panic;
use crate::listener::ListenerRef;
use crate::listeners::leave;
use crate::{stream, vm};

/// Suspends the running task until the listener's wait is finished. The wait keeps the listener and the functions alive.
/// `handler` is null if the task itself waits for a connection.
pub fn wait(
    listener: ListenerRef,
    stream: *mut c::JanetStream,
    handler: *mut c::JanetFunction,
    on_error: *mut c::JanetFunction,
) {
    // SAFETY: called from a function that Janet called, so there is a root fiber, which waits for nothing else; the stream
    // is live. Janet frees the state with the function that goes with janet_malloc.
    unsafe {
        let fiber = c::janet_root_fiber();
        listener.is_claimed.set(false);
        listener.fiber.set(fiber);
        listener.handler.set(handler);
        listener.env.set(vm::running_env());
        listener.on_error.set(on_error);
        let state: *mut ListenerRef = c::janet_malloc(size_of::<ListenerRef>()).cast();
        state.write(listener);
        // A listener never becomes writable, so the only event that comes is that it was closed. Readiness comes from our own
        // queue: Janet's loop on poll(2) would spin while a client waits and accepting pauses.
        c::janet_async_start_fiber(
            fiber,
            stream,
            c::JanetAsyncMode_JANET_ASYNC_LISTEN_WRITE,
            Some(on_event),
            state.cast(),
        );
    }
}

/// Handles Janet's events for a fiber that waits.
unsafe extern "C-unwind" fn on_event(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    catch_panic("a listener's event", || {
        // SAFETY: Janet calls this for a fiber that `wait` suspended, whose state holds a listener.
        let (listener, stream) = unsafe { (*(*fiber).ev_state.cast::<ListenerRef>(), (*fiber).ev_stream) };
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK => {
                // SAFETY: called while the collector marks, and the values are live, because this marks them.
                unsafe {
                    c::janet_mark(listener.wrap());
                    if !listener.env.get().is_null() {
                        c::janet_mark(c::janet_wrap_table(listener.env.get()));
                    }
                    for function in [listener.handler.get(), listener.on_error.get()] {
                        if !function.is_null() {
                            c::janet_mark(c::janet_wrap_function(function));
                        }
                    }
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => {
                leave(listener, stream);
                // As their docstrings say: the loop returns the stream, and accept returns nil.
                let value = if listener.handler.get().is_null() { Janet::nil() } else { stream::wrap(stream) };
                listener.finish(value.into(), c::JanetSignal_JANET_SIGNAL_OK);
            }
            // The fiber was resumed or cancelled by something other than `finish`. The kernel may still report once that the
            // listener is ready, and the engine finds then that nobody waits.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT if listener.fiber.get() == fiber => {
                listener.fiber.set(std::ptr::null_mut());
                listener.handler.set(std::ptr::null_mut());
                listener.env.set(std::ptr::null_mut());
                listener.on_error.set(std::ptr::null_mut());
                // SAFETY: the stream is live, since the fiber that waits for it marks it.
                unsafe { (*stream).write_fiber = listener.sentinel };
            }
            _ => {}
        }
    });
}
