//! Closing streams, and draining listeners.

use janetrs::Janet;

use crate::boundary::{Function, Outcome, native};
use crate::deliver::Deliver;
use crate::value::arg;
use crate::{stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] =
    &[native!("drain", "listener", drain), native!("close", "stream", close), native!("open?", "stream", is_open)];

/// `(native/drain listener)`: gives the clients that wait already to the handler, and closes the listener
fn drain(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    if !stream::is_acceptable(stream) {
        return Err("cannot drain: the stream is not a listener".into());
    }
    vm::with_existing(|vm| {
        // A fiber that waits in accept learns that the listener is closed instead.
        if let Some(token) =
            vm.known(stream).filter(|listener| !listener.handler.get().is_null()).map(|listener| listener.token)
        {
            vm.engine.accept_rest(token, &mut Deliver);
        }
    });
    close(args)
}

/// `(native/close stream)`
fn close(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    // A datagram socket's sentinel is lost once something was sent.
    if stream::is_bound(stream) {
        vm::with_existing(|vm| {
            if let Some(listener) = vm.known(stream) {
                listener.remove_file(stream::descriptor(stream));
            }
        });
    }
    // Otherwise the sentinel or the waiting fiber does what goes with it.
    stream::close(stream);
    // As core's close does.
    Ok(Outcome::Value(arg(args, 0)))
}

/// `(native/open? stream)`
fn is_open(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(stream::descriptor(stream::get(arg(args, 0))?).is_some())))
}
