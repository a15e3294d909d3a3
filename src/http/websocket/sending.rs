//! Sending: each frame as a whole, at once or from the queue of what the client has not taken yet.

use std::cell::RefCell;
use std::os::fd::RawFd;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_accept::{Errno, socket as system};
use kqnet_websocket::{Head, MAX_CONTROL, Opcode};

use super::socket::{self, Socket};
use crate::boundary::{Function, Outcome, catch_panic, native};
use crate::http::MAX_TURN;
use crate::http::wait::{self, Side};
use crate::stream;
use crate::value::{arg, bytes, describe, is_keyword};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("websocket-send", "websocket message kind", send),
    native!("websocket-ping", "websocket payload", ping),
    native!("websocket-unsent?", "websocket", is_unsent),
    native!("websocket-flush", "websocket", flush),
];

/// How many bytes may be sent before others have their turn. A message counts as at least `LEAST`.
const TURN: usize = 256 * 1024;

/// What a message counts as at least.
const LEAST: usize = 1024;

fn keyword(name: &str) -> Janet {
    Janet::keyword(name.into())
}

impl Socket {
    /// How many bytes wait to be sent.
    pub fn queued(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Whether something waits to be sent that no task is sending.
    pub fn has_unsent(&self) -> bool {
        self.writer.is_none() && (self.queued() > 0 || self.pong.is_some())
    }

    /// Whether messages can be sent.
    fn is_open(&self) -> bool {
        !self.is_close_sent && !self.is_input_over
    }

    /// Sends a frame, or as much of it as the system takes and queues the rest.
    pub fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let head = Head::new(opcode, payload.len());
        let head = head.as_bytes();
        let mut sent = 0;
        if self.queued() == 0 {
            let Some((_, fd)) = self.open_stream() else { return };
            match system::send_both(fd, head, payload) {
                Ok(Some(count)) if count == head.len() + payload.len() => return,
                Ok(count) => sent = count.unwrap_or(0),
                Err(errno) => return self.lose(errno),
            }
            self.begin_queue();
        } else if self.sent >= self.queued() {
            // What was sent would otherwise be kept for as long as the queue is not empty.
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        self.queue(head, payload, sent);
    }

    /// Queues a frame, except for what was sent of it.
    fn queue(&mut self, head: &[u8], payload: &[u8], sent: usize) {
        self.out.extend_from_slice(&head[sent.min(head.len())..]);
        self.out.extend_from_slice(&payload[sent.saturating_sub(head.len())..]);
    }

    /// The connection cannot be written to.
    fn lose(&mut self, errno: Errno) {
        let why = if errno.is_lost_peer() {
            "the client is gone".into()
        } else {
            format!("cannot write to the connection: {errno}")
        };
        self.give_up(1006, &why);
    }

    /// Sends what the system takes of the queue, and then the pong that waits.
    pub fn flush(&mut self) {
        let Some((_, fd)) = self.open_stream() else { return };
        if self.send_queue(fd) {
            if let Some(payload) = self.pong.take() {
                if !self.is_close_sent {
                    self.flush_pong(fd, payload);
                }
            }
        }
        self.end_sending(fd);
    }

    /// Sends a pong. If the system takes nothing at all, it waits, and a later ping's pong may take its place.
    fn flush_pong(&mut self, fd: RawFd, payload: Vec<u8>) {
        let head = Head::new(Opcode::Pong, payload.len());
        let head = head.as_bytes();
        match system::send_both(fd, head, &payload) {
            Ok(None) => self.pong = Some(payload),
            Ok(Some(count)) => {
                if count < head.len() + payload.len() {
                    self.begin_queue();
                    self.queue(head, &payload, count);
                }
            }
            Err(errno) => self.lose(errno),
        }
    }

    /// Sends what the system takes of the queue. Returns whether it is empty now.
    fn send_queue(&mut self, fd: RawFd) -> bool {
        let mut allowed = MAX_TURN;
        while self.queued() > 0 && allowed > 0 {
            let end = self.out.len().min(self.sent + allowed);
            match system::send(fd, &self.out[self.sent..end]) {
                Ok(Some(count)) => {
                    self.sent += count;
                    allowed -= count;
                    self.progress();
                }
                Ok(None) => return false,
                Err(errno) => {
                    self.lose(errno);
                    return false;
                }
            }
        }
        if self.queued() > 0 {
            return false;
        }
        // An idle connection does not keep the memory.
        (self.out, self.sent) = (Vec::new(), 0);
        true
    }

    /// Tells the client that nothing follows the Close frame.
    fn end_sending(&mut self, fd: RawFd) {
        if self.is_close_sent && self.is_input_over && self.queued() == 0 && !self.is_sending_ended {
            self.is_sending_ended = true;
            if system::end_sending(fd).is_err() {
                self.is_over = true;
            }
        }
    }
}

/// The payload of a message, and whether it is text.
fn payload(value: &Janet, kind: Janet) -> Result<(Opcode, &[u8]), String> {
    let expected = || format!("a message must be a string (text) or a buffer (binary), got {}", describe(*value));
    let opcode = match value.unwrap() {
        _ if is_keyword(kind, "text") => Opcode::Text,
        _ if is_keyword(kind, "binary") => Opcode::Binary,
        _ if !kind.is_nil() => {
            return Err(format!("the kind of a message is :text or :binary, not {}", describe(kind)));
        }
        TaggedJanet::String(_) => Opcode::Text,
        TaggedJanet::Buffer(_) => Opcode::Binary,
        _ => return Err(expected()),
    };
    let payload = bytes(value).ok_or_else(expected)?;
    if opcode == Opcode::Text {
        if let Err(error) = std::str::from_utf8(payload) {
            return Err(format!(
                "text must be UTF-8, but byte {} of {} is not; send a buffer, or :binary",
                error.valid_up_to(),
                describe(*value)
            ));
        }
    }
    Ok((opcode, payload))
}

/// `(native/websocket-send websocket message kind)`: Sends a message: a string as text and a buffer as binary, or bytes of
/// the given kind, :text or :binary. Returns nil, :turn when others should have their turn, :queued when some of it waits to
/// be sent, :full when nothing was sent because too much waits, and :closed when the WebSocket is closed.
fn send(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *socket::borrow(args)?;
    let value = arg(args, 1);
    let (opcode, payload) = payload(&value, arg(args, 2))?;
    if !socket.is_open() {
        return Ok(Outcome::Value(keyword("closed")));
    }
    if socket.queued() > 0 && socket.queued().saturating_add(payload.len()) > socket.max_queued {
        return Ok(Outcome::Value(keyword("full")));
    }
    socket.send_frame(opcode, payload);
    if socket.is_over {
        return Ok(Outcome::Value(keyword("closed")));
    }
    if socket.queued() > 0 {
        return Ok(Outcome::Value(keyword("queued")));
    }
    socket.sent_in_turn += payload.len().max(LEAST);
    if socket.sent_in_turn >= TURN {
        socket.sent_in_turn = 0;
        return Ok(Outcome::Value(keyword("turn")));
    }
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/websocket-ping websocket payload)`: Sends a ping. Returns what `websocket-send` returns.
fn ping(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *socket::borrow(args)?;
    let value = arg(args, 1);
    let payload = bytes(&value).filter(|payload| payload.len() <= MAX_CONTROL);
    let payload = payload.ok_or_else(|| format!("a ping has at most {MAX_CONTROL} bytes, got {}", describe(value)))?;
    if !socket.is_open() {
        return Ok(Outcome::Value(keyword("closed")));
    }
    if socket.queued() > socket.max_queued {
        return Ok(Outcome::Value(keyword("full")));
    }
    socket.send_frame(Opcode::Ping, payload);
    Ok(Outcome::Value(if socket.queued() > 0 { keyword("queued") } else { Janet::nil() }))
}

/// `(native/websocket-unsent? websocket)`: Returns whether something waits to be sent that nobody is sending.
fn is_unsent(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &*socket::borrow(args)?;
    Ok(Outcome::Value(Janet::boolean(socket.has_unsent())))
}

/// `(native/websocket-flush websocket)`: Waits until the client has taken all that waits to be sent. Returns true, or nil if
/// nothing was waiting.
fn flush(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *socket::borrow(args)?;
    if socket.queued() == 0 && socket.pong.is_none() {
        return Ok(Outcome::Value(Janet::nil()));
    }
    let Some((stream, _)) = socket.open_stream() else { return Ok(Outcome::Value(Janet::nil())) };
    if socket.writer.is_some() || stream::is_written(stream) {
        return Err("another task writes to this connection already".into());
    }
    socket.flush();
    if socket.queued() == 0 && socket.pong.is_none() {
        // Tasks that are scheduled already may add more to send.
        // SAFETY: Janet called this function on a task's fiber, which the trampoline suspends.
        unsafe { c::janet_schedule(c::janet_root_fiber(), Janet::boolean(true).into()) };
        return Ok(Outcome::Await);
    }
    // SAFETY: Janet called this function, so there is a root fiber. It waits for nothing else, and the trampoline suspends it. The
    // HTTP connection keeps the socket and its stream alive.
    unsafe {
        let fiber = c::janet_root_fiber();
        socket.writer = Some(fiber);
        wait::begin(fiber, stream, socket.value, Side::Write, on_writable);
    }
    Ok(Outcome::Await)
}

/// Janet's events for the writing task.
unsafe extern "C-unwind" fn on_writable(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    if event == c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK {
        // SAFETY: the collector asks for this, for a fiber that has waited since `flush`.
        return unsafe { wait::mark::<RefCell<Socket>>(fiber) };
    }
    catch_panic("writing to a WebSocket", || {
        // SAFETY: Janet calls this for a fiber that has waited since `flush`.
        let (socket, stream) = unsafe { wait::of::<RefCell<Socket>>(fiber) };
        let socket = &mut *socket.borrow_mut();
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_WRITE
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                socket.flush();
                if socket.queued() == 0 && socket.pong.is_none() {
                    socket.wake_writer();
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => {
                socket.give_up(1006, "the connection is closed");
                socket.wake_writer();
            }
            // The task was cancelled. Janet frees the state of its wait.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                socket.writer = None;
                wait::root_for_cancel(stream);
            }
            _ => {}
        }
    });
}
