//! An HTTP connection: what is known of it, and how it begins.

use std::cell::{RefCell, RefMut};
use std::ffi::c_void;
use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::socket;
use kqnet_http1::response::Exchange;
use kqnet_http1::{BodyReader, HeadParser};

use super::account::{Account, Record};
use super::chain::Chain;
use super::config::{self, ConfigRef};
use super::large_answer::UnsentBody;
use super::lingering::Lingering;
use super::next_request::Next;
use super::open_files::OpenFiles;
use super::pace::Pace;
use super::peer::Peer;
use super::phase::Phase;
use super::reading::Reading;
use super::second_read;
use super::serving;
use super::wait::Spare;
use super::watch::Watching;
use super::writing::Writing;
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::deadlines::Slot;
use crate::files::{OpenFile, Upload};
use crate::stream;
use crate::value::arg;
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-open", "stream config tracker serve", open),
    native!("http-tracker", "http", tracker),
    native!("http-limit-unsent", "listener", limit_unsent),
];

/// A connection.
///
/// The invariant that the SAFETY comments of this folder refer to:
///
/// * Janet's collector owns the connection, in a `RefCell`. A native function or callback borrows it once, for as long as
///   it runs, and passes the reference on to what it calls. None of them runs Janet code, so it is not borrowed twice.
/// * The VM's table of connections keeps it and its stream alive from `open` to `close`. Janet values in its fields are
///   kept alive by the mark function.
/// * A fiber in `reading`, `writing` or `watching` waits for the stream ([`super::wait`]). It is removed from its field
///   when its wait ends. The mark function keeps it alive.
pub struct Connection {
    /// The value that holds this connection, for callbacks and marking.
    pub value: *const RefCell<Connection>,
    /// The configuration of its server.
    pub config: ConfigRef,
    /// Its stream (core/stream).
    pub stream: Janet,
    /// What `janet/kqnet/tracker.janet` knows of the listener's handlers.
    pub tracker: Janet,
    /// The buffer with what was read from the client.
    pub received: Janet,
    /// What Janet code needs for what is rare (src/http/parts.rs), or nil until it was needed.
    pub parts: Janet,
    /// The slot for the deadline of the connection's fiber, until the connection is closed.
    pub slot: Option<Slot>,
    /// What its fiber is doing.
    pub phase: Phase,
    /// At its deadline, it reads instead of ending (src/http/second_read.rs).
    pub reads_at_deadline: bool,
    /// What was found out about a head that has not arrived completely.
    pub parser: HeadParser,
    /// What the last request says about the response to it.
    pub exchange: Exchange,
    /// How much of the last request's body has to be read.
    pub body: BodyReader,
    /// The client waits for a 100 before it sends its body.
    pub awaits_continue: bool,
    /// The last request asks to keep the connection (`Head::keep_alive`).
    pub may_go_on: bool,
    /// The last response promised to keep the connection.
    pub keeps_open: bool,
    /// How many requests it has carried.
    pub requests: u32,
    /// The number of the request that runs, or 0 between requests.
    pub running_request: u32,
    /// The table of the request that the handler is answering, or nil.
    pub request: Janet,
    /// What Janet code does next if there is no next request (`native/http-to-do`).
    pub to_do: Janet,
    /// What comes in the next turn, if it is known already.
    pub deferred: Option<Next>,
    /// A response that Janet code has to send (`native/http-unsent-response`), or nil.
    pub unsent_response: Janet,
    /// What remains of a body whose beginning was sent with its head.
    pub unsent_body: Option<Box<UnsentBody>>,
    /// How the body of the unsent response is delivered, if its head was written (`native/http-respond`).
    pub written_head: Option<Janet>,
    /// The response to the running request is being sent.
    pub is_answering: bool,
    /// The handler returned something that is not a valid response.
    pub is_response_invalid: bool,
    /// The responses to pipelined requests.
    pub chain: Chain,
    /// How fast the client takes the response.
    pub pace: Pace,
    /// The task that waits for bytes, if there is one.
    pub reading: Option<Reading>,
    /// The memory for its wait, while it does not wait.
    pub spare_wait: Spare,
    /// The task that waits for the client to take bytes, if there is one.
    pub writing: Option<Box<Writing>>,
    /// The task that watches whether the client is gone, if there is one.
    pub watching: Option<Watching>,
    /// How long the client may take to receive the last response.
    pub lingering: Lingering,
    /// The channel that tells the running request of its end, or nil.
    pub ending: Janet,
    /// That channel is also closed when the client sends no more.
    pub ends_with_input: bool,
    /// The program has taken the connection over.
    pub is_detached: bool,
    /// The client was found to be gone.
    pub is_lost: bool,
    /// The request that is being answered, for logs and metrics.
    pub account: Account,
    /// The functions of `janet/kqnet/http/log.janet` that are to be told how that request was answered.
    pub observers: Option<Janet>,
    /// The peer, or the client that a PROXY header names.
    pub peer: Peer,
    /// The task that is cancelled when the client is gone, or nil.
    pub to_cancel: Janet,
    /// The files that were opened for the running request, or came with it.
    pub files: OpenFiles,
    /// The WebSocket that the connection has become (src/http/websocket.rs), or nil.
    pub websocket: Janet,
}

static CONNECTION: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/http".as_ptr(),
    gc: Some(drop_collected::<RefCell<Connection>>),
    gcmark: Some(mark),
    ..NOTHING
});

// SAFETY: only `open` makes values of this Janet type, and they are dropped as a `RefCell<Connection>`.
unsafe impl Collected for RefCell<Connection> {
    fn janet_type() -> &'static AbstractType {
        &CONNECTION
    }
}

unsafe extern "C-unwind" fn mark(data: *mut c_void, _size: usize) -> i32 {
    // SAFETY: Janet passes a live connection. Nothing changes it while Janet collects: callbacks borrow it for other events
    // only. Its values are live because of this marking.
    unsafe {
        let connection = &*(*data.cast::<RefCell<Connection>>()).as_ptr();
        connection.config.mark();
        c::janet_mark(connection.stream.into());
        c::janet_mark(connection.tracker.into());
        c::janet_mark(connection.received.into());
        c::janet_mark(connection.parts.into());
        c::janet_mark(connection.ending.into());
        c::janet_mark(connection.request.into());
        c::janet_mark(connection.to_do.into());
        c::janet_mark(connection.unsent_response.into());
        if let Some(Next::Request(value) | Next::Other(value)) = &connection.deferred {
            c::janet_mark((*value).into());
        }
        // While another task reads, the stream does not refer to the task that watches.
        if let Some(watching) = &connection.watching {
            c::janet_mark(c::janet_wrap_fiber(watching.fiber));
        }
        if let Some(body) = &connection.unsent_body {
            body.mark();
        }
        if let Some(delivery) = connection.written_head {
            c::janet_mark(delivery.into());
        }
        if let Some(reading) = &connection.reading {
            reading.mark();
        }
        if let Some(writing) = &connection.writing {
            writing.mark();
        }
        if let Some(observers) = connection.observers {
            c::janet_mark(observers.into());
        }
        connection.peer.mark();
        c::janet_mark(connection.to_cancel.into());
        c::janet_mark(connection.websocket.into());
        connection.files.mark();
    }
    0
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.give_back_deadlines();
    }
}

impl Connection {
    /// Removes the deadlines of the connection's fiber, and of tasks that wait for the connection.
    pub fn give_back_deadlines(&mut self) {
        let writing = self.writing.as_mut().and_then(|writing| writing.slot.take());
        let watching = self.watching.take().map(|watching| watching.slot);
        for slot in [self.slot.take(), writing, watching].into_iter().flatten() {
            vm::with_existing(|vm| vm.deadlines.remove(slot));
        }
    }

    /// Ends the account of the request that was answered last, and counts it.
    pub fn close_account(&mut self, now: Duration) -> Option<Record> {
        self.account.close(&self.config.statistics, now)
    }
}

/// Borrows the connection in the first argument of a native function.
///
/// # Errors
/// Returns an error that says what the argument is, if it is not an HTTP connection.
pub fn borrow(args: &[Janet]) -> Result<RefMut<'_, Connection>, String> {
    collected::first(args, "an HTTP connection").map(RefCell::borrow_mut)
}

/// The connection that a callback was registered with, by its field `value`.
///
/// # Safety
/// The connection was not collected yet, and the reference is used only until the callback returns.
pub unsafe fn from_callback<'a>(connection: *mut c_void) -> &'a RefCell<Connection> {
    // SAFETY: the caller promises that it is alive.
    unsafe { &*connection.cast() }
}

/// Has a file closed when the request that runs on this stream has ended, if the stream is a connection of an HTTP server
/// of this VM.
pub fn close_with_request(stream: Janet, file: *const RefCell<OpenFile>) {
    with_files_of(stream, |files| files.add(file));
}

/// Does the same for an upload.
pub fn close_upload_with_request(stream: Janet, upload: *const RefCell<Upload>) {
    with_files_of(stream, |files| files.add_upload(upload));
}

fn with_files_of(stream: Janet, f: impl FnOnce(&mut OpenFiles)) {
    vm::with_existing(|vm| {
        // SAFETY: the table is rooted.
        let value: Janet = unsafe { c::janet_table_get(vm.connections, stream.into()) }.into();
        if let Some(connection) = collected::of::<RefCell<Connection>>(&value) {
            f(&mut connection.borrow_mut().files);
        }
    });
}

/// `(native/http-open stream config tracker serve)`: Opens a connection, whose task is the running one. Returns a new fiber that
/// calls `(serve http received)` when it is resumed, with the connection and the buffer with what was read from the client.
fn open(args: &[Janet]) -> Result<Outcome, String> {
    let config_value = arg(args, 1);
    let config = config::get(&config_value)?;
    vm::with(|vm| {
        // SAFETY: Janet called this function, so there is a root fiber.
        let fiber = unsafe { c::janet_root_fiber() };
        let slot = vm.deadlines.add(fiber, None);
        // SAFETY: the new buffer is alive, since nothing collects before this function returns.
        let received: Janet = unsafe { c::janet_wrap_buffer(c::janet_buffer(0)) }.into();
        let value = collected::make(RefCell::new(Connection {
            value: std::ptr::null(),
            // SAFETY: the connection marks it.
            config: unsafe { ConfigRef::new(config) },
            stream: arg(args, 0),
            tracker: arg(args, 2),
            received,
            parts: Janet::nil(),
            slot: Some(slot),
            phase: Phase::Handler,
            reads_at_deadline: false,
            parser: HeadParser::new(config.limits),
            exchange: Exchange::unread(),
            body: BodyReader::Length { remaining: 0 },
            awaits_continue: false,
            may_go_on: true,
            keeps_open: true,
            requests: 0,
            running_request: 0,
            request: Janet::nil(),
            to_do: Janet::nil(),
            deferred: None,
            unsent_response: Janet::nil(),
            unsent_body: None,
            written_head: None,
            is_answering: false,
            is_response_invalid: false,
            chain: Chain::default(),
            pace: Pace::default(),
            reading: None,
            spare_wait: Spare::default(),
            writing: None,
            watching: None,
            lingering: Lingering::default(),
            ending: Janet::nil(),
            ends_with_input: false,
            is_detached: false,
            is_lost: false,
            account: Account::default(),
            observers: None,
            peer: Peer::of(arg(args, 0), &config.proxies),
            to_cancel: Janet::nil(),
            files: OpenFiles::default(),
            websocket: Janet::nil(),
        }));
        // SAFETY: the new value is alive, since nothing collects before this function returns. The table is rooted.
        unsafe {
            (*value).borrow_mut().value = value;
            vm.deadlines.look_with(slot, (second_read::look, value.cast()));
            c::janet_table_put(vm.connections, arg(args, 0).into(), collected::wrap(value).into());
        }
        Ok(Outcome::Value(serving::fiber(arg(args, 3), collected::wrap(value), received, config)?))
    })
}

/// `(native/http-limit-unsent listener)`: Limits how many unsent bytes the system buffers for the listener's connections.
fn limit_unsent(args: &[Janet]) -> Result<Outcome, String> {
    // A unix socket has no such option, and needs none.
    let _ = stream::descriptor(stream::get(arg(args, 0))?).map(socket::limit_unsent);
    Ok(Outcome::Value(arg(args, 0)))
}

/// `(native/http-tracker http)`: Returns the tracker of the listener's handlers (janet/kqnet/tracker.janet).
fn tracker(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(borrow(args)?.tracker))
}
