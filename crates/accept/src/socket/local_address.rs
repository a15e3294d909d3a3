//! The addresses of a socket's two ends: getsockname(2) and getpeername(2).

use std::ffi::CString;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::ptr;

use crate::errno::Errno;
use crate::sys::syscall;

/// The address that a socket is bound to, as [`Address`](super::Address) prints it.
pub fn local_name(fd: RawFd) -> String {
    let Ok((address, length)) = local_address(fd) else { return "a closed socket".into() };
    if let Some(address) = inet(&address) {
        return address.to_string();
    }
    match i32::from(address.ss_family) {
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

/// The address of a connection's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// An address and a port.
    Inet(SocketAddr),
    /// A unix socket.
    Unix,
}

/// The address of a connection's peer. Returns `None` if the connection is over.
pub fn remote_address(fd: RawFd) -> Option<Remote> {
    let mut address = empty();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    syscall!(getpeername(fd, ptr::from_mut(&mut address).cast(), &mut length)).ok()?;
    if let Some(address) = inet(&address) {
        return Some(Remote::Inet(address));
    }
    // Some systems return an address of no length for a peer that is not bound.
    (length == 0 || i32::from(address.ss_family) == libc::AF_UNIX).then_some(Remote::Unix)
}

/// The address and the port in an address of IPv4 or IPv6.
fn inet(address: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: an address of this family is a sockaddr_in, for which the storage is large and aligned enough.
            let inet = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_in>() };
            let host = Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr));
            Some(SocketAddr::new(host.into(), u16::from_be(inet.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family is a sockaddr_in6, for which the storage is large and aligned enough.
            let inet = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_in6>() };
            let host = Ipv6Addr::from(inet.sin6_addr.s6_addr);
            Some(SocketAddr::new(host.into(), u16::from_be(inet.sin6_port)))
        }
        _ => None,
    }
}

fn empty() -> libc::sockaddr_storage {
    // SAFETY: a sockaddr_storage is integers and bytes, all of which may be zero.
    unsafe { std::mem::zeroed() }
}

/// The path that a unix socket is bound to, if it has a file.
pub(super) fn local_path(fd: RawFd) -> Option<CString> {
    let (address, length) = local_address(fd).ok()?;
    if i32::from(address.ss_family) != libc::AF_UNIX {
        return None;
    }
    // An abstract name has a NUL in front, and a socket that is not bound may have nothing.
    CString::new(path_bytes(&address, length)).ok().filter(|path| !path.is_empty())
}

/// The address that a socket is bound to, with its length.
fn local_address(fd: RawFd) -> Result<(libc::sockaddr_storage, usize), Errno> {
    let mut address = empty();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    syscall!(getsockname(fd, ptr::from_mut(&mut address).cast(), &mut length))?;
    Ok((address, length as usize))
}

/// The path in the address of a unix socket. An abstract name begins with a NUL; any other NUL ends the path.
fn path_bytes(address: &libc::sockaddr_storage, length: usize) -> Vec<u8> {
    // SAFETY: the storage is large and aligned enough for every kind of address, and any bytes are a sockaddr_un.
    let unix = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_un>() };
    let length = length.saturating_sub(offset_of!(libc::sockaddr_un, sun_path));
    let bytes: Vec<u8> = unix.sun_path.iter().take(length).map(|&byte| byte as u8).collect();
    let end = bytes.iter().skip(1).position(|&byte| byte == 0).map_or(bytes.len(), |end| end + 1);
    bytes[..end].to_vec()
}
