//! Listening sockets: making them, checking them, and taking connections from them.

use std::ffi::{CStr, CString};
use std::fmt;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

pub use crate::check::{NotListener, check_listener};
use crate::errno::Errno;
use crate::sys::syscall;
use crate::unix_socket::{self, SocketFile};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or number and a service name or port, as getaddrinfo(3) takes them.
    Inet {
        /// Host.
        host: CString,
        /// Port.
        port: CString,
    },
    /// The path of a unix socket; on Linux a leading `@` stands for the abstract namespace.
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

/// Stream or datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections, mostly TCP.
    Stream,
    /// Datagrams, mostly UDP. Such a socket is bound, and not listening.
    Datagram,
}

/// How to listen. An option that has no effect at an address is an error there, since its caller expects an effect. The
/// exception is `reuse_address`, which is on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Stream or datagram.
    pub kind: Kind,
    /// SO_REUSEADDR: take an address that old connections still hold.
    pub reuse_address: bool,
    /// SO_REUSEPORT (SO_REUSEPORT_LB on FreeBSD): share the port with other sockets that allow it.
    pub reuse_port: bool,
    /// Connections that may wait for `accept`; `None` for as many as the system allows.
    pub backlog: Option<i32>,
    /// TCP_NODELAY, which accepted connections inherit.
    pub nodelay: bool,
    /// Permissions of a unix socket's file; `None` for what the umask leaves.
    pub mode: Option<u32>,
}

/// Why there is no listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// The host or service is unknown; the text is getaddrinfo's.
    Lookup(String),
    /// The path does not fit in a socket address: its length and the most that fits.
    PathTooLong {
        /// Bytes in the path.
        length: usize,
        /// Bytes that fit.
        most: usize,
    },
    /// An option that has no effect at this address: its name, and what it is for.
    Misplaced(&'static str, &'static str),
    /// A system call failed.
    System(Errno),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(text) => f.write_str(text),
            Self::PathTooLong { length, most } => {
                write!(f, "the path has {length} bytes, and a unix socket's may have {most}")
            }
            Self::Misplaced(option, purpose) => write!(f, ":{option} is for {purpose}"),
            Self::System(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

impl From<Errno> for ListenError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl Options {
    /// Checks that each given option has an effect at an address.
    fn check(&self, address: &Address) -> Result<(), ListenError> {
        let is_unix = matches!(address, Address::Unix(_));
        let is_stream = self.kind == Kind::Stream;
        let misplaced = |option, purpose| Err(ListenError::Misplaced(option, purpose));
        match address {
            Address::Inet { .. } if self.mode.is_some() => misplaced("mode", "the file of a unix socket"),
            Address::Unix(path) if self.mode.is_some() && is_abstract(path) => {
                misplaced("mode", "the file of a unix socket, and an abstract name has none")
            }
            _ if self.reuse_port && is_unix => misplaced("reuse-port", "ports, and a unix socket has none"),
            _ if self.nodelay && (is_unix || !is_stream) => misplaced("nodelay", "TCP"),
            _ if self.backlog.is_some() && !is_stream => {
                misplaced("backlog", "connections, and a :datagram socket has none")
            }
            _ => Ok(()),
        }
    }
}

/// What [`listen`] makes.
#[derive(Debug)]
pub struct Listening {
    /// Listening, or only bound where it is for datagrams.
    pub socket: OwnedFd,
    /// The file of a unix socket, which stays until it is removed.
    pub file: Option<SocketFile>,
}

/// Makes a listening socket, or a bound one for datagrams: non-blocking, closed on exec, and on the systems that
/// have SO_NOSIGPIPE with it set, which accepted connections inherit.
///
/// # Errors
/// Where an option can do nothing at the address, where the address cannot be found, or where the first usable result of
/// the look-up cannot be bound.
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
        unix_socket::bind(raw, &address, options.mode)?
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

/// Results of getaddrinfo(3).
struct Lookup(*mut libc::addrinfo);

impl Lookup {
    fn new(host: &CStr, port: &CStr, kind: Kind) -> Result<Self, ListenError> {
        // SAFETY: an addrinfo of zeros is what getaddrinfo(3) asks for.
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
                // SAFETY: gai_strerror gives a string that is never freed.
                let text = unsafe { CStr::from_ptr(libc::gai_strerror(error)) };
                Err(ListenError::Lookup(decapitalize(&text.to_string_lossy())))
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &libc::addrinfo> {
        // SAFETY: the list is valid and unchanged until it is freed in drop.
        let first = unsafe { self.0.as_ref() };
        // SAFETY: as above.
        std::iter::successors(first, |info| unsafe { info.ai_next.as_ref() })
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        // SAFETY: the list came from getaddrinfo and is freed once.
        unsafe { libc::freeaddrinfo(self.0) }
    }
}

impl Kind {
    fn number(self) -> i32 {
        match self {
            Self::Stream => libc::SOCK_STREAM,
            Self::Datagram => libc::SOCK_DGRAM,
        }
    }
}

/// A name in Linux's abstract namespace, which has no file.
fn is_abstract(path: &CStr) -> bool {
    cfg!(target_os = "linux") && path.to_bytes().first() == Some(&b'@')
}

/// A path as an address.
pub(crate) struct UnixAddress {
    path: CString,
    address: libc::sockaddr_un,
    length: libc::socklen_t,
}

impl UnixAddress {
    /// On Linux, a path that begins with `@` is an abstract name.
    ///
    /// # Errors
    /// [`ListenError::PathTooLong`].
    pub(crate) fn new(path: &CStr) -> Result<Self, ListenError> {
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
            // An abstract name has a NUL in front, and ends where the address ends.
            address.sun_path[0] = 0;
            length = offset_of!(libc::sockaddr_un, sun_path) + bytes.len();
        }
        Ok(Self { path: path.into(), address, length: length as libc::socklen_t })
    }

    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// As bind(2) and connect(2) take it, for as long as this lives.
    pub(crate) fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        (ptr::from_ref(&self.address).cast(), self.length)
    }
}

/// A socket with its options set, not bound yet.
fn configured(family: i32, protocol: i32, options: &Options) -> Result<OwnedFd, Errno> {
    let fd = new_socket(family, options.kind.number(), protocol)?;
    let raw = fd.as_raw_fd();
    if options.reuse_address {
        set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    }
    if options.reuse_port {
        #[cfg(target_os = "freebsd")]
        set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEPORT_LB)?;
        #[cfg(not(target_os = "freebsd"))]
        set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEPORT)?;
    }
    if options.nodelay {
        nodelay(raw)?;
    }
    no_sigpipe(raw)?;
    Ok(fd)
}

/// Starts listening on a bound socket.
fn start(fd: &OwnedFd, options: &Options) -> Result<(), Errno> {
    if options.kind == Kind::Stream {
        // The kernel cuts it down to what it allows.
        syscall!(listen(fd.as_raw_fd(), options.backlog.unwrap_or(i32::MAX)))?;
    }
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
pub(crate) fn new_socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let fd = syscall!(socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(target_vendor = "apple")]
pub(crate) fn new_socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let fd = syscall!(socket(family, kind, protocol))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK))?;
    Ok(fd)
}

/// Sets an option that takes a boolean.
fn set_option(fd: RawFd, level: i32, name: i32) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    syscall!(setsockopt(fd, level, name, ptr::from_ref(&on).cast(), size_of::<libc::c_int>() as libc::socklen_t))?;
    Ok(())
}

/// Has small writes sent at once on a TCP socket, and on the connections accepted from it.
///
/// # Errors
/// Those of setsockopt(2): EOPNOTSUPP for a unix socket, say.
pub fn nodelay(fd: RawFd) -> Result<(), Errno> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY)
}

/// Keeps a write to a reset connection from raising SIGPIPE: on macOS, Janet has no other protection.
pub(crate) fn no_sigpipe(fd: RawFd) -> Result<(), Errno> {
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd", target_os = "dragonfly"))]
    set_option(fd, libc::SOL_SOCKET, libc::SO_NOSIGPIPE)?;
    let _ = fd;
    Ok(())
}

/// The address that a socket is bound to, with its length.
fn local_address(fd: RawFd) -> Result<(libc::sockaddr_storage, usize), Errno> {
    // SAFETY: a sockaddr_storage is integers and bytes, all of which may be zero.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    syscall!(getsockname(fd, ptr::from_mut(&mut address).cast(), &mut length))?;
    Ok((address, length as usize))
}

/// The path in an address of a unix socket, up to its end or the first NUL but for one in front.
fn path_bytes(address: &libc::sockaddr_storage, length: usize) -> Vec<u8> {
    // SAFETY: the storage is large and aligned enough for every kind of address, and any bytes are a sockaddr_un.
    let unix = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_un>() };
    let length = length.saturating_sub(offset_of!(libc::sockaddr_un, sun_path));
    let bytes: Vec<u8> = unix.sun_path.iter().take(length).map(|&byte| byte as u8).collect();
    let end = bytes.iter().skip(1).position(|&byte| byte == 0).map_or(bytes.len(), |end| end + 1);
    bytes[..end].to_vec()
}

/// The path that a unix socket is bound to.
pub(crate) fn local_path(fd: RawFd) -> Option<CString> {
    let (address, length) = local_address(fd).ok()?;
    if i32::from(address.ss_family) != libc::AF_UNIX {
        return None;
    }
    // An abstract name has a NUL in front, and a socket that is not bound may have nothing.
    CString::new(path_bytes(&address, length)).ok().filter(|path| !path.is_empty())
}

/// The address that a socket is bound to, as [`Address`] prints it.
pub fn local_name(fd: RawFd) -> String {
    let Ok((address, length)) = local_address(fd) else { return "a closed socket".into() };
    match i32::from(address.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what the storage holds.
            let inet = unsafe { &*ptr::from_ref(&address).cast::<libc::sockaddr_in>() };
            let host = std::net::Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr));
            std::net::SocketAddr::new(host.into(), u16::from_be(inet.sin_port)).to_string()
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let inet = unsafe { &*ptr::from_ref(&address).cast::<libc::sockaddr_in6>() };
            let host = std::net::Ipv6Addr::from(inet.sin6_addr.s6_addr);
            std::net::SocketAddr::new(host.into(), u16::from_be(inet.sin6_port)).to_string()
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

/// Takes one connection: non-blocking and closed on exec.
///
/// # Errors
/// Those of accept(2); EAGAIN where none is waiting.
#[cfg(all(
    any(target_os = "linux", target_os = "freebsd", target_os = "openbsd", target_os = "dragonfly"),
    not(feature = "emulated-kqueue")
))]
pub fn accept(listener: RawFd) -> Result<OwnedFd, Errno> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let fd = syscall!(accept4(listener, ptr::null_mut(), ptr::null_mut(), flags))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one connection: closed on exec, and non-blocking as its listener is (accept(2) of macOS and NetBSD, which
/// have no accept4 that can be relied on).
///
/// # Errors
/// Those of accept(2); EAGAIN where none is waiting.
#[cfg(not(all(
    any(target_os = "linux", target_os = "freebsd", target_os = "openbsd", target_os = "dragonfly"),
    not(feature = "emulated-kqueue")
)))]
pub fn accept(listener: RawFd) -> Result<OwnedFd, Errno> {
    let fd = syscall!(accept(listener, ptr::null_mut(), ptr::null_mut()))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
    Ok(fd)
}

/// Reads what a connection has, without blocking: nothing where nothing has come, 0 at the end.
///
/// # Errors
/// Those of recv(2) which say that the peer is gone.
pub fn receive(fd: RawFd, room: &mut [MaybeUninit<u8>]) -> Result<Option<usize>, Errno> {
    transferred(|| syscall!(recv(fd, room.as_mut_ptr().cast(), room.len(), 0)))
}

/// Writes what a connection takes, without blocking: nothing where its buffer is full.
///
/// # Errors
/// Those of send(2) which say that the peer is gone.
pub fn send(fd: RawFd, bytes: &[u8]) -> Result<Option<usize>, Errno> {
    // Where there is no such flag, SO_NOSIGPIPE was inherited from the listener.
    #[cfg(target_vendor = "apple")]
    const FLAGS: libc::c_int = 0;
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
    transferred(|| syscall!(send(fd, bytes.as_ptr().cast(), bytes.len(), FLAGS)))
}

/// How many unsent bytes a connection may hold before the system stops taking more.
const MOST_UNSENT: libc::c_int = 128 * 1024;

/// Makes a listener's connections buffer little more than they can send. Otherwise the system buffers megabytes for a client
/// that reads slowly, and reports room again only when a third of that was taken.
///
/// # Errors
/// Those of setsockopt(2): EOPNOTSUPP for a unix socket, say.
pub fn limit_unsent(fd: RawFd) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        let most = ptr::from_ref(&MOST_UNSENT).cast();
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        syscall!(setsockopt(fd, libc::IPPROTO_TCP, TCP_NOTSENT_LOWAT, most, length))?;
    }
    let _ = (fd, MOST_UNSENT);
    Ok(())
}

#[cfg(target_os = "linux")]
const TCP_NOTSENT_LOWAT: libc::c_int = 25;
#[cfg(target_vendor = "apple")]
const TCP_NOTSENT_LOWAT: libc::c_int = 0x201;

/// How many of the bytes that were written the peer has not acknowledged. `None` where the system does not tell.
pub fn unacknowledged(fd: RawFd) -> Option<u64> {
    let mut count: libc::c_int = 0;
    #[cfg(target_os = "linux")]
    // SIOCOUTQ is another name of this number.
    let result = syscall!(ioctl(fd, libc::TIOCOUTQ, ptr::from_mut(&mut count)));
    #[cfg(target_vendor = "apple")]
    let result = crate::check::option(fd, libc::SO_NWRITE).map(|queued| {
        count = queued;
        0
    });
    #[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
    let result = syscall!(ioctl(fd, libc::FIONWRITE, ptr::from_mut(&mut count)));
    #[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd", target_os = "netbsd")))]
    let result = Err::<libc::c_int, _>(Errno(libc::EOPNOTSUPP));
    let _ = (fd, &mut count);
    result.ok().and_then(|_| u64::try_from(count).ok())
}

/// What a connection knows of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It may send, and take.
    Open,
    /// It sends no more, and may still take.
    Ended,
    /// It is gone: the connection was reset, or the network lost it.
    Lost,
}

/// What is known of the peer, without taking anything that it has sent.
#[cfg(all(target_os = "linux", not(feature = "emulated-kqueue")))]
pub fn peer(fd: RawFd) -> Peer {
    // Unlike recv(2), this shows a reset behind bytes that were not read yet, and does not clear the error.
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    match syscall!(poll(&mut poll, 1, 0)) {
        Ok(_) if poll.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 => Peer::Lost,
        Ok(_) if poll.revents & libc::POLLRDHUP != 0 => Peer::Ended,
        _ => Peer::Open,
    }
}

/// What is known of the peer, without taking anything that it has sent. If there is something to read, nothing more is
/// known than that.
#[cfg(not(all(target_os = "linux", not(feature = "emulated-kqueue"))))]
pub fn peer(fd: RawFd) -> Peer {
    let mut byte = 0u8;
    match transferred(|| syscall!(recv(fd, ptr::from_mut(&mut byte).cast(), 1, libc::MSG_PEEK))) {
        Ok(Some(0)) => Peer::Ended,
        Ok(_) => Peer::Open,
        Err(_) => Peer::Lost,
    }
}

/// Tells the peer that nothing more will be sent.
///
/// # Errors
/// Those of shutdown(2): ENOTCONN where the peer is gone.
pub fn end_sending(fd: RawFd) -> Result<(), Errno> {
    syscall!(shutdown(fd, libc::SHUT_WR)).map(drop)
}

fn transferred(mut call: impl FnMut() -> Result<isize, Errno>) -> Result<Option<usize>, Errno> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count.unsigned_abs())),
            Err(Errno(libc::EAGAIN)) => return Ok(None),
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The system's message with a small first letter.
fn decapitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
