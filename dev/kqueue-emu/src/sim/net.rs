//! The descriptors, sockets and connections of the simulated kernel, as the [`Sources`] of its model.

use std::collections::VecDeque;

use libc::{EBADF, EINVAL, EMFILE};

use crate::kevent::Errno;
use crate::model::{Direction, KnoteId, Look, QueueId, SourceId, Sources, Target};
use crate::profile::Profile;

/// A descriptor number, handed out lowest first.
pub type Fd = i32;

/// One client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conn(pub u32);

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The handshake is under way.
    HalfOpen,
    /// In the backlog.
    Waiting,
    /// Handed out by `accept()`, and its descriptor is open.
    Accepted,
    /// Its descriptor was closed by the program.
    Closed,
    /// Reset by the client before it was accepted; still in the backlog if it was complete.
    Reset,
    /// Taken from the backlog after a reset: by ECONNABORTED, or as a descriptor.
    ResetTaken,
    /// Half-open, and dropped for another when the backlog was full.
    Dropped,
    /// The listener was closed with the connection in its backlog.
    Orphaned,
    /// Closed by an `accept()` that had no descriptor for it.
    Killed,
}

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Queue(QueueId),
    Socket(u32),
}

#[derive(Debug)]
pub(super) enum Socket {
    Free,
    Unused,
    Listener(Listener),
    Stream(Conn),
}

#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) limit: usize,
    pub(super) complete: VecDeque<Conn>,
    pub(super) half_open: usize,
    pub(super) aborted: bool,
    /// The errors of the next calls of `accept()`.
    pub(super) failures: VecDeque<Errno>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) state: State,
    pub(super) listener: u32,
    pub(super) unread: usize,
    pub(super) hung_up: bool,
    pub(super) socket: Option<u32>,
}

/// The kernel without its queues.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) profile: Profile,
    /// RLIMIT_NOFILE.
    pub(super) limit: usize,
    pub(super) fds: Vec<Option<Entry>>,
    /// Sockets, and the number of descriptors of each.
    pub(super) sockets: Vec<(Socket, usize)>,
    pub(super) conns: Vec<Connection>,
}

impl Net {
    pub(super) fn entry(&self, fd: Fd) -> Option<Entry> {
        *self.fds.get(usize::try_from(fd).ok()?)?
    }

    pub(super) fn free_fd(&self) -> Result<Fd, Errno> {
        let lowest = self.fds.iter().position(Option::is_none).unwrap_or(self.fds.len());
        if lowest < self.limit { Ok(lowest as Fd) } else { Err(Errno(EMFILE)) }
    }

    pub(super) fn place(&mut self, fd: Fd, entry: Entry) {
        let index = fd as usize;
        if self.fds.len() <= index {
            self.fds.resize(index + 1, None);
        }
        self.fds[index] = Some(entry);
    }

    pub(super) fn new_socket(&mut self, socket: Socket) -> u32 {
        match self.sockets.iter().position(|(socket, _)| matches!(socket, Socket::Free)) {
            Some(index) => {
                self.sockets[index] = (socket, 1);
                index as u32
            }
            None => {
                self.sockets.push((socket, 1));
                self.sockets.len() as u32 - 1
            }
        }
    }

    pub(super) fn listener(&mut self, fd: Fd) -> Result<(u32, &mut Listener), Errno> {
        match self.entry(fd) {
            Some(Entry::Socket(socket)) => match &mut self.sockets[socket as usize].0 {
                Socket::Listener(listener) => Ok((socket, listener)),
                _ => Err(Errno(EINVAL)),
            },
            _ => Err(Errno(EBADF)),
        }
    }

    /// Drops the oldest half-open connection of a listener.
    pub(super) fn drop_half_open(&mut self, socket: u32) {
        let is_its = |conn: &&mut Connection| conn.listener == socket && conn.state == State::HalfOpen;
        if let Some(conn) = self.conns.iter_mut().find(is_its) {
            conn.state = State::Dropped;
        }
        if let Socket::Listener(listener) = &mut self.sockets[socket as usize].0 {
            listener.half_open -= 1;
        }
    }

    pub(super) fn release(&mut self, socket: u32) {
        let (state, count) = &mut self.sockets[socket as usize];
        *count -= 1;
        if *count > 0 {
            return;
        }
        match std::mem::replace(state, Socket::Free) {
            Socket::Listener(_) => {
                for conn in &mut self.conns {
                    if conn.listener == socket && matches!(conn.state, State::HalfOpen | State::Waiting) {
                        conn.state = State::Orphaned;
                    }
                    if conn.listener == socket {
                        conn.listener = u32::MAX;
                    }
                }
            }
            Socket::Stream(conn) => {
                let conn = &mut self.conns[conn.0 as usize];
                conn.socket = None;
                if conn.state == State::Accepted {
                    conn.state = State::Closed;
                }
            }
            Socket::Free | Socket::Unused => {}
        }
    }
}

impl Sources for Net {
    fn identify(&mut self, fd: i32) -> Option<Target> {
        match self.entry(fd)? {
            Entry::Queue(queue) => Some(Target::Queue(queue)),
            Entry::Socket(_) => Some(Target::Source),
        }
    }

    fn is_same(&mut self, _: QueueId, fd: i32, _: Direction, source: SourceId) -> bool {
        self.entry(fd) == Some(Entry::Socket(source.0))
    }

    fn attach(&mut self, _: QueueId, fd: i32, _: Direction, target: Target, _: KnoteId) -> Result<SourceId, Errno> {
        match (target, self.entry(fd)) {
            (Target::Source, Some(Entry::Socket(socket))) => Ok(SourceId(socket)),
            _ => Ok(SourceId(0)),
        }
    }

    fn detach(&mut self, _: QueueId, _: i32, _: Direction, _: Target, _: SourceId) {}

    fn look(&mut self, _: QueueId, _: i32, direction: Direction, source: SourceId) -> Look {
        match &self.sockets[source.0 as usize].0 {
            Socket::Listener(listener) => Look::Listener {
                complete: listener.complete.len(),
                half_open: listener.half_open,
                aborted: listener.aborted,
            },
            Socket::Stream(conn) => {
                let conn = &self.conns[conn.0 as usize];
                match direction {
                    Direction::Read => Look::Stream { ready: conn.unread > 0, data: conn.unread, eof: conn.hung_up },
                    Direction::Write => Look::Stream { ready: true, data: 65536, eof: false },
                }
            }
            Socket::Unused => Look::Stream { ready: false, data: 0, eof: false },
            Socket::Free => Look::Gone,
        }
    }
}
