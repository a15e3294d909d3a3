//! Writing to a connection, in place of `net/write`.
//!
//! A client that is gone is a result and not an error.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Errno, socket};

use super::connection::{self, Connection};
use super::wait::{self, Side, gone, io_error};
use super::{MAX_TURN, file_body, pace};
use crate::boundary::{Function, Outcome, catch_panic, native};
use crate::deadlines::{Reason, Slot};
use crate::stream;
use crate::value::{arg, bytes, describe, integer, string};
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-write", "http body from &opt size", write)];

/// The error for a buffer whose length is no longer what the client was told.
const CHANGED: &str = "a buffer was changed while it was sent";

/// A task that waits for the client to take bytes.
pub struct Writing {
    pub fiber: *mut c::JanetFiber,
    /// What is written: a string, a buffer or a file.
    value: Janet,
    /// Its length, if it has bytes. It must not change during the wait.
    length: usize,
    /// The index of the first byte that was not sent.
    at: usize,
    /// The slot for the deadline of the wait, if the server has a `:write-timeout`.
    pub slot: Option<Slot>,
    /// Until when the wait was charged to the client.
    uncharged_since: Duration,
}

impl Writing {
    /// Marks what a wait needs: the task and the bytes. The stream may have another writer meanwhile, such as `net/write`, and
    /// then does not refer to the task.
    ///
    /// # Safety
    /// The collector asks for what is reachable.
    pub unsafe fn mark(&self) {
        // SAFETY: the task and the bytes are live because of this marking.
        unsafe {
            c::janet_mark(c::janet_wrap_fiber(self.fiber));
            c::janet_mark(self.value.into());
        }
    }
}

/// The result of an attempt to send.
pub enum Sent {
    /// All was sent.
    All,
    /// Enough was sent for one turn.
    Enough,
    /// The client has to take some first.
    Full,
    /// The client is gone.
    Lost,
    /// The system cannot send.
    Failed(Errno),
    /// What was to be sent is not there, for this reason.
    Broken(String),
}

impl Connection {
    /// The stream to write to and its descriptor, or `None` if the stream is closed.
    ///
    /// # Errors
    /// Returns an error if another task writes already.
    pub fn writable(&self) -> Result<Option<(*mut c::JanetStream, RawFd)>, String> {
        let stream = stream::get(self.stream)?;
        let Some(fd) = stream::descriptor(stream) else { return Ok(None) };
        if self.writing.is_some() || stream::is_written(stream) {
            return Err("another task writes to this connection already".into());
        }
        Ok(Some((stream, fd)))
    }

    /// Sends what the system takes at once, and advances `at` past it. If `is_held` is true, the system may hold it back
    /// (src/http/chain.rs).
    pub fn send(&mut self, fd: RawFd, all: &[u8], at: &mut usize, is_held: bool) -> Sent {
        let end = all.len().min(at.saturating_add(MAX_TURN));
        while *at < end {
            let rest = &all[*at..end];
            match if is_held { socket::send_held(fd, rest) } else { socket::send(fd, rest) } {
                Ok(Some(count)) => {
                    *at += count;
                    self.sent(count, is_held);
                }
                Ok(None) => return Sent::Full,
                Err(errno) if errno.is_lost_peer() => return Sent::Lost,
                Err(errno) => return Sent::Failed(errno),
            }
        }
        if end == all.len() { Sent::All } else { Sent::Enough }
    }

    /// Does what [`Self::send`] does for a value: bytes that have this length, or a file, which keeps track of what was sent itself.
    fn send_value(&mut self, fd: RawFd, value: &Janet, length: usize, at: &mut usize) -> Sent {
        if let Some(file) = file_body::of(value) {
            return self.send_file(fd, file);
        }
        match bytes(value).filter(|all| all.len() == length) {
            Some(all) => self.send(fd, all, at, false),
            None => Sent::Broken(CHANGED.into()),
        }
    }

    /// Counts bytes that the system has taken.
    pub fn count_sent(&mut self, count: usize) {
        self.pace.add_sent(count);
        self.account.transmitted(count);
    }

    /// Charges the time of the current wait to the client.
    pub fn charge_wait(&mut self, now: Duration) {
        if let (Some(timeout), Some(writing)) = (self.config.write_timeout, &mut self.writing) {
            let waited = now.saturating_sub(writing.uncharged_since);
            writing.uncharged_since = now;
            self.pace.charge(waited, timeout);
        }
    }

    /// Cleans up after a wait to write, however it ended.
    pub fn end_writing(&mut self) {
        if let Some(slot) = self.writing.as_ref().and_then(|writing| writing.slot) {
            vm::with_existing(|vm| {
                self.charge_wait(vm.engine.now());
                vm.deadlines.remove(slot);
            });
        }
        self.writing = None;
    }
}

/// `(native/http-write http body from &opt size)`: Sends bytes from an index on, or what remains of a file, and waits until the
/// client has taken them. `size` is the length that the bytes had when their sending began. Returns nil when all was sent, the index
/// to continue from in another turn of the loop when enough was sent for this one, or :gone.
fn write(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let value = arg(args, 1);
    let length = match file_body::of(&value) {
        Some(_) => 0,
        None => bytes(&value).ok_or_else(|| format!("expected bytes, got {}", describe(value)))?.len(),
    };
    if integer(arg(args, 3)).is_some_and(|size| usize::try_from(size) != Ok(length)) {
        return Err(CHANGED.into());
    }
    let from = integer(arg(args, 2)).and_then(|from| usize::try_from(from).ok()).filter(|from| *from <= length);
    let mut at = from.ok_or_else(|| format!("expected an index, got {}", describe(arg(args, 2))))?;
    let Some((stream, fd)) = connection.writable()? else { return Ok(Outcome::Value(gone())) };
    match connection.send_value(fd, &value, length, &mut at) {
        Sent::All => Ok(Outcome::Value(Janet::nil())),
        Sent::Lost => Ok(Outcome::Value(gone())),
        Sent::Broken(why) => Err(why),
        Sent::Failed(errno) => Err(io_error("write to", errno)),
        Sent::Enough => Ok(Outcome::Value(Janet::number(at as f64))),
        Sent::Full => {
            // SAFETY: Janet called this function, so there is a root fiber.
            let fiber = unsafe { c::janet_root_fiber() };
            connection.pace.credit(fd);
            let (mut slot, mut now) = (None, Duration::ZERO);
            if let Some(timeout) = connection.config.write_timeout {
                vm::with(|vm| {
                    let new = vm.deadlines.add(fiber, Some((pace::look, connection.value.cast_mut().cast())));
                    now = vm.engine.now();
                    let reason = Reason::Gone("the client took too little for :write-timeout");
                    vm.set_deadline(new, Some(now + timeout / 2), reason);
                    slot = Some(new);
                    Ok(())
                })?;
            }
            connection.writing = Some(Box::new(Writing { fiber, value, length, at, slot, uncharged_since: now }));
            // SAFETY: the task waits for nothing else, and the trampoline suspends it. The VM's table of connections keeps
            // the connection and its stream alive.
            unsafe { wait::begin(fiber, stream, connection.value, Side::Write, on_writable) };
            Ok(Outcome::Await)
        }
    }
}

/// Janet's events for a fiber that waits to write.
unsafe extern "C-unwind" fn on_writable(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    if event == c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK {
        // SAFETY: the collector asks for this, for a fiber that has waited since `write`.
        return unsafe { wait::mark::<RefCell<Connection>>(fiber) };
    }
    catch_panic("writing", || {
        // SAFETY: Janet calls this for a fiber that has waited since `write`.
        let (connection, stream) = unsafe { wait::of::<RefCell<Connection>>(fiber) };
        let connection = &mut *connection.borrow_mut();
        let Some(&Writing { value, length, mut at, .. }) = connection.writing.as_deref() else { return };
        let (ok, error) = (c::JanetSignal_JANET_SIGNAL_OK, c::JanetSignal_JANET_SIGNAL_ERROR);
        let (value, signal) = match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_WRITE
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => match stream::descriptor(stream) {
                None => (gone(), ok),
                Some(fd) => match connection.send_value(fd, &value, length, &mut at) {
                    Sent::All => (Janet::nil(), ok),
                    Sent::Enough => (Janet::number(at as f64), ok),
                    Sent::Lost => (gone(), ok),
                    Sent::Failed(errno) => (string(&io_error("write to", errno)), error),
                    Sent::Broken(why) => (string(&why), error),
                    Sent::Full => {
                        if let Some(writing) = &mut connection.writing {
                            writing.at = at;
                        }
                        return;
                    }
                },
            },
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => (gone(), ok),
            // The fiber was cancelled. Janet frees the state of its wait.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                connection.end_writing();
                wait::root_for_cancel(stream);
                return;
            }
            _ => return,
        };
        // SAFETY: the fiber is the one in `writing`, so it waits (the invariant of `Connection`).
        unsafe { wait::finish(fiber, value, signal) };
        connection.end_writing();
    });
}
