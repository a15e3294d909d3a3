//! One turn of a connection: sending the response to a request, and waiting for the next request.
//!
//! What is rare is left to Janet code (janet/kqnet/http/connection.janet): bodies that come in pieces, clients that do not
//! take a response at once, logs, refusals, and the end of the connection.

use janetrs::Janet;
use janetrs::lowlevel as c;

use super::connection::{self, Connection};
use super::file_body;
use super::next_request::Next;
use super::response::{Buffers, with_scratch};
use super::response_table::Fields;
use super::wait::{gone, io_error};
use super::writing::Sent;
use crate::boundary::{Function, Outcome, native};
use crate::buffer::{self, Buffer};
use crate::value::{arg, bytes, is_identical, is_true};
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-answer", "http received out response", answer),
    native!("http-turn", "http received", turn),
    native!("http-to-do", "http", to_do),
    native!("http-unsent-response", "http", unsent_response),
];

/// How many bytes the output buffer of an idle connection may have.
const MAX_IDLE_OUTPUT: i32 = 2048;

/// `(native/http-answer http received out response)`: Sends the response to the running request, or as much of it as is possible
/// without waiting. `received` has what was read from the client, and `out` is a buffer to be used meanwhile. Returns the table of
/// the next request if it has arrived already, or nil.
///
/// It does not wait for the next request, since an idle connection must not keep the last response in the arguments of a
/// call. `native/http-turn` does that, and must be called next if this returns nil.
fn answer(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let (buffers, response) = (Buffers::new(arg(args, 2), arg(args, 1))?, arg(args, 3));
    // SAFETY: Janet called this function, so a fiber runs.
    let fiber = unsafe { c::janet_current_fiber() };
    let next = match connection.answer(response, buffers, fiber) {
        Ok(Next::Request(request)) => return Ok(Outcome::Value(request)),
        Ok(next) => next,
        Err(why) => {
            // What follows the error is written to the connection's own buffer.
            connection.clear_output(&mut buffer::get(buffers.out)?);
            return Err(why);
        }
    };
    if let Next::Other(_) = next {
        connection.keep_output(arg(args, 0), buffers.out)?;
    }
    connection.deferred = Some(next);
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/http-turn http received)`: Waits for the next request, and returns its table. Returns nil when there is something
/// else to do first, which `native/http-to-do` returns.
fn turn(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let received = arg(args, 1);
    // SAFETY: Janet called this function, so a fiber runs.
    let fiber = unsafe { c::janet_current_fiber() };
    let next = match connection.deferred.take() {
        Some(next) => next,
        None => connection.next_request(received, &[], fiber)?,
    };
    match next {
        Next::Request(request) => Ok(Outcome::Value(request)),
        Next::Other(to_do) => {
            connection.to_do = to_do;
            Ok(Outcome::Value(Janet::nil()))
        }
        Next::Read if connection.chain.ends_turn() => {
            connection.to_do = Janet::keyword("share".into());
            Ok(Outcome::Value(Janet::nil()))
        }
        Next::Read => connection.read_request(received, fiber),
    }
}

/// `(native/http-to-do http)`: Returns what the connection does if there is no next request:
///
/// * `:respond`: send the response that `native/http-unsent-response` returns, of which nothing was sent;
/// * a number: send what is in the connection's own output buffer from that index on, and then what `native/http-unsent-body` returns;
/// * true: take the next turn;
/// * `:share`: the same, when others have had theirs;
/// * `:gone`: end, since the client is gone;
/// * nil: end, since the client sends no more;
/// * anything else: see [`Next::Other`].
fn to_do(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(std::mem::replace(&mut connection::borrow(args)?.to_do, Janet::nil())))
}

/// `(native/http-unsent-response http)`: Returns the response that is to be sent, once.
fn unsent_response(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(std::mem::replace(&mut connection::borrow(args)?.unsent_response, Janet::nil())))
}

/// What was done with a response.
enum Written {
    /// All of it was written, and sent with this result. What is to be sent later is in the output buffer.
    Small(Sent),
    /// Its head is in the output buffer. The body, which is bytes or a file, follows as it is.
    HeadOf(Janet),
    /// Nothing was sent: Janet code does that.
    Nothing,
}

impl Connection {
    /// Writes a response, and sends as much of it as is possible without waiting. Returns what comes next.
    fn answer(&mut self, response: Janet, buffers: Buffers, fiber: *mut c::JanetFiber) -> Result<Next, String> {
        match with_scratch(|scratch| self.write_answer(response, buffers, scratch))? {
            Written::Small(sent) => self.after_sending(sent, 0, buffers, fiber),
            Written::HeadOf(body) => self.send_large(body, buffers, fiber),
            Written::Nothing => {
                self.unsent_response = response;
                Ok(Next::Other(Janet::keyword("respond".into())))
            }
        }
    }

    /// Writes a response and sends it, or writes its head to the output buffer if it is large. `scratch` is empty.
    fn write_answer(&mut self, response: Janet, buffers: Buffers, scratch: &mut Vec<u8>) -> Result<Written, String> {
        let mut is_held = false;
        let written = vm::with(|vm| {
            let fields = Fields::of(response, &vm.keys)?;
            if !is_whole(&fields) {
                return Ok(Written::Nothing);
            }
            let is_last = self.config.is_draining.get();
            let delivery = self.write_response(vm, response, &fields, buffers.received, is_last, scratch)?;
            if is_identical(delivery, vm.keys.none.into()) {
                is_held = self.may_hold(vm, buffers.received)?;
                return Ok(Written::Small(Sent::All));
            }
            if is_identical(delivery, vm.keys.bytes.into()) || is_identical(delivery, vm.keys.file.into()) {
                return Ok(Written::HeadOf(fields.body));
            }
            self.written_head = Some(delivery);
            Ok(Written::Nothing)
        });
        self.is_response_invalid |= written.is_err();
        let written = written?;
        if let Written::Small(_) = written {
            return Ok(Written::Small(self.send_small(scratch, buffers, is_held)?));
        }
        buffers.set_out(scratch)?;
        Ok(written)
    }

    /// Empties the output buffer, which an idle connection keeps, but not the memory that a large response needed.
    pub fn clear_output(&self, out: &mut Buffer) {
        buffer::clear(out);
        buffer::shrink(out, MAX_IDLE_OUTPUT);
    }

    /// Sends a whole response. What the system does not take at once goes to the output buffer. If `is_held` is true, the system may
    /// hold it back.
    fn send_small(&mut self, response: &[u8], buffers: Buffers, is_held: bool) -> Result<Sent, String> {
        let Some((_, fd)) = self.writable()? else { return Ok(Sent::Lost) };
        let mut at = 0;
        let sent = self.send(fd, response, &mut at, is_held);
        if let Sent::Enough | Sent::Full = sent {
            buffers.set_out(&response[at..])?;
        }
        Ok(sent)
    }

    /// Returns what comes next when a response, or as much of it as was possible, was sent. `at` is the index in the output
    /// buffer of the first byte that was not sent.
    #[inline]
    pub fn after_sending(
        &mut self,
        sent: Sent,
        at: usize,
        buffers: Buffers,
        fiber: *mut c::JanetFiber,
    ) -> Result<Next, String> {
        match sent {
            Sent::All => self.next_request(buffers.received, &[], fiber),
            Sent::Lost => Ok(Next::Other(gone())),
            Sent::Failed(errno) => Err(io_error("write to", errno)),
            Sent::Broken(why) => Err(why),
            Sent::Enough | Sent::Full => Ok(Next::Other(Janet::number(at as f64))),
        }
    }
}

/// Whether a response is sent without Janet code: if its body is there as a whole, and the connection stays the server's.
fn is_whole(fields: &Fields) -> bool {
    let body = &fields.body;
    (body.is_nil() || bytes(body).is_some() || file_body::of(body).is_some()) && !is_true(fields.detached)
}
