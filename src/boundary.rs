//! How Janet calls Rust through the C trampolines: arguments come in, an outcome goes back, and no panic gets out.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use janetrs::Janet;

use crate::message::say;
use crate::value::string;

/// What a native function asks its trampoline (src/trampoline.c) to do.
pub enum Outcome {
    /// Return this value.
    Value(Janet),
    /// Suspend the running fiber. The function has already scheduled it, or made it wait for a stream.
    Await,
}

/// What a trampoline calls: runs a native function with arguments, writes the value that goes with the outcome, and
/// returns the outcome's code. [`native!`] makes it of a Rust function.
pub type Entry = unsafe extern "C-unwind" fn(argc: i32, argv: *const Janet, out: *mut Janet) -> i32;

/// A native function, as the lists `FUNCTIONS` in several files describe it. [`native!`] makes it.
#[derive(Clone, Copy)]
pub struct Function {
    /// The name that Janet code calls it by.
    pub name: &'static CStr,
    /// The call with the names of its arguments, which is its docstring.
    pub usage: &'static CStr,
    /// The capability that `sandbox` can take away (`JANET_SANDBOX_*`), or 0. If it was taken away, the
    /// trampoline raises an error.
    pub capability: u32,
    /// What the trampoline calls.
    pub entry: Entry,
}

impl Function {
    /// Makes a function of two texts that end with a NUL, as [`native!`] does.
    pub const fn new(name: &'static str, usage: &'static str, capability: u32, entry: Entry) -> Self {
        let (Ok(name), Ok(usage)) =
            (CStr::from_bytes_with_nul(name.as_bytes()), CStr::from_bytes_with_nul(usage.as_bytes()))
        else {
            panic!("a name and a usage end with their only NUL")
        };
        Self { name, usage, capability, entry }
    }
}

/// Runs a Rust function for an [`Entry`]: it takes its arguments, and returns an outcome or the text of an error to raise.
///
/// # Safety
/// `argv` holds `argc` values, and `out` is valid for writing one.
pub unsafe fn enter(
    function: fn(&[Janet]) -> Result<Outcome, String>,
    argc: i32,
    argv: *const Janet,
    out: *mut Janet,
) -> i32 {
    let args = match usize::try_from(argc) {
        Ok(count) if count > 0 => {
            // SAFETY: the caller promises that there are `count` values. Janet's stack does not move before the trampoline
            // returns, since no Janet code runs until then.
            unsafe { std::slice::from_raw_parts(argv, count) }
        }
        _ => &[],
    };
    let (code, value) = match catch_unwind(AssertUnwindSafe(|| function(args))) {
        Ok(Ok(Outcome::Value(value))) => (0, value),
        Ok(Ok(Outcome::Await)) => (2, Janet::nil()),
        Ok(Err(text)) => (1, string(&text)),
        Err(panic) => (1, string(&format!("kqnet: internal error: {}", panic_text(&*panic)))),
    };
    // SAFETY: the caller promises that a value can be written there.
    unsafe { out.write(value) };
    code
}

/// The number of functions in all lists.
pub const fn count(lists: &[&[Function]]) -> usize {
    let (mut count, mut list) = (0, 0);
    while list < lists.len() {
        count += lists[list].len();
        list += 1;
    }
    count
}

/// Joins lists that together have `COUNT` functions.
pub const fn join<const COUNT: usize>(lists: &[&[Function]]) -> [Function; COUNT] {
    let mut all = [lists[0][0]; COUNT];
    let (mut at, mut list) = (0, 0);
    while list < lists.len() {
        let mut index = 0;
        while index < lists[list].len() {
            all[at] = lists[list][index];
            at += 1;
            index += 1;
        }
        list += 1;
    }
    all
}

/// Runs a callback of Janet's event loop or collector. They cannot take an error, so a panic is only reported.
pub fn catch_panic(what: &str, callback: impl FnOnce()) {
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

/// Describes a native function: its name in Janet, the names of its arguments, the Rust function, and the capability, if any.
macro_rules! native {
    // An empty literal that was captured is not the same as one that was written.
    ($name:literal, "", $function:path) => {
        $crate::boundary::native!($name, "", $function, 0)
    };
    ($name:literal, $arguments:literal, $function:path) => {
        $crate::boundary::native!($name, $arguments, $function, 0)
    };
    ($name:literal, "", $function:path, $capability:expr) => {
        $crate::boundary::native!(@ $name, concat!("(native/", $name, ")\0"), $function, $capability)
    };
    ($name:literal, $arguments:literal, $function:path, $capability:expr) => {
        $crate::boundary::native!(@ $name, concat!("(native/", $name, " ", $arguments, ")\0"), $function, $capability)
    };
    (@ $name:literal, $usage:expr, $function:path, $capability:expr) => {
        $crate::boundary::Function::new(concat!($name, "\0"), $usage, $capability, {
            unsafe extern "C-unwind" fn entry(
                argc: i32,
                argv: *const janetrs::Janet,
                out: *mut janetrs::Janet,
            ) -> i32 {
                // SAFETY: the trampoline passes the arguments that Janet gave it, and a local.
                unsafe { $crate::boundary::enter($function, argc, argv, out) }
            }
            entry
        })
    };
}

pub(crate) use native;
