//! What a connection knows of its peer: whether it is still there, and what it has acknowledged.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kqnet_accept::socket::{self, Peer};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a client");
    let (server, _) = listener.accept().expect("a connection");
    server.set_nonblocking(true).expect("a connection that does not block");
    (server, client)
}

fn becomes(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_peer_that_ended_its_side_is_not_lost() {
    let (server, client) = pair();
    assert_eq!(socket::peer(server.as_raw_fd()), Peer::Open);
    client.shutdown(Shutdown::Write).expect("its end");
    becomes("ended", || socket::peer(server.as_raw_fd()) == Peer::Ended);
}

#[test]
fn a_peer_that_reset_is_lost() {
    let (server, client) = pair();
    (&server).write_all(b"unread").expect("written");
    becomes("arrived", || client.peek(&mut [0; 8]).is_ok());
    drop(client);
    becomes("lost", || socket::peer(server.as_raw_fd()) == Peer::Lost);
}

#[test]
#[cfg(all(target_os = "linux", not(feature = "emulated-kqueue")))]
fn a_reset_shows_behind_bytes_that_were_not_read_and_asking_takes_nothing() {
    let (mut server, mut client) = pair();
    (&server).write_all(b"unread").expect("written");
    client.write_all(b"hello").expect("written");
    becomes("arrived", || client.peek(&mut [0; 8]).is_ok());
    drop(client);
    becomes("lost", || socket::peer(server.as_raw_fd()) == Peer::Lost);
    let mut bytes = [0; 8];
    // Asking has not taken the error either.
    let error = loop {
        match server.read(&mut bytes) {
            Ok(0) => panic!("an end"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

#[test]
#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd", target_os = "netbsd"))]
fn what_a_peer_does_not_take_stays_unacknowledged() {
    let (server, mut client) = pair();
    let fd = server.as_raw_fd();
    assert_eq!(socket::unacknowledged(fd), Some(0));
    let bytes = vec![0; 1 << 20];
    let mut sent = 0;
    while let Ok(Some(count)) = socket::send(fd, &bytes) {
        sent += count as u64;
    }
    becomes("some is left", || socket::unacknowledged(fd).is_some_and(|count| count > 0 && count < sent));
    let mut left = sent;
    while left > 0 {
        left -= client.read(&mut vec![0; 1 << 16]).expect("bytes") as u64;
    }
    becomes("all is acknowledged", || socket::unacknowledged(fd) == Some(0));
}
