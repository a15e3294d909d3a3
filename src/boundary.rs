//! What crosses from C to Rust and back: arguments in, an outcome out, and no panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use janetrs::Janet;

use crate::message::say;
use crate::value::string;

/// What an entry point asks its trampoline (src/trampoline.c) to do.
pub enum Outcome {
    /// Return this.
    Value(Janet),
    /// Suspend the running fiber, which has been scheduled or waits for a stream.
    Await,
}

/// An entry point: its arguments, to an outcome or the text of an error to raise.
pub type Entry = fn(&[Janet]) -> Result<Outcome, String>;

/// Runs an entry point for its trampoline.
///
/// # Safety
/// `argv` holds `argc` values, and `out` has room for one.
pub unsafe fn enter(entry: Entry, argc: i32, argv: *const Janet, out: *mut Janet) -> i32 {
    let args = match usize::try_from(argc) {
        Ok(count) if count > 0 => {
            // SAFETY: as the caller promises; Janet's stack does not move before the trampoline returns, since no
            // Janet code runs until then.
            unsafe { std::slice::from_raw_parts(argv, count) }
        }
        _ => &[],
    };
    let (code, value) = match catch_unwind(AssertUnwindSafe(|| entry(args))) {
        Ok(Ok(Outcome::Value(value))) => (0, value),
        Ok(Ok(Outcome::Await)) => (2, Janet::nil()),
        Ok(Err(text)) => (1, string(&text)),
        Err(panic) => (1, string(&format!("kqnet: internal error: {}", panic_text(&*panic)))),
    };
    // SAFETY: as the caller promises.
    unsafe { out.write(value) };
    code
}

/// Runs a callback of Janet's event loop or collector, which have no way to take an error.
pub fn guard(what: &str, callback: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(callback)) {
        say(&format!("internal error in {what}: {}", panic_text(&*panic)));
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "unknown"
    }
}

/// Defines the C symbol `kqnet_…` that a trampoline calls.
macro_rules! entry {
    ($symbol:ident => $entry:path) => {
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $symbol(argc: i32, argv: *const janetrs::Janet, out: *mut janetrs::Janet) -> i32 {
            // SAFETY: the trampoline passes the arguments that Janet gave it, and a local.
            unsafe { $crate::boundary::enter($entry, argc, argv, out) }
        }
    };
}

pub(crate) use entry;
