//! Clients that fetch large bodies on kept connections.
//!
//! On Linux the kernel throws the bodies away instead of copying them to the client, so that the server sets the pace, and
//! not the client. wrk reads 8 KiB at a time, and would be the slower of the two.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use kqnet_hosts::Result;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::affinity;
use super::load::{head, local};

/// How much is read at a time.
const PIECE: usize = 1024 * 1024;
/// A client that got so much does not keep the others waiting any longer.
const SHARE: usize = 4 * PIECE;

/// The result of a load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Bytes of bodies.
    pub bytes: u64,
    /// Whole responses.
    pub responses: u64,
    /// How long it took.
    pub time: Duration,
}

/// Fetches a path on so many connections, one request after the other on each, for so long.
pub fn run(port: u16, path: &str, clients: usize, time: Duration) -> Result<Done> {
    let _pinned = affinity::as_clients();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let mut poll = Poll::new().map_err(|e| format!("cannot make an event queue for the clients: {e}"))?;
    let mut events = Events::with_capacity(1024);
    let failed = |e| format!("GET {path}: {e}");
    let mut all = Vec::new();
    for index in 0..clients {
        all.push(Client::connect(&poll, port, index).map_err(failed)?);
    }
    let mut buffer = vec![0; PIECE];
    let mut done = Done::default();
    // The events are edges, so a client that has not read everything must come again without one.
    let mut ready: Vec<usize> = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let wait = if ready.is_empty() { time.saturating_sub(start.elapsed()) } else { Duration::ZERO };
        match poll.poll(&mut events, Some(wait)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            result => result.map_err(|e| format!("cannot wait for the server: {e}"))?,
        }
        let mut turn = std::mem::take(&mut ready);
        for event in &events {
            if !turn.contains(&event.token().0) {
                turn.push(event.token().0);
            }
        }
        for index in turn {
            let has_more = all[index].advance(&request, &mut buffer, &mut done).map_err(failed)?;
            if has_more {
                ready.push(index);
            }
        }
    }
    done.time = start.elapsed();
    Ok(done)
}

struct Client {
    stream: TcpStream,
    sent: bool,
    /// The beginning of a response, until its head is whole.
    head: Vec<u8>,
    /// How much of the body is still to come, once the head is there.
    left: Option<usize>,
}

impl Client {
    fn connect(poll: &Poll, port: u16, index: usize) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(local(port))?;
        poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Client { stream, sent: false, head: Vec::new(), left: None })
    }

    /// Goes on until it would have to wait, or until it has had its share. Returns whether there may be more to read.
    fn advance(&mut self, request: &str, buffer: &mut [u8], done: &mut Done) -> std::io::Result<bool> {
        let mut share = SHARE;
        let result = self.advance_for(request, buffer, done, &mut share);
        match result {
            Err(e) if [ErrorKind::WouldBlock, ErrorKind::NotConnected].contains(&e.kind()) => Ok(false),
            Err(e) => Err(e),
            Ok(()) => Ok(true),
        }
    }

    fn advance_for(
        &mut self,
        request: &str,
        buffer: &mut [u8],
        done: &mut Done,
        share: &mut usize,
    ) -> std::io::Result<()> {
        while *share > 0 {
            if !self.sent {
                // A request of this size goes into the socket's buffer as a whole.
                let _ = self.stream.write(request.as_bytes())?;
                self.sent = true;
            }
            let taken = match self.left {
                None => {
                    let count = self.stream.read(&mut buffer[..4096])?;
                    self.head.extend_from_slice(&buffer[..count]);
                    if let Some(found) = head(&self.head) {
                        if found.status != 200 {
                            return Err(std::io::Error::other(format!("the status is {}", found.status)));
                        }
                        let body = self.head.len() - found.length;
                        done.bytes += body as u64;
                        self.left = Some(found.body.saturating_sub(body));
                        self.head.clear();
                    }
                    count
                }
                Some(left) => {
                    let count = discard(&self.stream, &mut buffer[..left.min(PIECE)])?;
                    done.bytes += count as u64;
                    self.left = Some(left - count);
                    count
                }
            };
            if taken == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            *share = share.saturating_sub(taken);
            if self.left == Some(0) {
                done.responses += 1;
                self.left = None;
                self.sent = false;
            }
        }
        Ok(())
    }
}

/// Reads up to as many bytes as fit into the buffer, whose content then means nothing.
fn discard(stream: &TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    // tcp(7): with MSG_TRUNC the bytes are thrown away.
    let flags = if cfg!(target_os = "linux") { libc::MSG_TRUNC } else { 0 };
    // SAFETY: the buffer may be written up to its length.
    let count = unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    usize::try_from(count).map_err(|_| std::io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn bodies_are_counted_without_their_heads() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let body = vec![b'x'; 100_000];
            let mut request = [0; 1024];
            let mut answered = 0;
            while stream.read(&mut request).is_ok_and(|count| count > 0) {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                    break;
                }
                answered += 1;
            }
            answered
        });
        let done = run(port, "/", 1, Duration::from_millis(50)).expect("a result");
        assert!(done.responses > 0 && done.bytes >= done.responses * 100_000, "{done:?}");
        assert!(done.bytes <= (done.responses + 1) * 100_000, "{done:?}");
        assert!(server.join().expect("the server ends") >= done.responses);
    }

    #[test]
    fn a_status_other_than_200_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            stream
        });
        assert_eq!(run(port, "/", 1, Duration::from_secs(5)).map(drop), Err("GET /: the status is 404".to_owned()));
        drop(server.join());
    }
}
