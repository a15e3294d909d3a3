//! Sending a head and a large body together: bytes, which are not copied, or a file.

use std::os::fd::RawFd;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Errno, socket};

use super::connection::{self, Connection};
use super::next_request::Next;
use super::response::Buffers;
use super::wait::gone;
use super::writing::Sent;
use super::{MAX_TURN, file_body};
use crate::boundary::{Function, Outcome, native};
use crate::buffer::{self, Buffer};
use crate::value::{bytes, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-unsent-body", "http", unsent_body)];

/// Files up to this size are read into the output buffer: one copy costs less than the calls that sendfile(2) needs.
const COPIED_FILE: u64 = 16 * 1024;

/// What remains of a body whose beginning was sent.
pub struct UnsentBody {
    /// Bytes or a file.
    value: Janet,
    /// How many bytes it has. 0 for a file.
    length: usize,
    /// The index of the first byte that was not sent. A file keeps track of that itself.
    from: usize,
    /// Whether enough was sent for this turn of the loop.
    is_enough: bool,
}

impl UnsentBody {
    /// Marks the body.
    ///
    /// # Safety
    /// The collector is asking for what is reachable.
    pub unsafe fn mark(&self) {
        // SAFETY: the value is live because of this marking.
        unsafe { c::janet_mark(self.value.into()) };
    }
}

impl Connection {
    /// Sends the head in the output buffer and the body, or as much of them as is possible at once. Returns what comes next.
    pub fn send_large(&mut self, body: Janet, buffers: Buffers, fiber: *mut c::JanetFiber) -> Result<Next, String> {
        let Some((_, fd)) = self.writable()? else { return Ok(Next::Other(gone())) };
        let out = &mut buffer::get(buffers.out)?;
        let mut at = 0;
        let sent = self.send_head_and_body(fd, body, out, &mut at)?;
        let head = buffer::contents(out).len();
        if let Sent::Enough | Sent::Full = sent {
            let is_enough = matches!(sent, Sent::Enough);
            let length = bytes(&body).unwrap_or_default().len();
            let from = at.saturating_sub(head);
            self.unsent_body = Some(Box::new(UnsentBody { value: body, length, from, is_enough }));
        }
        if let Sent::All = sent {
            self.clear_output(out);
        }
        self.after_sending(sent, at.min(head), buffers, fiber)
    }

    /// Advances `at` past what was sent, which is counted from the beginning of the head, except for what was sent of a file.
    fn send_head_and_body(&mut self, fd: RawFd, body: Janet, out: &mut Buffer, at: &mut usize) -> Result<Sent, String> {
        if let Some(file) = file_body::of(&body) {
            let length = file.borrow().length();
            if length <= COPIED_FILE {
                if let Err(why) = file.borrow_mut().take(length, out) {
                    // Nothing was sent, so the client can still be told.
                    self.is_answering = false;
                    return Err(why);
                }
                return Ok(self.send(fd, buffer::contents(out), at, false));
            }
            return Ok(match self.send_in_one_packet(fd, buffer::contents(out), at) {
                Sent::All => self.send_file(fd, file),
                sent => sent,
            });
        }
        let (head, body) = (buffer::contents(out), bytes(&body).unwrap_or_default());
        self.account.announce(head.len(), body.len());
        let end = head.len() + body.len().min(MAX_TURN);
        while *at < end {
            let first = &head[(*at).min(head.len())..];
            let rest = &body[at.saturating_sub(head.len())..end.saturating_sub(head.len())];
            match self.taken(socket::send_both(fd, first, rest)) {
                Ok(count) => {
                    *at += count;
                    // This has pushed what was held of the responses before.
                    self.sent(0, false);
                }
                Err(sent) => return Ok(sent),
            }
        }
        Ok(if end == head.len() + body.len() { Sent::All } else { Sent::Enough })
    }

    /// Sends a head so that it can be in one packet with what follows.
    fn send_in_one_packet(&mut self, fd: RawFd, head: &[u8], at: &mut usize) -> Sent {
        while *at < head.len() {
            match self.taken(socket::send_held(fd, &head[*at..])) {
                Ok(count) => *at += count,
                Err(sent) => return sent,
            }
        }
        Sent::All
    }

    /// Counts what was sent, or says why nothing was.
    fn taken(&mut self, result: Result<Option<usize>, Errno>) -> Result<usize, Sent> {
        match result {
            Ok(Some(count)) => {
                self.count_sent(count);
                Ok(count)
            }
            Ok(None) => Err(Sent::Full),
            Err(errno) if errno.is_lost_peer() => Err(Sent::Lost),
            Err(errno) => Err(Sent::Failed(errno)),
        }
    }
}

/// `(native/http-unsent-body http)`: Returns a tuple of the body whose beginning was sent, of the index and the size with
/// which `native/http-write` sends the rest, and of whether enough was sent for this turn of the loop. Returns nil if there
/// is none.
fn unsent_body(args: &[Janet]) -> Result<Outcome, String> {
    let unsent = connection::borrow(args)?.unsent_body.take();
    let Some(UnsentBody { value, length, from, is_enough }) = unsent.map(|unsent| *unsent) else {
        return Ok(Outcome::Value(Janet::nil()));
    };
    let (from, size) = (Janet::number(from as f64), Janet::number(length as f64));
    Ok(Outcome::Value(tuple(&[value, from, size, Janet::boolean(is_enough)])))
}
