//! Listening sockets: their backlogs, and accept().

use libc::{EBADF, ECONNABORTED, EINVAL, EMFILE, ENFILE, ENOTCONN, EWOULDBLOCK};

use super::Sim;
use super::net::{Conn, Entry, Fd, Listener, Socket, State};
use crate::kevent::Errno;
use crate::model::{Direction, SourceId};
use crate::profile::{Backlog, Shutdown};

/// The largest backlog: the default of every one of the kernels.
const SOMAXCONN: usize = 128;

/// What `accept()` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The new descriptor.
    pub fd: Fd,
    /// Which connection it is.
    pub conn: Conn,
    /// Whether the client has already reset the connection.
    pub was_reset: bool,
}

impl Sim {
    /// `listen()` on a socket, which may be listening already.
    ///
    /// # Errors
    /// Returns EBADF if `fd` is not a socket, and EINVAL if it is connected.
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

    /// Makes a listening socket, which is non-blocking.
    ///
    /// # Errors
    /// Returns EMFILE without room for another descriptor.
    pub fn listen(&mut self, backlog: usize) -> Result<Fd, Errno> {
        let fd = self.socket()?;
        self.start_listening(fd, backlog)?;
        Ok(fd)
    }

    /// `shutdown(fd, SHUT_RD)` of a listener.
    ///
    /// # Errors
    /// Returns ENOTCONN if the kernel refuses it.
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

    /// `accept()`: takes the oldest connection of the backlog.
    ///
    /// # Errors
    /// Returns EWOULDBLOCK if the backlog is empty, EMFILE without room for another descriptor, ECONNABORTED for a
    /// connection that was reset, and what [`fail_accept`](Self::fail_accept) asked for.
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
        let accepted = match shortage {
            Some(error) => {
                // XNU takes the connection from the backlog before it looks for a descriptor.
                self.net.conns[conn.0 as usize].state = State::Killed;
                Err(error)
            }
            None => self.hand_out(conn, free?),
        };
        self.model.dequeued(SourceId(socket), &mut self.net);
        accepted
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

    /// Makes the next `accept()` of the listener fail with `error`. Several calls make as many accepts fail, in their
    /// order.
    pub fn fail_accept(&mut self, listener: Fd, error: Errno) {
        if let Ok((_, listener)) = self.net.listener(listener) {
            listener.failures.push_back(error);
        }
    }

    /// How many connections wait in the listener's backlog, including those that were reset there.
    pub fn backlog(&self, listener: Fd) -> usize {
        match self.net.entry(listener) {
            Some(Entry::Socket(socket)) => match &self.net.sockets[socket as usize].0 {
                Socket::Listener(listener) => listener.complete.len(),
                _ => 0,
            },
            _ => 0,
        }
    }
}
