//! What clients do: connecting, sending, resetting and closing.

use libc::{EBADF, EWOULDBLOCK};

use super::Sim;
use super::net::{Conn, Connection, Entry, Fd, Socket, State};
use crate::kevent::Errno;
use crate::model::{Direction, SourceId};
use crate::profile::Backlog;

impl Sim {
    /// A client connects and completes the handshake. Returns `None` if the backlog is full and the kernel drops the
    /// attempt.
    pub fn connect(&mut self, listener: Fd) -> Option<Conn> {
        let conn = self.connect_half(listener)?;
        self.complete(conn);
        Some(conn)
    }

    /// A client begins a handshake. Returns `None` if the backlog is full.
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

    /// The client resets its connection. One that is in the backlog keeps its place there.
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

    /// `read()` of at most `bytes` bytes. Returns 0 at the end.
    ///
    /// # Errors
    /// Returns EBADF if `fd` is not a connection, and EWOULDBLOCK if there is nothing to read.
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

    /// What has become of the connection.
    pub fn state(&self, conn: Conn) -> State {
        self.net.conns[conn.0 as usize].state
    }

    /// Every connection that a client has begun, the oldest first.
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

    fn post_conn(&mut self, conn: Conn) {
        if let Some(socket) = self.net.conns[conn.0 as usize].socket {
            self.model.post_source(SourceId(socket), Direction::Read, &mut self.net);
        }
    }
}
