//! Forks: whether Janet's loop, and what kqnet made, belong to this process.
//!
//! `os/posix-fork` copies the whole VM, but the kernel's objects behind it are shared: what the child deregisters or
//! reads from an epoll instance is gone for the parent. So the child gets a loop of its own at once, where that is
//! possible, and nothing that the parent made is deregistered, removed or read in the child.

#[cfg(not(kqueue))]
mod epoll;

use std::cell::Cell;
#[cfg(not(kqueue))]
use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use janetrs::lowlevel as c;

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> c_int;
}

/// How often the process was forked on the way to this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Drops the handlers that a forked child has copies of.
static DROP_HANDLERS: OnceLock<fn()> = OnceLock::new();

thread_local! {
    /// The stream of this thread's event queue, by which Janet's own epoll instance is found.
    static QUEUE: Cell<*const c::JanetStream> = const { Cell::new(std::ptr::null()) };
    /// The process that made it.
    static QUEUE_OF: Cell<Process> = const { Cell::new(Process(0)) };
    /// Janet's loop on this thread is the parent's too, or did not survive the fork.
    static IS_SHARED: Cell<bool> = const { Cell::new(false) };
}

#[cfg(not(kqueue))]
thread_local! {
    /// What was registered with Janet's loop right before the last fork, where there was a queue.
    static SNAPSHOT: RefCell<Option<Result<Option<epoll::Snapshot>, &'static str>>> = const { RefCell::new(None) };
}

/// A process: the one that calls [`Process::current`], told from those that it forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// The running process.
    pub fn current() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this is the running process.
    pub fn is_current(self) -> bool {
        self == Self::current()
    }
}

/// Notices forks from now on, and calls `drop_handlers` in each child, on the thread that forked. Called when the module is
/// loaded.
pub fn watch(drop_handlers: fn()) {
    DROP_HANDLERS.get_or_init(|| {
        // SAFETY: the handlers call only what may be called in a child of a process with several threads. The module is never
        // unloaded. If there is no memory for the registration, forks go unnoticed, as they do in Janet.
        unsafe { pthread_atfork(Some(before), None, Some(in_child)) };
        drop_handlers
    });
}

/// Takes note of the stream of a new queue of this thread's VM. After a fork, Janet's loop must be this process's own.
///
/// # Errors
/// Says why the loop is not.
pub fn own_loop(queue: *const c::JanetStream) -> Result<(), String> {
    if IS_SHARED.get() {
        // SAFETY: the caller has just made the stream.
        replace_loop(unsafe { &*queue })?;
        IS_SHARED.set(false);
    }
    QUEUE.set(queue);
    QUEUE_OF.set(Process::current());
    Ok(())
}

/// Whether Janet's loop on this thread is not this process's own.
pub fn is_loop_shared() -> bool {
    IS_SHARED.get()
}

/// The VM of this thread has ended.
pub fn forget_queue() {
    QUEUE.set(std::ptr::null());
}

/// Runs on the thread that forks.
unsafe extern "C" fn before() {
    #[cfg(not(kqueue))]
    {
        // SAFETY: null, or a stream that the VM keeps until `forget_queue`.
        let snapshot =
            unsafe { QUEUE.get().as_ref() }.map(|queue| epoll::Snapshot::take(queue, QUEUE_OF.get().is_current()));
        SNAPSHOT.replace(snapshot);
    }
}

/// Runs in the child, on the thread that forked.
unsafe extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    if let Some(drop_handlers) = DROP_HANDLERS.get() {
        drop_handlers();
    }
    #[cfg(not(kqueue))]
    let is_shared = SNAPSHOT.with_borrow(|snapshot| match snapshot {
        Some(Ok(Some(snapshot))) => snapshot.separate(None).is_err(),
        Some(Ok(None)) => false,
        Some(Err(_)) | None => true,
    });
    #[cfg(kqueue)]
    let is_shared = true;
    IS_SHARED.set(is_shared);
}

#[cfg(not(kqueue))]
fn replace_loop(queue: &c::JanetStream) -> Result<(), String> {
    let separated = match epoll::Snapshot::take(queue, true) {
        Ok(Some(snapshot)) => snapshot.separate(Some(queue.handle)),
        Ok(None) => Ok(()),
        Err(what) => Err(what),
    };
    separated
        .map_err(|what| format!("a forked process needs an event loop of its own: {what}; start a new process instead"))
}

#[cfg(kqueue)]
fn replace_loop(_queue: &c::JanetStream) -> Result<(), String> {
    Err("Janet's event loop does not survive a fork on this system (kqueue(2)); start a new process instead".into())
}
