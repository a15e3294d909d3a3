//! Clients for servers that echo websocket messages.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kqnet_hosts::Result;
use mio::{Events, Interest, Poll, Token};

use super::affinity;
use super::load::local;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The payload of a message, short enough for a frame's shortest head.
const PAYLOAD: &[u8] = b"0123456789abcdef0123456789abcdef";
/// The key of the example in RFC 6455, section 1.3.
const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Opens websockets, which then stay silent.
pub fn open(port: u16, count: usize) -> Result<Vec<TcpStream>> {
    let _pinned = affinity::as_clients();
    let one = || {
        let mut stream = TcpStream::connect_timeout(&local(port), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        stream.write_all(HANDSHAKE)?;
        let mut answer = Vec::new();
        let mut byte = [0; 1024];
        while !answer.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => answer.extend_from_slice(&byte[..count]),
            }
        }
        if answer.starts_with(b"HTTP/1.1 101 ") {
            return Ok(stream);
        }
        let answer = String::from_utf8_lossy(&answer);
        Err(std::io::Error::other(answer.lines().next().unwrap_or_default().to_owned()))
    };
    (0..count)
        .map(|index| one().map_err(|e: std::io::Error| format!("cannot open websocket {}: {e}", index + 1)))
        .collect()
}

/// Sends a message on each of so many websockets, and another whenever one comes back. Returns how many came back in a
/// second.
pub fn echoes(port: u16, clients: usize, time: Duration) -> Result<(u64, Duration)> {
    let streams = open(port, clients)?;
    let _pinned = affinity::as_clients();
    let mut poll = Poll::new().map_err(|e| format!("cannot make an event queue for the clients: {e}"))?;
    let mut events = Events::with_capacity(1024);
    let message = frame(Some([1, 2, 3, 4]));
    let expected = frame(None);
    let failed = |e: std::io::Error| format!("a websocket failed: {e}");
    let mut sockets = Vec::new();
    for (index, stream) in streams.into_iter().enumerate() {
        stream.set_nonblocking(true).map_err(failed)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE).map_err(failed)?;
        stream.write_all(&message).map_err(failed)?;
        sockets.push((stream, Vec::new()));
    }
    let mut count = 0;
    let mut input = [0; 4096];
    let start = Instant::now();
    while start.elapsed() < time {
        match poll.poll(&mut events, Some(time.saturating_sub(start.elapsed()))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            result => result.map_err(|e| format!("cannot wait for the server: {e}"))?,
        }
        for event in &events {
            let (stream, got) = &mut sockets[event.token().0];
            loop {
                match stream.read(&mut input) {
                    Ok(0) => return Err("the server closed a websocket".to_owned()),
                    Ok(length) => got.extend_from_slice(&input[..length]),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(failed(e)),
                }
                if got.len() < expected.len() {
                    continue;
                }
                if *got != expected {
                    return Err("the server sent something else than the message".to_owned());
                }
                got.clear();
                count += 1;
                stream.write_all(&message).map_err(failed)?;
            }
        }
    }
    Ok((count, start.elapsed()))
}

/// A text message in one frame, masked as clients do it or plain as servers do it (RFC 6455, section 5.2).
fn frame(mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = PAYLOAD.len() as u8;
    let mut out = vec![0x81, if mask.is_some() { 0x80 | length } else { length }];
    out.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    out.extend(PAYLOAD.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_masked_with_its_key() {
        let plain = frame(None);
        assert_eq!((&plain[..2], &plain[2..]), (&[0x81, 32][..], PAYLOAD));
        let masked = frame(Some([1, 2, 3, 4]));
        assert_eq!(masked[..6], [0x81, 0x80 | 32, 1, 2, 3, 4]);
        assert_eq!(masked[6..10], [b'0' ^ 1, b'1' ^ 2, b'2' ^ 3, b'3' ^ 4]);
        assert_eq!(masked.len(), plain.len() + 4);
    }
}
