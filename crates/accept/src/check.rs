//! Finds out whether a descriptor can be accepted from, in each system's way.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;

use crate::errno::Errno;
use crate::sys::syscall;

/// Why a descriptor cannot be accepted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotListener {
    /// There is no such descriptor.
    NotOpen,
    /// It was not inherited: it would have been closed on exec.
    Own,
    /// It is closed, or not a socket.
    NotSocket,
    /// It is a socket for datagrams.
    NotStream,
    /// It is a connection, or not listening yet.
    NotListening,
}

impl fmt::Display for NotListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "it is not open",
            Self::Own => "it is not inherited, or was taken over already",
            Self::NotSocket => "it is not a socket",
            Self::NotStream => "it is a datagram socket",
            Self::NotListening => "it is not listening",
        })
    }
}

/// What the system says about a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// SO_TYPE.
    pub kind: Result<i32, Errno>,
    /// SO_ACCEPTCONN, which macOS and DragonFly do not know (ENOPROTOOPT).
    pub accepts: Result<bool, Errno>,
    /// The same, asked in another way. `None` where there is no other way, or no answer.
    pub listens: Option<bool>,
    /// Whether it has a peer.
    pub connected: bool,
}

impl Told {
    fn of(fd: RawFd) -> Self {
        let accepts = option(fd, libc::SO_ACCEPTCONN).map(|value| value != 0);
        Self {
            kind: option(fd, libc::SO_TYPE),
            accepts,
            listens: if accepts.is_err() { listens(fd) } else { None },
            connected: accepts.is_err() && has_peer(fd),
        }
    }

    /// Whether this is a listening stream socket. If the system does not say, it counts as one, and accept(2) will tell.
    ///
    /// # Errors
    /// What it is instead.
    pub fn check(&self) -> Result<(), NotListener> {
        match self.kind {
            Err(_) => Err(NotListener::NotSocket),
            Ok(kind) if kind != libc::SOCK_STREAM => Err(NotListener::NotStream),
            Ok(_) if self.accepts.ok().or(self.listens).unwrap_or(!self.connected) => Ok(()),
            Ok(_) => Err(NotListener::NotListening),
        }
    }
}

/// Checks that a descriptor is a listening stream socket.
///
/// # Errors
/// What it is instead.
pub fn check_listener(fd: RawFd) -> Result<(), NotListener> {
    Told::of(fd).check()
}

/// Reads an integer option.
pub(crate) fn option(fd: RawFd, name: i32) -> Result<i32, Errno> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    syscall!(getsockopt(fd, libc::SOL_SOCKET, name, ptr::from_mut(&mut value).cast(), &mut length))?;
    Ok(value)
}

fn has_peer(fd: RawFd) -> bool {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::uninit();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    syscall!(getpeername(fd, address.as_mut_ptr().cast(), &mut length)).is_ok()
}

/// macOS gives the kernel's own options of a socket (bsd/sys/proc_info.h).
#[cfg(target_os = "macos")]
fn listens(fd: RawFd) -> Option<bool> {
    const PROC_PIDFDSOCKETINFO: libc::c_int = 3;

    /// struct socket_fdinfo, as far as it matters, in its full size: the kernel fills in all or nothing.
    #[repr(C)]
    struct SocketInfo {
        /// struct proc_fileinfo, and of struct socket_info what precedes soi_options: soi_stat (136 bytes), soi_so,
        /// soi_pcb, soi_type, soi_protocol, soi_family.
        before: [u64; (24 + 136 + 8 + 8) / 8],
        kinds: [i32; 3],
        options: i16,
        after: [u16; 301],
    }
    const _: () = assert!(size_of::<SocketInfo>() == 792 && std::mem::offset_of!(SocketInfo, options) == 188);

    let mut info = MaybeUninit::<SocketInfo>::zeroed();
    let size = size_of::<SocketInfo>() as libc::c_int;
    // SAFETY: the kernel writes at most `size` bytes, and any bytes are a SocketInfo.
    let (given, info) = unsafe {
        let process = libc::getpid();
        let given = libc::proc_pidfdinfo(process, fd, PROC_PIDFDSOCKETINFO, info.as_mut_ptr().cast(), size);
        (given, info.assume_init())
    };
    (given == size).then_some(i32::from(info.options) & libc::SO_ACCEPTCONN != 0)
}

/// A listening socket refuses to connect to any address (connect(2): EOPNOTSUPP). Any other socket looks at the address,
/// whose family does not exist.
#[cfg(target_os = "dragonfly")]
fn listens(fd: RawFd) -> Option<bool> {
    // SAFETY: a sockaddr_storage is integers and bytes, all of which may be zero.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    address.ss_family = libc::sa_family_t::MAX;
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    match syscall!(connect(fd, ptr::from_ref(&address).cast(), length)) {
        Err(Errno(libc::EOPNOTSUPP)) => Some(true),
        Err(Errno(libc::EAFNOSUPPORT | libc::EINVAL | libc::EISCONN | libc::EALREADY)) => Some(false),
        _ => None,
    }
}

/// The others know SO_ACCEPTCONN.
#[cfg(not(any(target_os = "macos", target_os = "dragonfly")))]
fn listens(_fd: RawFd) -> Option<bool> {
    None
}
