//! kqueue() and kevent() without pointers, and the sockets that tests need.

#![allow(dead_code, reason = "each test program uses a part")]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kqueue_emu::kevent::{Errno, Kevent};
use kqueue_emu::{Kernel, set_kernel};
use libc::{c_int, timespec};

/// A timeout of zero: only what is there now.
pub const NOW: Option<Duration> = Some(Duration::ZERO);
/// No timeout: waits until there is something.
pub const WAIT: Option<Duration> = None;

/// A queue, which is closed when it is dropped.
#[derive(Debug)]
pub struct Queue(pub OwnedFd);

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Queue {
    /// A queue with the semantics of `kernel`.
    pub fn new(kernel: Kernel) -> Self {
        set_kernel(Some(kernel));
        let fd = kqueue_emu::kqueue();
        assert!(fd >= 0);
        // SAFETY: kqueue() has just returned it, so it is open and nobody else's.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Calls kevent() with space for `room` events.
    pub fn exchange(&self, changes: &[Kevent], room: usize, timeout: Option<Duration>) -> Result<Vec<Kevent>, Errno> {
        kevent(self.as_raw_fd(), changes, room, timeout)
    }

    /// Applies one change.
    pub fn change(&self, fd: &impl AsRawFd, filter: i16, flags: u16) -> Result<(), Errno> {
        self.exchange(&[Kevent::new(fd.as_raw_fd() as usize, filter, flags)], 0, NOW).map(drop)
    }

    /// The events that are there now.
    pub fn events(&self) -> Vec<Kevent> {
        self.exchange(&[], 8, NOW).unwrap()
    }

    /// Waits for events.
    pub fn wait(&self) -> Vec<Kevent> {
        self.exchange(&[], 8, WAIT).unwrap()
    }

    /// Whether there is an event now.
    pub fn fires(&self) -> bool {
        !self.events().is_empty()
    }
}

/// Calls kevent() on any number.
pub fn kevent(kq: RawFd, changes: &[Kevent], room: usize, timeout: Option<Duration>) -> Result<Vec<Kevent>, Errno> {
    let mut events = vec![Kevent::default(); room];
    let timeout = timeout.map(|time| timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let (nchanges, nevents) = (changes.len() as c_int, room as c_int);
    // SAFETY: the pointers and counts are those of two slices; the timeout lives through the call.
    let count = unsafe { kqueue_emu::kevent(kq, changes.as_ptr(), nchanges, events.as_mut_ptr(), nevents, timeout) };
    if count < 0 {
        return Err(last_error());
    }
    events.truncate(count as usize);
    Ok(events)
}

/// The error of the last call: errno.
pub fn last_error() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap())
}

/// A non-blocking unix listener in the abstract namespace. When connect() to it returns, everything has happened that
/// the listener's side can see, so a test can check that something does not happen.
pub fn unix_listener() -> UnixListener {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("kqueue-emu-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// A client of a unix listener.
pub fn unix_connect(listener: &UnixListener) -> UnixStream {
    UnixStream::connect_addr(&listener.local_addr().unwrap()).unwrap()
}

/// A client that does not wait for room in the backlog.
pub fn unix_connect_now(listener: &UnixListener) -> Result<OwnedFd, Errno> {
    // SAFETY: a sockaddr_un is integers, for which zeros are valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the only pointer is to an address with room for `length` bytes. The descriptor is new.
    unsafe {
        let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let client = OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, flags, 0));
        libc::getsockname(listener.as_raw_fd(), (&raw mut address).cast(), &mut length);
        match libc::connect(client.as_raw_fd(), (&raw const address).cast(), length) {
            0 => Ok(client),
            _ => Err(last_error()),
        }
    }
}

/// The two ends of a new pipe: the one to read from, and the one to write to.
pub fn pipe() -> (File, File) {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two numbers.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: pipe2() has just returned both, so they are open and nobody else's.
    let [reader, writer] = fds.map(|fd| unsafe { File::from_raw_fd(fd) });
    (reader, writer)
}

/// What fcntl() returns for a descriptor, or `None` when it is closed.
pub fn fcntl(fd: RawFd, command: i32) -> Option<i32> {
    // SAFETY: no pointer.
    let flags = unsafe { libc::fcntl(fd, command) };
    (flags >= 0).then_some(flags)
}

/// Runs `action` while another thread sleeps in `wait`, and returns what that returns.
pub fn while_waiting<T: Send>(wait: impl FnOnce() -> T + Send, action: impl FnOnce()) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            // SAFETY: no argument.
            sender.send(unsafe { libc::gettid() }).unwrap();
            wait()
        });
        let stat = format!("/proc/self/task/{}/stat", receiver.recv().unwrap());
        while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
            assert!(!waiting.is_finished(), "it returned instead of waiting");
            thread::yield_now();
        }
        action();
        waiting.join().unwrap()
    })
}
