//! Watching a connection while its handler runs, to learn that the client is gone.
//!
//! The task that watches takes the place of the stream's reader for as long as nobody reads.

use std::ffi::c_void;
use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::socket::{self, Peer};

use super::wait::{self, Side};
use super::{Conn, check_request, conn};
use crate::boundary::{Function, Outcome, guard, native};
use crate::deadlines::{Place, Reason};
use crate::value::{arg, is_true};
use crate::{stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("http-watch", "http number", watch),
    native!("http-gone", "http number or-ended", is_gone),
    native!("http-ending", "http &opt number or-ended channel", ending),
    native!("http-detach", "http", detach),
];

/// How often a connection is looked at whose unread bytes hide what comes after them.
const AGAIN: Duration = Duration::from_secs(1);

/// A task that watches.
pub struct Watching {
    pub fiber: *mut c::JanetFiber,
    pub place: Place,
}

fn keyword(name: &str) -> Janet {
    Janet::keyword(name.into())
}

/// Whether a task other than the one that watches reads from the stream.
pub fn is_read_by_others(conn: &Conn, stream: *mut c::JanetStream) -> bool {
    let watcher = conn.watching.as_ref().map_or(std::ptr::null_mut(), |watching| watching.fiber);
    // SAFETY: a live stream of this VM.
    stream::is_read(stream) && unsafe { (*stream).read_fiber } != watcher
}

/// Whether the client is gone.
fn is_lost(conn: &mut Conn, or_ended: bool) -> bool {
    if conn.is_lost {
        return true;
    }
    match stream::get(conn.stream).ok().and_then(stream::descriptor).map(socket::peer) {
        // Elsewhere than on Linux, the system says so once, and then that the peer has ended.
        None | Some(Peer::Lost) => conn.is_lost = true,
        Some(Peer::Ended) => return or_ended,
        Some(Peer::Open) => return false,
    }
    true
}

/// `(native/http-watch http number)`: waits until the client is gone, or the request over. Gives :gone, :over, or
/// :detached, or raises an error where another task watches.
fn watch(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    check_request(conn, arg(args, 1))?;
    if conn.watching.is_some() {
        return Err("another task watches this connection already".into());
    }
    if is_lost(conn, conn.or_ended) {
        return Ok(Outcome::Value(keyword("gone")));
    }
    let stream = stream::get(conn.stream)?;
    // SAFETY: called by Janet, so there is a root fiber.
    let fiber = unsafe { c::janet_root_fiber() };
    // SAFETY: as above.
    let reader = unsafe { (*stream).read_fiber };
    vm::with(|vm| {
        let place = vm.deadlines.add(fiber, Some((look_again, (&raw mut *conn).cast())));
        conn.watching = Some(Watching { fiber, place });
        Ok(())
    })?;
    // SAFETY: the task waits for nothing else, and the trampoline suspends it. Both it and the stream are live, and stay
    // so by the VM's table.
    unsafe {
        let is_read = stream::is_read(stream);
        wait::begin(fiber, stream, conn, Side::Read, on_event);
        if is_read {
            (*stream).read_fiber = reader;
        }
    }
    Ok(Outcome::Await)
}

/// Ends the wait of the task that watches.
pub fn end(conn: &mut Conn, why: &str) {
    if let Some(watching) = conn.watching.take() {
        // SAFETY: it waits.
        unsafe { wait::finish(watching.fiber, keyword(why), c::JanetSignal_JANET_SIGNAL_OK) };
        vm::with_existing(|vm| vm.deadlines.remove(watching.place));
    }
}

/// Tells the task that watches if the client is gone.
pub fn look(conn: &mut Conn) {
    if conn.watching.is_some() && is_lost(conn, conn.or_ended) {
        end(conn, "gone");
    }
}

/// Goes on watching when nobody reads any more.
pub fn resume(conn: &mut Conn) {
    if let Some(watching) = &conn.watching
        && let Ok(stream) = stream::get(conn.stream)
        && !stream::is_read(stream)
    {
        // SAFETY: it waits, and the stream is live.
        unsafe { (*stream).read_fiber = watching.fiber };
    }
}

/// The look of the deadline of a task that watches; without another one, its wait ends.
fn look_again(conn: *mut c_void, now: Duration) -> Option<Duration> {
    // SAFETY: the place of this look is given back before the connection is freed (`leave` in http.rs).
    let conn = unsafe { &mut *conn.cast::<Conn>() };
    if is_lost(conn, conn.or_ended) { None } else { Some(now + AGAIN) }
}

/// Janet's events for the task that watches.
unsafe extern "C-unwind" fn on_event(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    guard("watching", || {
        // SAFETY: Janet calls this for a fiber that waits since `watch`.
        let (conn, stream) = unsafe { wait::of(fiber) };
        match event {
            // SAFETY: the collector asks for it.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK => unsafe { wait::mark(conn) },
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                look(conn);
                if let Some(watching) = &conn.watching {
                    // What is unread stays so, and a loop on poll(2) would not rest meanwhile.
                    // SAFETY: the stream is live.
                    unsafe {
                        if (*stream).read_fiber == fiber {
                            (*stream).read_fiber = std::ptr::null_mut();
                        }
                    }
                    let place = watching.place;
                    vm::with_existing(|vm| {
                        let at = vm.engine.now() + AGAIN;
                        let wake = vm.deadlines.set(place, Some(at), Reason::Keyword("gone"));
                        if wake.is_some() {
                            vm.engine.wake(wake);
                        }
                    });
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => end(conn, "gone"),
            // Cancelled. Janet frees the state.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                if let Some(watching) = conn.watching.take() {
                    vm::with_existing(|vm| vm.deadlines.remove(watching.place));
                }
                wait::cancelled(stream);
            }
            _ => {}
        }
    });
}

/// `(native/http-gone http number or-ended)`: whether the client is gone, or the request over
fn is_gone(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let is_gone = check_request(conn, arg(args, 1)).is_err() || is_lost(conn, is_true(arg(args, 2)));
    Ok(Outcome::Value(Janet::boolean(is_gone)))
}

/// `(native/http-ending http &opt number or-ended channel)`: the channel that the running request is told of its end by, or
/// nil, which a fourth argument changes; with a true third one, a client that sends no more counts as gone
fn ending(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    if args.len() > 1 {
        check_request(conn, arg(args, 1))?;
    }
    if is_true(arg(args, 2)) && !conn.or_ended {
        conn.or_ended = true;
        look(conn);
    }
    if args.len() > 3 {
        conn.ending = arg(args, 3);
    }
    Ok(Outcome::Value(conn.ending))
}

/// `(native/http-detach http)`: the connection is the program's, and not watched any more
fn detach(args: &[Janet]) -> Result<Outcome, String> {
    end(conn(args)?, "detached");
    Ok(Outcome::Value(Janet::nil()))
}
