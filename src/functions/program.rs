//! The running program: its environments, its standard error, and its event queue.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::queue::Queue;

use crate::boundary::{Function, Outcome, native};
use crate::message;
use crate::value::{arg, bytes, describe, tuple};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("environments", "", environments),
    native!("say", "text", say),
    native!("backend", "", backend),
    native!("process-id", "", process_id),
];

/// Returns the environments of the running fibers, outermost first: from the task to the caller.
fn environments(_args: &[Janet]) -> Result<Outcome, String> {
    let mut found = Vec::new();
    // SAFETY: Janet called this function, so there is a root fiber. Each fiber keeps its child and its environment alive.
    unsafe {
        let mut fiber = c::janet_root_fiber();
        while let Some(running) = fiber.as_ref() {
            if !running.env.is_null() {
                found.push(c::janet_wrap_table(running.env).into());
            }
            fiber = running.child;
        }
    }
    Ok(Outcome::Value(tuple(&found)))
}

/// Writes a line to stderr, if that is possible.
fn say(args: &[Janet]) -> Result<Outcome, String> {
    let text = arg(args, 0);
    let text = bytes(&text).ok_or_else(|| format!("expected a text, got {}", describe(text)))?;
    message::line(&String::from_utf8_lossy(text));
    Ok(Outcome::Value(Janet::nil()))
}

/// Returns the name of the event queue in use, as a keyword.
fn backend(_args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::keyword(Queue::NAME.into())))
}

/// Returns the number of this process. Janet before 1.38 has no function for it.
fn process_id(_args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::number(std::process::id().into())))
}
