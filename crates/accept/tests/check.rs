//! Which descriptors can be accepted from, on the system that this runs on.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use kqnet_accept::socket::{NotListener, check_listener};

#[cfg(feature = "emulated-kqueue")]
use kqueue_emu as _;

/// A new stream socket, bound to a free port if `bound` is true.
fn socket(bound: bool) -> OwnedFd {
    // SAFETY: system calls on a new descriptor and on an address that outlives the call. Port 0 stands for any free port.
    unsafe {
        let fd = OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0));
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as _;
        address.sin_addr.s_addr = u32::to_be(0x7f00_0001);
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        assert!(!bound || libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) == 0);
        fd
    }
}

fn pipe() -> [OwnedFd; 2] {
    let mut fds = [-1; 2];
    // SAFETY: there is a place for two descriptors, which nothing else owns.
    unsafe {
        assert_eq!(libc::pipe(fds.as_mut_ptr()), 0);
        fds.map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

#[test]
fn this_system_tells_listeners_from_everything_else() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("the backlog has room");
    let (connection, _) = listener.accept().expect("the client");
    let path = std::env::temp_dir().join(format!("kqnet-check-{}", std::process::id()));
    let unix = UnixListener::bind(&path).expect("a free path");
    std::fs::remove_file(&path).expect("the file");
    let (end, _other) = UnixStream::pair().expect("a pair");
    let datagram = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let [reader, _writer] = pipe();
    assert_eq!(check_listener(listener.as_raw_fd()), Ok(()));
    assert_eq!(check_listener(unix.as_raw_fd()), Ok(()));
    let (bound, new) = (socket(true), socket(false));
    for (what, fd) in [
        ("a client", client.as_raw_fd()),
        ("a connection", connection.as_raw_fd()),
        ("an end of a pair", end.as_raw_fd()),
        ("a bound socket", bound.as_raw_fd()),
        ("a new socket", new.as_raw_fd()),
    ] {
        assert_eq!(check_listener(fd), Err(NotListener::NotListening), "{what}");
    }
    assert_eq!(check_listener(datagram.as_raw_fd()), Err(NotListener::NotStream));
    assert_eq!(check_listener(reader.as_raw_fd()), Err(NotListener::NotSocket));
    assert_eq!(check_listener(-1), Err(NotListener::NotSocket));
}
