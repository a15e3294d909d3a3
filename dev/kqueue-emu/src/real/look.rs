//! Whether a real descriptor is ready, in the terms of the model: what poll(2) and a few options say of it.

use libc::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP};

use crate::model::{Direction, Look};
use crate::system;

/// Looks at a descriptor whose file has the type `kind` (of `st_mode`).
pub(super) fn look(fd: i32, kind: u32, direction: Direction) -> Look {
    match (kind, direction) {
        (libc::S_IFSOCK, _) => look_at_socket(fd, direction),
        (libc::S_IFREG, Direction::Read) => {
            let size = system::stat(fd).map_or(0, |stat| stat.st_size);
            let left = usize::try_from(size - system::position(fd)).unwrap_or(0);
            Look::Stream { ready: left > 0, data: left, eof: false }
        }
        (_, Direction::Read) => {
            let found = system::poll_one(fd, POLLIN);
            Look::Stream { ready: found & POLLIN != 0, data: system::unread(fd), eof: found & POLLHUP != 0 }
        }
        (kind, Direction::Write) => {
            let found = system::poll_one(fd, POLLOUT);
            let room = if kind == libc::S_IFIFO { system::pipe_size(fd).saturating_sub(system::unread(fd)) } else { 0 };
            Look::Stream { ready: found & POLLOUT != 0, data: room, eof: found & POLLERR != 0 }
        }
    }
}

fn look_at_socket(fd: i32, direction: Direction) -> Look {
    let found = system::poll_one(fd, POLLIN | POLLOUT | POLLRDHUP);
    if system::socket_option(fd, libc::SO_ACCEPTCONN) == Some(1) {
        // Linux tells the number for TCP only; a unix listener with connections counts as one. There are no half-open
        // connections: on loopback a handshake is over before connect() returns.
        let waiting = system::tcp_info(fd).map(|info| info.tcpi_unacked as usize);
        let complete = waiting.unwrap_or(usize::from(found & POLLIN != 0));
        return Look::Listener { complete, half_open: 0, aborted: false };
    }
    // Linux reports a stream that was never connected as hung up; the emulated kernels report it as neither readable
    // nor writable. A stream whose connection is over also has both directions shut.
    let over = found & POLLHUP != 0 && found & POLLRDHUP != 0;
    let unconnected = found & POLLHUP != 0 && !over;
    match direction {
        _ if unconnected => Look::Stream { ready: false, data: 0, eof: false },
        Direction::Read => Look::Stream {
            ready: found & (POLLIN | POLLERR) != 0,
            data: system::unread(fd),
            eof: found & POLLRDHUP != 0,
        },
        Direction::Write => {
            let room = system::socket_option(fd, libc::SO_SNDBUF).and_then(|size| usize::try_from(size).ok());
            Look::Stream {
                ready: found & (POLLOUT | POLLERR) != 0,
                data: room.unwrap_or(0).saturating_sub(system::unsent(fd)),
                eof: over,
            }
        }
    }
}
