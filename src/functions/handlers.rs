//! The running handlers of a listener.

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_accept::Token;

use crate::boundary::{Function, Outcome, native};
use crate::deliver::Deliver;
use crate::value::{arg, describe, tuple};
use crate::{stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("release", "listener", release),
    native!("tasks", "listener", tasks),
    native!("cancel", "task reason quiet", cancel),
    native!("trackers", "", trackers),
];

/// `(native/release listener)`: the running task, a handler of this listener, is at its end
fn release(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut result = Ok(());
    vm::with_existing(|vm| {
        // SAFETY: called by Janet, so there is a root fiber.
        let task = unsafe { c::janet_root_fiber() };
        if let Some(token) = vm.known(stream).filter(|listener| listener.end(task)).map(|listener| listener.token) {
            result = vm.engine.release(token, &mut Deliver);
        }
    });
    result.map_err(|errno| format!("cannot go on accepting: {errno}"))?;
    Ok(Outcome::Value(Janet::nil()))
}

/// Gives back the places of handlers that ended by an error, and gives the listener's place in the engine.
pub fn swept(vm: &mut vm::Vm, stream: *mut c::JanetStream) -> Option<Token> {
    let (token, ended) = vm.known(stream).map(|listener| (listener.token, listener.sweep()))?;
    for _ in 0..ended {
        // A listener that the kernel does not take back says so to its waiting fiber, at the next turn.
        let _ = vm.engine.release(token, &mut Deliver);
    }
    Some(token)
}

/// `(native/tasks listener)`: the tasks of the handlers that run
fn tasks(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut tasks = Vec::new();
    vm::with_existing(|vm| {
        swept(vm, stream);
        if let Some(listener) = vm.known(stream) {
            // SAFETY: they are live: none has ended.
            tasks = listener.tasks().into_iter().map(|task| unsafe { c::janet_wrap_fiber(task) }.into()).collect();
        }
    });
    Ok(Outcome::Value(tuple(&tasks)))
}

/// `(native/cancel task reason quiet)`: cancels a task. What becomes of it goes to its supervisor, or else to the channel
/// `quiet` and not to stderr. Gives true where the channel will hear of it.
fn cancel(args: &[Janet]) -> Result<Outcome, String> {
    let TaggedJanet::Fiber(_) = arg(args, 0).unwrap() else {
        return Err(format!("expected a task, got {}", describe(arg(args, 0))));
    };
    // SAFETY: type checks; `janet_channel_type` is a static of the host. The task keeps its supervisor alive, and a signal
    // of that kind is what janet_cancel sends.
    unsafe {
        let channel = c::janet_checkabstract(arg(args, 2).into(), &raw const c::janet_channel_type);
        if channel.is_null() {
            return Err(format!("expected a channel, got {}", describe(arg(args, 2))));
        }
        let task = c::janet_unwrap_fiber(arg(args, 0).into());
        let is_unsupervised = (*task).supervisor_channel.is_null();
        if is_unsupervised {
            (*task).supervisor_channel = channel;
        }
        // Without this mask, Janet prints a trace though there is a supervisor.
        (*task).flags |= 1 << c::JanetSignal_JANET_SIGNAL_ERROR;
        c::janet_schedule_signal(task, arg(args, 1).into(), c::JanetSignal_JANET_SIGNAL_ERROR);
        Ok(Outcome::Value(Janet::boolean(is_unsupervised)))
    }
}

/// `(native/trackers)`
fn trackers(_args: &[Janet]) -> Result<Outcome, String> {
    match vm::trackers() {
        Some(table) => Ok(Outcome::Value(table)),
        None => vm::with(|vm| Ok(Outcome::Value(vm.trackers()))),
    }
}
