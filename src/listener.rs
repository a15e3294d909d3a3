//! What is known of a listening stream: its place in the engine, and the fiber that waits for connections.
//!
//! Each is an abstract value of Janet's, in a table of the VM with the streams as weak keys: it lasts as long as the
//! stream does. While a fiber waits, that fiber's state holds it too.
//!
//! A listening stream is never written to, so its writer's place is free for our use. While no fiber waits for connections, a
//! fiber that never runs is there (the sentinel): Janet tells a stream's writer that the stream is about to be closed,
//! whoever closes it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::c_void;
use std::os::fd::RawFd;
use std::time::SystemTime;

use janetrs::lowlevel as c;
use kqnet_accept::Token;
use kqnet_accept::socket::SocketFile;

use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::guard;
use crate::{stream, vm};

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// Its place in the VM's engine.
    pub token: Token,
    /// The address it is bound to, as errors name it.
    pub name: String,
    /// Since when it has statistics, in seconds since 1970: nothing until kqnet begins to accept from it.
    pub since: Cell<Option<f64>>,
    /// A unix socket's file, to be removed with the listener.
    pub file: RefCell<Option<SocketFile>>,
    /// The fiber that waits, or null.
    pub fiber: Cell<*mut c::JanetFiber>,
    /// A server was started on it, whose fiber may not have had its first turn.
    pub is_claimed: Cell<bool>,
    /// The fiber that is the stream's writer while none waits.
    sentinel: *mut c::JanetFiber,
    /// What to run for each connection, or null where the fiber itself waits for one.
    pub handler: Cell<*mut c::JanetFunction>,
    /// The environment of whoever accepts: the prototype of each handler's. Null while nobody does.
    pub env: Cell<*mut c::JanetTable>,
    /// What to call when accepting pauses for an error, or null.
    pub on_error: Cell<*mut c::JanetFunction>,
    /// The tasks of handlers in flight. One that ended by an error stays until it is found.
    tasks: RefCell<HashSet<*mut c::JanetFiber>>,
    /// Handlers that were found to have ended, and not told of yet.
    ended: Cell<u32>,
    /// Handlers that began since the last sweep.
    unswept: Cell<usize>,
}

static TYPE: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/listener".as_ptr(),
    gc: Some(collect),
    gcmark: Some(mark),
    ..NOTHING
});

impl Listener {
    /// Makes the abstract value for a stream that is a listener of the engine.
    pub fn make(stream: *mut c::JanetStream, token: Token, name: String) -> *mut Self {
        // SAFETY: janet_abstract gives memory of the size asked for, aligned for anything. The sentinel lives as long as this
        // value, by its marking, or as the stream, by the stream's. Without a state it has nothing that Janet would free,
        // and without a stream it does not keep the stream alive.
        unsafe {
            let sentinel = c::janet_fiber(c::janet_thunk_delay(c::janet_wrap_nil()), 8, 0, std::ptr::null());
            (*sentinel).ev_callback = Some(on_sentinel_event);
            (*stream).write_fiber = sentinel;
            let place: *mut Self = c::janet_abstract(&raw const TYPE.0, size_of::<Self>()).cast();
            place.write(Self {
                token,
                name,
                since: Cell::new(None),
                file: RefCell::new(None),
                fiber: Cell::new(std::ptr::null_mut()),
                is_claimed: Cell::new(false),
                sentinel,
                handler: Cell::new(std::ptr::null_mut()),
                env: Cell::new(std::ptr::null_mut()),
                on_error: Cell::new(std::ptr::null_mut()),
                tasks: RefCell::default(),
                ended: Cell::new(0),
                unswept: Cell::new(0),
            });
            place
        }
    }

    /// kqnet accepts from it, or is about to.
    pub fn begin_statistics(&self) {
        if self.since.get().is_none() {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            self.since.set(Some(now.map_or(0.0, |time| time.as_secs_f64())));
        }
    }

    /// A handler begins.
    pub fn begin(&self, task: *mut c::JanetFiber) {
        self.tasks.borrow_mut().insert(task);
        self.unswept.set(self.unswept.get() + 1);
    }

    /// A handler ends. False where that was known already.
    pub fn end(&self, task: *mut c::JanetFiber) -> bool {
        self.tasks.borrow_mut().remove(&task)
    }

    /// Drops the tasks that have ended without a call of `end`: by an error, or cancelled.
    fn find_ended(&self) {
        let mut tasks = self.tasks.borrow_mut();
        let before = tasks.len();
        // SAFETY: they are kept alive by the marking below.
        tasks.retain(|task| unsafe { c::janet_fiber_can_resume(*task) } != 0);
        self.ended.set(self.ended.get() + (before - tasks.len()) as u32);
        self.unswept.set(0);
    }

    /// Says how many handlers have ended without a call of `end` since the last time.
    pub fn sweep(&self) -> u32 {
        self.find_ended();
        self.ended.take()
    }

    /// Sweeps if enough has begun since the last time to pay for it.
    pub fn sweep_at_times(&self) -> u32 {
        if self.unswept.get() > self.tasks.borrow().len() / 8 { self.sweep() } else { 0 }
    }

    /// Has Janet skip what it has scheduled for handlers other than the one that runs.
    pub fn unschedule(&self, running: *const c::JanetFiber) {
        for &task in self.tasks.borrow().iter().filter(|&&task| !std::ptr::eq(task, running)) {
            // SAFETY: it is live, by the marking below. Janet compares this with what it was when the task was scheduled.
            unsafe { (*task).sched_id = (*task).sched_id.wrapping_add(1) };
        }
    }

    /// The tasks of the handlers in flight.
    pub fn tasks(&self) -> Vec<*mut c::JanetFiber> {
        self.tasks.borrow().iter().copied().collect()
    }

    /// Whether this is the listener of a sentinel.
    pub fn has_sentinel(&self, fiber: *const c::JanetFiber) -> bool {
        std::ptr::eq(self.sentinel, fiber)
    }

    /// Whether a fiber waits for connections, by kqnet's functions or by core's.
    pub fn is_awaited(&self, stream: *mut c::JanetStream) -> bool {
        !self.fiber.get().is_null() || stream::is_read(stream)
    }

    /// Removes a unix socket's file, once. `socket` is the descriptor, if it is open still.
    pub fn remove_file(&self, socket: Option<RawFd>) {
        if let Some(file) = self.file.take() {
            file.remove(socket);
        }
    }

    /// The stream is about to be closed: nothing must be left that names its descriptor.
    pub fn leave(&self, stream: *mut c::JanetStream) {
        vm::with_existing(|vm| vm.engine.close(self.token));
        self.remove_file(stream::descriptor(stream));
        stream::unregister(stream);
        vm::release(stream);
    }

    /// The listener in a value of the VM's table, or null.
    pub fn from_value(value: c::Janet) -> *mut Self {
        // SAFETY: a type check.
        unsafe { c::janet_checkabstract(value, &raw const TYPE.0) }.cast()
    }

    /// As a value.
    pub fn wrap(this: *mut Self) -> c::Janet {
        // SAFETY: every listener is an abstract.
        unsafe { c::janet_wrap_abstract(this.cast()) }
    }

    /// Suspends the running task until the engine finishes its wait. `this` and `handler` are kept alive meanwhile.
    pub fn wait(
        this: *mut Self,
        stream: *mut c::JanetStream,
        handler: *mut c::JanetFunction,
        on_error: *mut c::JanetFunction,
    ) {
        // SAFETY: called from a function that Janet called, so there is a root fiber, which waits for nothing else; the
        // stream is live. Janet frees the state with the function that goes with janet_malloc.
        unsafe {
            let fiber = c::janet_root_fiber();
            (*this).is_claimed.set(false);
            (*this).fiber.set(fiber);
            (*this).handler.set(handler);
            (*this).env.set(vm::running_env());
            (*this).on_error.set(on_error);
            let state: *mut *mut Self = c::janet_malloc(size_of::<*mut Self>()).cast();
            state.write(this);
            // A listener never becomes writable, so what comes is that it was closed. Readiness comes by our own queue:
            // Janet's loop on poll(2) would not rest while a client waits and accepting pauses.
            c::janet_async_start_fiber(
                fiber,
                stream,
                c::JanetAsyncMode_JANET_ASYNC_LISTEN_WRITE,
                Some(on_event),
                state.cast(),
            );
        }
    }

    /// Ends the wait: the fiber goes on with a value, or with an error.
    pub fn finish(&self, value: c::Janet, signal: c::JanetSignal) {
        let fiber = self.fiber.get();
        if !fiber.is_null() {
            // SAFETY: the fiber waits in `wait`, so it is live, and a task.
            unsafe {
                c::janet_schedule_signal(fiber, value, signal);
                // Calls on_event with DEINIT.
                c::janet_async_end(fiber);
            }
        }
    }
}

/// Janet's events for the fiber that waits for a listener's stream.
unsafe extern "C-unwind" fn on_event(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    guard("a listener's event", || {
        // SAFETY: Janet calls this for a fiber that `wait` suspended, whose state holds a listener that is kept alive
        // by the marking below.
        let (this, stream) = unsafe { (*(*fiber).ev_state.cast::<*mut Listener>(), (*fiber).ev_stream) };
        // SAFETY: as above.
        let listener = unsafe { &*this };
        match event {
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_MARK => {
                // SAFETY: marking live values while the collector asks for it.
                unsafe {
                    c::janet_mark(Listener::wrap(this));
                    if !listener.env.get().is_null() {
                        c::janet_mark(c::janet_wrap_table(listener.env.get()));
                    }
                    for function in [listener.handler.get(), listener.on_error.get()] {
                        if !function.is_null() {
                            c::janet_mark(c::janet_wrap_function(function));
                        }
                    }
                }
            }
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE => {
                listener.leave(stream);
                // As their docstrings say: the loop gives the stream, accept gives nil.
                let value = if listener.handler.get().is_null() { janetrs::Janet::nil() } else { stream::wrap(stream) };
                listener.finish(value.into(), c::JanetSignal_JANET_SIGNAL_OK);
            }
            // Resumed or cancelled by anybody. The kernel may still say once that the listener is ready, and then finds
            // that nobody waits.
            c::JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT if listener.fiber.get() == fiber => {
                listener.fiber.set(std::ptr::null_mut());
                listener.handler.set(std::ptr::null_mut());
                listener.env.set(std::ptr::null_mut());
                listener.on_error.set(std::ptr::null_mut());
                // SAFETY: the stream is live: it is marked with the fiber that waits for it.
                unsafe { (*stream).write_fiber = listener.sentinel };
            }
            _ => {}
        }
    });
}

/// Janet's events for a sentinel.
unsafe extern "C-unwind" fn on_sentinel_event(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    guard("a listener's end", || {
        if event == c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE
            && let Some((stream, listener)) = vm::sentinel_of(fiber)
        {
            // SAFETY: the stream is live, since it is being closed, and so is what is known of it.
            unsafe { &*listener }.leave(stream);
        }
    });
}

/// The collector's: keeps the handlers in flight. Janet itself keeps only what it will go on with, not a task that waits
/// for a channel which nobody else knows.
unsafe extern "C-unwind" fn mark(data: *mut c_void, _size: usize) -> i32 {
    guard("marking a listener", || {
        // SAFETY: Janet passes the memory that `make` initialized.
        let listener = unsafe { &*data.cast::<Listener>() };
        listener.find_ended();
        // SAFETY: marking a live value while the collector asks for it.
        unsafe { c::janet_mark(c::janet_wrap_fiber(listener.sentinel)) };
        for &task in listener.tasks.borrow().iter() {
            // SAFETY: marking a live value while the collector asks for it.
            unsafe { c::janet_mark(c::janet_wrap_fiber(task)) };
        }
    });
    0
}

/// Called by the collector: the stream is gone, and its descriptor closed; or, at a VM's end, both are about to be.
unsafe extern "C-unwind" fn collect(data: *mut c_void, _size: usize) -> i32 {
    guard("collecting a listener", || {
        let place = data.cast::<Listener>();
        // SAFETY: Janet passes the memory that `make` initialized, and does so once.
        unsafe {
            let stream = vm::stream_of(place);
            (*place).remove_file(stream.and_then(stream::descriptor));
            vm::with_existing(|vm| vm.engine.forget((*place).token));
            place.drop_in_place();
        }
    });
    0
}
