//! Files as bodies of responses: sending them from their descriptors.

use std::cell::RefCell;

use janetrs::Janet;
use kqnet_accept::Errno;
use kqnet_files::{SendError, send};

use super::MAX_TURN;
use super::connection;
use super::wait::{gone, io_error};
use crate::boundary::{Function, Outcome, native};
use crate::collected;
use crate::files::OpenFile;
use crate::stream;
use crate::value::{arg, describe};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-send-file", "http file", send_file)];

/// The length of a body that is a file, or `None` if it is something else.
///
/// # Errors
/// Returns an error if the file is closed.
pub fn length(body: &Janet) -> Result<Option<u64>, String> {
    let Some(file) = collected::of::<RefCell<OpenFile>>(body) else { return Ok(None) };
    let file = file.borrow();
    file.remaining()?;
    Ok(Some(file.length()))
}

/// `(native/http-send-file http file)`: Sends what can be sent at once. Returns nil when all of the file was sent, true when
/// more can be sent in the next turn, false when the client has to take some first, and :gone when it is gone.
fn send_file(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let value = arg(args, 1);
    let file = collected::of::<RefCell<OpenFile>>(&value);
    let file = &mut *file.ok_or_else(|| format!("expected a file, got {}", describe(value)))?.borrow_mut();
    let fd = stream::descriptor(stream::get(connection.stream)?).ok_or("stream is closed")?;
    let mut allowed = MAX_TURN;
    loop {
        let remaining = file.remaining()?;
        if remaining.length == 0 {
            return Ok(Outcome::Value(Janet::nil()));
        }
        if allowed == 0 {
            return Ok(Outcome::Value(Janet::boolean(true)));
        }
        match send(fd, remaining.file, remaining.offset, remaining.length.min(allowed as u64) as usize) {
            Ok(Some(count)) => {
                file.advance(count as u64);
                connection.count_sent(count);
                allowed -= count;
            }
            Ok(None) => return Ok(Outcome::Value(Janet::boolean(false))),
            Err(SendError::Socket(why)) => {
                let errno = Errno(why.raw_os_error().unwrap_or(0));
                return if errno.is_lost_peer() {
                    Ok(Outcome::Value(gone()))
                } else {
                    Err(io_error("write to", errno))
                };
            }
            Err(SendError::Short) => return Err(file.too_short()),
            Err(SendError::File(why)) => return Err(file.unreadable(&why)),
        }
    }
}
