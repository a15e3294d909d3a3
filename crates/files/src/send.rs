//! Sends parts of files to sockets, by sendfile(2) if the system has it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

use crate::sendfile::sendfile;

/// What failed while a file was sent.
#[derive(Debug)]
pub enum SendError {
    /// Writing to the socket failed.
    Socket(io::Error),
    /// Reading the file failed.
    File(io::Error),
    /// The file ends before the part does.
    Short,
}

/// How many bytes are read at once if sendfile(2) cannot be used.
const PIECE: usize = 64 * 1024;

/// Sends up to `max` bytes of a file, beginning at an offset, without blocking. Returns how many bytes were sent, or
/// `None` if the socket takes none now.
///
/// # Errors
/// Returns what failed, see [`SendError`].
pub fn send(socket: RawFd, file: &File, offset: u64, max: usize) -> Result<Option<usize>, SendError> {
    loop {
        match sendfile(socket, file.as_raw_fd(), offset, max) {
            Ok(0) => return Err(SendError::Short),
            Ok(count) => return Ok(Some(count)),
            Err(why) => match why.raw_os_error().unwrap_or(0) {
                libc::EAGAIN => return Ok(None),
                libc::EINTR => {}
                // sendfile(2) does not work for this kind of file or socket.
                libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOTSOCK => {
                    return copy(socket, file, offset, max);
                }
                libc::EIO => return Err(SendError::File(why)),
                _ => return Err(SendError::Socket(why)),
            },
        }
    }
}

/// Does what [`send`] does by reading and writing.
fn copy(socket: RawFd, file: &File, offset: u64, max: usize) -> Result<Option<usize>, SendError> {
    let mut buffer = vec![0; max.min(PIECE)];
    let count = loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Err(SendError::Short),
            Ok(count) => break count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(SendError::File(why)),
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
            return Ok(Some(sent));
        }
        let why = io::Error::last_os_error();
        match why.raw_os_error().unwrap_or(0) {
            libc::EAGAIN => return Ok(None),
            libc::EINTR => {}
            _ => return Err(SendError::Socket(why)),
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

    type Send = fn(RawFd, &File, u64, usize) -> Result<Option<usize>, SendError>;

    const WAYS: [Send; 2] = [send, copy];

    #[test]
    fn a_part_is_sent_and_a_file_that_is_too_short_is_noticed() {
        let file = file(b"0123456789");
        for send in WAYS {
            let (mut client, server) = UnixStream::pair().unwrap();
            assert!(matches!(send(server.as_raw_fd(), &file, 2, 3), Ok(Some(3))));
            assert!(matches!(send(server.as_raw_fd(), &file, 8, 100), Ok(Some(2))));
            assert!(matches!(send(server.as_raw_fd(), &file, 10, 1), Err(SendError::Short)));
            assert!(matches!(send(server.as_raw_fd(), &file, 1000, 1), Err(SendError::Short)));
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
                match send(server.as_raw_fd(), &file, at as u64, content.len() - at).unwrap() {
                    Some(count) => at += count,
                    None => {
                        was_full = true;
                        let count = client.read(&mut buffer).unwrap();
                        got.extend_from_slice(&buffer[..count]);
                    }
                }
            }
            drop(server);
            client.read_to_end(&mut got).unwrap();
            assert!(was_full && got == content);
        }
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
            assert!(matches!(result, Err(SendError::Socket(why)) if why.raw_os_error() == Some(libc::EPIPE)));
        }
    }
}
