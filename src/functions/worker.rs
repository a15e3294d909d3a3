//! What a worker of kqnet-serve needs of the system (janet/kqnet/inherited.janet): what it inherits from its supervisor, and the
//! signals that end it.

use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::inheritance::{Inheritance, VARIABLE};
use kqnet_accept::process;

use super::supervise::slot;
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, bytes, describe, integer, is_keyword, is_true, tuple};
use crate::{shared, stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("inheritance", "", inheritance),
    native!("worker-state", "", worker_state),
    native!("join-memory", "number slot", join_memory),
    native!("share-listener", "listener index", share_listener),
    native!("tell-supervisor", "number bytes &opt last", tell),
    native!("keep-descriptor", "number", keep_descriptor),
    native!("end-by", "name", end_by),
    native!("ended-by?", "name", is_ended_by),
];

/// What was found when the module was loaded: in a worker, what it inherits.
static FOUND: OnceLock<Found> = OnceLock::new();

enum Found {
    Nothing,
    Worker(Inheritance, u32),
    /// The variable was set for a child of the process with this number, which this one is not.
    Foreign(i32),
    Broken(String),
}

/// Looks whether this process is a worker, once. The variable is removed and the descriptors are closed on exec, so that no process
/// that this one starts takes them for its own. Called when the module is loaded.
pub fn begin() {
    FOUND.get_or_init(|| {
        let Some(value) = take_variable() else { return Found::Nothing };
        match Inheritance::parse(&value) {
            Ok(given) => join(given),
            Err(malformed) => Found::Broken(malformed.to_string()),
        }
    });
}

/// Removes the variable from the environment, and returns its value.
fn take_variable() -> Option<String> {
    // SAFETY: the name ends with NUL, as does the value, which is copied before it may be freed. Nothing else of the module runs yet,
    // and Janet loads modules on the thread that reads and writes the environment.
    unsafe {
        let value = libc::getenv(VARIABLE.as_ptr());
        let value = (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned());
        libc::unsetenv(VARIABLE.as_ptr());
        value
    }
}

/// Makes this process a worker, if what the variable says is meant for it.
fn join(given: Inheritance) -> Found {
    let is_ours = process::is_pipe(given.lifeline) && process::is_pipe(given.pipe);
    if process::parent() != given.supervisor {
        if is_ours && process::has_ended(given.lifeline) {
            // The supervisor was killed before this process could join it.
            process::end();
        }
        return Found::Foreign(given.supervisor);
    }
    if !is_ours {
        return Found::Broken(format!(
            "the environment variable {} names descriptors that kqnet-serve did not pass; a program between it and this one \
             has closed them",
            VARIABLE.to_string_lossy()
        ));
    }
    for fd in given.descriptors() {
        // One that is not open is found when it is used.
        let _ = process::set_inheritable(fd, false);
    }
    process::set_name(&format!("kqnet worker {}", given.number));
    process::join_supervisor(given.lifeline);
    Found::Worker(given, std::process::id())
}

thread_local! {
    /// What Janet code knows of this worker. Null until it was asked for.
    static STATE: Cell<*mut c::JanetTable> = const { Cell::new(ptr::null_mut()) };
    /// Whether this thread's VM has what the worker inherits.
    static IS_HEIR: Cell<bool> = const { Cell::new(false) };
}

/// Whether a VM has what the worker inherits. Others would own the same descriptors.
static HAS_HEIR: AtomicBool = AtomicBool::new(false);

/// Returns a table of this VM, which is empty at first. A function that is given to a thread would take a table of Janet code
/// along.
fn worker_state(_args: &[Janet]) -> Result<Outcome, String> {
    if STATE.get().is_null() {
        // SAFETY: Janet runs on this thread. The table stays alive with its VM, because it is a root.
        unsafe {
            let table = c::janet_table(1);
            c::janet_gcroot(c::janet_wrap_table(table));
            STATE.set(table);
        }
    }
    // SAFETY: the table is a root.
    Ok(Outcome::Value(unsafe { c::janet_wrap_table(STATE.get()) }.into()))
}

/// Returns nil if this process is no worker, or if the VM of another thread asked first. If this process should be the child of a
/// supervisor, but is not, returns the process id of the supervisor. In a worker, returns a tuple: its process id, the number of
/// seconds that it may take to end, the descriptor of the pipe on which it says that it is ready, that of the memory that all
/// workers share and this worker's slot of it, both 0 if there is none, and the descriptors of the listeners. Raises an error if
/// the variable makes no sense.
fn inheritance(_args: &[Janet]) -> Result<Outcome, String> {
    let found = match FOUND.get() {
        None | Some(Found::Nothing) => return Ok(Outcome::Value(Janet::nil())),
        Some(Found::Foreign(supervisor)) => return Ok(Outcome::Value(Janet::number((*supervisor).into()))),
        Some(Found::Broken(why)) => return Err(why.clone()),
        Some(Found::Worker(found, pid)) => {
            if !IS_HEIR.get() && HAS_HEIR.swap(true, Ordering::Relaxed) {
                return Ok(Outcome::Value(Janet::nil()));
            }
            IS_HEIR.set(true);
            let numbers =
                [f64::from(*pid), found.stop_timeout, found.pipe.into(), found.memory.into(), found.slot.into()];
            numbers.into_iter().chain(found.listeners.iter().map(|fd| f64::from(*fd))).map(Janet::number)
        }
    };
    Ok(Outcome::Value(tuple(&found.collect::<Vec<_>>())))
}

/// The number of an inherited descriptor in an argument.
pub(super) fn inherited_descriptor(value: Janet) -> Result<RawFd, String> {
    integer(value)
        .filter(|fd| *fd > 2)
        .ok_or_else(|| format!("expected the number of a descriptor, got {}", describe(value)))
}

/// Gives this worker a slot of the inherited memory whose descriptor has this number, and closes the descriptor.
fn join_memory(args: &[Janet]) -> Result<Outcome, String> {
    let (fd, slot) = (inherited_descriptor(arg(args, 0))?, slot(arg(args, 1))?);
    // SAFETY: the supervisor passed the descriptor to this process, and its number is used only once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    shared::join(&fd, slot).map_err(|why| format!("cannot use the memory of the supervisor: {why}"))?;
    Ok(Outcome::Value(Janet::nil()))
}

/// Has the connections of a listener be spread over all workers. `index` is its place among the supervisor's listeners.
fn share_listener(args: &[Janet]) -> Result<Outcome, String> {
    let (stream, index) = (stream::get(arg(args, 0))?, arg(args, 1));
    let index = integer(index)
        .and_then(|index| usize::try_from(index).ok())
        .ok_or_else(|| format!("expected the index of a listener, got {}", describe(index)))?;
    if let Some(seat) = shared::seat(index) {
        vm::with(|vm| {
            let token = vm.listener(stream)?.token;
            vm.engine.share(token, seat);
            Ok(())
        })?;
    }
    Ok(Outcome::Value(Janet::nil()))
}

/// Writes to the inherited pipe to the supervisor, and closes it if `last` is true.
fn tell(args: &[Janet]) -> Result<Outcome, String> {
    let (fd, text) = (inherited_descriptor(arg(args, 0))?, arg(args, 1));
    let text = bytes(&text).ok_or_else(|| format!("expected bytes, got {}", describe(text)))?;
    // SAFETY: the supervisor passed the descriptor to this process, and its number is not used after it was closed.
    let mut pipe = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    // The supervisor may be gone.
    let _ = pipe.write_all(text);
    if is_true(arg(args, 2)) {
        drop(ManuallyDrop::into_inner(pipe));
    }
    Ok(Outcome::Value(Janet::nil()))
}

/// Has no program that this process starts inherit a descriptor.
fn keep_descriptor(args: &[Janet]) -> Result<Outcome, String> {
    let fd = inherited_descriptor(arg(args, 0))?;
    process::set_inheritable(fd, false).map_err(|why| format!("cannot keep descriptor {fd}: {why}"))?;
    Ok(Outcome::Value(Janet::nil()))
}

/// Has SIGTERM (:term) or SIGINT (:int) end this process, as before a handler was set. Core's `os/sigaction` with nil does not: the
/// system goes on calling core, which then blocks the signal for good.
fn end_by(args: &[Janet]) -> Result<Outcome, String> {
    process::restore_default(signal(arg(args, 0))?);
    Ok(Outcome::Value(Janet::nil()))
}

/// Returns whether SIGTERM (:term) or SIGINT (:int) ends this process because it has no handler.
fn is_ended_by(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(process::is_default(signal(arg(args, 0))?))))
}

/// The signal that a keyword names.
fn signal(name: Janet) -> Result<i32, String> {
    match name {
        name if is_keyword(name, "term") => Ok(libc::SIGTERM),
        name if is_keyword(name, "int") => Ok(libc::SIGINT),
        other => Err(format!("expected :term or :int, got {}", describe(other))),
    }
}
