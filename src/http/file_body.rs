//! Files as bodies of responses: sent from their descriptors, which are closed with the request.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::Errno;
use kqnet_files::{SendError, send};

use super::conn;
use crate::boundary::{Function, Outcome, native};
use crate::files::Part;
use crate::stream;
use crate::value::{arg, describe};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[native!("http-send-file", "http file", send_file)];

/// The most that is sent in one turn of the loop, so that a client that takes all at once does not keep others waiting.
const MOST: u64 = 1024 * 1024;

/// The files that were opened for a connection's request.
///
/// A handler may raise an error, or be cancelled, and middleware may drop a response: then nothing else would close them
/// before the next collection.
#[derive(Default)]
pub struct Opened(Vec<*mut Part>);

impl Opened {
    /// Adds a file of this VM.
    pub fn add(&mut self, file: *mut Part) {
        self.0.push(file);
    }

    /// Marks them for the collector.
    pub fn mark(&self) {
        for file in &self.0 {
            // SAFETY: live values, because of this marking.
            unsafe { c::janet_mark(c::janet_wrap_abstract(file.cast())) };
        }
    }

    /// Closes them.
    pub fn close(&mut self) {
        for file in self.0.drain(..) {
            // SAFETY: live values, because of the marking; no other reference exists, as none of the functions that take
            // one calls this.
            unsafe { (*file).close() };
        }
    }
}

/// The length of a body that is a file.
///
/// # Errors
/// Where the file is closed.
pub fn length(body: Janet) -> Result<Option<u64>, String> {
    match Part::of(body) {
        Some(part) => part.rest().map(|_| Some(part.length())),
        None => Ok(None),
    }
}

/// `(native/http-send-file http file)`: sends what can be sent at once. Nil when all of the file was sent, true where more
/// may be sent in the next turn, false where the client must take some first, :gone where it is gone.
fn send_file(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let part = Part::of(arg(args, 1)).ok_or_else(|| format!("expected a file, got {}", describe(arg(args, 1))))?;
    let fd = stream::descriptor(stream::get(conn.stream)?).ok_or("stream is closed")?;
    let mut allowed = MOST;
    let failure = loop {
        let (file, at, left) = part.rest()?;
        if left == 0 {
            return Ok(Outcome::Value(Janet::nil()));
        }
        if allowed == 0 {
            return Ok(Outcome::Value(Janet::boolean(true)));
        }
        match send(fd, file, at, left.min(allowed) as usize) {
            Ok(Some(count)) => {
                part.advance(count as u64);
                conn.sent += count as u64;
                conn.account.transmitted(count);
                allowed -= count as u64;
            }
            Ok(None) => return Ok(Outcome::Value(Janet::boolean(false))),
            Err(SendError::Socket(why)) => {
                let errno = Errno(why.raw_os_error().unwrap_or(0));
                if !errno.is_lost_peer() {
                    break format!("cannot write to the connection: {errno}");
                }
                return Ok(Outcome::Value(Janet::keyword("gone".into())));
            }
            Err(SendError::Short) => break part.short(),
            Err(SendError::File(why)) => break part.unreadable(&why),
        }
    };
    Err(failure)
}
