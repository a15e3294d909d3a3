//! The event queue of a Janet VM (one for each thread), nested in Janet's own loop.
//!
//! The queue's descriptor is a stream of Janet's, for which a fiber that never runs waits for as long as the VM lives:
//! it is there to be called back ([`on_ready`]) in the middle of Janet's loop. It does not count as something that
//! the loop has to wait for; the fibers that wait for connections do.

use std::cell::RefCell;
use std::ffi::c_void;
use std::os::fd::{OwnedFd, RawFd};
use std::ptr;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Engine, Errno, Limits, Next, Sink, System, socket};
use once_cell::unsync::OnceCell;

use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::guard;
use crate::deadlines::Deadlines;
use crate::fork::{self, Process};
use crate::http::CommonStrings;
use crate::listener::Listener;
use crate::message::say;
use crate::stream;
use crate::value::string;

thread_local! {
    static VM: RefCell<OnceCell<Vm>> = const { RefCell::new(OnceCell::new()) };
}

/// What kqnet keeps for a VM.
pub struct Vm {
    /// The listeners of this VM.
    pub engine: Engine<System, *mut Listener>,
    /// The deadlines of HTTP connections.
    pub deadlines: Deadlines,
    /// The keywords of request and response tables.
    pub keys: Keys,
    /// Strings that most requests have.
    pub common: CommonStrings,
    /// From stream to HTTP connection, of those that are open. It keeps their fibers alive while they wait.
    pub connections: *mut c::JanetTable,
    /// From stream to [`Listener`], with weak keys.
    listeners: *mut c::JanetTable,
    /// The open listeners that must not be collected before they are closed.
    held: *mut c::JanetTable,
    /// The process that made the queue.
    process: Process,
    /// The queue's stream.
    queue: *mut c::JanetStream,
    /// From stream to what `janet/kqnet/tracker.janet` keeps of its handlers. Weak both ways, since that may refer to the
    /// stream; the handlers that need it hold it.
    trackers: *mut c::JanetTable,
}

/// Keywords that are used for every request, interned once, and held by the VM.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Keys {
    pub body: c::Janet,
    pub bytes: c::Janet,
    pub chunked: c::Janet,
    pub none: c::Janet,
    pub pieces: c::Janet,
    pub buffer: c::Janet,
    pub connection: c::Janet,
    pub head_size: c::Janet,
    pub headers: c::Janet,
    pub http_version: c::Janet,
    pub method: c::Janet,
    pub path: c::Janet,
    pub query: c::Janet,
    pub query_string: c::Janet,
    pub request_number: c::Janet,
    pub route: c::Janet,
    pub status: c::Janet,
}

impl Keys {
    fn new(hold: &dyn Fn(c::Janet)) -> Self {
        let key = |name: &str| {
            let value = Janet::keyword(name.into()).into();
            hold(value);
            value
        };
        Self {
            body: key("body"),
            bytes: key("bytes"),
            chunked: key("chunked"),
            none: key("none"),
            pieces: key("pieces"),
            buffer: key("buffer"),
            connection: key("connection"),
            head_size: key("head-size"),
            headers: key("headers"),
            http_version: key("http-version"),
            method: key("method"),
            path: key("path"),
            query: key("query"),
            query_string: key("query-string"),
            request_number: key("request-number"),
            route: key("route"),
            status: key("status"),
        }
    }
}

/// Calls `body` with this VM's queue, which is made when it is first needed.
///
/// # Errors
/// Those of `body`, and where the queue cannot be made.
pub fn with<T>(body: impl FnOnce(&mut Vm) -> Result<T, String>) -> Result<T, String> {
    VM.with(|cell| {
        let mut cell = cell.try_borrow_mut().map_err(|_| "kqnet: called from within itself".to_string())?;
        cell.get_or_try_init(Vm::new)?;
        match cell.get_mut() {
            Some(vm) => {
                if !vm.process.is_current() {
                    vm.renew()?;
                }
                body(vm)
            }
            None => Err("kqnet: no event queue".into()),
        }
    })
}

/// Calls `body` if this VM has a queue of this process, and is not using it.
pub fn with_existing(body: impl FnOnce(&mut Vm)) {
    with_any(|vm| {
        if vm.process.is_current() {
            body(vm);
        }
    });
}

/// The same, also where the queue is the parent's, which must not be touched.
fn with_any<T>(body: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|cell| cell.try_borrow_mut().ok().and_then(|mut cell| cell.get_mut().map(body)))
}

/// The table of trackers, where there is one. A forked child needs no queue of its own for it.
pub fn trackers() -> Option<Janet> {
    with_any(|vm| vm.trackers())
}

/// Runs in a forked child: the parent runs its handlers, and their copies here must not answer its clients. The handler
/// that has forked goes on. Memory is only written to, since the process may have had other threads.
pub fn drop_handlers() {
    with_any(|vm| {
        // SAFETY: the thread that forked runs Janet code, so it has a root fiber, or null where it has no VM.
        let running = unsafe { c::janet_root_fiber() };
        for (_, listener) in vm.entries() {
            // SAFETY: the table keeps it alive.
            unsafe { &*listener }.unschedule(running);
        }
    });
}

/// The listening stream of a sentinel, and what is known of it.
pub fn sentinel_of(fiber: *const c::JanetFiber) -> Option<(*mut c::JanetStream, *mut Listener)> {
    with_any(|vm| {
        // SAFETY: the table keeps what it has alive.
        vm.entries().find(|&(_, listener)| unsafe { &*listener }.has_sentinel(fiber))
    })
    .flatten()
}

/// The stream of a listener that is about to be freed, where the stream is not yet. The collector takes the stream first,
/// and off the table; at a VM's end Janet frees the newest values first.
pub fn stream_of(listener: *const Listener) -> Option<*mut c::JanetStream> {
    with_any(|vm| {
        // Others may have been freed, and are not looked at.
        let pair =
            vm.pairs().find(|pair| address(pair.value).is_some_and(|value| std::ptr::eq(value, listener.cast())));
        pair.and_then(|pair| address(pair.key)).map(|stream| stream.cast::<c::JanetStream>().cast_mut())
    })
    .flatten()
}

/// The address of an abstract value.
fn address(value: c::Janet) -> Option<*const c_void> {
    // SAFETY: it looks at the value only, not at what is there.
    unsafe {
        (c::janet_checktype(value, c::JanetType_JANET_ABSTRACT) != 0)
            .then(|| c::janet_unwrap_abstract(value).cast_const().cast())
    }
}

/// The environment of the running fiber. One that has none, as the first in a thread, gets by with the core's.
pub fn running_env() -> *mut c::JanetTable {
    // SAFETY: called from a function that Janet called, so a fiber runs. The core environment was made with the VM.
    unsafe {
        let env = (*c::janet_current_fiber()).env;
        if env.is_null() { c::janet_core_env(std::ptr::null_mut()) } else { env }
    }
}

/// A listener is about to be closed, and may be collected from now on.
pub fn release(stream: *mut c::JanetStream) {
    // SAFETY: the table is rooted.
    with_any(|vm| unsafe { c::janet_table_remove(vm.held, stream::wrap(stream).into()) });
}

impl Vm {
    fn new() -> Result<Self, String> {
        let (system, queue) = make_queue()?;
        let (keys, common);
        // SAFETY: called from a function that Janet called. Nothing here starts a collection, so that the new values
        // live until they are held.
        let [listeners, trackers, connections, held] = unsafe {
            // One root for all: Janet looks through its roots whenever a wait ends.
            let held = c::janet_array(16);
            c::janet_gcroot(c::janet_wrap_array(held));
            let hold = |value| c::janet_array_push(held, value);
            keys = Keys::new(&hold);
            common = CommonStrings::new(&hold);
            let tables = [c::janet_table_weakk(4), c::janet_table_weakkv(4), c::janet_table(4), c::janet_table(4)];
            for table in tables {
                hold(c::janet_wrap_table(table));
            }
            // Its finalizer tells when the VM ends.
            hold(c::janet_wrap_abstract(c::janet_abstract(&raw const LIFE.0, 1)));
            tables
        };
        let (engine, deadlines, process) = (Engine::new(system), Deadlines::default(), Process::current());
        Ok(Self { engine, deadlines, keys, common, connections, listeners, trackers, held, process, queue })
    }

    /// Goes on in a forked process, with a queue of its own. The listeners are the parent's until they are accepted from
    /// here, and so are the connections whose deadlines are forgotten.
    fn renew(&mut self) -> Result<(), String> {
        let (system, queue) = make_queue()?;
        self.engine.replace_kernel(system);
        self.deadlines.clear();
        stream::close(std::mem::replace(&mut self.queue, queue));
        self.process = Process::current();
        Ok(())
    }

    /// What the table of listeners has, and its free places.
    fn pairs(&self) -> impl Iterator<Item = &c::JanetKV> {
        // SAFETY: the table is rooted, and `data` holds `capacity` pairs, of which those with a nil key are free.
        unsafe {
            let table = &*self.listeners;
            (0..table.capacity as usize).map(|index| &*table.data.add(index))
        }
    }

    /// The listening streams that are known.
    fn entries(&self) -> impl Iterator<Item = (*mut c::JanetStream, *mut Listener)> {
        self.pairs().filter_map(|pair| {
            let stream = stream::get(pair.key.into()).ok()?;
            Some((stream, Listener::from_value(pair.value)))
        })
    }

    /// What is known of a stream that was listening, closed or not.
    pub fn known(&mut self, stream: *mut c::JanetStream) -> Option<&Listener> {
        // SAFETY: the table is rooted, and keeps its values alive.
        unsafe { Listener::from_value(c::janet_table_get(self.listeners, stream::wrap(stream).into())).as_ref() }
    }

    /// The table of trackers as a value.
    pub fn trackers(&self) -> Janet {
        // SAFETY: the table is rooted.
        unsafe { c::janet_wrap_table(self.trackers) }.into()
    }

    /// The streams of all listeners that have statistics.
    pub fn streams(&self) -> Vec<Janet> {
        // SAFETY: the table keeps what it has alive.
        let counted = |listener: *mut Listener| unsafe { &*listener }.since.get().is_some();
        self.entries().filter(|&(_, listener)| counted(listener)).map(|(stream, _)| stream::wrap(stream)).collect()
    }

    /// What is known of a listening stream.
    ///
    /// # Errors
    /// Says why the stream cannot be accepted from.
    pub fn listener(&mut self, stream: *mut c::JanetStream) -> Result<*mut Listener, String> {
        let Some(fd) = stream::descriptor(stream) else { return Err("the listener is closed".into()) };
        if !stream::is_acceptable(stream) {
            return Err("the stream is not a listener".into());
        }
        // SAFETY: the table is rooted.
        let known = Listener::from_value(unsafe { c::janet_table_get(self.listeners, stream::wrap(stream).into()) });
        // SAFETY: the table keeps it alive.
        let token = unsafe { known.as_ref() }.map(|listener| listener.token);
        if token.is_some_and(|token| self.engine.is_open(token)) {
            return Ok(known);
        }
        socket::check_listener(fd).map_err(|what| format!("the stream is not a listener: {what}"))?;
        if let Some(errno) = token.and_then(|token| self.engine.broken(token)) {
            return Err(errno.to_string());
        }
        Ok(self.register(stream, fd))
    }

    /// Takes in a stream that is bound to an address, so that its end is noticed.
    pub fn register(&mut self, stream: *mut c::JanetStream, fd: RawFd) -> *mut Listener {
        let token = self.engine.add(fd, Limits::default(), ptr::null_mut());
        let listener = Listener::make(stream, token, socket::local_name(fd));
        self.engine.attach(token, listener);
        // SAFETY: the table is rooted; the listener is a value of this VM.
        unsafe { c::janet_table_put(self.listeners, stream::wrap(stream).into(), Listener::wrap(listener)) };
        listener
    }

    /// An inherited listener, which the parent has too, must not be collected before it is closed, where Janet's loop
    /// would be left with its address.
    pub fn hold(&mut self, stream: *mut c::JanetStream) {
        if stream::must_be_closed() {
            // SAFETY: the table is rooted, and the stream live.
            unsafe { c::janet_table_put(self.held, stream::wrap(stream).into(), c::janet_wrap_true()) };
        }
    }
}

/// Why a stream cannot be accepted from any more: what it is instead of a listener says more than the error of accept(2).
pub fn cannot_accept(stream: *mut c::JanetStream, errno: Errno) -> String {
    match stream::descriptor(stream).map(socket::check_listener) {
        Some(Err(what)) => format!("cannot accept: the stream is not a listener: {what}"),
        _ => format!("cannot accept: {errno}"),
    }
}

/// Makes an event queue, and has Janet's loop call [`on_ready`] when it is ready.
fn make_queue() -> Result<(System, *mut c::JanetStream), String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot make an event queue: {why}");
    let (system, fd) = System::new().map_err(|errno| failed(&errno))?;
    let queue = stream::make(fd, stream::Kind::Queue).map_err(|text| failed(&text))?;
    fork::own_loop(queue).map_err(|text| {
        stream::close(queue);
        failed(&text)
    })?;
    // SAFETY: called from a function that Janet called. The stream keeps its waiting fiber alive, and waiting keeps the
    // stream alive.
    unsafe {
        let parked = c::janet_fiber(c::janet_thunk_delay(c::janet_wrap_nil()), 8, 0, ptr::null());
        let read = c::JanetAsyncMode_JANET_ASYNC_LISTEN_READ;
        c::janet_async_start_fiber(parked, queue, read, Some(on_ready), ptr::null_mut());
        c::janet_ev_dec_refcount();
    }
    Ok((system, queue))
}

/// Gives connections to the fibers that wait for them.
pub struct Deliver;

impl Sink<OwnedFd, *mut Listener> for Deliver {
    fn wants(&mut self, listener: &*mut Listener) -> bool {
        // SAFETY: the engine holds only listeners that are not collected yet (listener.rs).
        !unsafe { &**listener }.fiber.get().is_null()
    }

    fn ended(&mut self, listener: &*mut Listener, all: bool) -> u32 {
        // SAFETY: as above.
        let listener = unsafe { &**listener };
        if all { listener.sweep() } else { listener.sweep_at_times() }
    }

    fn accepted(&mut self, listener: &*mut Listener, conn: OwnedFd) -> Next {
        // SAFETY: as above.
        let listener = unsafe { &**listener };
        let stream = match stream::make(conn, stream::Kind::Connection) {
            Ok(stream) => stream,
            Err(text) => {
                say(&format!("a connection was dropped: {text}"));
                return Next::Lost;
            }
        };
        let value: c::Janet = stream::wrap(stream).into();
        let handler = listener.handler.get();
        if handler.is_null() {
            listener.finish(value, c::JanetSignal_JANET_SIGNAL_OK);
            return Next::Enough;
        }
        // SAFETY: the waiting fiber keeps the handler alive, which was found to take one argument. The new fiber is kept
        // alive by the schedule.
        unsafe {
            let fiber = c::janet_fiber(handler, 64, 1, &value);
            if fiber.is_null() {
                stream::close(stream);
                return Next::Lost;
            }
            (*fiber).supervisor_channel = (*listener.fiber.get()).supervisor_channel;
            // Each connection has one of its own, so that what a handler sets reaches no other.
            (*fiber).env = c::janet_table(0);
            (*(*fiber).env).proto = listener.env.get();
            listener.begin(fiber);
            c::janet_schedule(fiber, c::janet_wrap_nil());
        }
        Next::More
    }

    fn failed(&mut self, listener: &*mut Listener, errno: Errno) {
        // SAFETY: as above.
        let listener = unsafe { &**listener };
        let fiber = listener.fiber.get();
        if !fiber.is_null() {
            // SAFETY: it waits for the stream.
            let text = cannot_accept(unsafe { (*fiber).ev_stream }, errno);
            listener.finish(string(&text).into(), c::JanetSignal_JANET_SIGNAL_ERROR);
        }
    }

    fn starved(&mut self, listener: &*mut Listener, errno: Errno) {
        // SAFETY: as above.
        let listener = unsafe { &**listener };
        let text = format!("accepting on {} pauses: {errno}", listener.name);
        let on_error = listener.on_error.get();
        if on_error.is_null() {
            say(&text);
            return;
        }
        // SAFETY: the waiting fiber keeps the function alive, which was found to take two arguments.
        unsafe {
            let args: [c::Janet; 2] =
                [stream::wrap((*listener.fiber.get()).ev_stream).into(), Janet::from(text.as_str()).into()];
            let fiber = c::janet_fiber(on_error, 64, 2, args.as_ptr());
            if !fiber.is_null() {
                c::janet_schedule(fiber, c::janet_wrap_nil());
            }
        }
    }
}

/// Janet's loop has found the queue readable.
unsafe extern "C-unwind" fn on_ready(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    let wakes = [
        c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ,
        c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR,
        c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP,
    ];
    if wakes.contains(&event) {
        guard("accepting", || {
            if with_any(|vm| !vm.process.is_current()) == Some(true) {
                // A forked child on a loop that finds the parent's queue ready. What is ready is the parent's.
                // SAFETY: Janet calls this for the fiber that waits for the queue's stream.
                stream::close(unsafe { (*fiber).ev_stream });
                return;
            }
            with_existing(|vm| {
                if let Err(errno) = vm.engine.run(&mut Deliver) {
                    say(&format!("cannot read the event queue: {errno}"));
                }
                let now = vm.engine.now();
                if let Some(wake) = vm.deadlines.expire(now) {
                    vm.engine.wake(Some(wake));
                }
            });
        });
    }
}

/// A value that lives as long as the VM.
static LIFE: AbstractType =
    AbstractType(c::JanetAbstractType { name: c"kqnet/queue".as_ptr(), gc: Some(end), ..NOTHING });

/// The VM ends: Janet frees its values and closes the queue's stream, and another VM may follow on this thread.
unsafe extern "C-unwind" fn end(_data: *mut c_void, _size: usize) -> i32 {
    guard("ending", || {
        VM.with(|cell| {
            if let Ok(mut cell) = cell.try_borrow_mut() {
                cell.take();
                fork::forget_queue();
            }
        });
    });
    0
}
