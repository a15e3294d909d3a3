//! The pace at which a client takes a response: whether it takes enough in every period of `:write-timeout`.

use std::ffi::c_void;
use std::os::fd::RawFd;
use std::time::Duration;

use kqnet_accept::socket;

use super::connection;
use crate::stream;

/// How many bytes a client has to take in every period of `:write-timeout`.
const REQUIRED: i64 = 64 * 1024;

/// How far a client may fall behind. This is half more than it has to take, since acknowledgements come in lumps.
const MAX_BEHIND: i64 = REQUIRED + REQUIRED / 2;

/// The most bytes of credit that a fast client keeps. A proxy takes a megabyte at a time for a slow client.
const MAX_AHEAD: i64 = 24 * REQUIRED;

/// How much of its responses a client has taken.
#[derive(Default)]
pub struct Pace {
    /// How many bytes the system has taken for the client.
    sent: u64,
    /// How many of them the client had acknowledged when the system was last asked.
    acknowledged: u64,
    /// How many more bytes of a response the client has taken than it had to. Negative when it is behind.
    ahead: i64,
}

impl Pace {
    /// Counts bytes that the system has taken.
    pub fn add_sent(&mut self, count: usize) {
        self.sent += count as u64;
    }

    /// Begins a response. What the client took of other responses does not count for it.
    pub fn begin_response(&mut self) {
        (self.ahead, self.acknowledged) = (0, self.sent);
    }

    /// Counts acknowledged bytes in the client's favour.
    pub fn credit(&mut self, fd: RawFd) {
        let acknowledged = self.sent.wrapping_sub(socket::unacknowledged(fd).unwrap_or(0));
        // Wrapping, since the program may have written to the connection too.
        let gained = acknowledged.wrapping_sub(self.acknowledged) as i64;
        if gained > 0 {
            self.ahead = (self.ahead + gained).min(MAX_AHEAD);
            self.acknowledged = acknowledged;
        }
    }

    /// Counts the time of a wait against the client.
    pub fn charge(&mut self, waited: Duration, timeout: Duration) {
        self.ahead -= (waited.as_secs_f64() / timeout.as_secs_f64() * REQUIRED as f64) as i64;
    }

    /// Whether the client has fallen behind so far that its connection is to be closed.
    pub fn is_too_slow(&self) -> bool {
        self.ahead <= -MAX_BEHIND
    }
}

/// Checks twice in every period of `:write-timeout` whether a client that is waited for takes enough. Returns when to check
/// again, or `None` to end the wait.
pub fn look(connection: *mut c_void, now: Duration) -> Option<Duration> {
    // SAFETY: the deadline that this look belongs to is given back before the connection is dropped.
    let connection = &mut *unsafe { connection::from_callback(connection) }.borrow_mut();
    let timeout = connection.config.write_timeout?;
    let fd = stream::get(connection.stream).ok().and_then(stream::descriptor)?;
    connection.pace.credit(fd);
    connection.charge_wait(now);
    if connection.pace.is_too_slow() { None } else { Some(now + timeout / 2) }
}
