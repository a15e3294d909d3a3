//! Sends parts of files to sockets, by sendfile(2) if the system has it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

use crate::sendfile::{in_full_packets, sendfile, without_sigpipe};

/// Why sending stopped before everything was sent.
#[derive(Debug)]
pub enum Stop {
    /// The socket takes no more now.
    Full,
    /// Writing to the socket failed.
    Socket(io::Error),
    /// Reading the file failed.
    File(io::Error),
    /// The file ends before the part does.
    Short,
}

/// How much was sent, and what happened then.
#[derive(Debug)]
pub struct Sent {
    /// How many bytes the socket took.
    pub count: usize,
    /// Why it was not all, or `None` if it was.
    pub stop: Option<Stop>,
}

/// How many bytes are read at once if sendfile(2) cannot be used.
const PIECE: usize = 64 * 1024;

/// A part of more bytes than this goes out in full packets. That costs two calls of its own, which a smaller part does not earn.
const MANY: usize = 1024 * 1024;

/// Sends `length` bytes of a file, beginning at an offset, or as many as the socket takes without blocking.
pub fn send(socket: RawFd, file: &File, offset: u64, length: usize) -> Sent {
    // The system sends less than it was asked for whenever the socket is full for a moment, so there are several calls.
    let all = || repeat(length, |count| by_sendfile(socket, file, offset + count as u64, length - count));
    let calls = || if length > MANY { in_full_packets(socket, all) } else { all() };
    let is_alive = |sent: &Sent| matches!(sent.stop, None | Some(Stop::Full));
    without_sigpipe(calls, is_alive).unwrap_or_else(|why| Sent { count: 0, stop: Some(Stop::Socket(why)) })
}

/// Calls `send` with the number of bytes that were sent, until all are, or one call sends none.
fn repeat(length: usize, mut send: impl FnMut(usize) -> Result<usize, Stop>) -> Sent {
    let mut count = 0;
    while count < length {
        match send(count) {
            Ok(more) => count += more,
            Err(stop) => return Sent { count, stop: Some(stop) },
        }
    }
    Sent { count, stop: None }
}

fn by_sendfile(socket: RawFd, file: &File, offset: u64, max: usize) -> Result<usize, Stop> {
    loop {
        match sendfile(socket, file.as_raw_fd(), offset, max) {
            Ok(0) => return Err(Stop::Short),
            Ok(count) => return Ok(count),
            Err(why) => match why.raw_os_error().unwrap_or(0) {
                libc::EAGAIN => return Err(Stop::Full),
                libc::EINTR => {}
                // sendfile(2) does not work for this kind of file or socket.
                libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOTSOCK => {
                    return by_copying(socket, file, offset, max);
                }
                libc::EIO => return Err(Stop::File(why)),
                _ => return Err(Stop::Socket(why)),
            },
        }
    }
}

/// Does what [`by_sendfile`] does by reading and writing.
fn by_copying(socket: RawFd, file: &File, offset: u64, max: usize) -> Result<usize, Stop> {
    let mut buffer = vec![0; max.min(PIECE)];
    let count = loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Err(Stop::Short),
            Ok(count) => break count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(Stop::File(why)),
        }
    };
    // Apple's systems have no such flag; there the connection has inherited SO_NOSIGPIPE from the listener.
    #[cfg(target_vendor = "apple")]
    const FLAGS: libc::c_int = 0;
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: the buffer has at least `count` bytes.
        let sent = unsafe { libc::send(socket, buffer.as_ptr().cast(), count, FLAGS) };
        if let Ok(sent) = usize::try_from(sent) {
            return Ok(sent);
        }
        let why = io::Error::last_os_error();
        match why.raw_os_error().unwrap_or(0) {
            libc::EAGAIN => return Err(Stop::Full),
            libc::EINTR => {}
            _ => return Err(Stop::Socket(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn file(content: &[u8]) -> File {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kqnet-send-{}-{number}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    type Send = fn(RawFd, &File, u64, usize) -> Sent;

    fn send_by_copying(socket: RawFd, file: &File, offset: u64, length: usize) -> Sent {
        repeat(length, |count| by_copying(socket, file, offset + count as u64, length - count))
    }

    const WAYS: [Send; 2] = [send, send_by_copying];

    #[test]
    fn a_part_is_sent_and_a_file_that_is_too_short_is_noticed() {
        let file = file(b"0123456789");
        for send in WAYS {
            let (mut client, server) = UnixStream::pair().unwrap();
            assert!(matches!(send(server.as_raw_fd(), &file, 2, 3), Sent { count: 3, stop: None }));
            assert!(matches!(send(server.as_raw_fd(), &file, 8, 100), Sent { count: 2, stop: Some(Stop::Short) }));
            assert!(matches!(send(server.as_raw_fd(), &file, 10, 1), Sent { count: 0, stop: Some(Stop::Short) }));
            assert!(matches!(send(server.as_raw_fd(), &file, 1000, 1), Sent { count: 0, stop: Some(Stop::Short) }));
            assert!(matches!(send(server.as_raw_fd(), &file, 10, 0), Sent { count: 0, stop: None }));
            drop(server);
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "23489");
        }
    }

    #[test]
    fn a_full_socket_takes_nothing_until_the_client_reads() {
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
        let file = file(&content);
        for send in WAYS {
            let (mut client, server) = UnixStream::pair().unwrap();
            server.set_nonblocking(true).unwrap();
            let (mut at, mut was_full, mut got) = (0, false, Vec::new());
            let mut buffer = vec![0; 100_000];
            while at < content.len() {
                let sent = send(server.as_raw_fd(), &file, at as u64, content.len() - at);
                at += sent.count;
                if let Some(stop) = sent.stop {
                    assert!(matches!(stop, Stop::Full));
                    was_full = true;
                    let count = client.read(&mut buffer).unwrap();
                    got.extend_from_slice(&buffer[..count]);
                }
            }
            drop(server);
            client.read_to_end(&mut got).unwrap();
            assert!(was_full && got == content);
        }
    }

    /// A client would otherwise wait 200 ms for the end of what was sent (tcp(7), `TCP_CORK`).
    #[cfg(target_os = "linux")]
    #[test]
    fn what_does_not_fill_a_packet_is_not_held_back_after_sending_much() {
        let file = file(&vec![0; 2 * MANY]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
        for length in [MANY + 1, 2 * MANY] {
            assert!(matches!(send(server.as_raw_fd(), &file, 0, length), Sent { stop: None, .. }));
            let (mut is_corked, mut size) = (1, size_of::<libc::c_int>() as libc::socklen_t);
            // SAFETY: the call writes an integer and its size, which outlive it.
            let result = unsafe {
                let value: *mut libc::c_int = &raw mut is_corked;
                libc::getsockopt(server.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CORK, value.cast(), &raw mut size)
            };
            assert_eq!((result, is_corked), (0, 0));
        }
        drop(server);
        assert_eq!(reader.join().unwrap(), 3 * MANY as u64 + 1);
    }

    /// Test programs ignore SIGPIPE, so the test first makes it end the program, as it does by default.
    #[test]
    fn a_client_that_is_gone_causes_an_error_and_no_signal() {
        let file = file(&[0; 1000]);
        for send in WAYS {
            let (client, mut server) = UnixStream::pair().unwrap();
            drop(client);
            assert!(server.write(b"x").is_err());
            // SAFETY: the default disposition of a signal needs no handler that could be unsafe.
            let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let result = send(server.as_raw_fd(), &file, 0, 1000);
            // SAFETY: this is the disposition that was in force before.
            unsafe { libc::signal(libc::SIGPIPE, before) };
            let Sent { count: 0, stop: Some(Stop::Socket(why)) } = result else { panic!("{result:?}") };
            assert_eq!(why.raw_os_error(), Some(libc::EPIPE));
        }
    }
}
