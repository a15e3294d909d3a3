//! Clients for what wrk cannot do.
//!
//! They make a connection for each exchange, bursts, an exact number of requests, and idle connections. They all run on one
//! thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use kqnet_hosts::Result;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::affinity;

/// How long a load may take that ends after a number of exchanges.
const PATIENCE: Duration = Duration::from_secs(120);

/// How clients talk to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// A byte each way; then the server closes, and the client connects again.
    Bytes,
    /// A request for `/` that asks the server to close; then the client connects again.
    Single,
    /// Requests for `/`, one after the other on a kept connection.
    Requests,
    /// The same, but no client asks again before all are answered, so that the server waits before each request. With
    /// `Requests` chance decides whether the next one is already there, which takes another path through the server.
    InStep,
}

/// When clients stop.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// After this time.
    Time(Duration),
    /// After this many exchanges by all clients together.
    Count(u64),
}

/// The result of a load.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Completed exchanges.
    pub count: u64,
    /// Failed exchanges: refused, reset, or closed without an answer.
    pub failed: u64,
    /// From the first connect to the last answer.
    pub time: Duration,
}

impl Talk {
    fn bytes(self) -> &'static [u8] {
        match self {
            Talk::Bytes => b"?",
            Talk::Single => b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
            Talk::Requests | Talk::InStep => b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        }
    }
}

/// The address of a port of this machine.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Runs clients at the same time, spread over the ports.
pub fn run(talk: Talk, ports: &[u16], clients: usize, end: End) -> Result<Done> {
    let _pinned = affinity::as_clients();
    if talk == Talk::InStep {
        return in_step(ports, clients, end);
    }
    let mut poll = Poll::new().map_err(|e| format!("cannot make an event queue for the clients: {e}"))?;
    let mut events = Events::with_capacity(1024);
    let (limit, most) = match end {
        End::Time(time) => (time, u64::MAX),
        End::Count(count) => (PATIENCE, count),
    };
    let mut done = Done::default();
    let mut begun = 0;
    let mut slots: Vec<Option<Client>> = Vec::new();
    let start = Instant::now();
    for index in 0..clients.min(usize::try_from(most).unwrap_or(clients)) {
        slots.push(Some(Client::connect(&poll, ports[index % ports.len()], index)?));
        begun += 1;
    }
    while start.elapsed() < limit && done.count + done.failed < most {
        let left = limit.saturating_sub(start.elapsed());
        match poll.poll(&mut events, Some(left)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            result => result.map_err(|e| format!("cannot wait for the server: {e}"))?,
        }
        for event in &events {
            let index = event.token().0;
            let Some(client) = &mut slots[index] else { continue };
            let more = begun < most;
            match client.advance(talk, more) {
                Progress::Waits => {}
                Progress::Answered => {
                    done.count += 1;
                    done.time = start.elapsed();
                    begun += u64::from(more);
                }
                Progress::Closed { answered } => {
                    if answered && talk != Talk::Requests {
                        done.count += 1;
                        done.time = start.elapsed();
                    } else if !client.is_done {
                        done.failed += 1;
                    }
                    slots[index] = None;
                    if more && start.elapsed() < limit {
                        slots[index] = Some(Client::connect(&poll, ports[index % ports.len()], index)?);
                        begun += 1;
                    }
                }
            }
        }
    }
    match end {
        End::Count(count) if done.count + done.failed < count => {
            Err(format!("the server answered {} of {count} in {} s", done.count, PATIENCE.as_secs()))
        }
        End::Count(_) | End::Time(_) => Ok(done),
    }
}

fn in_step(ports: &[u16], clients: usize, end: End) -> Result<Done> {
    let mut streams = Vec::with_capacity(clients);
    for index in 0..clients {
        streams.push(connect(ports[index % ports.len()]).map_err(|e| format!("cannot connect to the server: {e}"))?);
    }
    let mut done = Done::default();
    let start = Instant::now();
    while match end {
        End::Time(time) => start.elapsed() < time,
        End::Count(count) => done.count < count,
    } {
        for stream in &mut streams {
            stream.write_all(Talk::InStep.bytes()).map_err(|e| format!("cannot send a request: {e}"))?;
        }
        for stream in &mut streams {
            read_response(stream).map_err(|e| format!("no answer to request {}: {e}", done.count + 1))?;
            done.count += 1;
        }
        done.time = start.elapsed();
    }
    Ok(done)
}

fn read_response(stream: &mut std::net::TcpStream) -> std::io::Result<()> {
    let mut input = Vec::new();
    let mut bytes = [0; 4096];
    while response_length(&input).is_none_or(|length| input.len() < length) {
        match stream.read(&mut bytes)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => input.extend_from_slice(&bytes[..count]),
        }
    }
    Ok(())
}

/// Opens a blocking connection that does not wait for ever.
fn connect(port: u16) -> std::io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect_timeout(&local(port), Duration::from_secs(10))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

enum Progress {
    Waits,
    Answered,
    Closed { answered: bool },
}

struct Client {
    stream: TcpStream,
    sent: bool,
    answered: bool,
    /// It has all its answers, and asks for no more.
    is_done: bool,
    input: Vec<u8>,
}

impl Client {
    fn connect(poll: &Poll, port: u16, index: usize) -> Result<Self> {
        let connected = TcpStream::connect(local(port)).and_then(|mut stream| {
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        let stream = connected.map_err(|e| format!("cannot connect to the server: {e}"))?;
        Ok(Client { stream, sent: false, answered: false, is_done: false, input: Vec::new() })
    }

    fn advance(&mut self, talk: Talk, more: bool) -> Progress {
        if !self.sent {
            match self.stream.write(talk.bytes()) {
                Ok(_) => self.sent = true,
                Err(e) if [ErrorKind::WouldBlock, ErrorKind::NotConnected].contains(&e.kind()) => {
                    return Progress::Waits;
                }
                Err(_) => return Progress::Closed { answered: false },
            }
        }
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Progress::Closed { answered: self.answered },
                Ok(count) => {
                    self.answered = true;
                    if talk != Talk::Requests {
                        continue;
                    }
                    self.input.extend_from_slice(&bytes[..count]);
                    let Some(length) = response_length(&self.input) else { continue };
                    if self.input.len() < length {
                        continue;
                    }
                    self.input.clear();
                    self.is_done = !more;
                    if more && self.stream.write(talk.bytes()).is_err() {
                        return Progress::Closed { answered: false };
                    }
                    return Progress::Answered;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Progress::Waits,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Closed { answered: false },
            }
        }
    }
}

/// The length of the whole response, once its head is there.
fn response_length(input: &[u8]) -> Option<usize> {
    head(input).map(|head| head.length + head.body)
}

/// What the head of a response says.
pub struct Head {
    /// The status.
    pub status: u16,
    /// The length of the head.
    pub length: usize,
    /// The length of the body, by Content-Length.
    pub body: usize,
}

/// Reads the head of a response, once it is whole and says how long the body is.
pub fn head(input: &[u8]) -> Option<Head> {
    let length = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&input[..length]).to_ascii_lowercase();
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some(Head { status, length, body: body.trim().parse().ok()? })
}

/// Opens connections that send `bytes` and then stay silent.
pub fn hold(port: u16, count: usize, bytes: &[u8]) -> Result<Vec<std::net::TcpStream>> {
    hold_after(port, count, bytes, |_| Ok(()))
}

/// Opens connections, gets an answer on each, and keeps them.
pub fn hold_kept(port: u16, count: usize) -> Result<Vec<std::net::TcpStream>> {
    hold_after(port, count, Talk::Requests.bytes(), read_response)
}

/// How many connections are opened before the answers are read.
const TOGETHER: usize = 64;

fn hold_after(
    port: u16,
    count: usize,
    bytes: &[u8],
    read: impl Fn(&mut std::net::TcpStream) -> std::io::Result<()>,
) -> Result<Vec<std::net::TcpStream>> {
    let _pinned = affinity::as_clients();
    let mut held = Vec::with_capacity(count);
    let failed = |index: usize| move |e: std::io::Error| format!("cannot hold connection {}: {e}", index + 1);
    while held.len() < count {
        let first = held.len();
        for index in first..count.min(first + TOGETHER) {
            let mut stream = connect(port).map_err(failed(index))?;
            stream.write_all(bytes).map_err(failed(index))?;
            held.push(stream);
        }
        for (index, stream) in held.iter_mut().enumerate().skip(first) {
            read(stream).map_err(failed(index))?;
        }
    }
    Ok(held)
}

/// Waits for an answer on each connection, and closes it.
pub fn receive(streams: Vec<std::net::TcpStream>) -> Result<()> {
    for mut stream in streams {
        let count = stream.read(&mut [0; 4096]).map_err(|e| format!("no answer: {e}"))?;
        if count == 0 {
            return Err("the server closed a connection without an answer".to_owned());
        }
    }
    Ok(())
}

/// Raises the descriptor limit of this process, and of those that it starts, as far as the system allows. Returns the
/// new limit.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is an rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 256;
    }
    // macOS does not accept every value that it reports as the hard limit.
    let raised = libc::rlimit { rlim_cur: limit.rlim_max.min(65_536), rlim_max: limit.rlim_max };
    // SAFETY: `raised` is an rlimit that lives through the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 { raised.rlim_cur } else { limit.rlim_cur }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_as_long_as_its_head_says() {
        assert_eq!(response_length(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"), None);
        assert_eq!(response_length(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), Some(41));
        let head = head(b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nab").expect("a head");
        assert_eq!((head.status, head.length, head.body), (404, 45, 5));
    }
}
