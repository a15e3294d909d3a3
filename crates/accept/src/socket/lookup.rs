//! Finding the addresses of a host and a port: getaddrinfo(3).

use std::ffi::CStr;
use std::ptr;

use super::error::ListenError;
use super::options::Kind;
use crate::errno::{Errno, uncapitalized};

/// The addresses that were found.
pub(super) struct Lookup(*mut libc::addrinfo);

impl Lookup {
    pub(super) fn new(host: &CStr, port: &CStr, kind: Kind) -> Result<Self, ListenError> {
        // SAFETY: an addrinfo is integers and pointers, all of which may be zero, and getaddrinfo(3) asks for that.
        let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
        hints.ai_family = libc::AF_UNSPEC;
        hints.ai_socktype = kind.number();
        hints.ai_flags = libc::AI_PASSIVE;
        let mut results = ptr::null_mut();
        // SAFETY: both strings end with NUL, and `results` is a place for one pointer.
        match unsafe { libc::getaddrinfo(host.as_ptr(), port.as_ptr(), &hints, &mut results) } {
            0 => Ok(Self(results)),
            libc::EAI_SYSTEM => Err(Errno::last().into()),
            error => {
                // SAFETY: gai_strerror returns a string that ends with NUL and is never freed.
                let text = unsafe { CStr::from_ptr(libc::gai_strerror(error)) };
                Err(ListenError::Lookup(uncapitalized(&text.to_string_lossy())))
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &libc::addrinfo> {
        // SAFETY: the list is valid and unchanged until it is freed in drop, which needs `self`.
        let follow = |next: *mut libc::addrinfo| unsafe { next.as_ref() };
        std::iter::successors(follow(self.0), move |info| follow(info.ai_next))
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        // SAFETY: the list came from getaddrinfo and is freed once.
        unsafe { libc::freeaddrinfo(self.0) }
    }
}
