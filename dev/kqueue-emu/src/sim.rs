//! A simulated kernel for property tests, without system calls.
//!
//! It has descriptors, listeners, connections and a clock under a [`Model`].
//!
//! This file has the descriptors, queues and clock of [`Sim`]. `listening` has its listening sockets, `clients` has what
//! clients do, and `net` is what the model sees.
//!
//! ```
//! use kqueue_emu::kevent::*;
//! use kqueue_emu::{Kernel, sim::Sim};
//!
//! let mut sim = Sim::new(Kernel::Xnu.profile());
//! let listener = sim.listen(8).unwrap();
//! let queue = sim.kqueue().unwrap();
//! let mut events = [Kevent::default(); 4];
//! sim.kevent(queue, &[Kevent::new(listener as usize, EVFILT_READ, EV_ADD | EV_CLEAR)], &mut []).unwrap();
//! sim.connect(listener).unwrap();
//! sim.connect(listener).unwrap();
//! assert_eq!(sim.kevent(queue, &[], &mut events).unwrap(), 1);
//! assert_eq!(events[0].data, 2);
//! sim.accept(listener).unwrap();
//! // XNU posts nothing when a connection is taken, so the second one waits for ever.
//! assert_eq!(sim.kevent(queue, &[], &mut events).unwrap(), 0);
//! assert_eq!(sim.backlog(listener), 1);
//! ```

mod clients;
mod listening;
mod net;

use libc::EBADF;

use crate::kevent::{Errno, Kevent};
use crate::model::{Model, QueueId};
use crate::profile::Profile;
use net::{Entry, Net, Socket};

pub use listening::Accepted;
pub use net::{Conn, Fd, State};

/// A simulated process: its descriptors, its queues, and the clients of its listeners.
#[derive(Debug)]
pub struct Sim {
    model: Model,
    net: Net,
    now: u64,
}

impl Sim {
    /// A process with descriptors 0, 1 and 2 taken, as in any process, and a limit of 1024.
    pub fn new(profile: Profile) -> Self {
        let standard = Entry::Socket(0);
        let net = Net {
            profile,
            limit: 1024,
            fds: vec![Some(standard); 3],
            sockets: vec![(Socket::Unused, 3)],
            conns: Vec::new(),
        };
        Self { model: Model::new(), net, now: 0 }
    }

    /// The semantics in use.
    pub fn profile(&self) -> Profile {
        self.net.profile
    }

    /// The clock, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Moves the clock on, and expires the timers that are due by then.
    pub fn advance(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
        self.model.tick(self.now, &mut self.net);
    }

    /// Sets RLIMIT_NOFILE: numbers from `limit` up are not handed out any more, but those that are open stay open.
    pub fn set_limit(&mut self, limit: usize) {
        self.net.limit = limit;
    }

    /// How many more descriptors can be opened.
    pub fn room(&self) -> usize {
        let taken = self.net.fds.iter().take(self.net.limit).flatten().count();
        self.net.limit - taken.min(self.net.limit)
    }

    /// Whether `fd` is open.
    pub fn is_open(&self, fd: Fd) -> bool {
        self.net.entry(fd).is_some()
    }

    /// `kqueue()`
    ///
    /// # Errors
    /// Returns EMFILE without room for another descriptor.
    pub fn kqueue(&mut self) -> Result<Fd, Errno> {
        let fd = self.net.free_fd()?;
        let queue = self.model.kqueue(self.net.profile);
        self.net.place(fd, Entry::Queue(queue));
        Ok(fd)
    }

    /// `kevent()` with a timeout of zero.
    ///
    /// # Errors
    /// Returns EBADF if `kq` is not a queue, and the error of a change for which `events` has no slot left.
    pub fn kevent(&mut self, kq: Fd, changes: &[Kevent], events: &mut [Kevent]) -> Result<usize, Errno> {
        let queue = self.queue(kq)?;
        self.model.kevent(queue, changes, events, self.now, &mut self.net)
    }

    /// Whether poll(2), or a queue that watches this one, would find the queue readable.
    pub fn ready(&self, kq: Fd) -> bool {
        self.queue(kq).is_ok_and(|queue| !self.model.is_empty(queue))
    }

    /// When the first timer of the queue expires.
    pub fn next_deadline(&self, kq: Fd) -> Option<u64> {
        self.model.next_deadline(self.queue(kq).ok()?)
    }

    /// Makes a bound socket that does not listen yet.
    ///
    /// # Errors
    /// Returns EMFILE without room for another descriptor.
    pub fn socket(&mut self) -> Result<Fd, Errno> {
        let fd = self.net.free_fd()?;
        let socket = self.net.new_socket(Socket::Unused);
        self.net.place(fd, Entry::Socket(socket));
        Ok(fd)
    }

    /// `dup()` of a socket.
    ///
    /// # Errors
    /// Returns EBADF if `fd` is not a socket, and EMFILE without room for another descriptor.
    pub fn dup(&mut self, fd: Fd) -> Result<Fd, Errno> {
        let Some(Entry::Socket(socket)) = self.net.entry(fd) else { return Err(Errno(EBADF)) };
        let copy = self.net.free_fd()?;
        self.net.sockets[socket as usize].1 += 1;
        self.net.place(copy, Entry::Socket(socket));
        Ok(copy)
    }

    /// `close()`
    ///
    /// # Errors
    /// Returns EBADF if `fd` is not open.
    pub fn close(&mut self, fd: Fd) -> Result<(), Errno> {
        let entry = self.net.entry(fd).ok_or(Errno(EBADF))?;
        self.model.close_fd(fd, &mut self.net);
        self.net.fds[fd as usize] = None;
        match entry {
            Entry::Queue(queue) => self.model.close_queue(queue, &mut self.net),
            Entry::Socket(socket) => self.net.release(socket),
        }
        Ok(())
    }

    fn queue(&self, fd: Fd) -> Result<QueueId, Errno> {
        match self.net.entry(fd) {
            Some(Entry::Queue(queue)) => Ok(queue),
            _ => Err(Errno(EBADF)),
        }
    }
}
