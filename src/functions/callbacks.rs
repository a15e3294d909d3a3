//! Checks of the functions that a program gives to kqnet.

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, bytes, describe, integer};
use crate::vm;

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("check-handler", "handler", check_handler),
    native!("check-function", "what takes value arity", check_function),
    native!("check-on-error", "on-error", check_on_error),
];

/// The function in a value, if it can be called with `arity` arguments. The error says `what` it must take.
fn function(what: &str, value: Janet, arity: i32) -> Result<*mut c::JanetFunction, String> {
    let name = what.split(' ').next().unwrap_or_default();
    if !matches!(value.unwrap(), TaggedJanet::Function(_)) {
        return Err(format!("{name} must be a function, got {}", describe(value)));
    }
    // SAFETY: the type was checked, and a function always has a definition.
    let (function, min, max) = unsafe {
        let function = c::janet_unwrap_function(value.into());
        (function, (*(*function).def).min_arity, (*(*function).def).max_arity)
    };
    if min > arity || max < arity {
        return Err(format!("{what}; {} does not", describe(value)));
    }
    Ok(function)
}

/// The function in a value, if it can be a handler of connections.
pub fn handler(value: Janet) -> Result<*mut c::JanetFunction, String> {
    function("handler must take one argument, the connection", value, 1).map_err(|text| format!("a {text}"))
}

/// The function to call when accepting pauses, or null for nil.
pub fn on_error(value: Janet) -> Result<*mut c::JanetFunction, String> {
    if value.is_nil() {
        return Ok(std::ptr::null_mut());
    }
    function(":on-error must take two arguments, the listener and the message", value, 2)
}

/// Checks a handler of connections. It also creates the event queue, so that a shortage is reported before a listener is
/// opened.
fn check_handler(args: &[Janet]) -> Result<Outcome, String> {
    handler(arg(args, 0))?;
    vm::with(|_| Ok(Outcome::Value(arg(args, 0))))
}

/// Checks that a value is a function that can be called with `arity` arguments. `what` and `takes` are texts for the error.
fn check_function(args: &[Janet]) -> Result<Outcome, String> {
    let text =
        |index| bytes(&arg(args, index)).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let (what, takes, value) = (text(0), text(1), arg(args, 2));
    match function(&what, value, integer(arg(args, 3)).unwrap_or(1)) {
        Ok(_) => Ok(Outcome::Value(value)),
        Err(_) if matches!(value.unwrap(), TaggedJanet::Function(_)) => {
            Err(format!("{what} must take {takes}; {} does not", describe(value)))
        }
        Err(_) => Err(format!("{what} must be a function, got {}", describe(value))),
    }
}

/// Checks the function that is called when accepting pauses.
fn check_on_error(args: &[Janet]) -> Result<Outcome, String> {
    on_error(arg(args, 0)).map(|_| Outcome::Value(arg(args, 0)))
}
