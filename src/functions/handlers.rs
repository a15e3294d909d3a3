//! The handlers of a listener: listing and cancelling the running ones, and giving back the places of those that have ended.
//!
//! A handler has a place, which counts against `:max-connections`, until it returns, raises an error or is cancelled.

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use crate::boundary::{Function, Outcome, native};
use crate::deliver::Deliver;
use crate::listener::ListenerRef;
use crate::value::{arg, describe, tuple};
use crate::{listeners, stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("release", "listener", release),
    native!("tasks", "listener", tasks),
    native!("cancel", "task reason quiet", cancel),
    native!("trackers", "", trackers),
];

/// Gives back the place of the running task: a handler of the listener, which is about to return.
fn release(args: &[Janet]) -> Result<Outcome, String> {
    listeners::release(stream::get(arg(args, 0))?)?;
    Ok(Outcome::Value(Janet::nil()))
}

/// Gives back the places of handlers that raised an error or were cancelled.
pub fn sweep(vm: &mut vm::Vm, listener: ListenerRef) {
    for _ in 0..listener.sweep() {
        // If the kernel does not take the listener back, its waiting fiber is told at the next turn.
        let _ = vm.engine.release(listener.token, &mut Deliver);
    }
}

/// Returns the tasks of the running handlers.
fn tasks(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut tasks = Vec::new();
    vm::with_existing(|vm| {
        if let Some(listener) = vm.known(stream) {
            sweep(vm, listener);
            // SAFETY: the listener keeps its tasks alive, by marking them.
            tasks = listener.tasks().into_iter().map(|task| unsafe { c::janet_wrap_fiber(task) }.into()).collect();
        }
    });
    Ok(Outcome::Value(tuple(&tasks)))
}

/// Cancels a task. A task without a supervisor gets the channel `quiet` as one, so that nothing is printed. Returns whether it
/// got it.
fn cancel(args: &[Janet]) -> Result<Outcome, String> {
    let TaggedJanet::Fiber(_) = arg(args, 0).unwrap() else {
        return Err(format!("expected a task, got {}", describe(arg(args, 0))));
    };
    // SAFETY: the types are checked before the values are unwrapped; `janet_channel_type` is a static of the host. The task
    // keeps its supervisor alive, and a signal of this kind is what janet_cancel sends.
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
        // Without this mask, Janet prints a trace even though there is a supervisor.
        (*task).flags |= 1 << c::JanetSignal_JANET_SIGNAL_ERROR;
        c::janet_schedule_signal(task, arg(args, 1).into(), c::JanetSignal_JANET_SIGNAL_ERROR);
        Ok(Outcome::Value(Janet::boolean(is_unsupervised)))
    }
}

/// Returns the table in which janet/kqnet/tracker.janet keeps what it knows of the handlers of each listener.
fn trackers(_args: &[Janet]) -> Result<Outcome, String> {
    match vm::trackers() {
        Some(table) => Ok(Outcome::Value(table)),
        None => vm::with(|vm| Ok(Outcome::Value(vm.trackers()))),
    }
}
