//! What happens to an accepted connection: it goes to a new fiber that runs the handler, or to the fiber that waits for it.

use std::os::fd::OwnedFd;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Errno, Next, Sink};

use crate::listener::{ListenerRef, cannot_accept};
use crate::message::say;
use crate::stream;
use crate::value::string;

/// How many values the stack of a handler's fiber has room for at first. `ev/go` makes fibers as large.
const STACK: i32 = 64;

/// The same for a handler that needs little. Janet makes no smaller one.
const LIGHT_STACK: i32 = 32;

/// Gives connections to the fibers that wait for them.
pub struct Deliver;

impl Sink<OwnedFd, ListenerRef> for Deliver {
    fn wants(&mut self, listener: &ListenerRef) -> bool {
        !listener.fiber.get().is_null()
    }

    fn ended(&mut self, listener: &ListenerRef, all: bool) -> u32 {
        if all { listener.sweep() } else { listener.sweep_if_due() }
    }

    fn accepted(&mut self, listener: &ListenerRef, conn: OwnedFd) -> Next {
        let stream = match stream::make(conn, stream::Kind::Connection) {
            Ok(stream) => stream,
            Err(text) => {
                say(&format!("a connection was dropped: {text}"));
                return Next::Dropped;
            }
        };
        let value: c::Janet = stream::wrap(stream).into();
        let handler = listener.handler.get();
        if handler.is_null() {
            listener.finish(value, c::JanetSignal_JANET_SIGNAL_OK);
            return Next::Enough;
        }
        // SAFETY: the waiting fiber keeps the handler and the environment alive. The schedule keeps the new fiber alive.
        unsafe {
            let is_light = listener.is_light.get();
            let fiber = c::janet_fiber(handler, if is_light { LIGHT_STACK } else { STACK }, 1, &value);
            // Null if the handler does not take one argument, which was checked before the wait began.
            if fiber.is_null() {
                stream::close(stream);
                return Next::Dropped;
            }
            (*fiber).supervisor_channel = (*listener.fiber.get()).supervisor_channel;
            (*fiber).env = listener.env.get();
            if !is_light {
                // The handler has an environment of its own, so that what it sets reaches no other handler.
                (*fiber).env = c::janet_table(0);
                (*(*fiber).env).proto = listener.env.get();
            }
            listener.begin(fiber);
            c::janet_schedule(fiber, c::janet_wrap_nil());
        }
        Next::More
    }

    fn failed(&mut self, listener: &ListenerRef, errno: Errno) {
        let fiber = listener.fiber.get();
        if !fiber.is_null() {
            // SAFETY: the fiber waits for the stream, so both are live.
            let text = cannot_accept(unsafe { (*fiber).ev_stream }, errno);
            listener.finish(string(&text).into(), c::JanetSignal_JANET_SIGNAL_ERROR);
        }
    }

    fn shortage(&mut self, listener: &ListenerRef, errno: Errno) {
        let text = format!("accepting on {} pauses: {errno}", listener.name);
        let on_error = listener.on_error.get();
        if on_error.is_null() {
            say(&text);
            return;
        }
        // SAFETY: the listener's fiber waits for the stream, and keeps the function alive.
        unsafe {
            let args: [c::Janet; 2] =
                [stream::wrap((*listener.fiber.get()).ev_stream).into(), Janet::from(text.as_str()).into()];
            let fiber = c::janet_fiber(on_error, 64, 2, args.as_ptr());
            if !fiber.is_null() {
                c::janet_schedule(fiber, c::janet_wrap_nil());
            }
        }
    }
}
