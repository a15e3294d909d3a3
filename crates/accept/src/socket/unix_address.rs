//! A path, or on Linux an abstract name, as the address of a unix socket.

use std::ffi::{CStr, CString};
use std::mem::offset_of;
use std::ptr;

use super::error::ListenError;

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
