//! Closing streams, and closing a listener only after its waiting clients were accepted.

use janetrs::Janet;

use crate::boundary::{Function, Outcome, native};
use crate::deliver::Deliver;
use crate::value::arg;
use crate::{stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] =
    &[native!("drain", "listener", drain), native!("close", "stream", close), native!("open?", "stream", is_open)];

/// Accepts the connections that already wait, gives them to the handler, and closes the listener.
fn drain(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    if !stream::is_acceptable(stream) {
        return Err("cannot drain: the stream is not a listener".into());
    }
    vm::with_existing(|vm| {
        // A fiber that waits in accept is not given one. It learns that the listener is closed.
        if let Some(token) =
            vm.known(stream).filter(|listener| !listener.handler.get().is_null()).map(|listener| listener.token)
        {
            vm.engine.accept_rest(token, &mut Deliver);
        }
    });
    close(args)
}

/// Closes a stream, and returns it, as core's close does.
fn close(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    // The file is removed here and not by the sentinel, since a datagram socket loses its sentinel when it sends something.
    if stream::is_bound(stream) {
        vm::with_existing(|vm| {
            if let Some(listener) = vm.known(stream) {
                listener.remove_file(stream::descriptor(stream));
            }
        });
    }
    // The sentinel or the waiting fiber does the rest of what closing a listener needs.
    stream::close(stream);
    Ok(Outcome::Value(arg(args, 0)))
}

/// Returns whether a stream is open.
fn is_open(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(stream::descriptor(stream::get(arg(args, 0))?).is_some())))
}
