//! What a connection does when it is ready for its next request: serve one, read more, refuse, or end.

use std::time::Duration;

use janetrs::Janet;
use kqnet_http1::response::Exchange;
use kqnet_http1::{BodyReader, Framing, Head, HeadParser, Parse};

use super::connection::{self, Connection};
use super::phase::Phase;
use super::refusal::refused;
use super::request_table::request_table;
use crate::boundary::{Function, Outcome, native};
use crate::buffer;
use crate::deadlines::Reason;
use crate::value::{arg, is_true};
use crate::vm::{self, Vm};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-next-request", "http buffer draining", next_request)];

/// The size of the buffer of an idle connection, which is also how much of a head is read at once
/// (janet/kqnet/http/connection.janet).
const IDLE_BUFFER: i32 = 2048;

/// How long a connection that was accepted, but not served yet, may stay silent while the server drains.
const SILENCE_WHILE_DRAINING: Duration = Duration::from_millis(100);

/// `(native/http-next-request http buffer draining)`: Ends the previous request, and returns what the connection does next:
///
/// * an array ([`super::account::Record::to_array`]) when observers wait to be told how the last request was answered;
/// * a table, the next request, whose head is removed from the buffer;
/// * a tuple ([`refused`]) when the next request is refused;
/// * nil when more has to be read;
/// * `:close` or `:linger` after the last request; `:linger` if the client may still send something.
fn next_request(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let buffer = &mut buffer::get(arg(args, 1))?;
    if connection.running_request != 0 {
        connection.end_request();
        connection.restore_env();
    }
    vm::with(|vm| {
        if connection.account.is_answered() {
            let record = connection.close_account(vm);
            let observers = std::mem::replace(&mut connection.observers, Janet::nil());
            if let Some(record) = record.filter(|_| !observers.is_nil()) {
                return Ok(Outcome::Value(record.to_array(observers)));
            }
        }
        if !connection.keeps_open {
            let end = if connection.body.is_done() && !connection.may_go_on { "close" } else { "linger" };
            return Ok(Outcome::Value(Janet::keyword(end.into())));
        }
        if let Err(reject) = connection.discard_body(buffer) {
            return Ok(refused(reject, Janet::nil()));
        }
        if !connection.body.is_done() {
            connection.enter(vm, Phase::Body);
            return Ok(Outcome::Value(Janet::nil()));
        }
        match connection.parser.parse(buffer::contents(buffer)) {
            Ok(Parse::Complete(head)) => {
                let length = head.len;
                let outcome = connection.begin(vm, &head, arg(args, 1));
                if outcome.is_ok() {
                    buffer::consume(buffer, length);
                }
                Ok(outcome.unwrap_or_else(|refusal| refusal))
            }
            Ok(Parse::Partial) => {
                if connection.parser.has_begun() {
                    connection.enter(vm, Phase::Head);
                } else {
                    buffer::shrink(buffer, IDLE_BUFFER);
                    connection.enter(vm, Phase::Idle);
                    if is_true(arg(args, 2)) {
                        connection.set_timeout(vm, Some(SILENCE_WHILE_DRAINING), Reason::Keyword("idle-timeout"));
                    }
                }
                Ok(Outcome::Value(Janet::nil()))
            }
            Err(reject) => {
                connection.exchange = Exchange::unread();
                Ok(refused(reject, Janet::boolean(true)))
            }
        }
    })
}

impl Connection {
    /// Begins the request with this head. Returns its table, or the refusal of its body as the error.
    fn begin(&mut self, vm: &mut Vm, head: &Head<'_>, buffer: Janet) -> Result<Outcome, Outcome> {
        self.parser = HeadParser::new(self.config.limits);
        self.requests += 1;
        self.exchange = head.exchange();
        self.may_go_on = head.keep_alive;
        if self.config.max_requests.is_some_and(|max| self.requests >= max) {
            self.exchange = self.exchange.closing();
        }
        self.awaits_continue = head.expect_continue && head.framing != Framing::None;
        let request = request_table(vm, self.requests, self.stream, head, buffer);
        self.begin_request();
        self.account.begin(&self.config.statistics, head.method, vm.engine.now());
        self.enter(vm, Phase::Handler);
        match BodyReader::new(head.framing, self.config.max_body) {
            Ok(body) => {
                self.body = body;
                Ok(Outcome::Value(request))
            }
            Err(reject) => Err(refused(reject, request)),
        }
    }
}
