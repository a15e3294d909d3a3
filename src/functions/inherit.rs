//! Listeners that the program was started with: inherited descriptors, and the sockets that launchd and systemd pass.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{activation, socket};

use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, c_string, describe, integer, is_true, string, tuple};
use crate::{stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("from-fd", "number &opt given", from_fd, c::JANET_SANDBOX_NET_LISTEN),
    native!("passed", "name pid count names", passed),
];

/// Takes over a listening descriptor: an inherited one, or, if `given` is true, one that launchd gave.
fn from_fd(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let fd = integer(value).filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(|| format!("a descriptor is a non-negative integer, got {}", describe(value)))?;
    let failed = |why: &dyn std::fmt::Display| format!("cannot accept from descriptor {fd}: {why}");
    if !is_true(arg(args, 1)) {
        activation::check_inherited(fd).map_err(|what| failed(&what))?;
    }
    socket::check_listener(fd).map_err(|what| failed(&what))?;
    vm::with(|_| Ok(())).map_err(|why| failed(&why))?;
    // SAFETY: a descriptor that was inherited, or given by launchd, belongs to nothing else in the program.
    let owned = unsafe { activation::take(fd) }.map_err(|what| failed(&what))?;
    let stream = stream::make(owned, stream::Kind::Listener).map_err(|why| failed(&why))?;
    vm::with(|vm| {
        vm.listener(stream)?;
        vm.hold(stream);
        Ok(())
    })
    .map_err(|why| failed(&why))?;
    Ok(Outcome::Value(stream::wrap(stream)))
}

/// With a name, returns launchd's sockets of that name; without one, systemd's, according to the values of its variables. Each
/// is a tuple of a name and a descriptor.
fn passed(args: &[Janet]) -> Result<Outcome, String> {
    let text = |index| match arg(args, index) {
        nil if nil.is_nil() => Ok(None),
        value => c_string("a variable", value).map(|text| Some(text.to_string_lossy().into_owned())),
    };
    let passed = match arg(args, 0) {
        nil if nil.is_nil() => activation::systemd(text(1)?.as_deref(), text(2)?.as_deref(), text(3)?.as_deref())
            .map_err(|error| error.to_string())?,
        name => {
            let name = c_string("the name of a socket", name)?;
            activation::launchd(&name).map_err(|errno| {
                let why = match errno.0 {
                    libc::ENOSYS => "only macOS has launchd; without a name, systemd's sockets are returned".into(),
                    libc::ENOENT => "the program's plist has no Sockets of that name".into(),
                    libc::ESRCH => "the program was not started by launchd".into(),
                    _ => errno.to_string(),
                };
                format!("cannot get launchd's sockets {}: {why}", name.to_string_lossy())
            })?
        }
    };
    let pairs: Vec<_> = passed.iter().map(|one| tuple(&[string(&one.name), Janet::number(one.fd.into())])).collect();
    Ok(Outcome::Value(tuple(&pairs)))
}
