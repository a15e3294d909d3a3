//! The address of a listener: as a caller names it, and as the system reports it.

use std::ffi::CString;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use super::unix_address::{local_address, path_bytes};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host and a port, as getaddrinfo(3) takes them.
    Inet {
        /// A host name, or an address in numbers.
        host: CString,
        /// A service name, or a port number.
        port: CString,
    },
    /// The path of a unix socket. On Linux, a leading `@` stands for the abstract namespace.
    Unix(CString),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { host, port } => {
                let (host, port) = (host.to_string_lossy(), port.to_string_lossy());
                if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
            }
            Self::Unix(path) => write!(f, "unix:{}", path.to_string_lossy()),
        }
    }
}

/// The address that a socket is bound to, as [`Address`] prints it.
pub fn local_name(fd: RawFd) -> String {
    let Ok((address, length)) = local_address(fd) else { return "a closed socket".into() };
    match i32::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: an address of this family is a sockaddr_in, for which the storage is large and aligned enough.
            let inet = unsafe { &*ptr::from_ref(&address).cast::<libc::sockaddr_in>() };
            let host = Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr));
            SocketAddr::new(host.into(), u16::from_be(inet.sin_port)).to_string()
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family is a sockaddr_in6, for which the storage is large and aligned enough.
            let inet = unsafe { &*ptr::from_ref(&address).cast::<libc::sockaddr_in6>() };
            let host = Ipv6Addr::from(inet.sin6_addr.s6_addr);
            SocketAddr::new(host.into(), u16::from_be(inet.sin6_port)).to_string()
        }
        libc::AF_UNIX => {
            let mut bytes = path_bytes(&address, length);
            if let Some(first @ 0) = bytes.first_mut() {
                *first = b'@';
            }
            format!("unix:{}", String::from_utf8_lossy(&bytes))
        }
        family => format!("a socket of family {family}"),
    }
}
