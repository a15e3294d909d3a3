//! accept(2), listen(2) and shutdown(2) as each kernel has them, on real sockets.

mod common;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use common::{Queue, fcntl, last_error, unix_connect, unix_connect_now, unix_listener};
use kqueue_emu::Kernel;
use kqueue_emu::kevent::*;
use libc::{ECONNABORTED, ECONNREFUSED, ENOTCONN};

const XNU: Kernel = Kernel::Xnu;

fn accept(listener: &impl AsRawFd, flags: Option<i32>) -> Result<OwnedFd, Errno> {
    let (fd, null, none) = (listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: no address is asked for.
    let conn = unsafe {
        match flags {
            Some(flags) => libc::accept4(fd, null, none, flags),
            None => libc::accept(fd, null, none),
        }
    };
    // SAFETY: accept has just returned it.
    if conn < 0 { Err(last_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(conn) }) }
}

/// Ends a TCP connection with a reset.
fn reset(client: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    let value = (&raw const linger).cast();
    // SAFETY: `value` points to `length` bytes of a linger.
    unsafe { libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length) };
}

#[test]
fn accepted_socket_inherits_nonblocking_but_not_close_on_exec() {
    for kernel in Kernel::ALL {
        let (_queue, listener) = (Queue::new(kernel), unix_listener());
        assert_eq!(fcntl(listener.as_raw_fd(), libc::F_GETFD), Some(libc::FD_CLOEXEC));
        let _clients = [unix_connect(&listener), unix_connect(&listener), unix_connect(&listener)];
        let nonblocking = |fd: &OwnedFd| fcntl(fd.as_raw_fd(), libc::F_GETFL).unwrap() & libc::O_NONBLOCK != 0;
        let inheriting = accept(&listener, None).unwrap();
        assert!(nonblocking(&inheriting), "{kernel:?}");
        assert_eq!(fcntl(inheriting.as_raw_fd(), libc::F_GETFD), Some(0), "{kernel:?}");
        let plain = accept(&listener, Some(libc::SOCK_CLOEXEC)).unwrap();
        assert!(!nonblocking(&plain), "accept4's flags are all there is: {kernel:?}");
        assert_eq!(fcntl(plain.as_raw_fd(), libc::F_GETFD), Some(libc::FD_CLOEXEC), "{kernel:?}");
        listener.set_nonblocking(false).unwrap();
        assert!(!nonblocking(&accept(&listener, None).unwrap()), "{kernel:?}");
    }
}

#[test]
fn connection_reset_in_the_backlog_is_handed_out_on_xnu_and_aborted_elsewhere() {
    for (kernel, host) in Kernel::ALL.into_iter().flat_map(|kernel| [(kernel, "127.0.0.1"), (kernel, "::1")]) {
        let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
        let queue = Queue::new(kernel);
        queue.change(&listener, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
        let address = listener.local_addr().unwrap();
        reset(TcpStream::connect(address).unwrap());
        let client = TcpStream::connect(address).unwrap();
        assert!(!queue.wait().is_empty());
        // SAFETY: a sockaddr_storage is integers, for which zeros are valid.
        let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: the address has room for `length` bytes.
        let first = unsafe { libc::accept(listener.as_raw_fd(), (&raw mut name).cast(), &mut length) };
        if kernel == XNU {
            assert_eq!(length, if address.is_ipv4() { 16 } else { 0 }, "{host}");
            // SAFETY: accept has just returned it.
            drop(unsafe { OwnedFd::from_raw_fd(first) });
        } else {
            assert_eq!((first, last_error()), (-1, Errno(ECONNABORTED)), "{kernel:?}");
        }
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap(), "{kernel:?}");
    }
}

#[test]
fn shutting_down_a_listener_stops_none_and_on_xnu_is_an_error() {
    for kernel in Kernel::ALL {
        let (_queue, listener) = (Queue::new(kernel), unix_listener());
        // SAFETY: no pointer.
        let result = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
        if kernel == XNU {
            assert_eq!((result, last_error()), (-1, Errno(ENOTCONN)));
        } else {
            assert_eq!(result, 0, "{kernel:?}");
        }
        let client = unix_connect(&listener);
        let (mut conn, _) = listener.accept().unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(conn.read(&mut [0]).unwrap(), 0, "a connection's is as ever: {kernel:?}");
    }
}

#[test]
fn unix_backlog_takes_what_each_kernel_takes_and_refuses_the_rest() {
    for (backlog, expected) in [(0, [128, 1, 1, 1, 1]), (10, [10, 16, 16, 16, 31]), (4096, [128, 193, 193, 193, 385])] {
        for (kernel, expected) in Kernel::ALL.into_iter().zip(expected) {
            let (_queue, listener) = (Queue::new(kernel), unix_listener());
            // SAFETY: no pointer.
            assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), backlog) }, 0);
            let mut clients = Vec::new();
            let why = loop {
                match unix_connect_now(&listener) {
                    Ok(client) => clients.push(client),
                    Err(error) => break error,
                }
            };
            assert_eq!((clients.len(), why), (expected, Errno(ECONNREFUSED)), "{backlog} {kernel:?}");
        }
    }
}
