//! What the system does with bytes that it may hold back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use kqnet_accept::socket::{CAN_HOLD, nodelay, push, send_held};

/// Both ends of a connection whose first end sends small writes at once.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    nodelay(listener.as_raw_fd()).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

fn take<const N: usize>(mut from: impl Read) -> [u8; N] {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

/// Whether nothing has arrived yet.
fn is_silent(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let result = client.peek(&mut [0]);
    client.set_nonblocking(false).unwrap();
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn held_bytes_are_not_sent_at_once() {
    // On a busy machine this test may be interrupted for so long that the system sends them by itself.
    let was_held = (0..10).any(|_| {
        let (server, client) = pair();
        assert_eq!(send_held(server.as_raw_fd(), b"held"), Ok(Some(4)));
        let was_held = is_silent(&client);
        assert_eq!(&take(client), b"held");
        was_held
    });
    // Elsewhere, they may arrive late as well.
    assert!(was_held || !CAN_HOLD);
}

#[test]
fn a_push_sends_what_is_held() {
    let (server, client) = pair();
    send_held(server.as_raw_fd(), b"held").unwrap();
    push(server.as_raw_fd()).unwrap();
    if CAN_HOLD {
        assert!(!is_silent(&client));
    }
    assert_eq!(&take(client), b"held");
}

#[test]
fn what_is_written_next_takes_along_what_is_held() {
    let (mut server, client) = pair();
    send_held(server.as_raw_fd(), b"held").unwrap();
    server.write_all(b"then").unwrap();
    if CAN_HOLD {
        assert!(!is_silent(&client));
    }
    assert_eq!(&take(client), b"heldthen");
}

#[test]
fn the_end_of_a_connection_takes_along_what_is_held() {
    let ends: [fn(TcpStream); 2] = [drop, |server| server.shutdown(Shutdown::Write).unwrap()];
    for end in ends {
        let (server, mut client) = pair();
        send_held(server.as_raw_fd(), b"held").unwrap();
        end(server);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"held");
    }
}

#[test]
fn a_full_connection_holds_nothing_for_ever() {
    let (server, mut client) = pair();
    server.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while let Some(count) = send_held(server.as_raw_fd(), &[b'x'; 1000]).unwrap() {
        sent += count;
    }
    let mut got = 0;
    while got < sent {
        got += client.read(&mut [0; 65536]).unwrap();
    }
    assert_eq!(got, sent);
}

#[test]
fn a_unix_socket_holds_nothing() {
    let (server, client) = UnixStream::pair().unwrap();
    send_held(server.as_raw_fd(), b"held").unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(&take(&client), b"held");
    assert!(push(server.as_raw_fd()).is_err());
}
