//! Making a listener: look up the address, set the options, bind, listen.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::address::Address;
use super::create::create;
use super::error::ListenError;
use super::lookup::Lookup;
use super::options::{Kind, Options};
use super::socket_file::SocketFile;
use super::unix_address::{UnixAddress, is_abstract};
use super::{sockopt, unix_bind};
use crate::errno::Errno;
use crate::sys::syscall;

/// What [`listen`] makes.
#[derive(Debug)]
pub struct Listening {
    /// The socket, which listens, or is only bound if it is for datagrams.
    pub socket: OwnedFd,
    /// The file of a unix socket, which stays until it is removed.
    pub file: Option<SocketFile>,
}

/// Makes a listening socket, or a bound one for datagrams. It is non-blocking and closed on exec. On the systems that
/// have SO_NOSIGPIPE it is set, and accepted connections inherit it.
///
/// # Errors
/// Returns an error if an option has no effect at the address, if the address cannot be found, or if none of the addresses
/// found can be bound; then it is the error of the first one.
pub fn listen(address: &Address, options: &Options) -> Result<Listening, ListenError> {
    options.check(address)?;
    match address {
        Address::Unix(path) => listen_unix(path, options),
        Address::Inet { host, port } => Ok(Listening { socket: listen_inet(host, port, options)?, file: None }),
    }
}

fn listen_unix(path: &CStr, options: &Options) -> Result<Listening, ListenError> {
    let address = UnixAddress::new(path)?;
    let socket = configured(libc::AF_UNIX, 0, options)?;
    let raw = socket.as_raw_fd();
    let file = if is_abstract(path) {
        let (address, length) = address.raw();
        syscall!(bind(raw, address, length))?;
        None
    } else {
        unix_bind::bind(raw, &address, options.mode)?
    };
    start(&socket, options).inspect_err(|_| {
        if let Some(file) = &file {
            file.remove(Some(raw));
        }
    })?;
    Ok(Listening { socket, file })
}

fn listen_inet(host: &CStr, port: &CStr, options: &Options) -> Result<OwnedFd, ListenError> {
    let results = Lookup::new(host, port, options.kind)?;
    let mut first_error = None;
    for info in results.iter() {
        let bound = configured(info.ai_family, info.ai_protocol, options).and_then(|fd| {
            syscall!(bind(fd.as_raw_fd(), info.ai_addr, info.ai_addrlen))?;
            Ok(fd)
        });
        match bound.and_then(|fd| start(&fd, options).map(|()| fd)) {
            Ok(fd) => return Ok(fd),
            Err(errno) => _ = first_error.get_or_insert(errno),
        }
    }
    Err(first_error.unwrap_or(Errno(libc::EADDRNOTAVAIL)).into())
}

/// A socket with its options set, not bound yet.
fn configured(family: i32, protocol: i32, options: &Options) -> Result<OwnedFd, Errno> {
    #[cfg(target_os = "freebsd")]
    const REUSE_PORT: libc::c_int = libc::SO_REUSEPORT_LB;
    #[cfg(not(target_os = "freebsd"))]
    const REUSE_PORT: libc::c_int = libc::SO_REUSEPORT;
    let fd = create(family, options.kind.number(), protocol)?;
    let raw = fd.as_raw_fd();
    if options.reuse_address {
        sockopt::set(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    if options.reuse_port {
        sockopt::set(raw, libc::SOL_SOCKET, REUSE_PORT, 1)?;
    }
    if options.nodelay {
        sockopt::nodelay(raw)?;
    }
    sockopt::no_sigpipe(raw)?;
    Ok(fd)
}

/// Starts listening on a bound socket, if it is for connections.
fn start(fd: &OwnedFd, options: &Options) -> Result<(), Errno> {
    if options.kind == Kind::Stream {
        // The kernel reduces the backlog to what it allows.
        syscall!(listen(fd.as_raw_fd(), options.backlog.unwrap_or(i32::MAX)))?;
    }
    Ok(())
}
