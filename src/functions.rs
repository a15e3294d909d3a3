//! The list of all native functions, joined from each file's `FUNCTIONS`, and the C trampolines by which Janet calls them.
//!
//! A function's name is in the `FUNCTIONS` of its file. The function at an index of the joined list is called by the trampoline
//! of that number in src/trampoline.c.

mod accept;
mod board;
mod callbacks;
mod children;
mod close;
mod handlers;
mod inherit;
mod listen;
mod old_waits;
mod pid_file;
mod program;
mod proxy_header;
mod statistics;
mod supervise;
mod watch;
pub mod worker;

use std::ffi::CStr;
use std::ptr;

use janetrs::lowlevel as c;

use crate::boundary::{self, Entry, Function};
use crate::stream::methods;
use crate::value::string;
use crate::{files, http};

/// The lists of all files.
const LISTS: &[&[Function]] = &[
    listen::FUNCTIONS,
    inherit::FUNCTIONS,
    accept::FUNCTIONS,
    callbacks::FUNCTIONS,
    handlers::FUNCTIONS,
    close::FUNCTIONS,
    statistics::FUNCTIONS,
    program::FUNCTIONS,
    old_waits::FUNCTIONS,
    proxy_header::FUNCTIONS,
    supervise::FUNCTIONS,
    children::FUNCTIONS,
    pid_file::FUNCTIONS,
    board::FUNCTIONS,
    watch::FUNCTIONS,
    worker::FUNCTIONS,
    files::FUNCTIONS,
    http::FUNCTIONS,
];

/// All functions, one list after the other.
static FUNCTIONS: [Function; COUNT] = boundary::join(LISTS);
const COUNT: usize = boundary::count(LISTS);

/// How many trampolines src/trampoline.c has.
const TRAMPOLINES: usize = 140;
const _: () = assert!(COUNT <= TRAMPOLINES, "src/trampoline.c has too few trampolines");

unsafe extern "C-unwind" {
    /// The C functions that Janet calls: one for each index of [`FUNCTIONS`], and some more.
    static kqnet_trampolines: [c::JanetCFunction; TRAMPOLINES];
}

/// Puts the functions and the version into a module's environment.
///
/// # Safety
/// `env` is a live table, and the VM of this thread is initialized.
pub unsafe fn register(env: *mut c::JanetTable) {
    let end = c::JanetReg { name: ptr::null(), cfun: None, documentation: ptr::null() };
    let mut rows = [end; COUNT + 1];
    for (index, function) in FUNCTIONS.iter().enumerate() {
        rows[index] = c::JanetReg {
            name: function.name.as_ptr(),
            cfun: trampoline(index as u32),
            documentation: function.usage.as_ptr(),
        };
    }
    // SAFETY: the caller promises that the table is live; the rows end with one of nulls. Janet keeps the names, which are
    // static.
    unsafe { c::janet_cfuns(env, c"kqnet/_native".as_ptr(), rows.as_ptr()) };
    let version = string(env!("CARGO_PKG_VERSION"));
    // SAFETY: the table is live, as the caller promises. Janet copies the name and the text.
    unsafe { c::janet_def(env, c"version".as_ptr(), version.into(), c"The version of the module.".as_ptr()) };
}

/// The C function that calls the native function at an index.
fn trampoline(index: u32) -> c::JanetCFunction {
    // SAFETY: the C code never writes to the table.
    unsafe { kqnet_trampolines[index as usize] }
}

/// The methods of streams that take the place of core's.
pub fn stream_methods() -> methods::Own {
    const ACCEPT: u32 = index_of(c"accept");
    const ACCEPT_LOOP: u32 = index_of(c"accept-loop");
    const CLOSE: u32 = index_of(c"close");
    methods::Own { accept: trampoline(ACCEPT), accept_loop: trampoline(ACCEPT_LOOP), close: trampoline(CLOSE) }
}

/// The index of a function in the list.
const fn index_of(name: &CStr) -> u32 {
    let mut index = 0;
    while index < COUNT {
        if is_same(FUNCTIONS[index].name.to_bytes(), name.to_bytes()) {
            return index as u32;
        }
        index += 1;
    }
    panic!("there is no native function of that name")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// What a trampoline needs to know of its function.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    entry: Entry,
    capability: u32,
}

/// The functions, for the trampolines.
#[unsafe(no_mangle)]
static kqnet_calls: [Call; COUNT] = {
    let mut calls = [Call { entry: FUNCTIONS[0].entry, capability: 0 }; COUNT];
    let mut index = 0;
    while index < COUNT {
        calls[index] = Call { entry: FUNCTIONS[index].entry, capability: FUNCTIONS[index].capability };
        index += 1;
    }
    calls
};

/// The functions that a file value (src/files/open_file.rs) has, for the trampolines.
#[unsafe(no_mangle)]
static kqnet_file_close: u32 = index_of(c"file-close");
#[unsafe(no_mangle)]
static kqnet_file_piece: u32 = index_of(c"file-piece");
