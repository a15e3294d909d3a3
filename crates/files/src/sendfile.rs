//! sendfile(2) with one signature for all systems.

pub(crate) use system::{in_full_packets, sendfile, without_sigpipe};

/// Makes calls that raise no SIGPIPE: except on Linux, connections have SO_NOSIGPIPE, which covers sendfile(2) too.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn unmasked<T>(calls: impl FnOnce() -> T, _: impl FnOnce(&T) -> bool) -> std::io::Result<T> {
    Ok(calls())
}

/// Makes calls. Only Linux is told to fill the packets.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn uncorked<T>(_: std::os::fd::RawFd, calls: impl FnOnce() -> T) -> T {
    calls()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::RawFd;
    use std::ptr;

    /// Makes calls that send much, in packets that are full. sendfile(2) hands a file over in pieces of 64 KiB, and with
    /// `TCP_NODELAY`, an acknowledgement that arrives meanwhile sends the last packet of a piece although it is not full. What does
    /// not fill a packet is sent after the calls.
    pub(crate) fn in_full_packets<T>(socket: RawFd, calls: impl FnOnce() -> T) -> T {
        let cork = |is_on: libc::c_int| {
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            // SAFETY: the value is an integer, and outlives the call.
            unsafe { libc::setsockopt(socket, libc::IPPROTO_TCP, libc::TCP_CORK, (&raw const is_on).cast(), size) }
        };
        // A unix socket has no packets.
        if cork(1) != 0 {
            return calls();
        }
        let result = calls();
        cork(0);
        result
    }

    /// Sends up to `max` bytes of a file. Call this within [`without_sigpipe`].
    pub(crate) fn sendfile(socket: RawFd, file: RawFd, offset: u64, max: usize) -> io::Result<usize> {
        let mut offset = libc::off64_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: the call writes only to `offset`, which outlives it.
        let sent = unsafe { libc::sendfile64(socket, file, &raw mut offset, max) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Makes calls of sendfile(2), and discards the SIGPIPE that they may raise, which goes to the calling thread. On Linux
    /// sendfile(2) has no MSG_NOSIGNAL, so a connection that was reset would otherwise end the program. `is_alive` tells from the
    /// result that the connection was not found reset. A call that sends some bytes may raise the signal too, but then the
    /// next one fails.
    pub(crate) fn without_sigpipe<T>(calls: impl FnOnce() -> T, is_alive: impl FnOnce(&T) -> bool) -> io::Result<T> {
        // SAFETY: both signal sets are filled before they are read and outlive the calls that write to them. The calls
        // change nothing but the signal mask of this thread and a pending SIGPIPE.
        unsafe {
            let (mut pipe, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
            libc::sigemptyset(pipe.as_mut_ptr());
            libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE);
            if libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), before.as_mut_ptr()) != 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSYS));
            }
            let result = calls();
            // A program that blocks SIGPIPE itself also handles a pending one itself.
            if libc::sigismember(before.as_ptr(), libc::SIGPIPE) == 0 {
                if !is_alive(&result) {
                    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                    libc::sigtimedwait(pipe.as_ptr(), ptr::null_mut(), &raw const now);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
            }
            Ok(result)
        }
    }
}

#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
mod system {
    use std::io;
    use std::os::fd::RawFd;
    use std::ptr;

    pub(crate) use super::{uncorked as in_full_packets, unmasked as without_sigpipe};

    /// Sends up to `max` bytes of a file.
    pub(crate) fn sendfile(socket: RawFd, file: RawFd, offset: u64, max: usize) -> io::Result<usize> {
        let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        #[cfg(target_vendor = "apple")]
        let (result, sent) = {
            let mut count = max as libc::off_t;
            // SAFETY: the call writes only to `count`, which outlives it; there are no headers.
            let result = unsafe { libc::sendfile(file, socket, offset, &raw mut count, ptr::null_mut(), 0) };
            (result, count)
        };
        #[cfg(target_os = "freebsd")]
        let (result, sent) = {
            let mut count = 0;
            // SAFETY: the call writes only to `count`, which outlives it; there are no headers.
            let result = unsafe { libc::sendfile(file, socket, offset, max, ptr::null_mut(), &raw mut count, 0) };
            (result, count)
        };
        let why = io::Error::last_os_error();
        match usize::try_from(sent) {
            Ok(sent) if result == 0 => Ok(sent),
            // A part was sent before the socket was full or a signal arrived.
            Ok(sent) if sent > 0 && matches!(why.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(sent),
            _ => Err(why),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", target_os = "freebsd")))]
mod system {
    use std::io;
    use std::os::fd::RawFd;

    pub(crate) use super::{uncorked as in_full_packets, unmasked as without_sigpipe};

    /// Returns ENOSYS: this system has no sendfile(2).
    pub(crate) fn sendfile(_socket: RawFd, _file: RawFd, _offset: u64, _max: usize) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }
}
