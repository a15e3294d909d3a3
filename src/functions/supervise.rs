//! What a supervisor needs of the system (janet/kqnet/serve): listeners that are only held, descriptors that a worker inherits,
//! memory that the workers share, and signals.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::shared::{Page, SLOTS};
use kqnet_accept::socket::{self, Listening, SocketFile};
use kqnet_accept::{activation, process};

use super::{board, listen};
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::value::{arg, bytes, describe, integer, is_true, string};
use crate::{message, stream};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("hold", "host port options", hold, c::JANET_SANDBOX_NET_LISTEN),
    native!("hold-passed", "number", hold_passed, c::JANET_SANDBOX_NET_LISTEN),
    native!("held-name", "held", held_name),
    native!("share-memory", "", share_memory),
    native!("take-slot", "memory", take_slot),
    native!("give-slot-back", "memory slot", give_slot_back),
    native!("pass-on", "held-stream-memory-or-board passed", pass_on),
    native!("release-held", "held", release),
    native!("name-process", "name", name_process),
    native!("reset-signals", "", reset_signals),
    native!("put-on-stderr", "bytes", put_on_stderr),
];

/// A listening socket that nothing accepts from. Janet's loop does not know it, so clients do not wake this process.
struct Held {
    socket: std::cell::RefCell<Option<OwnedFd>>,
    file: Option<SocketFile>,
}

static HELD: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/held-listener".as_ptr(),
    gc: Some(drop_collected::<Held>),
    ..NOTHING
});

// SAFETY: values of the type are only made in this file, and its `gc` function is `drop_collected` for it.
unsafe impl Collected for Held {
    fn janet_type() -> &'static AbstractType {
        &HELD
    }
}

impl Held {
    fn value(socket: OwnedFd, file: Option<SocketFile>) -> Outcome {
        let held = collected::make(Self { socket: Some(socket).into(), file });
        Outcome::Value(collected::wrap(held))
    }

    /// Closes the socket, and removes its file.
    fn release(&self) {
        if let Some(socket) = self.socket.take() {
            if let Some(file) = &self.file {
                file.remove(Some(socket.as_raw_fd()));
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

/// The held listener in the first argument.
fn held(args: &[Janet]) -> Result<&Held, String> {
    collected::first(args, "a held listener")
}

/// Listens on an address, like `kqnet/listen`, for workers. Returns a held listener.
fn hold(args: &[Janet]) -> Result<Outcome, String> {
    let address = listen::address(arg(args, 0), arg(args, 1))?;
    let settings = listen::settings(arg(args, 2))?;
    let Listening { socket, file } =
        socket::listen(&address, &settings).map_err(|why| format!("cannot listen on {address}: {why}"))?;
    Ok(Held::value(socket, file))
}

/// Holds a listening descriptor that this process was started with.
fn hold_passed(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let fd = integer(value).filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(|| format!("a descriptor is a non-negative integer, got {}", describe(value)))?;
    // SAFETY: a descriptor that was inherited belongs to nothing else in the program.
    let owned = unsafe { activation::take(fd) }.map_err(|what| format!("cannot hold descriptor {fd}: {what}"))?;
    Ok(Held::value(owned, None))
}

/// Returns the address of a held listener, as `kqnet/stats` gives it.
fn held_name(args: &[Janet]) -> Result<Outcome, String> {
    let socket = held(args)?.socket.borrow();
    let fd = socket.as_ref().ok_or("the listener was released")?.as_raw_fd();
    Ok(Outcome::Value(string(&socket::local_name(fd))))
}

/// Has the programs that are started from now on inherit a descriptor, or no longer. Returns its number.
fn pass_on(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let fd = if let Some(held) = collected::of::<Held>(&value) {
        held.socket.borrow().as_ref().map(AsRawFd::as_raw_fd)
    } else if let Some(memory) = collected::of::<Memory>(&value) {
        Some(memory.fd.as_raw_fd())
    } else if let Some(fd) = board::descriptor(&value) {
        Some(fd)
    } else {
        stream::descriptor(stream::get(value)?)
    };
    let fd: RawFd = fd.ok_or("cannot pass on a descriptor that was closed")?;
    process::set_inheritable(fd, is_true(arg(args, 1)))
        .map_err(|why| format!("cannot pass on descriptor {fd}: {why}"))?;
    Ok(Outcome::Value(Janet::number(fd.into())))
}

/// The memory that the workers share, with the slots that are in use.
struct Memory {
    page: Page,
    fd: OwnedFd,
    slots: RefCell<[bool; SLOTS]>,
}

static MEMORY: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/shared-memory".as_ptr(),
    gc: Some(drop_collected::<Memory>),
    ..NOTHING
});

// SAFETY: values of the type are only made in this file, and its `gc` function is `drop_collected` for it.
unsafe impl Collected for Memory {
    fn janet_type() -> &'static AbstractType {
        &MEMORY
    }
}

fn memory(args: &[Janet]) -> Result<&Memory, String> {
    collected::first(args, "shared memory")
}

/// Makes memory for workers to share. It is never unmapped.
fn share_memory(_args: &[Janet]) -> Result<Outcome, String> {
    let (page, fd) = Page::create().map_err(|errno| format!("cannot make memory for the workers to share: {errno}"))?;
    let memory = Memory { page, fd, slots: RefCell::new([false; SLOTS]) };
    Ok(Outcome::Value(collected::wrap(collected::make(memory))))
}

/// Returns the number of a free slot for a worker, from 1, or nil if all are taken.
fn take_slot(args: &[Janet]) -> Result<Outcome, String> {
    let memory = memory(args)?;
    let mut slots = memory.slots.borrow_mut();
    let Some(slot) = slots.iter().position(|taken| !taken) else { return Ok(Outcome::Value(Janet::nil())) };
    slots[slot] = true;
    memory.page.give(slot);
    Ok(Outcome::Value(Janet::number(slot as f64 + 1.0)))
}

/// Frees the slot of a worker that has ended: its counters stay, and it has nothing that is active.
fn give_slot_back(args: &[Janet]) -> Result<Outcome, String> {
    let (memory, slot) = (memory(args)?, slot(arg(args, 1))?);
    memory.page.take_back(slot);
    memory.slots.borrow_mut()[slot] = false;
    Ok(Outcome::Value(Janet::nil()))
}

/// The index of a slot whose number is in an argument.
pub(super) fn slot(value: Janet) -> Result<usize, String> {
    let number = integer(value).and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (1..=SLOTS).contains(number))
        .map(|number| number - 1)
        .ok_or_else(|| format!("expected the number of a slot, from 1 to {SLOTS}, got {}", describe(value)))
}

/// Closes a held listener, and removes the file of a unix socket.
fn release(args: &[Janet]) -> Result<Outcome, String> {
    held(args)?.release();
    Ok(Outcome::Value(Janet::nil()))
}

/// Gives this process the name that ps(1) shows, where the system can do that.
fn name_process(args: &[Janet]) -> Result<Outcome, String> {
    let name = arg(args, 0);
    let name = bytes(&name).ok_or_else(|| format!("expected a name, got {}", describe(name)))?;
    process::set_name(&String::from_utf8_lossy(name));
    Ok(Outcome::Value(Janet::nil()))
}

/// Has signals do what they do in a process that nobody has prepared, here and in the workers.
fn reset_signals(_args: &[Janet]) -> Result<Outcome, String> {
    process::reset_signals();
    Ok(Outcome::Value(Janet::nil()))
}

/// Writes bytes to stderr as they are, if that is possible.
fn put_on_stderr(args: &[Janet]) -> Result<Outcome, String> {
    let text = arg(args, 0);
    let text = bytes(&text).ok_or_else(|| format!("expected bytes, got {}", describe(text)))?;
    message::pass_on(text);
    Ok(Outcome::Value(Janet::nil()))
}

/// The number of a process in an argument.
pub fn pid(value: Janet) -> Result<i32, String> {
    // 0 and below are groups of processes.
    integer(value).filter(|pid| *pid > 0).ok_or_else(|| format!("expected a process id, got {}", describe(value)))
}
