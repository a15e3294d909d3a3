//! Opening a listener: its address and its options.

use std::os::fd::AsRawFd;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_accept::socket::{self, Address, Listening};

use crate::boundary::{Function, Outcome, native};
use crate::options::Options;
use crate::value::{arg, c_string, describe, integer, is_keyword};
use crate::{stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("listen", "host port options", listen, c::JANET_SANDBOX_NET_LISTEN),
    native!("nodelay", "listener", nodelay),
];

/// Listens on an address. The options are those of `kqnet/listen`, including :type and :no-reuse.
fn listen(args: &[Janet]) -> Result<Outcome, String> {
    let settings = settings(arg(args, 2))?;
    let kind = settings.kind;
    let address = address(arg(args, 0), arg(args, 1))?;
    let failed = |why: &dyn std::fmt::Display| format!("cannot listen on {address}: {why}");
    // The queue is made first: without one, kqnet would not notice when the listener is closed.
    vm::with(|_| Ok(())).map_err(|why| failed(&why))?;
    let Listening { socket, file } = socket::listen(&address, &settings).map_err(|why| failed(&why))?;
    let fd = socket.as_raw_fd();
    let kind = match kind {
        socket::Kind::Stream => stream::Kind::Listener,
        socket::Kind::Datagram => stream::Kind::Datagram,
    };
    let stream = stream::make(socket, kind).and_then(|stream| {
        vm::with(|vm| {
            vm.register(stream, fd).file.replace(file.clone());
            Ok(stream)
        })
    });
    match stream {
        Ok(stream) => Ok(Outcome::Value(stream::wrap(stream))),
        Err(why) => {
            // The descriptor is still open: it belongs to the stream, which the collector closes.
            if let Some(file) = file {
                file.remove(Some(fd));
            }
            Err(failed(&why))
        }
    }
}

/// The options of `kqnet/listen`, including :type and :no-reuse.
pub(super) fn settings(options: Janet) -> Result<socket::Options, String> {
    let options = Options::new(options)?;
    let kind = match options.get("type") {
        kind if kind.is_nil() || is_keyword(kind, "stream") => socket::Kind::Stream,
        kind if is_keyword(kind, "datagram") => socket::Kind::Datagram,
        // The words are those of core's `net/listen`.
        kind => return Err(format!("expected socket type as :stream or :datagram, got {}", describe(kind))),
    };
    Ok(socket::Options {
        kind,
        reuse_address: !options.is_true("no-reuse"),
        reuse_port: options.is_true("reuse-port"),
        backlog: options.count("backlog")?.map(|count| count as i32),
        nodelay: options.is_true("nodelay"),
        mode: mode(options.get("mode"))?,
    })
}

/// The permissions of a file, or none for nil.
fn mode(value: Janet) -> Result<Option<u32>, String> {
    if value.is_nil() {
        return Ok(None);
    }
    match integer(value) {
        Some(mode @ 0..=0o777) => Ok(Some(mode.unsigned_abs())),
        _ => Err(format!(":mode must be an integer from 0 to 8r777, got {}", describe(value))),
    }
}

/// The address to listen on: a host and a port, or `:unix` and a path.
pub(super) fn address(host: Janet, port: Janet) -> Result<Address, String> {
    if is_keyword(host, "unix") {
        let path = c_string("the path of a unix socket", port)?;
        // Linux would take it for an abstract name that consists of NULs.
        if path.is_empty() {
            return Err("the path of a unix socket is empty".into());
        }
        return Ok(Address::Unix(path));
    }
    let host = c_string("a host", host)?;
    let out_of_range = || format!("a port is an integer from 0 to 65535, got {}", describe(port));
    let port = match port.unwrap() {
        TaggedJanet::Nil => c"0".into(),
        TaggedJanet::Number(_) => match integer(port) {
            Some(number @ 0..=65535) => std::ffi::CString::new(number.to_string()).unwrap_or_default(),
            _ => return Err(out_of_range()),
        },
        _ => c_string("a port", port)?,
    };
    // getaddrinfo(3) takes the last 16 bits of a larger number.
    let digits = port.to_string_lossy();
    if digits.len() > 4 && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_err() {
        return Err(out_of_range());
    }
    Ok(Address::Inet { host, port })
}

/// Sets TCP_NODELAY on a listener that was made elsewhere, as the option :nodelay of `kqnet/listen` does.
fn nodelay(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    vm::with(|vm| vm.listener(stream).map(drop).map_err(|why| format!("cannot accept: {why}")))?;
    // A unix socket has no such option and needs none, so a failure does not matter.
    let _ = stream::descriptor(stream).map(socket::nodelay);
    Ok(Outcome::Value(arg(args, 0)))
}
