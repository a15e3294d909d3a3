//! Files as bodies of responses: sending them from their descriptors.

use std::cell::RefCell;
use std::os::fd::RawFd;

use janetrs::Janet;
use kqnet_accept::Errno;
use kqnet_files::{Stop, send};

use super::connection::Connection;
use super::writing::Sent;
use crate::collected;
use crate::files::OpenFile;

/// The most bytes of a file that are sent in one turn of the loop. They are not copied, so this takes no longer than
/// [`super::MAX_TURN`] bytes from memory, and each turn costs time of its own.
const MAX_TURN: u64 = 2 * 1024 * 1024;

/// The file in a value, or `None` if it is something else.
pub fn of(value: &Janet) -> Option<&RefCell<OpenFile>> {
    collected::of(value)
}

impl Connection {
    /// Makes a file the body of this connection's response. Returns its length, or `None` if the body is something else.
    ///
    /// # Errors
    /// Returns an error if the file is closed, or is the body of another connection's response.
    pub fn begin_file(&self, body: &Janet) -> Result<Option<u64>, String> {
        let Some(file) = of(body) else { return Ok(None) };
        let file = &mut *file.borrow_mut();
        file.begin(std::ptr::from_ref(self) as usize)?;
        Ok(Some(file.length()))
    }

    /// Sends what the system takes at once of what remains of a file.
    pub fn send_file(&mut self, fd: RawFd, file: &RefCell<OpenFile>) -> Sent {
        let file = &mut *file.borrow_mut();
        let remaining = match file.remaining() {
            Ok(remaining) => remaining,
            Err(closed) => return Sent::Broken(closed),
        };
        let length = remaining.length.min(MAX_TURN) as usize;
        let is_rest = length as u64 == remaining.length;
        let sent = send(fd, remaining.file, remaining.offset, length);
        file.advance(sent.count as u64);
        if sent.count > 0 {
            // This has pushed what was held of the head and of the responses before.
            self.sent(sent.count, false);
        }
        match sent.stop {
            None if is_rest => Sent::All,
            None => Sent::Enough,
            Some(Stop::Full) => Sent::Full,
            Some(Stop::Socket(why)) => {
                let errno = Errno(why.raw_os_error().unwrap_or(0));
                if errno.is_lost_peer() { Sent::Lost } else { Sent::Failed(errno) }
            }
            Some(Stop::Short) => Sent::Broken(file.too_short()),
            Some(Stop::File(why)) => Sent::Broken(file.unreadable(&why)),
        }
    }
}
