//! Accepting from a listener: one connection for the calling fiber, or a loop that runs a handler for each connection.

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_accept::{Limits, socket};

use super::callbacks::{handler, on_error};
use super::statistics;
use crate::boundary::{Function, Outcome, native};
use crate::deliver::Deliver;
use crate::listener::{ListenerRef, cannot_accept};
use crate::options::Options;
use crate::value::{arg, describe, is_true};
use crate::{stream, vm, waiter};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("accept", "listener &opt timeout", accept),
    native!("accept-loop", "listener handler options &opt claimant", accept_loop),
    native!("claim", "listener", claim),
];

/// Who is about to accept from a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Anybody,
    /// The fiber for which the listener was claimed.
    Claimant,
}

/// The listener of a stream, if no other fiber accepts from it.
fn free_listener(vm: &mut vm::Vm, stream: *mut c::JanetStream, caller: Caller) -> Result<ListenerRef, String> {
    let listener = vm.listener(stream).map_err(|why| format!("cannot accept: {why}"))?;
    // A fiber in core's `net/accept` cannot be refused, and does not stop the server that has claimed the listener.
    let is_taken = match caller {
        Caller::Anybody => listener.is_awaited(stream) || listener.is_claimed.get(),
        Caller::Claimant => !listener.fiber.get().is_null(),
    };
    if is_taken {
        let name = stream::descriptor(stream).map(socket::local_name).unwrap_or_default();
        return Err(format!("cannot accept on {name}: another fiber is accepting on this listener"));
    }
    statistics::begin(vm, listener);
    Ok(listener)
}

/// The longest timeout, in seconds: about 30 years.
const LONGEST: f64 = 1e9;

/// The seconds of a timeout, or none for nil and infinity. A negative timeout is over at once, as in core.
fn timeout(value: Janet) -> Result<Option<f64>, String> {
    match value.unwrap() {
        TaggedJanet::Nil => Ok(None),
        TaggedJanet::Number(f64::INFINITY) => Ok(None),
        TaggedJanet::Number(seconds) if seconds.is_finite() && seconds <= LONGEST => Ok(Some(seconds.max(0.0))),
        TaggedJanet::Number(seconds) if !seconds.is_nan() => Err(format!(
            "a timeout is a finite number of seconds, at most 1e9, or math/inf for none, got {}",
            describe(value)
        )),
        _ => Err(format!("a timeout is a number of seconds, got {}", describe(value))),
    }
}

/// Waits for a connection, at most `timeout` seconds, and returns its stream, or nil once the listener is closed.
fn accept(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let timeout = timeout(arg(args, 1))?;
    vm::with(|vm| {
        let listener = free_listener(vm, stream, Caller::Anybody)?;
        let token = listener.token;
        let failed = |errno| cannot_accept(stream, errno);
        vm.engine.set_limits(token, Limits { counted: false, ..Limits::default() });
        if let Some(conn) = vm.engine.accept_now(token, &mut Deliver).map_err(failed)? {
            let conn = stream::make(conn, stream::Kind::Connection)?;
            // The fiber gets it from Janet's scheduler, so that a loop over a full backlog lets other fibers run.
            // SAFETY: Janet called this function on a task's fiber, which the trampoline suspends.
            unsafe { c::janet_schedule(c::janet_root_fiber(), stream::wrap(conn).into()) };
            return Ok(Outcome::Await);
        }
        vm.engine.start(token).map_err(failed)?;
        if let Some(seconds) = timeout {
            // SAFETY: Janet called this function on a task's fiber, which the trampoline suspends.
            unsafe { c::janet_addtimeout(seconds) };
        }
        waiter::wait(listener, stream, std::ptr::null_mut(), std::ptr::null_mut());
        Ok(Outcome::Await)
    })
}

/// Runs a handler for each connection, until the listener is closed. The options are those of `kqnet/accept-loop`, and `:light`: the
/// handler sets nothing in its environment, so all of its fibers may have the same one, and needs little stack.
fn accept_loop(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let handler = handler(arg(args, 1))?;
    let options = Options::new(arg(args, 2))?;
    let mut limits = Limits {
        max_connections: options.count("max-connections")?,
        max_rate: options.rate("max-accept-rate")?,
        ..Limits::default()
    };
    if let Some(batch) = options.count("batch")? {
        limits.batch = batch;
    }
    let on_error = on_error(options.get("on-error"))?;
    let caller = if is_true(arg(args, 3)) { Caller::Claimant } else { Caller::Anybody };
    // Janet prints the errors of handlers to stderr, which may be a pipe whose reader is gone.
    kqnet_accept::signals::survive_broken_pipes();
    vm::with(|vm| {
        let listener = free_listener(vm, stream, caller)?;
        let token = listener.token;
        vm.engine.set_limits(token, limits);
        vm.engine.start(token).map_err(|errno| cannot_accept(stream, errno))?;
        listener.is_light.set(options.is_true("light"));
        waiter::wait(listener, stream, handler, on_error);
        Ok(Outcome::Await)
    })
}

/// Reserves a listener for the fiber that will call `accept-loop` as its claimant. It has statistics from now on.
fn claim(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let listener = vm::with(|vm| free_listener(vm, stream, Caller::Anybody))?;
    listener.is_claimed.set(true);
    Ok(Outcome::Value(arg(args, 0)))
}
