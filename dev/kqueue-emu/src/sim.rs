//! A simulated kernel: descriptors, listeners, connections and a clock under a [`Model`], with no system call, for
//! property tests.
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

use std::collections::VecDeque;

use libc::{EBADF, ECONNABORTED, EINVAL, EMFILE, ENFILE, ENOTCONN, EWOULDBLOCK};

use crate::kevent::{Errno, Kevent};
use crate::model::{Direction, KnoteId, Look, Model, QueueId, SourceId, Sources, Target};
use crate::profile::{Backlog, Profile, Shutdown};

/// The most that a backlog may be, as every one of the kernels has it by default.
const SOMAXCONN: usize = 128;

/// A descriptor number, handed out lowest first.
pub type Fd = i32;

/// One client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conn(pub u32);

/// Where a connection is.
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
    /// Closed by an `accept()` that found no descriptor for it.
    Killed,
}

/// What `accept()` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The new descriptor.
    pub fd: Fd,
    /// Which connection it is.
    pub conn: Conn,
    /// The client has reset the connection already.
    pub was_reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Queue(QueueId),
    Socket(u32),
}

#[derive(Debug)]
enum Socket {
    Free,
    Unused,
    Listener(Listener),
    Stream(Conn),
}

#[derive(Debug, Default)]
struct Listener {
    limit: usize,
    complete: VecDeque<Conn>,
    half_open: usize,
    aborted: bool,
    failures: VecDeque<Errno>,
}

#[derive(Debug)]
struct Connection {
    state: State,
    listener: u32,
    unread: usize,
    hung_up: bool,
    socket: Option<u32>,
}

#[derive(Debug)]
struct Net {
    profile: Profile,
    limit: usize,
    fds: Vec<Option<Entry>>,
    sockets: Vec<(Socket, usize)>,
    conns: Vec<Connection>,
}

/// A simulated process: its descriptors, its queues, and the clients of its listeners.
#[derive(Debug)]
pub struct Sim {
    model: Model,
    net: Net,
    now: u64,
}

impl Sim {
    /// One with descriptors 0, 1 and 2 taken, as in any process, and a limit of 1024.
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

    /// Moves the clock on. Timers expire at the next look at a queue.
    pub fn advance(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
        self.model.tick(self.now, &mut self.net);
    }

    /// RLIMIT_NOFILE: numbers from `limit` on are not handed out. Open ones stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.net.limit = limit;
    }

    /// How many more descriptors can be opened.
    pub fn headroom(&self) -> usize {
        let taken = self.net.fds.iter().take(self.net.limit).flatten().count();
        self.net.limit - taken.min(self.net.limit)
    }

    /// Whether `fd` is open.
    pub fn is_open(&self, fd: Fd) -> bool {
        self.net.entry(fd).is_some()
    }

    /// `kqueue()`
    pub fn kqueue(&mut self) -> Result<Fd, Errno> {
        let fd = self.net.free_fd()?;
        let queue = self.model.kqueue(self.net.profile);
        self.net.place(fd, Entry::Queue(queue));
        Ok(fd)
    }

    /// `kevent()` with a timeout of zero.
    pub fn kevent(&mut self, kq: Fd, changes: &[Kevent], events: &mut [Kevent]) -> Result<usize, Errno> {
        let queue = self.queue(kq)?;
        self.model.kevent(queue, changes, events, self.now, &mut self.net)
    }

    /// Whether poll(2), or a queue that watches this one, would find it readable.
    pub fn ready(&self, kq: Fd) -> bool {
        self.queue(kq).is_ok_and(|queue| !self.model.is_empty(queue))
    }

    /// When the first timer of the queue expires.
    pub fn next_deadline(&self, kq: Fd) -> Option<u64> {
        self.model.next_deadline(self.queue(kq).ok()?)
    }

    /// A bound socket that does not listen yet.
    pub fn socket(&mut self) -> Result<Fd, Errno> {
        let fd = self.net.free_fd()?;
        let socket = self.net.new_socket(Socket::Unused);
        self.net.place(fd, Entry::Socket(socket));
        Ok(fd)
    }

    /// `listen()` on a socket.
    pub fn start_listening(&mut self, fd: Fd, backlog: usize) -> Result<(), Errno> {
        let Some(Entry::Socket(socket)) = self.net.entry(fd) else { return Err(Errno(EBADF)) };
        let limit = match (backlog, self.net.profile.backlog) {
            (0, Backlog::Total) => SOMAXCONN,
            (backlog, _) => backlog.min(SOMAXCONN),
        };
        match &mut self.net.sockets[socket as usize].0 {
            Socket::Listener(listener) => listener.limit = limit,
            other @ Socket::Unused => *other = Socket::Listener(Listener { limit, ..Listener::default() }),
            _ => return Err(Errno(EINVAL)),
        }
        Ok(())
    }

    /// A listening socket, non-blocking.
    pub fn listen(&mut self, backlog: usize) -> Result<Fd, Errno> {
        let fd = self.socket()?;
        self.start_listening(fd, backlog)?;
        Ok(fd)
    }

    /// `dup()`
    pub fn dup(&mut self, fd: Fd) -> Result<Fd, Errno> {
        let Some(Entry::Socket(socket)) = self.net.entry(fd) else { return Err(Errno(EBADF)) };
        let copy = self.net.free_fd()?;
        self.net.sockets[socket as usize].1 += 1;
        self.net.place(copy, Entry::Socket(socket));
        Ok(copy)
    }

    /// `close()`
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

    /// `shutdown(fd, SHUT_RD)` of a listener.
    pub fn shutdown_read(&mut self, fd: Fd) -> Result<(), Errno> {
        let rule = self.net.profile.shutdown;
        let (socket, listener) = self.net.listener(fd)?;
        match rule {
            Shutdown::Refused => return Err(Errno(ENOTCONN)),
            Shutdown::AbortsOne => listener.aborted = true,
            Shutdown::Ignored => {}
        }
        self.model.post_source(SourceId(socket), Direction::Read, &mut self.net);
        Ok(())
    }

    /// A client connects and completes the handshake. None: the backlog is full and the kernel drops the attempt.
    pub fn connect(&mut self, listener: Fd) -> Option<Conn> {
        let conn = self.connect_half(listener)?;
        self.complete(conn);
        Some(conn)
    }

    /// A client begins a handshake. None: the backlog is full.
    pub fn connect_half(&mut self, listener: Fd) -> Option<Conn> {
        let rule = self.net.profile.backlog;
        let (socket, state) = self.net.listener(listener).ok()?;
        let complete = state.complete.len();
        let total = complete + state.half_open;
        let full = match rule {
            Backlog::Total if total >= state.limit && state.half_open > 0 => {
                self.net.drop_half_open(socket);
                false
            }
            Backlog::Total => total >= state.limit,
            Backlog::CompleteOneAndAHalf => complete > 3 * state.limit / 2,
            Backlog::TotalOneAndAHalf => total > 3 * state.limit / 2,
            Backlog::TotalThree => total > 3 * state.limit,
        };
        if full {
            return None;
        }
        let (_, state) = self.net.listener(listener).ok()?;
        state.half_open += 1;
        let conn = Conn(self.net.conns.len() as u32);
        self.net.conns.push(Connection {
            state: State::HalfOpen,
            listener: socket,
            unread: 0,
            hung_up: false,
            socket: None,
        });
        Some(conn)
    }

    /// The handshake of a half-open connection completes: it joins the backlog, and the listener is posted.
    pub fn complete(&mut self, conn: Conn) {
        let connection = &mut self.net.conns[conn.0 as usize];
        if connection.state != State::HalfOpen {
            return;
        }
        connection.state = State::Waiting;
        let socket = connection.listener;
        if let Socket::Listener(listener) = &mut self.net.sockets[socket as usize].0 {
            listener.half_open -= 1;
            listener.complete.push_back(conn);
        }
        self.model.post_source(SourceId(socket), Direction::Read, &mut self.net);
    }

    /// The client resets its connection. In the backlog it keeps its place.
    pub fn reset(&mut self, conn: Conn) {
        let connection = &mut self.net.conns[conn.0 as usize];
        match connection.state {
            State::HalfOpen => {
                connection.state = State::Reset;
                let socket = connection.listener;
                if let Socket::Listener(listener) = &mut self.net.sockets[socket as usize].0 {
                    listener.half_open -= 1;
                }
            }
            State::Waiting => connection.state = State::Reset,
            State::Accepted => self.hang_up(conn),
            _ => {}
        }
    }

    /// The client sends bytes.
    pub fn send(&mut self, conn: Conn, bytes: usize) {
        self.net.conns[conn.0 as usize].unread += bytes;
        self.post_conn(conn);
    }

    /// The client closes its end.
    pub fn hang_up(&mut self, conn: Conn) {
        self.net.conns[conn.0 as usize].hung_up = true;
        self.post_conn(conn);
    }

    /// `read()` of at most so many bytes: 0 at the end.
    pub fn read(&mut self, fd: Fd, bytes: usize) -> Result<usize, Errno> {
        let conn = self.conn(fd).ok_or(Errno(EBADF))?;
        let connection = &mut self.net.conns[conn.0 as usize];
        let taken = connection.unread.min(bytes);
        if taken == 0 && !connection.hung_up {
            return Err(Errno(EWOULDBLOCK));
        }
        connection.unread -= taken;
        Ok(taken)
    }

    /// `accept()`: the oldest connection of the backlog.
    pub fn accept(&mut self, fd: Fd) -> Result<Accepted, Errno> {
        let profile = self.net.profile;
        let free = self.net.free_fd();
        let (socket, listener) = self.net.listener(fd)?;
        if std::mem::take(&mut listener.aborted) {
            return Err(Errno(ECONNABORTED));
        }
        let shortage = match listener.failures.pop_front() {
            Some(error) if error == Errno(EMFILE) || error == Errno(ENFILE) => Some(error),
            Some(error) => return Err(error),
            None => free.err(),
        };
        if let Some(error) = shortage.filter(|_| !profile.emfile_closes) {
            return Err(error);
        }
        let conn = listener.complete.pop_front().ok_or(Errno(EWOULDBLOCK))?;
        let outcome = match shortage {
            Some(error) => {
                // XNU takes the connection from the backlog before it looks for a descriptor.
                self.net.conns[conn.0 as usize].state = State::Killed;
                Err(error)
            }
            None => self.hand_out(conn, free?),
        };
        self.model.dequeued(SourceId(socket), &mut self.net);
        outcome
    }

    /// Makes the next `accept()` of the listener fail with `error`, before any that were asked for later.
    pub fn fail_accept(&mut self, listener: Fd, error: Errno) {
        if let Ok((_, listener)) = self.net.listener(listener) {
            listener.failures.push_back(error);
        }
    }

    /// How many connections wait in the listener's backlog, with those that were reset there.
    pub fn backlog(&self, listener: Fd) -> usize {
        match self.net.entry(listener) {
            Some(Entry::Socket(socket)) => match &self.net.sockets[socket as usize].0 {
                Socket::Listener(listener) => listener.complete.len(),
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Where the connection is.
    pub fn state(&self, conn: Conn) -> State {
        self.net.conns[conn.0 as usize].state
    }

    /// Every connection that a client has begun, oldest first.
    pub fn conns(&self) -> impl Iterator<Item = (Conn, State)> + '_ {
        self.net.conns.iter().enumerate().map(|(index, conn)| (Conn(index as u32), conn.state))
    }

    /// The connection behind a descriptor from `accept()`.
    pub fn conn(&self, fd: Fd) -> Option<Conn> {
        match self.net.entry(fd)? {
            Entry::Socket(socket) => match self.net.sockets[socket as usize].0 {
                Socket::Stream(conn) => Some(conn),
                _ => None,
            },
            Entry::Queue(_) => None,
        }
    }

    fn hand_out(&mut self, conn: Conn, fd: Fd) -> Result<Accepted, Errno> {
        let was_reset = self.net.conns[conn.0 as usize].state == State::Reset;
        if was_reset && !self.net.profile.reset_is_handed_out {
            self.net.conns[conn.0 as usize].state = State::ResetTaken;
            return Err(Errno(ECONNABORTED));
        }
        let socket = self.net.new_socket(Socket::Stream(conn));
        self.net.place(fd, Entry::Socket(socket));
        let connection = &mut self.net.conns[conn.0 as usize];
        connection.socket = Some(socket);
        connection.state = if was_reset { State::ResetTaken } else { State::Accepted };
        connection.hung_up |= was_reset;
        Ok(Accepted { fd, conn, was_reset })
    }

    fn post_conn(&mut self, conn: Conn) {
        if let Some(socket) = self.net.conns[conn.0 as usize].socket {
            self.model.post_source(SourceId(socket), Direction::Read, &mut self.net);
        }
    }

    fn queue(&self, fd: Fd) -> Result<QueueId, Errno> {
        match self.net.entry(fd) {
            Some(Entry::Queue(queue)) => Ok(queue),
            _ => Err(Errno(EBADF)),
        }
    }
}

impl Net {
    fn entry(&self, fd: Fd) -> Option<Entry> {
        *self.fds.get(usize::try_from(fd).ok()?)?
    }

    fn free_fd(&self) -> Result<Fd, Errno> {
        let lowest = self.fds.iter().position(Option::is_none).unwrap_or(self.fds.len());
        if lowest < self.limit { Ok(lowest as Fd) } else { Err(Errno(EMFILE)) }
    }

    fn place(&mut self, fd: Fd, entry: Entry) {
        let index = fd as usize;
        if self.fds.len() <= index {
            self.fds.resize(index + 1, None);
        }
        self.fds[index] = Some(entry);
    }

    fn new_socket(&mut self, socket: Socket) -> u32 {
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

    fn listener(&mut self, fd: Fd) -> Result<(u32, &mut Listener), Errno> {
        match self.entry(fd) {
            Some(Entry::Socket(socket)) => match &mut self.sockets[socket as usize].0 {
                Socket::Listener(listener) => Ok((socket, listener)),
                _ => Err(Errno(EINVAL)),
            },
            _ => Err(Errno(EBADF)),
        }
    }

    /// Drops the oldest half-open connection of a listener.
    fn drop_half_open(&mut self, socket: u32) {
        let is_its = |conn: &&mut Connection| conn.listener == socket && conn.state == State::HalfOpen;
        if let Some(conn) = self.conns.iter_mut().find(is_its) {
            conn.state = State::Dropped;
        }
        if let Socket::Listener(listener) = &mut self.sockets[socket as usize].0 {
            listener.half_open -= 1;
        }
    }

    fn release(&mut self, socket: u32) {
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
