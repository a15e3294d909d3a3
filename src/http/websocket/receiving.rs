//! Receiving: the messages of a client, and the end of the connection.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString};
use kqnet_accept::socket as system;
use kqnet_websocket::{Kind, Step};

use super::socket::{self, Socket};
use crate::boundary::{Function, Outcome, catch_panic, native};
use crate::buffer;
use crate::http::MAX_TURN;
use crate::http::wait::{self, Side};
use crate::stream;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("websocket-next", "websocket", next),
    native!("websocket-finish", "websocket", finish),
    native!("websocket-discard", "websocket", discard),
];

/// The most bytes to read at once.
const PIECE: usize = 64 * 1024;

/// How many bytes may be received before others have their turn. A message, and a frame that is answered, counts as `LEAST` more.
const TURN: usize = 512 * 1024;

/// What a message counts as, beside its bytes.
const LEAST: usize = 1024;

thread_local! {
    /// Where bytes are read to. Whole messages are made from here, without being copied before.
    static PIECE_SPACE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What an attempt to receive has led to.
enum Received {
    /// Nothing that the task waits for.
    Nothing,
    /// A message, or the end.
    Some,
    /// Much, and others have to have their turn.
    Enough,
}

impl Socket {
    /// Reads until there is a message, or the end, or nothing left to read.
    fn receive(&mut self, fd: RawFd) -> Received {
        PIECE_SPACE.with_borrow_mut(|space| {
            while self.received_in_turn < TURN {
                space.clear();
                space.reserve(PIECE);
                let spare: &mut [MaybeUninit<u8>] = &mut space.spare_capacity_mut()[..PIECE];
                match system::receive(fd, spare) {
                    Ok(None) => return Received::Nothing,
                    Ok(Some(0)) => {
                        self.give_up(1006, "the client has closed the connection");
                        return Received::Some;
                    }
                    Ok(Some(count)) => {
                        // SAFETY: the system has written that many bytes.
                        unsafe { space.set_len(count) };
                        self.received_in_turn += count;
                        self.hear();
                        self.take_frames(space);
                    }
                    Err(errno) => {
                        self.give_up(1006, &format!("cannot read from the connection: {errno}"));
                        return Received::Some;
                    }
                }
                if self.is_ready() || self.has_unsent() {
                    return Received::Some;
                }
            }
            Received::Enough
        })
    }

    /// Whether the reading task need not wait.
    fn is_ready(&self) -> bool {
        !self.ready.is_empty() || self.is_input_over
    }

    /// Takes bytes from the client.
    pub fn take_frames(&mut self, mut bytes: &mut [u8]) {
        while !self.is_input_over {
            match self.decoder.decode(bytes) {
                Ok((_, Step::More)) => return,
                Ok((count, Step::Message(kind, payload))) => {
                    // After the server's Close frame, or the handler's end, nobody wants it.
                    if !self.is_discarding && !self.is_close_sent {
                        self.ready.push_back(message(kind, payload));
                    }
                    bytes = &mut bytes[count..];
                }
                Ok((count, Step::Ping(payload))) => {
                    // Only the most recent ping needs an answer (RFC 6455, 5.5.3).
                    self.pong = Some(payload.to_vec());
                    self.flush();
                    self.received_in_turn += LEAST;
                    bytes = &mut bytes[count..];
                }
                Ok((count, Step::Pong(_))) => bytes = &mut bytes[count..],
                Ok((_, Step::Close(close))) => {
                    let (code, reason) = (close.code, close.reason.to_owned());
                    self.end_input(code.unwrap_or(1005), &reason);
                    self.send_close(code, &reason);
                }
                Err(violation) => {
                    self.end_input(violation.code(), violation.reason());
                    self.send_close(Some(violation.code()), violation.reason());
                }
            }
        }
    }

    /// Takes what the reading task gets: a message, true if there is none but the task should look at what is to be sent, or
    /// nil at the end.
    pub fn take_ready(&mut self) -> Janet {
        match self.ready.pop_front() {
            Some(message) => {
                self.received_in_turn += LEAST;
                message
            }
            None if self.is_input_over => Janet::nil(),
            None => Janet::boolean(true),
        }
    }

    /// Reads and discards what comes after the last message, until the end.
    fn drop_input(&mut self, fd: RawFd) -> Received {
        PIECE_SPACE.with_borrow_mut(|space| {
            space.clear();
            space.reserve(PIECE);
            let mut allowed = MAX_TURN;
            while !self.is_over && allowed > 0 {
                match system::receive(fd, &mut space.spare_capacity_mut()[..PIECE]) {
                    Ok(None) => return Received::Nothing,
                    Ok(Some(count)) if count > 0 => allowed = allowed.saturating_sub(count),
                    _ => self.is_over = true,
                }
            }
            if self.is_over { Received::Some } else { Received::Enough }
        })
    }
}

/// A message as a Janet value: a string for text, and a buffer for binary.
fn message(kind: Kind, payload: &[u8]) -> Janet {
    match kind {
        Kind::Text => JanetString::new(payload).into(),
        Kind::Binary => match buffer::new(payload.len()) {
            Ok(mut made) => {
                // There is space for it.
                let _ = buffer::push(&mut made, payload);
                made.value()
            }
            // A message is never that large.
            Err(_) => Janet::nil(),
        },
    }
}

/// `(native/websocket-next websocket)`: Waits for a message. Returns a string for text, a buffer for binary, and nil when
/// there are no more. Returns true if there is no message but something may wait to be sent, and `:turn` if others have to have
/// their turn first.
fn next(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *socket::borrow(args)?;
    if socket.received_in_turn >= TURN {
        return Ok(Outcome::Value(end_turn(socket)));
    }
    if !socket.is_ready() {
        let Some((stream, fd)) = socket.open_stream() else {
            socket.give_up(1006, "the connection is closed");
            return Ok(Outcome::Value(Janet::nil()));
        };
        check_alone(socket, stream)?;
        match socket.receive(fd) {
            Received::Nothing => return Ok(wait_for_input(socket, stream)),
            Received::Some => {}
            Received::Enough => return Ok(Outcome::Value(end_turn(socket))),
        }
    }
    Ok(Outcome::Value(socket.take_ready()))
}

/// `(native/websocket-finish websocket)`: Waits until the client has ended the connection, or until the `:close-timeout` is
/// over, and discards what the client sends. Closing earlier could reset the connection before the client has the Close
/// frame. Returns nil at the end, true when it should be called again, and `:turn` when others have to have their turn before.
fn finish(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *socket::borrow(args)?;
    let Some((stream, fd)) = socket.open_stream() else { return Ok(Outcome::Value(Janet::nil())) };
    check_alone(socket, stream)?;
    Ok(match socket.drop_input(fd) {
        Received::Nothing => wait_for_input(socket, stream),
        Received::Some => Outcome::Value(Janet::nil()),
        Received::Enough => Outcome::Value(end_turn(socket)),
    })
}

/// `(native/websocket-discard websocket)`: Discards the messages that nobody has taken, and those that follow.
fn discard(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *socket::borrow(args)?;
    socket.is_discarding = true;
    socket.ready = Default::default();
    Ok(Outcome::Value(Janet::nil()))
}

/// Returns an error if another task reads from the stream, which Janet would forget.
fn check_alone(socket: &Socket, stream: *mut c::JanetStream) -> Result<(), String> {
    if socket.reader.is_some() || stream::is_read(stream) {
        return Err("another task reads from this connection already".into());
    }
    Ok(())
}

/// Begins another turn, before which Janet code lets others run. A task that is merely scheduled would run before the loop looks at
/// other connections.
fn end_turn(socket: &mut Socket) -> Janet {
    socket.received_in_turn = 0;
    Janet::keyword("turn".into())
}

fn wait_for_input(socket: &mut Socket, stream: *mut c::JanetStream) -> Outcome {
    socket.received_in_turn = 0;
    // SAFETY: Janet called the native function, so there is a root fiber. It waits for nothing else, and the trampoline
    // suspends it. The HTTP connection keeps the socket and its stream alive.
    unsafe {
        let fiber = c::janet_root_fiber();
        socket.reader = Some(fiber);
        wait::begin(fiber, stream, socket.value, Side::Read, on_readable);
    }
    Outcome::Await
}

/// Janet's events for the reading task.
unsafe extern "C-unwind" fn on_readable(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    if event == c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK {
        // SAFETY: the collector asks for this, for a fiber that has waited since `wait_for_input`.
        return unsafe { wait::mark::<RefCell<Socket>>(fiber) };
    }
    catch_panic("reading a WebSocket", || {
        // SAFETY: Janet calls this for a fiber that has waited since `wait_for_input`.
        let (socket, stream) = unsafe { wait::of::<RefCell<Socket>>(fiber) };
        let socket = &mut *socket.borrow_mut();
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP
            | c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR => {
                let Some(fd) = stream::descriptor(stream) else { return };
                // The task has had all messages, so after the last one it waits for the end.
                if socket.is_input_over {
                    if !matches!(socket.drop_input(fd), Received::Nothing) {
                        socket.wake_reader(Janet::boolean(true));
                    }
                } else if !matches!(socket.receive(fd), Received::Nothing) {
                    socket.tell_reader();
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => {
                socket.give_up(1006, "the connection is closed");
            }
            // The task was cancelled. Janet frees the state of its wait.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT => {
                socket.reader = None;
                wait::root_for_cancel(stream);
            }
            _ => {}
        }
    });
}
