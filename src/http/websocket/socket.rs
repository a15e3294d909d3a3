//! A WebSocket: what is known of it, and its life from `websocket-open` to `websocket-release`.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::os::fd::RawFd;
use std::time::Duration;

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString, TaggedJanet};
use kqnet_websocket::{Decoder, accept_key};

use super::silence::{self, Silence};
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::deadlines::Slot;
use crate::http::{connection, wait};
use crate::options::Options;
use crate::stream;
use crate::value::{arg, bytes, describe};
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("websocket-key", "key", key),
    native!("websocket-open", "http received options", open),
    native!("websocket-release", "websocket", release),
];

/// A WebSocket.
///
/// The invariant that the SAFETY comments of this folder refer to:
///
/// * Janet's collector owns it, in a `RefCell`. A native function or callback borrows it once, for as long as it runs, and
///   none of them runs Janet code.
/// * Its HTTP connection, which is in the VM's table of connections, keeps it alive from `open` until the connection is
///   closed, and Janet code calls `release` before that.
/// * A fiber in `reader` or `writer` waits for the stream ([`wait`]). It is removed from its field when its wait ends.
///   The mark function keeps it alive.
pub struct Socket {
    /// The value that holds this WebSocket, for callbacks and marking.
    pub value: *const RefCell<Socket>,
    /// The connection's stream (core/stream).
    pub stream: Janet,
    /// What is known of the client's frames so far.
    pub decoder: Decoder,
    /// Messages that the reading task has not taken yet.
    pub ready: VecDeque<Janet>,
    /// The task that waits for a message, or for the end.
    pub reader: Option<*mut c::JanetFiber>,
    /// The handler has ended, so that messages are dropped.
    pub is_discarding: bool,
    /// No message follows: the client has sent a Close frame or something wrong, or is gone.
    pub is_input_over: bool,
    /// Nothing at all follows, or is waited for: the connection has ended, or took too long to.
    pub is_over: bool,
    /// What waits to be sent, from `sent` on.
    pub out: Vec<u8>,
    /// How much of `out` was sent.
    pub sent: usize,
    /// The payload of a pong that is to be sent after `out`.
    pub pong: Option<Vec<u8>>,
    /// The task that waits for the client to take bytes.
    pub writer: Option<*mut c::JanetFiber>,
    /// The most bytes that may wait to be sent when a message is added.
    pub max_queued: usize,
    /// How many bytes were sent since the writing tasks last let others run.
    pub sent_in_turn: usize,
    /// How many bytes were received since the reading task last let others run or had to wait.
    pub received_in_turn: usize,
    /// A Close frame was sent or waits to be sent. Nothing follows it.
    pub is_close_sent: bool,
    /// The system was told that nothing follows.
    pub is_sending_ended: bool,
    /// The code and the reason of the end: those of the client's Close frame, or of what has ended the WebSocket.
    pub end: Option<(u16, String)>,
    /// How long silences may be, and when they began.
    pub silence: Silence,
    /// The slot for the deadline of the next look at the silence.
    slot: Option<Slot>,
}

static SOCKET: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/websocket".as_ptr(),
    gc: Some(drop_collected::<RefCell<Socket>>),
    gcmark: Some(mark),
    ..NOTHING
});

// SAFETY: only `open` makes values of this Janet type, and they are dropped as a `RefCell<Socket>`.
unsafe impl Collected for RefCell<Socket> {
    fn janet_type() -> &'static AbstractType {
        &SOCKET
    }
}

unsafe extern "C-unwind" fn mark(data: *mut c_void, _size: usize) -> i32 {
    // SAFETY: Janet passes a live WebSocket. Nothing changes it while Janet collects: callbacks borrow it for other events
    // only. Its values are live because of this marking.
    unsafe {
        let socket = &*(*data.cast::<RefCell<Socket>>()).as_ptr();
        c::janet_mark(socket.stream.into());
        for message in &socket.ready {
            c::janet_mark((*message).into());
        }
        for fiber in [socket.reader, socket.writer].into_iter().flatten() {
            c::janet_mark(c::janet_wrap_fiber(fiber));
        }
    }
    0
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.give_back_deadline();
    }
}

impl Socket {
    fn give_back_deadline(&mut self) {
        if let Some(slot) = self.slot.take() {
            vm::with_existing(|vm| vm.deadlines.remove(slot));
        }
    }

    /// Has the silence looked at again at the time that it says.
    pub fn look_in_time(&self) {
        let Some(slot) = self.slot else { return };
        vm::with_existing(|vm| silence::set_deadline(vm, slot, &self.silence));
    }

    /// The stream and its descriptor, or `None` if the stream is closed.
    pub fn open_stream(&self) -> Option<(*mut c::JanetStream, RawFd)> {
        let stream = stream::of(self.stream)?;
        Some((stream, stream::descriptor(stream)?))
    }

    /// Ends the reading task's wait, if it waits, with what there is for it.
    pub fn tell_reader(&mut self) {
        if self.reader.is_some() {
            let value = self.take_ready();
            self.wake_reader(value);
        }
    }

    /// Ends the reading task's wait, if it waits.
    pub fn wake_reader(&mut self, value: Janet) {
        if let Some(fiber) = self.reader.take() {
            // SAFETY: the fiber was in `reader`, so it waits (the invariant of `Socket`).
            unsafe { wait::finish(fiber, value, c::JanetSignal_JANET_SIGNAL_OK) };
        }
    }

    /// Ends the writing task's wait, if it waits.
    pub fn wake_writer(&mut self) {
        if let Some(fiber) = self.writer.take() {
            // SAFETY: the fiber was in `writer`, so it waits (the invariant of `Socket`).
            unsafe { wait::finish(fiber, Janet::boolean(true), c::JanetSignal_JANET_SIGNAL_OK) };
        }
    }
}

/// Borrows the WebSocket in the first argument of a native function.
///
/// # Errors
/// Returns an error that says what the argument is, if it is not a WebSocket.
pub fn borrow(args: &[Janet]) -> Result<RefMut<'_, Socket>, String> {
    collected::first(args, "a WebSocket").map(RefCell::borrow_mut)
}

/// `(native/websocket-key key)`: Returns the value of Sec-WebSocket-Accept for that of Sec-WebSocket-Key, or nil if the key is
/// not one.
fn key(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let answer = bytes(&value).and_then(accept_key);
    Ok(Outcome::Value(answer.map_or_else(Janet::nil, |answer| JanetString::new(answer).into())))
}

/// `(native/websocket-open http received options)`: Returns a WebSocket for an HTTP connection after its handshake.
/// `received` has what was already read, and the options are `:max-message`, `:max-queued`, `:ping`, `:pong-timeout` and
/// `:close-timeout`.
fn open(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let received = arg(args, 1);
    let mut received = bytes(&received).unwrap_or_default().to_vec();
    let options = Options::new(arg(args, 2))?;
    let size = |name: &str| match options.get(name).unwrap() {
        TaggedJanet::Number(size) if size > 0.0 => Ok(size as usize),
        _ => Err(format!(":{name} must be a positive number, got {}", describe(options.get(name)))),
    };
    let seconds = |name: &str| match options.get(name).unwrap() {
        TaggedJanet::Number(seconds) if seconds >= 0.0 => Ok(Duration::try_from_secs_f64(seconds).ok()),
        _ => Err(format!(":{name} must be a number of seconds, got {}", describe(options.get(name)))),
    };
    let (mut slot, mut now) = (None, Duration::ZERO);
    vm::with(|vm| {
        now = vm.engine.now();
        Ok(())
    })?;
    let value = collected::make(RefCell::new(Socket {
        value: std::ptr::null(),
        stream: connection.stream,
        decoder: Decoder::new(size("max-message")?),
        ready: VecDeque::new(),
        reader: None,
        is_discarding: false,
        is_input_over: false,
        is_over: false,
        out: Vec::new(),
        sent: 0,
        pong: None,
        writer: None,
        max_queued: size("max-queued")?,
        sent_in_turn: 0,
        received_in_turn: 0,
        is_close_sent: false,
        is_sending_ended: false,
        end: None,
        silence: Silence::new(seconds("ping")?, seconds("pong-timeout")?, seconds("close-timeout")?, now),
        slot: None,
    }));
    vm::with(|vm| {
        // SAFETY: Janet called this function, so there is a root fiber.
        let fiber = unsafe { c::janet_root_fiber() };
        slot = Some(vm.deadlines.add(fiber, Some((silence::look, value.cast()))));
        Ok(())
    })?;
    connection.websocket = collected::wrap(value);
    // SAFETY: the new value is alive, since nothing collects before this function returns.
    let socket = &mut *unsafe { &*value }.borrow_mut();
    (socket.value, socket.slot) = (value, slot);
    socket.look_in_time();
    socket.take_frames(&mut received);
    Ok(Outcome::Value(collected::wrap(value)))
}

/// `(native/websocket-release websocket)`: Ends the waits of its tasks. The connection can be closed then.
fn release(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *borrow(args)?;
    socket.give_up(1006, "the handler has ended");
    socket.give_back_deadline();
    Ok(Outcome::Value(Janet::nil()))
}
