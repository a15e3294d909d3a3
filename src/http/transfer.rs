//! Reading and writing of connections, in place of `net/read` and `net/write`.
//!
//! Whenever a wait of Janet's own ends, Janet looks through the streams of all waits, one after the other: with 10,000
//! idle connections that alone took six times as long as all else in a request. So here a fiber waits without being in
//! that list. What keeps it alive is the VM's table of open connections: connection, stream, waiting fiber.

use std::mem::MaybeUninit;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Errno, socket};

use super::{Conn, buffer, conn};
use crate::boundary::{Outcome, entry, guard};
use crate::stream;
use crate::value::{arg, bytes, describe, integer};

entry!(kqnet_http_read => read);
entry!(kqnet_http_send => send);

/// A wait for bytes.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Where they go.
    into: *mut c::JanetBuffer,
    most: usize,
}

/// What an attempt to read gave.
enum Read {
    /// Something.
    Some,
    /// The end of what the client sends.
    End,
    /// Nothing yet.
    Nothing,
    /// The client is gone.
    Failed(Errno),
}

/// Appends what has come, as far as there is room for.
fn receive(stream: *mut c::JanetStream, Reading { into, most }: Reading) -> Read {
    let Some(fd) = stream::descriptor(stream) else { return Read::End };
    // SAFETY: the buffer is live: an argument, or marked as what is waited for. Within 2 GiB, making room cannot raise.
    let room = unsafe {
        c::janet_buffer_extra(into, most as i32);
        let start = (*into).data.add((*into).count as usize);
        std::slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), most)
    };
    match socket::receive(fd, room) {
        Ok(None) => Read::Nothing,
        Ok(Some(0)) => Read::End,
        Ok(Some(count)) => {
            // SAFETY: as above; so many bytes were written after those that were there.
            unsafe { (*into).count += count as i32 };
            Read::Some
        }
        Err(errno) => Read::Failed(errno),
    }
}

/// `(native/http-read http buffer most)`: waits for bytes, and appends up to so many of them. Nil at their end.
fn read(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let into: *mut c::JanetBuffer = buffer(arg(args, 1))?;
    let most = integer(arg(args, 2)).filter(|most| *most > 0);
    let most = most.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, 2))))?;
    // SAFETY: it is an argument.
    if unsafe { (*into).count }.checked_add(most).is_none() {
        return Err("a buffer would be larger than 2 GiB".into());
    }
    let stream = stream::get(conn.stream)?;
    if stream::descriptor(stream).is_none() {
        return Err("stream is closed".into());
    }
    // Janet would forget the first one, which then waits for ever.
    if stream::is_read(stream) {
        return Err("another task reads from this connection already".into());
    }
    let reading = Reading { into, most: most.unsigned_abs() as usize };
    let result = receive(stream, reading);
    // SAFETY: called by Janet on a task's fiber, which waits for nothing else, and which the trampoline suspends. Both
    // it and the stream are live, and stay so by the VM's table.
    unsafe {
        let fiber = c::janet_root_fiber();
        match result {
            Read::Nothing => {
                conn.reading = Some(reading);
                (*fiber).ev_callback = Some(on_event);
                (*fiber).ev_stream = stream;
                // Janet frees it with a fiber that is collected while it waits.
                let state: *mut *mut Conn = c::janet_malloc(size_of::<*mut Conn>()).cast();
                state.write(conn);
                (*fiber).ev_state = state.cast();
                (*stream).read_fiber = fiber;
                c::janet_ev_inc_refcount();
            }
            // By way of the schedule, so that a client that always has more to say lets other fibers run.
            Read::Some => c::janet_schedule(fiber, c::janet_wrap_true()),
            Read::End => c::janet_schedule(fiber, c::janet_wrap_nil()),
            Read::Failed(errno) => return Err(errno.text()),
        }
    }
    Ok(Outcome::Await)
}

/// Ends a wait.
///
/// # Safety
/// The fiber waits in `read`.
unsafe fn finish(fiber: *mut c::JanetFiber, value: Janet, signal: c::JanetSignal) {
    // SAFETY: as the caller promises; this undoes what `read` did.
    unsafe {
        let stream = (*fiber).ev_stream;
        if (*stream).read_fiber == fiber {
            (*stream).read_fiber = std::ptr::null_mut();
        }
        (**(*fiber).ev_state.cast::<*mut Conn>()).reading = None;
        (*fiber).ev_callback = None;
        c::janet_free((*fiber).ev_state);
        (*fiber).ev_state = std::ptr::null_mut();
        c::janet_ev_dec_refcount();
        c::janet_schedule_signal(fiber, value.into(), signal);
    }
}

/// Janet's events for a fiber that waits in `read`.
unsafe extern "C-unwind" fn on_event(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    guard("reading", || {
        // SAFETY: Janet calls this for a fiber that waits in `read`, whose state is a connection that the marking keeps
        // alive.
        let (conn, stream) = unsafe { (&mut **(*fiber).ev_state.cast::<*mut Conn>(), (*fiber).ev_stream) };
        let (ok, error) = (c::JanetSignal_JANET_SIGNAL_OK, c::JanetSignal_JANET_SIGNAL_ERROR);
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK => {
                // SAFETY: marking live values while the collector asks for it.
                unsafe {
                    c::janet_mark(c::janet_wrap_abstract((&raw mut *conn).cast()));
                    if let Some(Reading { into, .. }) = conn.reading {
                        c::janet_mark(c::janet_wrap_buffer(into));
                    }
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP => {
                let Some(reading) = conn.reading else { return };
                let (value, signal) = match receive(stream, reading) {
                    Read::Nothing => return,
                    Read::Some => (Janet::boolean(true), ok),
                    Read::End => (Janet::nil(), ok),
                    Read::Failed(errno) => (Janet::from(errno.text().as_str()), error),
                };
                // SAFETY: it waits.
                unsafe { finish(fiber, value, signal) };
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                // SAFETY: it waits.
                unsafe { finish(fiber, Janet::nil(), ok) };
            }
            // Cancelled. Janet will free the state, and take the stream off its list, on which it is not.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                conn.reading = None;
                // SAFETY: the stream is live.
                unsafe { c::janet_gcroot(c::janet_wrap_abstract(stream.cast())) };
            }
            _ => {}
        }
    });
}

/// The most that is sent in one go, so that a client that takes all at once does not keep others waiting.
const MOST: usize = 1024 * 1024;

/// `(native/http-send http bytes from)`: sends what can be sent at once of the bytes from that index on. Gives the index
/// of the first that was not sent, nil where all were.
fn send(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let value = arg(args, 1);
    let all = bytes(&value).ok_or_else(|| format!("expected bytes, got {}", describe(value)))?;
    let from = integer(arg(args, 2)).and_then(|from| usize::try_from(from).ok()).filter(|from| *from <= all.len());
    let from = from.ok_or_else(|| format!("expected an index, got {}", describe(arg(args, 2))))?;
    let fd = stream::descriptor(stream::get(conn.stream)?).ok_or("stream is closed")?;
    let end = all.len().min(from.saturating_add(MOST));
    let mut sent = from;
    while sent < end {
        match socket::send(fd, &all[sent..end]) {
            Ok(Some(count)) => sent += count,
            Ok(None) => break,
            Err(errno) => return Err(errno.text()),
        }
    }
    Ok(Outcome::Value(if sent == all.len() { Janet::nil() } else { Janet::number(sent as f64) }))
}
