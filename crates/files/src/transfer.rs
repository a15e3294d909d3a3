//! Sending parts of files to sockets, by sendfile(2) where the system has it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

/// What failed.
#[derive(Debug)]
pub enum SendError {
    /// The connection.
    Socket(io::Error),
    /// Reading the file.
    File(io::Error),
    /// The file ends before the part does.
    Short,
}

/// How much is read at once where the system has no sendfile(2) for this file.
const PIECE: usize = 64 * 1024;

/// Sends up to `most` bytes of a file from an offset on, without blocking: how many were sent, nothing where the socket
/// takes none now.
///
/// # Errors
/// [`SendError`]
pub fn send(socket: RawFd, file: &File, offset: u64, most: usize) -> Result<Option<usize>, SendError> {
    loop {
        match system::send(socket, file.as_raw_fd(), offset, most) {
            Ok(0) => return Err(SendError::Short),
            Ok(count) => return Ok(Some(count)),
            Err(why) => match why.raw_os_error().unwrap_or(0) {
                libc::EAGAIN => return Ok(None),
                libc::EINTR => {}
                // This kind of file or socket cannot be sent so.
                libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOTSOCK => {
                    return copy(socket, file, offset, most);
                }
                libc::EIO => return Err(SendError::File(why)),
                _ => return Err(SendError::Socket(why)),
            },
        }
    }
}

/// As [`send`], by reading and writing.
fn copy(socket: RawFd, file: &File, offset: u64, most: usize) -> Result<Option<usize>, SendError> {
    let mut buffer = vec![0; most.min(PIECE)];
    let count = loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Err(SendError::Short),
            Ok(count) => break count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(SendError::File(why)),
        }
    };
    // Where there is no such flag, SO_NOSIGPIPE was inherited from the listener.
    #[cfg(target_vendor = "apple")]
    const FLAGS: libc::c_int = 0;
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: the buffer has so many bytes.
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

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::RawFd;
    use std::ptr;

    /// sendfile(2) has no MSG_NOSIGNAL: a connection that was reset would end the program.
    pub fn send(socket: RawFd, file: RawFd, offset: u64, most: usize) -> io::Result<usize> {
        let mut offset = libc::off64_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        without_sigpipe(most, || {
            // SAFETY: a place for the offset, which outlives the call.
            let sent = unsafe { libc::sendfile64(socket, file, &raw mut offset, most) };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        })
    }

    /// Keeps a call that is to send `most` bytes from raising SIGPIPE, which goes to the calling thread. It may do so even
    /// where it succeeds: with what was sent before the connection was found reset.
    fn without_sigpipe(most: usize, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        // SAFETY: sets of signals, filled before they are read, and places for them; none of these has other effects.
        unsafe {
            let (mut pipe, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
            libc::sigemptyset(pipe.as_mut_ptr());
            libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE);
            if libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), before.as_mut_ptr()) != 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSYS));
            }
            let result = call();
            // Whoever blocks it deals with it.
            if libc::sigismember(before.as_ptr(), libc::SIGPIPE) == 0 {
                if !matches!(result, Ok(sent) if sent == most) {
                    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                    libc::sigtimedwait(pipe.as_ptr(), ptr::null_mut(), &raw const now);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
            }
            result
        }
    }
}

/// SO_NOSIGPIPE, which connections have there, covers sendfile(2) too.
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
mod system {
    use std::io;
    use std::os::fd::RawFd;
    use std::ptr;

    pub fn send(socket: RawFd, file: RawFd, offset: u64, most: usize) -> io::Result<usize> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: a place for the number of bytes, which outlives the call; no headers.
        #[cfg(target_vendor = "apple")]
        let (result, sent) = unsafe {
            let mut count = most as libc::off_t;
            let result = libc::sendfile(file, socket, offset, &raw mut count, ptr::null_mut(), 0);
            (result, count)
        };
        // SAFETY: as above.
        #[cfg(target_os = "freebsd")]
        let (result, sent) = unsafe {
            let mut count = 0;
            let result = libc::sendfile(file, socket, offset, most, ptr::null_mut(), &raw mut count, 0);
            (result, count)
        };
        let why = io::Error::last_os_error();
        match usize::try_from(sent) {
            Ok(sent) if result == 0 => Ok(sent),
            // Sent in part, and then it would have blocked, or a signal came.
            Ok(sent) if sent > 0 && matches!(why.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(sent),
            _ => Err(why),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd")))]
mod system {
    use std::io;
    use std::os::fd::RawFd;

    pub fn send(_socket: RawFd, _file: RawFd, _offset: u64, _most: usize) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
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
    fn a_part_is_sent_and_the_end_of_the_file_is_noticed() {
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
    fn a_full_socket_takes_nothing_and_goes_on_later() {
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

    /// Rust's test programs ignore the signal, so it is made deadly here first.
    #[test]
    fn a_client_that_is_gone_is_an_error_and_no_signal() {
        let file = file(&[0; 1000]);
        for send in WAYS {
            let (client, mut server) = UnixStream::pair().unwrap();
            drop(client);
            assert!(server.write(b"x").is_err());
            // SAFETY: another disposition of a signal, for this short time.
            let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let result = send(server.as_raw_fd(), &file, 0, 1000);
            // SAFETY: as above.
            unsafe { libc::signal(libc::SIGPIPE, before) };
            assert!(matches!(result, Err(SendError::Socket(why)) if why.raw_os_error() == Some(libc::EPIPE)));
        }
    }
}
