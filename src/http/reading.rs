//! Reading from a connection, in place of `net/read`.
//!
//! A client that is gone is a result and not an error.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Errno, socket};

use super::MAX_TURN;
use super::chain::{ORDINARY_BUFFER, PIPELINE_BUFFER};
use super::connection::{self, Connection};
use super::next_request::Next;
use super::phase::Phase;
use super::wait::{self, Side, gone, io_error};
use crate::boundary::{Function, Outcome, catch_panic, native};
use crate::buffer;
use crate::stream;
use crate::value::{arg, describe, integer, string};
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-read-body", "http buffer out most number", read_body)];

/// The most bytes to read at once of what has to be parsed. The connection's buffer gets as much space.
const MAX_PARSED: usize = 64 * 1024;

/// A task that waits for bytes.
#[derive(Clone, Copy)]
pub struct Reading {
    pub fiber: *mut c::JanetFiber,
    /// The buffer to which the bytes go, or `None` to discard them.
    into: Option<Janet>,
    /// The most bytes to read.
    most: usize,
    purpose: Purpose,
}

/// What bytes are read for.
#[derive(Clone, Copy)]
enum Purpose {
    /// The next request, whose handler this fiber will run. The waiting task keeps the fiber alive.
    NextRequest(*mut c::JanetFiber),
    /// A handler that reads the body of its request.
    Body,
    /// The same, and all that comes is content of the body.
    Content,
    /// Nothing: they are discarded.
    Nothing,
}

impl Purpose {
    fn is_body(self) -> bool {
        matches!(self, Self::Body | Self::Content)
    }
}

impl Reading {
    /// Marks what a wait needs: the task and the buffer. The stream may have another reader meanwhile, such as `net/read`, and
    /// then does not refer to the task.
    ///
    /// # Safety
    /// The collector asks for what is reachable.
    pub unsafe fn mark(&self) {
        // SAFETY: the task and the buffer are live because of this marking.
        unsafe {
            c::janet_mark(c::janet_wrap_fiber(self.fiber));
            if let Some(into) = self.into {
                c::janet_mark(into.into());
            }
        }
    }
}

/// The result of an attempt to read.
enum Received {
    /// Some bytes, which were all that had arrived if this is true.
    Some(bool),
    /// The next request.
    Request(Janet),
    /// What has to be done before the next request.
    Other(Janet),
    /// The client has ended its side of the connection.
    End,
    /// There is nothing to read yet.
    Nothing,
    /// Some bytes were discarded, and there are no more yet.
    Discarded,
    /// The client is gone.
    Lost,
    /// Why the system cannot read.
    Failed(String),
}

impl Received {
    fn failed(errno: Errno) -> Self {
        if errno.is_lost_peer() { Self::Lost } else { Self::Failed(io_error("read from", errno)) }
    }
}

/// Reads what has arrived, up to `most` bytes, or discards it if nobody wants it.
fn receive(stream: *mut c::JanetStream, reading: Reading) -> Received {
    let Some(fd) = stream::descriptor(stream) else { return Received::Lost };
    let Reading { into, most, .. } = reading;
    let Some(into) = into else { return discard(fd) };
    let into = &mut match buffer::get(into) {
        Ok(buffer) => buffer,
        Err(why) => return Received::Failed(why),
    };
    let space = match buffer::space(into, most) {
        Ok(space) => space,
        Err(why) => return Received::Failed(why),
    };
    match socket::receive(fd, space) {
        Ok(None) => Received::Nothing,
        Ok(Some(0)) => Received::End,
        Ok(Some(count)) => {
            let is_all = count < space.len();
            // SAFETY: the system has written that many bytes.
            unsafe { buffer::filled(into, count) };
            Received::Some(is_all)
        }
        Err(errno) => Received::failed(errno),
    }
}

/// Reads what has arrived and discards it.
#[inline(never)] // Its large stack frame is for this alone.
fn discard(fd: RawFd) -> Received {
    let mut scratch = [MaybeUninit::uninit(); 32 * 1024];
    let mut all = 0;
    while all < MAX_TURN {
        match socket::receive(fd, &mut scratch) {
            Ok(None) if all == 0 => return Received::Nothing,
            Ok(None) => return Received::Discarded,
            Ok(Some(0)) => return Received::End,
            Ok(Some(count)) => all += count,
            Err(errno) => return Received::failed(errno),
        }
    }
    Received::Some(false)
}

/// `(native/http-read-body http buffer out most number)`: Waits for bytes of the body of the request with this number, and
/// reads at most `most` of them, or fewer: to `out` if they are content of the body and nothing else, or to `buffer` for
/// `native/http-take-body`. Returns true, nil at the end of what the client sends, or :gone.
fn read_body(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let (buffer, out) = (arg(args, 1), arg(args, 2));
    let most = integer(arg(args, 3)).filter(|most| *most > 0);
    let most = most.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, 3))))?;
    let most = most.unsigned_abs() as usize;
    connection.check_running(arg(args, 4))?;
    match connection.expected_content(buffer)? {
        Some(expected) => connection.read(Some(out), most.min(expected), Purpose::Content),
        None => connection.read(Some(buffer), most.min(MAX_PARSED), Purpose::Body),
    }
}

impl Connection {
    /// Waits for bytes and discards them.
    pub fn read_and_discard(&mut self) -> Result<Outcome, String> {
        self.read(None, 0, Purpose::Nothing)
    }

    /// Waits until the next request has arrived in the buffer `received`. Its handler will run in `fiber`. The call from
    /// Janet returns the table of the request, or nil when there is something to do first (`native/http-to-do`).
    pub fn read_request(&mut self, received: Janet, fiber: *mut c::JanetFiber) -> Result<Outcome, String> {
        self.read(Some(received), self.chain.most_to_read(), Purpose::NextRequest(fiber))
    }

    fn read(&mut self, into: Option<Janet>, most: usize, purpose: Purpose) -> Result<Outcome, String> {
        let stream = stream::get(self.stream)?;
        if stream::descriptor(stream).is_none() {
            return Ok(Outcome::Value(self.end_of(purpose, gone())));
        }
        // Janet would forget the first reader, which would then wait for ever.
        if self.reading.is_some() || self.is_read_by_others(stream) {
            return Err("another task reads from this connection already".into());
        }
        // SAFETY: Janet called this function, so there is a root fiber.
        let fiber = unsafe { c::janet_root_fiber() };
        let reading = Reading { fiber, into, most, purpose };
        let received = match purpose {
            Purpose::NextRequest(_) if self.has_read_all(fiber) => Received::Nothing,
            _ => self.receive(stream, reading)?,
        };
        if matches!(purpose, Purpose::NextRequest(_)) {
            self.chain.count_read(!matches!(received, Received::Nothing));
        }
        let value = match received {
            result @ (Received::Nothing | Received::Discarded) => {
                if matches!(result, Received::Discarded) {
                    self.extend_lingering();
                }
                if purpose.is_body() {
                    vm::with(|vm| {
                        self.enter(vm, Phase::Body, vm.engine.now());
                        Ok(())
                    })?;
                }
                self.reading = Some(reading);
                // SAFETY: the task waits for nothing else, and the trampoline suspends it. The VM's table of connections
                // keeps the connection and its stream alive.
                unsafe { wait::begin_in(&mut self.spare_wait, fiber, stream, self.value, Side::Read, on_readable) };
                return Ok(Outcome::Await);
            }
            Received::Some(is_all) => {
                self.chain.is_input_empty = is_all;
                if into.is_none() {
                    self.extend_lingering();
                }
                Janet::boolean(true)
            }
            // The task has only just begun, so other fibers do not have to wait any longer for their turn.
            Received::Request(request) if self.requests == 1 => {
                // SAFETY: the task is running.
                self.chain.scheduled = unsafe { (*fiber).sched_id };
                return Ok(Outcome::Value(request));
            }
            Received::Request(request) => request,
            Received::Other(to_do) => self.end_of(purpose, to_do),
            Received::End => self.end_of(purpose, Janet::nil()),
            Received::Lost => {
                self.tell_watcher();
                self.end_of(purpose, gone())
            }
            Received::Failed(why) => return Err(why),
        };
        // The task goes on by way of Janet's schedule, so that a client that always has more to say lets other tasks run. Those that
        // wait for events run when the task lets them, by socket/turns.
        // SAFETY: the fiber is live, and the trampoline suspends it.
        unsafe {
            c::janet_schedule(fiber, value.into());
            self.chain.scheduled = (*fiber).sched_id;
        }
        Ok(Outcome::Await)
    }

    /// Ends a wait for the next request, so that the connection reads once more.
    pub fn read_again(&mut self) {
        let Some(Reading { fiber, purpose, .. }) = self.reading else { return };
        let value = self.end_of(purpose, Janet::boolean(true));
        // SAFETY: the fiber in `reading` waits (the invariant of `Connection`).
        unsafe { wait::finish(fiber, value, c::JanetSignal_JANET_SIGNAL_OK) };
        self.end_reading();
    }

    /// What a call from Janet returns when a wait ends with this result. A wait for the next request returns nil, and leaves
    /// the result to `native/http-to-do`.
    fn end_of(&mut self, purpose: Purpose, result: Janet) -> Janet {
        if let Purpose::NextRequest(_) = purpose {
            self.to_do = result;
            return Janet::nil();
        }
        result
    }

    /// Reads what has arrived, for what the task waits for it.
    fn receive(&mut self, stream: *mut c::JanetStream, reading: Reading) -> Result<Received, String> {
        match (reading.purpose, reading.into) {
            (Purpose::NextRequest(fiber), Some(received)) if reading.most <= ORDINARY_BUFFER => {
                self.receive_request::<ORDINARY_BUFFER>(stream, received, fiber)
            }
            (Purpose::NextRequest(fiber), Some(received)) => {
                self.receive_request::<PIPELINE_BUFFER>(stream, received, fiber)
            }
            (Purpose::Content, Some(out)) => {
                let before = buffer::contents(&buffer::get(out)?).len();
                let received = receive(stream, reading);
                self.count_content(buffer::contents(&buffer::get(out)?).len() - before);
                Ok(received)
            }
            _ => Ok(receive(stream, reading)),
        }
    }

    /// Reads until the next request has arrived, as far as that is possible without waiting. An idle connection needs no memory
    /// for what it will read, and a request that arrives as a whole is not copied.
    #[inline(never)] // The stack frame is as large as MOST asks for.
    fn receive_request<const MOST: usize>(
        &mut self,
        stream: *mut c::JanetStream,
        received: Janet,
        fiber: *mut c::JanetFiber,
    ) -> Result<Received, String> {
        let space = &mut [MaybeUninit::<u8>::uninit(); MOST];
        loop {
            let Some(fd) = stream::descriptor(stream) else { return Ok(Received::Lost) };
            let count = match socket::receive(fd, space) {
                Ok(None) => return Ok(Received::Nothing),
                Ok(Some(0)) => return Ok(Received::End),
                Ok(Some(count)) => count,
                Err(errno) => return Ok(Received::failed(errno)),
            };
            self.chain.is_input_empty = count < space.len();
            // SAFETY: the system has written that many bytes.
            let arrived = unsafe { std::slice::from_raw_parts(space.as_ptr().cast(), count) };
            match self.next_request(received, arrived, fiber)? {
                Next::Request(request) => return Ok(Received::Request(request)),
                Next::Other(to_do) => return Ok(Received::Other(to_do)),
                // The kernel reports only what is new, so what has come meanwhile must be read now.
                Next::Read => {}
            }
        }
    }

    /// Cleans up after a wait to read, however it ended.
    pub fn end_reading(&mut self) {
        let is_body = self.reading.take().is_some_and(|reading| reading.purpose.is_body());
        if is_body && self.phase == Phase::Body {
            vm::with_existing(|vm| self.enter(vm, Phase::Handler, vm.engine.now()));
        }
        self.resume_watching();
    }
}

/// Janet's events for a fiber that waits to read.
unsafe extern "C-unwind" fn on_readable(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    if event == c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK {
        // The VM's table keeps the connection alive. To look at the state of each idle connection once more would take a
        // sixteenth of the time of a collection.
        return;
    }
    catch_panic("reading", || {
        // SAFETY: Janet calls this for a fiber that has waited since `read`.
        let (connection, stream) = unsafe { wait::of::<RefCell<Connection>>(fiber) };
        let connection = &mut *connection.borrow_mut();
        let Some(reading) = connection.reading else { return };
        let finish = |connection: &mut Connection, value: Janet, signal| {
            // SAFETY: the fiber is the one in `reading`, so it waits (the invariant of `Connection`).
            unsafe { wait::finish_into(&mut connection.spare_wait, fiber, value, signal) };
        };
        let (ok, error) = (c::JanetSignal_JANET_SIGNAL_OK, c::JanetSignal_JANET_SIGNAL_ERROR);
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                let result = connection.receive(stream, reading).unwrap_or_else(Received::Failed);
                let (value, signal) = match result {
                    Received::Nothing => return,
                    Received::Discarded => {
                        connection.extend_lingering();
                        return;
                    }
                    Received::Some(is_all) => {
                        connection.chain.is_input_empty = is_all;
                        (Janet::boolean(true), ok)
                    }
                    Received::Request(request) => (request, ok),
                    Received::Other(to_do) => (connection.end_of(reading.purpose, to_do), ok),
                    Received::End => (connection.end_of(reading.purpose, Janet::nil()), ok),
                    Received::Lost => (connection.end_of(reading.purpose, gone()), ok),
                    Received::Failed(why) => (string(&why), error),
                };
                finish(connection, value, signal);
                // SAFETY: the fiber is live until it has run.
                connection.chain.scheduled = unsafe { (*fiber).sched_id };
                connection.end_reading();
                connection.tell_watcher();
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => {
                let value = connection.end_of(reading.purpose, gone());
                finish(connection, value, ok);
                connection.end_reading();
            }
            // The fiber was cancelled. Janet frees the state of its wait.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                connection.end_reading();
                wait::root_for_cancel(stream);
            }
            _ => {}
        }
    });
}
