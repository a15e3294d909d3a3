//! Reading and writing of connections, in place of `net/read` and `net/write`.
//!
//! Whenever a wait of Janet's own ends, Janet looks through the streams of all waits, one after the other: with 10,000
//! idle connections that alone took six times as long as all else in a request. So here a fiber waits without being in
//! that list ([`super::wait`]).
//!
//! A client that is gone is a result, not an error. The error's number tells, since the system's text may differ.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Errno, socket};

use super::wait::{self, Side};
use super::{Conn, Phase, check_request, conn, watch};
use crate::boundary::{Function, Outcome, guard, native};
use crate::buffer;
use crate::deadlines::{Place, Reason};
use crate::stream;
use crate::value::{arg, bytes, describe, integer, is_true, string};
use crate::vm;

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("http-read", "http buffer most &opt number", read),
    native!("http-write", "http bytes from", write),
    native!("http-linger", "http draining", linger),
];

/// How long a client that still sends may take to let the last answer arrive, in all and without sending anything.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// The same silence while the server drains.
pub const LINGER_DRAINING: Duration = Duration::from_secs(1);

/// The most that is sent, or thrown away, in one go, so that one client does not keep others waiting.
const MOST: usize = 1024 * 1024;

/// What a client has to take in each `:write-timeout`.
const TAKEN: i64 = 64 * 1024;

/// How far a client may be behind: half more than what it has to take, since acknowledgements come in lumps.
const BEHIND: i64 = TAKEN + TAKEN / 2;

/// How much of what a client took ahead counts. A proxy takes a megabyte at a time for a client that is slow.
const AHEAD: i64 = 24 * TAKEN;

/// A wait for bytes.
#[derive(Clone, Copy)]
pub struct Reading {
    pub fiber: *mut c::JanetFiber,
    /// The buffer that they go to; nil where they are thrown away.
    into: Janet,
    most: usize,
    /// They are for a handler that reads its body.
    is_body: bool,
}

/// A wait for a client to take bytes.
pub struct Writing {
    pub fiber: *mut c::JanetFiber,
    value: Janet,
    length: usize,
    /// The index of the first byte that was not sent.
    at: usize,
    pub place: Option<Place>,
    /// Until when the wait is paid for.
    since: Duration,
}

/// What an attempt to read gave.
enum Read {
    /// Something.
    Some,
    /// The end of what the client sends.
    End,
    /// Nothing yet.
    Nothing,
    /// Something, which was thrown away, and no more yet.
    Discarded,
    /// The client is gone.
    Lost,
    /// Why nothing can be read.
    Failed(String),
}

/// What a wait gives that ends because the client is gone.
fn gone() -> Janet {
    Janet::keyword("gone".into())
}

fn cannot(what: &str, errno: Errno) -> String {
    format!("cannot {what} the connection: {errno}")
}

fn failed(errno: Errno) -> Read {
    if errno.is_lost_peer() { Read::Lost } else { Read::Failed(cannot("read from", errno)) }
}

/// Takes what has come, as far as there is room for.
fn receive(stream: *mut c::JanetStream, reading: Reading) -> Read {
    let Some(fd) = stream::descriptor(stream) else { return Read::Lost };
    if reading.into.is_nil() {
        return discard(fd);
    }
    let Reading { into, most, .. } = reading;
    let mut into = match buffer::get(into) {
        Ok(buffer) => buffer,
        Err(why) => return Read::Failed(why),
    };
    let room = match buffer::room(&mut into, most) {
        Ok(room) => room,
        Err(why) => return Read::Failed(why),
    };
    match socket::receive(fd, room) {
        Ok(None) => Read::Nothing,
        Ok(Some(0)) => Read::End,
        Ok(Some(count)) => {
            // SAFETY: the system has written so many bytes.
            unsafe { buffer::filled(&mut into, count) };
            Read::Some
        }
        Err(errno) => failed(errno),
    }
}

/// Reads what has come and throws it away.
fn discard(fd: RawFd) -> Read {
    let mut scratch = [MaybeUninit::uninit(); 32 * 1024];
    let mut all = 0;
    while all < MOST {
        match socket::receive(fd, &mut scratch) {
            Ok(None) if all == 0 => return Read::Nothing,
            Ok(None) => return Read::Discarded,
            Ok(Some(0)) => return Read::End,
            Ok(Some(count)) => all += count,
            Err(errno) => return failed(errno),
        }
    }
    Read::Some
}

/// `(native/http-read http buffer most &opt number)`: waits for bytes, and appends up to so many of them. Gives true, nil
/// at their end, or :gone. With the number of a request, it is for a handler that reads the body of that request.
fn read(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let into = arg(args, 1);
    buffer::get(into)?;
    let most = integer(arg(args, 2)).filter(|most| *most > 0);
    let most = most.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, 2))))?;
    let is_body = args.len() > 3;
    if is_body {
        check_request(conn, arg(args, 3))?;
    }
    start_reading(conn, into, most.unsigned_abs() as usize, is_body)
}

fn start_reading(conn: &mut Conn, into: Janet, most: usize, is_body: bool) -> Result<Outcome, String> {
    let stream = stream::get(conn.stream)?;
    if stream::descriptor(stream).is_none() {
        return Ok(Outcome::Value(gone()));
    }
    // Janet would forget the first one, which then waits for ever.
    if watch::is_read_by_others(conn, stream) {
        return Err("another task reads from this connection already".into());
    }
    // SAFETY: called by Janet, so there is a root fiber.
    let fiber = unsafe { c::janet_root_fiber() };
    let reading = Reading { fiber, into, most, is_body };
    let value = match receive(stream, reading) {
        result @ (Read::Nothing | Read::Discarded) => {
            if matches!(result, Read::Discarded) {
                conn.linger_on();
            }
            if is_body {
                vm::with(|vm| {
                    conn.enter(vm, Phase::Body);
                    Ok(())
                })?;
            }
            conn.reading = Some(reading);
            // SAFETY: the task waits for nothing else, and the trampoline suspends it. Both it and the stream are live,
            // and stay so by the VM's table.
            unsafe { wait::begin(fiber, stream, conn, Side::Read, on_readable) };
            return Ok(Outcome::Await);
        }
        Read::Some => {
            if into.is_nil() {
                conn.linger_on();
            }
            Janet::boolean(true)
        }
        Read::End => Janet::nil(),
        Read::Lost => {
            watch::look(conn);
            gone()
        }
        Read::Failed(why) => return Err(why),
    };
    // By way of the schedule, so that a client that always has more to say lets other fibers run.
    // SAFETY: as above.
    unsafe { c::janet_schedule(fiber, value.into()) };
    Ok(Outcome::Await)
}

/// A wait to read has ended, in whatever way.
fn end_reading(conn: &mut Conn) {
    let is_body = conn.reading.take().is_some_and(|reading| reading.is_body);
    if is_body && conn.phase == Phase::Body {
        vm::with_existing(|vm| conn.enter(vm, Phase::Handler));
    }
    watch::resume(conn);
}

/// Janet's events for a fiber that waits to read.
unsafe extern "C-unwind" fn on_readable(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    guard("reading", || {
        // SAFETY: Janet calls this for a fiber that waits since `start_reading`.
        let (conn, stream) = unsafe { wait::of(fiber) };
        let Some(reading) = conn.reading else { return };
        let finish = |value: Janet, signal| {
            // SAFETY: it waits.
            unsafe { wait::finish(fiber, value, signal) };
        };
        let (ok, error) = (c::JanetSignal_JANET_SIGNAL_OK, c::JanetSignal_JANET_SIGNAL_ERROR);
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK => {
                // SAFETY: marking live values while the collector asks for it.
                unsafe {
                    wait::mark(conn);
                    if !reading.into.is_nil() {
                        c::janet_mark(reading.into.into());
                    }
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                let (value, signal) = match receive(stream, reading) {
                    Read::Nothing => return,
                    Read::Discarded => {
                        conn.linger_on();
                        return;
                    }
                    Read::Some => (Janet::boolean(true), ok),
                    Read::End => (Janet::nil(), ok),
                    Read::Lost => (gone(), ok),
                    Read::Failed(why) => (string(&why), error),
                };
                finish(value, signal);
                end_reading(conn);
                watch::look(conn);
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => {
                finish(gone(), ok);
                end_reading(conn);
            }
            // Cancelled. Janet frees the state.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                end_reading(conn);
                wait::cancelled(stream);
            }
            _ => {}
        }
    });
}

/// What an attempt to send gave, and the index of the first byte that was not sent.
enum Sent {
    All,
    /// Enough for one go.
    Enough,
    /// The client has to take some first.
    Full,
    /// The client is gone.
    Lost,
    Failed(Errno),
}

fn transmit(conn: &mut Conn, fd: RawFd, all: &[u8], at: &mut usize) -> Sent {
    let end = all.len().min(at.saturating_add(MOST));
    while *at < end {
        match socket::send(fd, &all[*at..end]) {
            Ok(Some(count)) => {
                *at += count;
                conn.sent += count as u64;
                conn.account.transmitted(count);
            }
            Ok(None) => return Sent::Full,
            Err(errno) if errno.is_lost_peer() => return Sent::Lost,
            Err(errno) => return Sent::Failed(errno),
        }
    }
    if end == all.len() { Sent::All } else { Sent::Enough }
}

/// `(native/http-write http bytes from)`: sends bytes, from that index on, and waits for the client to take them. Gives
/// nil where all are sent, the index to go on from, or :gone.
fn write(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let value = arg(args, 1);
    let all = bytes(&value).ok_or_else(|| format!("expected bytes, got {}", describe(value)))?;
    let from = integer(arg(args, 2)).and_then(|from| usize::try_from(from).ok()).filter(|from| *from <= all.len());
    let mut at = from.ok_or_else(|| format!("expected an index, got {}", describe(arg(args, 2))))?;
    let stream = stream::get(conn.stream)?;
    let Some(fd) = stream::descriptor(stream) else { return Ok(Outcome::Value(gone())) };
    if stream::is_written(stream) {
        return Err("another task writes to this connection already".into());
    }
    let length = all.len();
    match transmit(conn, fd, all, &mut at) {
        Sent::All => Ok(Outcome::Value(Janet::nil())),
        Sent::Lost => Ok(Outcome::Value(gone())),
        Sent::Failed(errno) => Err(cannot("write to", errno)),
        Sent::Enough => {
            // SAFETY: called by Janet on a task's fiber, which the trampoline suspends.
            unsafe { c::janet_schedule(c::janet_root_fiber(), Janet::number(at as f64).into()) };
            Ok(Outcome::Await)
        }
        Sent::Full => {
            // SAFETY: as above.
            let fiber = unsafe { c::janet_root_fiber() };
            conn.earn(fd);
            let (mut place, mut since) = (None, Duration::ZERO);
            let timeout = conn.config().write_timeout;
            if let Some(timeout) = timeout {
                vm::with(|vm| {
                    let new = vm.deadlines.add(fiber, Some((look_at_writing, (&raw mut *conn).cast())));
                    since = vm.engine.now();
                    let reason = Reason::Gone("the client took too little for :write-timeout");
                    if let Some(wake) = vm.deadlines.set(new, Some(since + timeout / 2), reason) {
                        vm.engine.wake(Some(wake));
                    }
                    place = Some(new);
                    Ok(())
                })?;
            }
            conn.writing = Some(Writing { fiber, value, length, at, place, since });
            // SAFETY: the task waits for nothing else, and the trampoline suspends it. Both it and the stream are live,
            // and stay so by the VM's table.
            unsafe { wait::begin(fiber, stream, conn, Side::Write, on_writable) };
            Ok(Outcome::Await)
        }
    }
}

impl Conn {
    /// Counts what the client has acknowledged in its favour.
    fn earn(&mut self, fd: RawFd) {
        let acknowledged = self.sent.wrapping_sub(socket::unacknowledged(fd).unwrap_or(0));
        // Wrapping, since the program may have written to the connection too.
        let gained = acknowledged.wrapping_sub(self.acknowledged) as i64;
        if gained > 0 {
            self.ahead = (self.ahead + gained).min(AHEAD);
            self.acknowledged = acknowledged;
        }
    }

    /// Counts the time of a wait against the client.
    fn pay(&mut self, now: Duration) {
        if let (Some(timeout), Some(writing)) = (self.config().write_timeout, &mut self.writing) {
            let waited = now.saturating_sub(writing.since).as_secs_f64();
            writing.since = now;
            self.ahead -= (waited / timeout.as_secs_f64() * TAKEN as f64) as i64;
        }
    }

    /// A response begins, for which what was taken of others does not count.
    pub fn begin_account(&mut self) {
        (self.ahead, self.acknowledged) = (0, self.sent);
    }

    /// The client still sends while its last answer arrives.
    fn linger_on(&mut self) {
        vm::with_existing(|vm| {
            let silence = if self.lingers_briefly { LINGER_DRAINING } else { LINGER_SILENCE };
            let at = (vm.engine.now() + silence).min(self.linger_until);
            self.deadline_at(vm, Some(at), Reason::Keyword("linger-timeout"));
        });
    }
}

/// Whether a client that is waited for takes enough: looked at twice in each `:write-timeout`.
fn look_at_writing(conn: *mut c_void, now: Duration) -> Option<Duration> {
    // SAFETY: the place of this look is given back before the connection is freed (`leave` in http.rs).
    let conn = unsafe { &mut *conn.cast::<Conn>() };
    let timeout = conn.config().write_timeout?;
    let fd = stream::get(conn.stream).ok().and_then(stream::descriptor)?;
    conn.earn(fd);
    conn.pay(now);
    if conn.ahead > -BEHIND { Some(now + timeout / 2) } else { None }
}

/// A wait to write has ended, in whatever way.
fn end_writing(conn: &mut Conn) {
    if let Some(place) = conn.writing.as_ref().and_then(|writing| writing.place) {
        vm::with_existing(|vm| {
            conn.pay(vm.engine.now());
            vm.deadlines.remove(place);
        });
    }
    conn.writing = None;
}

/// Janet's events for a fiber that waits to write.
unsafe extern "C-unwind" fn on_writable(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    guard("writing", || {
        // SAFETY: Janet calls this for a fiber that waits since `write`.
        let (conn, stream) = unsafe { wait::of(fiber) };
        let Some(&Writing { value, length, mut at, .. }) = conn.writing.as_ref() else { return };
        let (ok, error) = (c::JanetSignal_JANET_SIGNAL_OK, c::JanetSignal_JANET_SIGNAL_ERROR);
        let (value, signal) = match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK => {
                // SAFETY: marking live values while the collector asks for it.
                unsafe {
                    wait::mark(conn);
                    c::janet_mark(value.into());
                }
                return;
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_WRITE
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                let all = bytes(&value).filter(|all| all.len() == length);
                match (all, stream::descriptor(stream)) {
                    (None, _) => (string("a buffer was changed while it was sent"), error),
                    (_, None) => (gone(), ok),
                    (Some(all), Some(fd)) => match transmit(conn, fd, all, &mut at) {
                        Sent::All => (Janet::nil(), ok),
                        Sent::Enough => (Janet::number(at as f64), ok),
                        Sent::Lost => (gone(), ok),
                        Sent::Failed(errno) => (string(&cannot("write to", errno)), error),
                        Sent::Full => {
                            if let Some(writing) = &mut conn.writing {
                                writing.at = at;
                            }
                            return;
                        }
                    },
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => (gone(), ok),
            // Cancelled. Janet frees the state.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                end_writing(conn);
                wait::cancelled(stream);
                return;
            }
            _ => return,
        };
        // SAFETY: it waits.
        unsafe { wait::finish(fiber, value, signal) };
        end_writing(conn);
    });
}

/// Ends the waits of tasks that outlive their request.
pub fn end_waits(conn: &mut Conn, error: &str) {
    if conn.reading.is_none() && conn.writing.is_none() {
        return;
    }
    let fibers =
        [conn.reading.as_ref().map(|reading| reading.fiber), conn.writing.as_ref().map(|writing| writing.fiber)];
    for fiber in fibers.into_iter().flatten() {
        // SAFETY: it waits.
        unsafe { wait::finish(fiber, string(error), c::JanetSignal_JANET_SIGNAL_ERROR) };
    }
    if conn.reading.is_some() {
        end_reading(conn);
    }
    end_writing(conn);
}

/// `(native/http-linger http draining)`: lets the client take the last answer. Closing with unread bytes would reset the
/// connection, which takes from the client what it has not read yet.
fn linger(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let Some(fd) = stream::descriptor(stream::get(conn.stream)?) else { return Ok(Outcome::Value(Janet::nil())) };
    if conn.phase != Phase::Linger {
        if socket::end_sending(fd).is_err() {
            return Ok(Outcome::Value(Janet::nil()));
        }
        vm::with(|vm| {
            conn.enter(vm, Phase::Linger);
            conn.linger_until = vm.engine.now() + LINGER;
            Ok(())
        })?;
        conn.lingers_briefly = is_true(arg(args, 1));
        conn.linger_on();
    }
    start_reading(conn, Janet::nil(), 0, false)
}
