//! Watching a connection while its handler runs, to learn that the client is gone.
//!
//! The task that watches takes the place of the stream's reader for as long as nobody reads.

use std::cell::RefCell;
use std::ffi::c_void;
use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::socket::{self, Peer};

use super::connection::{self, Connection};
use super::wait::{self, Side};
use crate::boundary::{Function, Outcome, catch_panic, native};
use crate::deadlines::{Reason, Slot};
use crate::value::{arg, is_true};
use crate::{stream, vm};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-watch", "http number", watch),
    native!("http-gone?", "http number or-ended", is_gone),
    native!("http-ending", "http &opt number or-ended channel", ending),
    native!("http-cancel-when-gone", "http number task", cancel_when_gone),
    native!("http-take-cancelled", "http number", take_cancelled),
    native!("http-detach", "http", detach),
];

/// How often to look at a connection whose unread bytes hide what comes after them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A task that watches.
pub struct Watching {
    pub fiber: *mut c::JanetFiber,
    /// The slot for the deadline of its next look.
    pub slot: Slot,
}

fn keyword(name: &str) -> Janet {
    Janet::keyword(name.into())
}

impl Connection {
    /// Whether a task other than the one that watches reads from the stream.
    pub fn is_read_by_others(&self, stream: *mut c::JanetStream) -> bool {
        let watcher = self.watching.as_ref().map_or(std::ptr::null_mut(), |watching| watching.fiber);
        // SAFETY: the stream is a live one of this VM.
        stream::is_read(stream) && unsafe { (*stream).read_fiber } != watcher
    }

    /// Whether the client is gone. If `or_ended` is set, a client that has ended its side of the connection counts as gone.
    fn is_client_gone(&mut self, or_ended: bool) -> bool {
        if self.is_lost {
            return true;
        }
        match stream::get(self.stream).ok().and_then(stream::descriptor).map(socket::peer) {
            // Systems other than Linux report this once, and after that only that the peer has ended.
            None | Some(Peer::Lost) => self.is_lost = true,
            Some(Peer::Ended) => return or_ended,
            Some(Peer::Open) => return false,
        }
        true
    }

    /// Ends the wait of the task that watches. The keyword named `why` is its result.
    pub fn end_watching(&mut self, why: &str) {
        if let Some(watching) = self.watching.take() {
            // SAFETY: a fiber in `watching` waits (the invariant of `Connection`).
            unsafe { wait::finish(watching.fiber, keyword(why), c::JanetSignal_JANET_SIGNAL_OK) };
            vm::with_existing(|vm| vm.deadlines.remove(watching.slot));
        }
    }

    /// Ends the watching task's wait, if the client is gone.
    pub fn tell_watcher(&mut self) {
        if self.watching.is_some() && self.is_client_gone(self.ends_with_input) {
            self.end_watching("gone");
        }
    }

    /// Makes the task that watches the stream's reader again when nobody else reads any more.
    pub fn resume_watching(&mut self) {
        let Some(watching) = &self.watching else { return };
        let Ok(stream) = stream::get(self.stream) else { return };
        if !stream::is_read(stream) {
            // SAFETY: the stream is live, and a fiber in `watching` waits for it (the invariant of `Connection`).
            unsafe { (*stream).read_fiber = watching.fiber };
        }
    }
}

/// `(native/http-watch http number)`: Waits until the client is gone or the request is over. Returns :gone, :over or
/// :detached. Raises an error when another task watches already.
fn watch(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    connection.check_running(arg(args, 1))?;
    if connection.is_detached {
        return Ok(Outcome::Value(keyword("detached")));
    }
    if connection.watching.is_some() {
        return Err("another task watches this connection already".into());
    }
    if connection.is_client_gone(connection.ends_with_input) {
        return Ok(Outcome::Value(keyword("gone")));
    }
    let stream = stream::get(connection.stream)?;
    // SAFETY: Janet called this function, so there is a root fiber.
    let fiber = unsafe { c::janet_root_fiber() };
    vm::with(|vm| {
        let slot = vm.deadlines.add(fiber, Some((look_again, connection.value.cast_mut().cast())));
        connection.watching = Some(Watching { fiber, slot });
        Ok(())
    })?;
    // SAFETY: the task waits for nothing else, and the trampoline suspends it. The VM's table of connections keeps the
    // connection and its stream alive.
    unsafe {
        let (is_read, reader) = (stream::is_read(stream), (*stream).read_fiber);
        wait::begin(fiber, stream, connection.value, Side::Read, on_event);
        if is_read {
            (*stream).read_fiber = reader;
        }
    }
    Ok(Outcome::Await)
}

/// Looks at a connection when the deadline of the task that watches has come. Returns when to look again, or `None` to end
/// the wait.
fn look_again(connection: *mut c_void, now: Duration) -> Option<Duration> {
    // SAFETY: the deadline that this look belongs to is given back before the connection is dropped.
    let connection = &mut *unsafe { connection::from_callback(connection) }.borrow_mut();
    if connection.is_client_gone(connection.ends_with_input) { None } else { Some(now + LOOK_INTERVAL) }
}

/// Janet's events for the task that watches.
unsafe extern "C-unwind" fn on_event(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    if event == c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK {
        // SAFETY: the collector asks for this, for a fiber that has waited since `watch`.
        return unsafe { wait::mark::<RefCell<Connection>>(fiber) };
    }
    catch_panic("watching", || {
        // SAFETY: Janet calls this for a fiber that has waited since `watch`.
        let (connection, stream) = unsafe { wait::of::<RefCell<Connection>>(fiber) };
        let connection = &mut *connection.borrow_mut();
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                connection.tell_watcher();
                if let Some(watching) = &connection.watching {
                    // The bytes that were not read stay unread, and a loop on poll(2) would spin meanwhile. So the task
                    // stops being the reader, and looks from time to time.
                    // SAFETY: the stream is live.
                    unsafe {
                        if (*stream).read_fiber == fiber {
                            (*stream).read_fiber = std::ptr::null_mut();
                        }
                    }
                    let slot = watching.slot;
                    vm::with_existing(|vm| {
                        let at = vm.engine.now() + LOOK_INTERVAL;
                        vm.set_deadline(slot, Some(at), Reason::Keyword("gone"));
                    });
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => connection.end_watching("gone"),
            // The task was cancelled. Janet frees the state of its wait.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                if let Some(watching) = connection.watching.take() {
                    vm::with_existing(|vm| vm.deadlines.remove(watching.slot));
                }
                wait::root_for_cancel(stream);
            }
            _ => {}
        }
    });
}

/// `(native/http-gone? http number or-ended)`: Returns whether the client is gone, or the request is over.
fn is_gone(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let is_over = connection.check_running(arg(args, 1)).is_err();
    Ok(Outcome::Value(Janet::boolean(is_over || connection.is_client_gone(is_true(arg(args, 2))))))
}

/// `(native/http-ending http &opt number or-ended channel)`: Returns the channel that tells the running request of its
/// end, or nil. If `or-ended` is true, a client that sends no more counts as gone from now on. A fourth argument becomes
/// the channel.
fn ending(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    if args.len() > 1 {
        connection.check_running(arg(args, 1))?;
    }
    if is_true(arg(args, 2)) && !connection.ends_with_input {
        connection.ends_with_input = true;
        connection.tell_watcher();
    }
    if args.len() > 3 {
        connection.ending = arg(args, 3);
    }
    Ok(Outcome::Value(connection.ending))
}

/// `(native/http-cancel-when-gone http number task)`: Has the task cancelled when the client is gone before the request is over.
fn cancel_when_gone(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    connection.check_running(arg(args, 1))?;
    connection.to_cancel = arg(args, 2);
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/http-take-cancelled http number)`: Returns the task to cancel, once, or nil if there is none or the request is over. Its
/// request is logged as one that its client has abandoned.
fn take_cancelled(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    if connection.check_running(arg(args, 1)).is_err() || connection.to_cancel.is_nil() {
        return Ok(Outcome::Value(Janet::nil()));
    }
    connection.account.is_abandoned = true;
    Ok(Outcome::Value(std::mem::replace(&mut connection.to_cancel, Janet::nil())))
}

/// `(native/http-detach http)`: Stops watching, since the connection belongs to the program from now on.
fn detach(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    // The task that watches may not have begun yet.
    connection.is_detached = true;
    connection.to_cancel = Janet::nil();
    connection.end_watching("detached");
    Ok(Outcome::Value(Janet::nil()))
}
