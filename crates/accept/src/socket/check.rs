//! Finding out whether a descriptor can be accepted from, in each system's way.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use super::sockopt;
use crate::errno::Errno;
use crate::sys::syscall;

/// Why a descriptor cannot be accepted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotListener {
    /// There is no such descriptor.
    NotOpen,
    /// The program opened it itself: an inherited one would not be closed on exec.
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
struct Answers {
    /// SO_TYPE.
    kind: Result<i32, Errno>,
    /// SO_ACCEPTCONN, which macOS and DragonFly do not know (ENOPROTOOPT).
    accepts: Result<bool, Errno>,
    /// The same, asked in another way. `None` if there is no other way, or no answer.
    listens: Option<bool>,
    /// Whether it has a peer.
    connected: bool,
}

impl Answers {
    fn of(fd: RawFd) -> Self {
        let accepts = sockopt::get(fd, libc::SO_ACCEPTCONN).map(|value| value != 0);
        Self {
            kind: sockopt::get(fd, libc::SO_TYPE),
            accepts,
            listens: if accepts.is_err() { listens(fd) } else { None },
            connected: accepts.is_err() && has_peer(fd),
        }
    }

    /// Whether this is a listening stream socket. If the system does not say, it counts as one, and accept(2) will tell.
    fn check(&self) -> Result<(), NotListener> {
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
/// Returns what the descriptor is instead, if it is not one.
pub fn check_listener(fd: RawFd) -> Result<(), NotListener> {
    Answers::of(fd).check()
}

fn has_peer(fd: RawFd) -> bool {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::uninit();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    syscall!(getpeername(fd, address.as_mut_ptr().cast(), &mut length)).is_ok()
}

/// Asks for the kernel's own options of the socket, which macOS reports (bsd/sys/proc_info.h).
#[cfg(target_os = "macos")]
fn listens(fd: RawFd) -> Option<bool> {
    const PROC_PIDFDSOCKETINFO: libc::c_int = 3;

    /// The part of struct socket_fdinfo that matters, in its full size: the kernel fills in all or nothing.
    #[repr(C)]
    struct SocketInfo {
        /// struct proc_fileinfo, and the fields of struct socket_info before soi_options: soi_stat (136 bytes), soi_so,
        /// soi_pcb, and as `kinds` soi_type, soi_protocol, soi_family.
        before: [u64; (24 + 136 + 8 + 8) / 8],
        kinds: [i32; 3],
        options: i16,
        after: [u16; 301],
    }
    const _: () = assert!(size_of::<SocketInfo>() == 792 && std::mem::offset_of!(SocketInfo, options) == 188);

    let mut info = MaybeUninit::<SocketInfo>::zeroed();
    let size = size_of::<SocketInfo>() as libc::c_int;
    // SAFETY: the kernel writes at most `size` bytes, and any bytes are a SocketInfo.
    let (written, info) = unsafe {
        let process = libc::getpid();
        let written = libc::proc_pidfdinfo(process, fd, PROC_PIDFDSOCKETINFO, info.as_mut_ptr().cast(), size);
        (written, info.assume_init())
    };
    (written == size).then_some(i32::from(info.options) & libc::SO_ACCEPTCONN != 0)
}

/// Tries to connect to an address whose family does not exist. A listening socket refuses to connect to any address
/// (connect(2): EOPNOTSUPP). Any other socket looks at the address first.
#[cfg(target_os = "dragonfly")]
fn listens(fd: RawFd) -> Option<bool> {
    // SAFETY: a sockaddr_storage is integers and bytes, all of which may be zero.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    address.ss_family = libc::sa_family_t::MAX;
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    match syscall!(connect(fd, std::ptr::from_ref(&address).cast(), length)) {
        Err(Errno(libc::EOPNOTSUPP)) => Some(true),
        Err(Errno(libc::EAFNOSUPPORT | libc::EINVAL | libc::EISCONN | libc::EALREADY)) => Some(false),
        _ => None,
    }
}

/// The other systems know SO_ACCEPTCONN.
#[cfg(not(any(target_os = "macos", target_os = "dragonfly")))]
fn listens(_fd: RawFd) -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_LISTENING: Result<(), NotListener> = Err(NotListener::NotListening);

    /// What most systems say about a stream socket.
    fn most(accepts: bool) -> Answers {
        Answers { kind: Ok(libc::SOCK_STREAM), accepts: Ok(accepts), listens: None, connected: false }
    }

    /// What macOS says about a stream socket.
    fn macos(listens: Option<bool>, connected: bool) -> Answers {
        Answers { kind: Ok(libc::SOCK_STREAM), accepts: Err(Errno(libc::ENOPROTOOPT)), listens, connected }
    }

    #[test]
    fn a_system_that_knows_listeners_is_believed() {
        assert_eq!(most(true).check(), Ok(()));
        assert_eq!(most(false).check(), NOT_LISTENING);
        // Then the other answers do not matter.
        assert_eq!(Answers { listens: Some(false), connected: true, ..most(true) }.check(), Ok(()));
    }

    #[test]
    fn on_macos_the_kernels_own_options_decide() {
        assert_eq!(macos(Some(true), false).check(), Ok(()));
        // Only bound, or new.
        assert_eq!(macos(Some(false), false).check(), NOT_LISTENING);
        assert_eq!(macos(Some(false), true).check(), NOT_LISTENING);
    }

    #[test]
    fn without_the_kernels_options_a_connection_is_still_refused() {
        assert_eq!(macos(None, true).check(), NOT_LISTENING);
        assert_eq!(macos(None, false).check(), Ok(()));
    }

    #[test]
    fn what_is_not_a_stream_socket_is_refused_first() {
        for listens in [None, Some(true), Some(false)] {
            for answers in [most(true), most(false), macos(listens, false), macos(listens, true)] {
                let datagram = Answers { kind: Ok(libc::SOCK_DGRAM), ..answers };
                assert_eq!(datagram.check(), Err(NotListener::NotStream));
                let file = Answers { kind: Err(Errno(libc::ENOTSOCK)), ..answers };
                assert_eq!(file.check(), Err(NotListener::NotSocket));
            }
        }
    }
}
