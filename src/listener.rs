//! What is known of one listening stream: its engine token, the fiber that waits for connections, and its handlers' tasks.
//!
//! Each listener is an abstract value of Janet's ([`crate::listeners`] has their table), whose fields change through cells,
//! so that everybody may hold a [`ListenerRef`] at the same time.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::SystemTime;

use janetrs::lowlevel as c;
use kqnet_accept::shared::Claim;
use kqnet_accept::socket::SocketFile;
use kqnet_accept::{Errno, Token, socket};

use crate::stream;

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// Its token in the VM's engine.
    pub token: Token,
    /// The address it is bound to, as errors name it.
    pub name: String,
    /// The time since which it has statistics, in seconds since 1970. None until kqnet begins to accept from it.
    pub since: Cell<Option<f64>>,
    /// Where it counts, if other processes can see that.
    pub claim: RefCell<Option<Rc<Claim>>>,
    /// The file of a unix socket, which is removed with the listener.
    pub file: RefCell<Option<SocketFile>>,
    /// The fiber that waits for connections, or null.
    pub fiber: Cell<*mut c::JanetFiber>,
    /// A server was started on it, and its fiber may not have had its first turn yet.
    pub is_claimed: Cell<bool>,
    /// The fiber that is the stream's writer while no fiber waits (see [`crate::listeners`]).
    pub sentinel: *mut c::JanetFiber,
    /// What to run for each connection. It is null if the fiber itself waits for one.
    pub handler: Cell<*mut c::JanetFunction>,
    /// The handler is one of kqnet's own that needs little of a fiber: a small stack, and no environment of its own.
    pub is_light: Cell<bool>,
    /// The environment of the fiber that accepts, which is the prototype of each handler's. Null while no fiber accepts.
    pub env: Cell<*mut c::JanetTable>,
    /// What to call when accepting pauses because of an error, or null.
    pub on_error: Cell<*mut c::JanetFunction>,
    /// The tasks of running handlers. A task that ended by an error stays here until a sweep finds it.
    tasks: RefCell<HashSet<*mut c::JanetFiber, BuildHasherDefault<AddressHasher>>>,
    /// How many handlers were found to have ended, and were not reported yet.
    ended: Cell<u32>,
    /// How many handlers began since the last sweep.
    unswept: Cell<usize>,
}

/// Hashes an address, so that a set goes through its elements more or less in the order in which they are in memory.
///
/// The collector visits all that belongs to a connection by way of its task. With thousands of connections, memory that is
/// visited in order takes a third less time. No client chooses an address, so the hash need not be strong.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_usize(byte.into()));
    }

    fn write_usize(&mut self, address: usize) {
        // A set looks for a place by the lowest bits, and tells elements apart by the highest. Two fibers are at least 128 bytes
        // apart. The factor is 2 to the 64th power divided by the golden ratio.
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed & !0xffff_ffff | (address as u64 >> 7) & 0xffff_ffff;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A reference to a listener that the collector has not freed.
///
/// Invariant: it points to an initialized listener for as long as it exists. It is kept only
/// - on the stack of Rust code, which Janet's collector never interrupts, since collections run between calls;
/// - in the engine, until the listener is collected, which takes it out of the engine first;
/// - in the state of the fiber that waits for connections, which marks the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerRef(NonNull<Listener>);

impl ListenerRef {
    /// A reference to the listener at an address.
    ///
    /// # Safety
    /// `address` points to an initialized listener before the reference is first used, and the reference is kept only where
    /// the invariant of the type allows it.
    pub unsafe fn new(address: NonNull<Listener>) -> Self {
        Self(address)
    }

    /// The address of the listener.
    pub fn as_ptr(self) -> *mut Listener {
        self.0.as_ptr()
    }

    /// The listener as a value.
    pub fn wrap(self) -> c::Janet {
        // SAFETY: every listener is an abstract value.
        unsafe { c::janet_wrap_abstract(self.as_ptr().cast()) }
    }
}

impl Deref for ListenerRef {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        // SAFETY: the invariant of the type says that the listener is live. Nobody has a `&mut` to one: it changes by cells.
        unsafe { self.0.as_ref() }
    }
}

impl Listener {
    /// A listener for which no fiber waits yet.
    pub fn new(token: Token, name: String, sentinel: *mut c::JanetFiber) -> Self {
        Self {
            token,
            name,
            since: Cell::new(None),
            claim: RefCell::new(None),
            file: RefCell::new(None),
            fiber: Cell::new(std::ptr::null_mut()),
            is_claimed: Cell::new(false),
            sentinel,
            handler: Cell::new(std::ptr::null_mut()),
            is_light: Cell::new(false),
            env: Cell::new(std::ptr::null_mut()),
            on_error: Cell::new(std::ptr::null_mut()),
            tasks: RefCell::default(),
            ended: Cell::new(0),
            unswept: Cell::new(0),
        }
    }

    /// Begins the statistics, unless they have begun. Called when kqnet accepts from it, or is about to.
    pub fn begin_statistics(&self) {
        if self.since.get().is_none() {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            self.since.set(Some(now.map_or(0.0, |time| time.as_secs_f64())));
        }
    }

    /// Records that a handler has begun.
    pub fn begin(&self, task: *mut c::JanetFiber) {
        self.tasks.borrow_mut().insert(task);
        self.unswept.set(self.unswept.get() + 1);
    }

    /// Records that a handler has returned. Returns false if its end was known already.
    pub fn end(&self, task: *mut c::JanetFiber) -> bool {
        self.tasks.borrow_mut().remove(&task)
    }

    /// Drops the tasks that have ended without a call of `end`: they raised an error or were cancelled.
    pub fn find_ended(&self) {
        let mut tasks = self.tasks.borrow_mut();
        let before = tasks.len();
        // SAFETY: the listener keeps its tasks alive, by marking them.
        tasks.retain(|task| unsafe { c::janet_fiber_can_resume(*task) } != 0);
        self.ended.set(self.ended.get() + (before - tasks.len()) as u32);
        self.unswept.set(0);
    }

    /// Returns how many handlers have ended without a call of `end` since the last time.
    pub fn sweep(&self) -> u32 {
        self.find_ended();
        self.ended.take()
    }

    /// Sweeps if enough handlers have begun since the last time to make it worth its cost.
    pub fn sweep_if_due(&self) -> u32 {
        if self.unswept.get() > self.tasks.borrow().len() / 8 { self.sweep() } else { 0 }
    }

    /// Makes Janet skip what it has scheduled for handlers other than the running one.
    pub fn unschedule(&self, running: *const c::JanetFiber) {
        for &task in self.tasks.borrow().iter().filter(|&&task| !std::ptr::eq(task, running)) {
            // SAFETY: the listener keeps its tasks alive, by marking them. Janet compares this number with what it was when
            // the task was scheduled.
            unsafe { (*task).sched_id = (*task).sched_id.wrapping_add(1) };
        }
    }

    /// The tasks of the running handlers.
    pub fn tasks(&self) -> Vec<*mut c::JanetFiber> {
        self.tasks.borrow().iter().copied().collect()
    }

    /// Marks, for the collector, the sentinel and the tasks of the running handlers. Janet keeps only scheduled tasks alive,
    /// and would collect a task that waits for a channel to which nothing else refers.
    pub fn mark(&self) {
        self.find_ended();
        // SAFETY: called while the collector marks. The sentinel and the tasks are live, because this marks them.
        unsafe {
            c::janet_mark(c::janet_wrap_fiber(self.sentinel));
            for &task in self.tasks.borrow().iter() {
                c::janet_mark(c::janet_wrap_fiber(task));
            }
        }
    }

    /// Whether a fiber waits for connections, by kqnet's functions or by core's.
    pub fn is_awaited(&self, stream: *mut c::JanetStream) -> bool {
        !self.fiber.get().is_null() || stream::is_read(stream)
    }

    /// Removes a unix socket's file, once. `socket` is the descriptor, if it is still open.
    pub fn remove_file(&self, socket: Option<RawFd>) {
        if let Some(file) = self.file.take() {
            file.remove(socket);
        }
    }

    /// Ends the wait of the fiber, which goes on with a value, or with an error.
    pub fn finish(&self, value: c::Janet, signal: c::JanetSignal) {
        let fiber = self.fiber.get();
        if !fiber.is_null() {
            // SAFETY: the fiber waits (src/waiter.rs), so it is live, and a task.
            unsafe {
                c::janet_schedule_signal(fiber, value, signal);
                // Calls the fiber's callback with DEINIT, which clears the field.
                c::janet_async_end(fiber);
            }
        }
    }
}

/// Why a stream can no longer be accepted from. What it is instead of a listener says more than the error of accept(2).
pub fn cannot_accept(stream: *mut c::JanetStream, errno: Errno) -> String {
    match stream::descriptor(stream).map(socket::check_listener) {
        Some(Err(what)) => format!("cannot accept: the stream is not a listener: {what}"),
        _ => format!("cannot accept: {errno}"),
    }
}
