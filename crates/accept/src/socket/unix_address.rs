//! The address of a unix socket: a path, or on Linux an abstract name.

use std::ffi::{CStr, CString};
use std::mem::offset_of;
use std::os::fd::RawFd;
use std::ptr;

use super::error::ListenError;
use crate::errno::Errno;
use crate::sys::syscall;

/// Whether a path is a name in Linux's abstract namespace, which has no file.
pub(super) fn is_abstract(path: &CStr) -> bool {
    cfg!(target_os = "linux") && path.to_bytes().first() == Some(&b'@')
}

/// A path as an address.
pub(super) struct UnixAddress {
    path: CString,
    address: libc::sockaddr_un,
    length: libc::socklen_t,
}

impl UnixAddress {
    /// On Linux, a path that begins with `@` is an abstract name.
    ///
    /// # Errors
    /// Returns [`ListenError::PathTooLong`] if the path does not fit.
    pub(super) fn new(path: &CStr) -> Result<Self, ListenError> {
        // SAFETY: a sockaddr_un is integers and bytes, all of which may be zero.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as _;
        let bytes = path.to_bytes();
        // One byte is for the NUL.
        let most = address.sun_path.len() - 1;
        if bytes.len() > most {
            return Err(ListenError::PathTooLong { length: bytes.len(), most });
        }
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        let mut length = size_of::<libc::sockaddr_un>();
        if is_abstract(path) {
            // An abstract name has a NUL in front, and ends where the address ends (unix(7)).
            address.sun_path[0] = 0;
            length = offset_of!(libc::sockaddr_un, sun_path) + bytes.len();
        }
        Ok(Self { path: path.into(), address, length: length as libc::socklen_t })
    }

    pub(super) fn path(&self) -> &CStr {
        &self.path
    }

    /// As bind(2) and connect(2) take it. The pointer is valid for as long as this lives.
    pub(super) fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        (ptr::from_ref(&self.address).cast(), self.length)
    }
}

/// The address that a socket is bound to, with its length.
pub(super) fn local_address(fd: RawFd) -> Result<(libc::sockaddr_storage, usize), Errno> {
    // SAFETY: a sockaddr_storage is integers and bytes, all of which may be zero.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    syscall!(getsockname(fd, ptr::from_mut(&mut address).cast(), &mut length))?;
    Ok((address, length as usize))
}

/// The path in the address of a unix socket. An abstract name begins with a NUL; any other NUL ends the path.
pub(super) fn path_bytes(address: &libc::sockaddr_storage, length: usize) -> Vec<u8> {
    // SAFETY: the storage is large and aligned enough for every kind of address, and any bytes are a sockaddr_un.
    let unix = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_un>() };
    let length = length.saturating_sub(offset_of!(libc::sockaddr_un, sun_path));
    let bytes: Vec<u8> = unix.sun_path.iter().take(length).map(|&byte| byte as u8).collect();
    let end = bytes.iter().skip(1).position(|&byte| byte == 0).map_or(bytes.len(), |end| end + 1);
    bytes[..end].to_vec()
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
