//! The children of a supervisor, and the signals, the terminal and the descriptors by which people reach it.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::process;

use super::supervise::pid;
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, describe, is_keyword, tuple};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("signal-process", "pid name", signal_process, c::JANET_SANDBOX_SUBPROCESS),
    native!("reap", "", reap, c::JANET_SANDBOX_SUBPROCESS),
    native!("missing-descriptors", "", missing_descriptors),
    native!("terminal?", "", has_terminal),
    native!("ignores-hang-up?", "", ignores_hang_up),
];

/// Sends SIGTERM (:term) or SIGKILL (:kill) to a child that was not reaped.
fn signal_process(args: &[Janet]) -> Result<Outcome, String> {
    let (pid, name) = (pid(arg(args, 0))?, arg(args, 1));
    let signal = match () {
        () if is_keyword(name, "term") => libc::SIGTERM,
        () if is_keyword(name, "kill") => libc::SIGKILL,
        () => return Err(format!("expected :term or :kill, got {}", describe(name))),
    };
    // It may have ended. Until it is reaped, no other process has its number.
    let _ = process::kill(pid, signal);
    Ok(Outcome::Value(Janet::nil()))
}

/// Returns a child that has ended as a tuple of its number, its exit status, which is 128 and the number of the signal if one
/// ended it, and whether that was a signal that others send. Returns nil if there is none. Core's `os/proc-wait` waits in a thread,
/// and a signal that the system gives to that thread ends the process: Janet's handler looks for the VM of the thread that it
/// runs in.
fn reap(_args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(process::reap().map_or_else(Janet::nil, |ended| {
        tuple(&[Janet::number(ended.pid.into()), Janet::number(ended.status.into()), Janet::boolean(ended.by_others)])
    })))
}

/// Returns a tuple of those of the descriptors 0, 1 and 2 that this process was started without.
fn missing_descriptors(_args: &[Janet]) -> Result<Outcome, String> {
    let missing: Vec<_> = process::missing_descriptors().into_iter().map(|fd| Janet::number(fd.into())).collect();
    Ok(Outcome::Value(tuple(&missing)))
}

/// Returns whether there is a terminal that this process is controlled from.
fn has_terminal(_args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(process::has_terminal())))
}

/// Returns whether SIGHUP is ignored.
fn ignores_hang_up(_args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(process::ignores(libc::SIGHUP))))
}
