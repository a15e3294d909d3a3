//! listen(2), accept(2), shutdown(2) and connect(2) as the imitated kernel has them.

use libc::{EAGAIN, ECONNABORTED, ECONNREFUSED, EMFILE, ENFILE, ENOTCONN, EWOULDBLOCK, POLLIN};

use super::choice::profile;
use super::files::{Key, identity};
use super::own::{close_own, own};
use super::state::{Real, with};
use crate::kevent::Errno;
use crate::model::{Direction, QueueId};
use crate::profile::{Backlog, Shutdown};
use crate::system;

/// The state of a TCP socket whose connection was reset. libc does not have this constant.
const TCP_CLOSE: u8 = 7;

/// The backlog to pass to Linux's listen(2), which lets one more connection wait than it is told. The cap is imitated
/// for unix sockets only: a TCP client that exceeds it waits for seconds, in Linux's own way, and shows nothing about
/// the other kernels.
pub(crate) fn backlog(fd: i32, asked: i32) -> i32 {
    const SOMAXCONN: i32 = 128;
    let Some(profile) = profile() else { return asked };
    // A negative backlog means the maximum, as on Linux.
    let backlog = match u32::try_from(asked) {
        Ok(0) if profile.backlog == Backlog::Total => SOMAXCONN,
        Ok(asked) => asked.min(SOMAXCONN as u32) as i32,
        Err(_) => SOMAXCONN,
    };
    match profile.backlog {
        _ if !system::is_unix(fd) => asked.max(backlog),
        Backlog::Total => backlog - 1,
        Backlog::CompleteOneAndAHalf | Backlog::TotalOneAndAHalf => 3 * backlog / 2,
        Backlog::TotalThree => 3 * backlog,
    }
}

/// accept(2) (without `flags`) or accept4(2) on `fd`. `take` makes the system call, and `clear` makes the address
/// empty.
pub(crate) fn accept(
    fd: i32,
    flags: Option<i32>,
    take: impl Fn(i32) -> Result<i32, Errno>,
    clear: impl Fn(),
) -> Result<i32, Errno> {
    // Connections that have arrived so far are posted before any is taken.
    let key = with(|real| real.harvest_listener(fd)).flatten();
    let Some(profile) = profile() else { return take(flags.unwrap_or(0)) };
    let inherits = profile.nonblock_inherited && system::is_nonblocking(fd);
    let flags = flags.unwrap_or(if inherits { libc::SOCK_NONBLOCK } else { 0 });
    let (mut result, mut dequeued) = match take(flags) {
        Err(error) if profile.emfile_closes && (error.0 == EMFILE || error.0 == ENFILE) => kill_one(fd, error),
        result => (result, result.is_ok()),
    };
    if let Ok(conn) = result {
        if system::tcp_info(conn).is_some_and(|info| info.tcpi_state == TCP_CLOSE) {
            if profile.reset_is_handed_out {
                if system::is_ipv6(conn) {
                    clear();
                }
            } else {
                let _ = system::close_fd(conn);
                result = Err(Errno(ECONNABORTED));
            }
        }
        dequeued = true;
    }
    if dequeued {
        with(|real| real.dequeued(key));
    }
    result
}

/// XNU's accept() without a free descriptor: it first takes a connection, if there is one, and then closes it. Returns
/// the error of the accept(), and whether a connection was taken.
fn kill_one(fd: i32, error: Errno) -> (Result<i32, Errno>, bool) {
    if system::poll_one(fd, POLLIN) & POLLIN == 0 {
        return (Err(if system::is_nonblocking(fd) { Errno(EWOULDBLOCK) } else { error }), false);
    }
    let killed = with(|real| {
        let spare = real.files.spare;
        close_own(spare);
        // The limit may have been lowered below the spare's number in the meantime.
        let taken = system::with_descriptor_limit(spare + 1, || system::accept_raw(fd));
        let killed = taken.is_ok();
        if let Ok(conn) = taken {
            let _ = system::close_fd(conn);
        }
        if let Ok(spare) = system::with_descriptor_limit(spare + 1, || system::dup_from(real.files.readable, spare)) {
            real.files.spare = own(spare);
        }
        killed
    });
    (Err(error), killed.unwrap_or(false))
}

/// To be called before shutdown(2) of `fd`. Returns whether Linux may carry it out: there, shutting down a listener
/// stops it. FreeBSD's abort of the next accept() is not imitated.
///
/// # Errors
/// Returns ENOTCONN for a listener where the kernel refuses to shut it down.
pub(crate) fn shutting_down(fd: i32) -> Result<bool, Errno> {
    match profile() {
        Some(profile) if system::socket_option(fd, libc::SO_ACCEPTCONN) == Some(1) => match profile.shutdown {
            Shutdown::Refused => Err(Errno(ENOTCONN)),
            Shutdown::AbortsOne | Shutdown::Ignored => Ok(false),
        },
        _ => Ok(true),
    }
}

/// Turns the result of Linux's connect(2) of `fd` into the kernels'. When it succeeds at once, as with unix sockets,
/// the kernels post the socket, but Linux has no wake-up for the connecting side. When a unix socket's backlog is full,
/// the kernels refuse the connection, but Linux asks to try again.
pub(crate) fn connected(fd: i32, done: Result<i32, Errno>) -> Result<i32, Errno> {
    match done {
        Err(Errno(EAGAIN)) if profile().is_some() => return Err(Errno(ECONNREFUSED)),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    with(|real| {
        if let Some(source) = identity(fd).and_then(|(key, _)| real.files.by_key.get(&key).copied()) {
            for direction in [Direction::Read, Direction::Write] {
                real.model.post_source(source, direction, &mut real.files);
            }
            real.sync();
        }
    });
    done
}

impl Real {
    fn harvest_listener(&mut self, fd: i32) -> Option<Key> {
        let (key, _) = identity(fd)?;
        if let Some(source) = self.files.by_key.get(&key) {
            let queues: Vec<QueueId> = self.model.queues_of(*source).collect();
            for queue in queues {
                self.harvest(queue);
            }
            self.sync();
        }
        Some(key)
    }

    fn dequeued(&mut self, key: Option<Key>) {
        if let Some(source) = key.and_then(|key| self.files.by_key.get(&key)) {
            self.model.dequeued(*source, &mut self.files);
            self.sync();
        }
    }
}
