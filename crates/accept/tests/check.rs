//! What can be accepted from and what cannot, by what each system tells of it.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use kqnet_accept::Errno;
use kqnet_accept::check::{NotListener, Told, check_listener};

#[cfg(feature = "emulated-kqueue")]
use kqueue_emu as _;

const NOT_LISTENING: Result<(), NotListener> = Err(NotListener::NotListening);

/// What most systems tell of a stream socket.
fn told(accepts: bool) -> Told {
    Told { kind: Ok(libc::SOCK_STREAM), accepts: Ok(accepts), listens: None, connected: false }
}

/// What macOS tells of a stream socket, where it answers the second question.
fn told_by_macos(listens: Option<bool>, connected: bool) -> Told {
    Told { kind: Ok(libc::SOCK_STREAM), accepts: Err(Errno(libc::ENOPROTOOPT)), listens, connected }
}

#[test]
fn a_system_that_knows_listeners_is_believed() {
    assert_eq!(told(true).check(), Ok(()));
    assert_eq!(told(false).check(), NOT_LISTENING);
    // Nothing else is asked then.
    assert_eq!(Told { listens: Some(false), connected: true, ..told(true) }.check(), Ok(()));
}

#[test]
fn on_macos_the_kernels_own_options_decide() {
    assert_eq!(told_by_macos(Some(true), false).check(), Ok(()));
    // Merely bound, or new.
    assert_eq!(told_by_macos(Some(false), false).check(), NOT_LISTENING);
    assert_eq!(told_by_macos(Some(false), true).check(), NOT_LISTENING);
}

#[test]
fn without_them_a_connection_is_refused_at_least() {
    assert_eq!(told_by_macos(None, true).check(), NOT_LISTENING);
    assert_eq!(told_by_macos(None, false).check(), Ok(()));
}

#[test]
fn what_is_no_stream_socket_is_said_first() {
    for listens in [None, Some(true), Some(false)] {
        for told in [told(true), told(false), told_by_macos(listens, false), told_by_macos(listens, true)] {
            let datagram = Told { kind: Ok(libc::SOCK_DGRAM), ..told };
            assert_eq!(datagram.check(), Err(NotListener::NotStream));
            let file = Told { kind: Err(Errno(libc::ENOTSOCK)), ..told };
            assert_eq!(file.check(), Err(NotListener::NotSocket));
        }
    }
}

/// A new stream socket, bound to a free port if that is wanted.
fn socket(bound: bool) -> OwnedFd {
    // SAFETY: plain system calls; an address of zeros with a family stands for any port.
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
    let (reader, _writer) = std::io::pipe().expect("a pipe");
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
        assert_eq!(check_listener(fd), NOT_LISTENING, "{what}");
    }
    assert_eq!(check_listener(datagram.as_raw_fd()), Err(NotListener::NotStream));
    assert_eq!(check_listener(reader.as_raw_fd()), Err(NotListener::NotSocket));
    assert_eq!(check_listener(-1), Err(NotListener::NotSocket));
}
