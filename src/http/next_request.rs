//! What a connection does when it is ready for its next request: serve one, read more, refuse, or end.

use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::response::Exchange;
use kqnet_http1::{BodyReader, Framing, Head, Parse};

use super::connection::Connection;
use super::phase::Phase;
use super::refusal::refused;
use super::request_table::{put_scheme, request_table};
use crate::buffer::{self, Buffer};
use crate::deadlines::Reason;
use crate::vm::{self, Vm};

/// The size of the buffer of an idle connection. It is used only for what cannot be parsed yet.
const IDLE_BUFFER: i32 = 64;

/// How long a connection that was accepted, but not served yet, may stay silent while the server drains.
const SILENCE_WHILE_DRAINING: Duration = Duration::from_millis(100);

/// What a connection does next.
pub enum Next {
    /// It answers this request, whose head was removed from the buffer.
    Request(Janet),
    /// It reads more.
    Read,
    /// Something that Janet code does:
    ///
    /// * an array ([`super::account::Record::to_array`]): to tell observers how the last request was answered;
    /// * a tuple ([`refused`]): to refuse the next request;
    /// * `:close` or `:linger`: to end after the last request; `:linger` if the client has sent more or may still do so.
    Other(Janet),
}

impl Connection {
    /// Ends the request before, and says what the connection does next. `received` is the buffer with what was read from the
    /// client, `arrived` follows it, and what is left of it is appended to the buffer. `fiber` is the connection's fiber, which
    /// runs the handler.
    ///
    /// # Errors
    /// Returns an error if the queue of a forked process cannot be made.
    pub fn next_request(&mut self, received: Janet, arrived: &[u8], fiber: *mut c::JanetFiber) -> Result<Next, String> {
        let mut ended = Janet::nil();
        if self.running_request != 0 {
            ended = self.request;
            self.end_request();
            self.restore_env(fiber);
        }
        let next = vm::with(|vm| {
            release_buffer(vm, ended);
            self.take_request(vm, received, arrived, fiber)
        });
        if let Ok(Next::Read) = next {
            self.end_chain();
        }
        next
    }

    fn take_request(
        &mut self,
        vm: &mut Vm,
        received: Janet,
        arrived: &[u8],
        fiber: *mut c::JanetFiber,
    ) -> Result<Next, String> {
        let now = vm.engine.now();
        let buffer = &mut buffer::get(received)?;
        let is_answered = self.account.is_answered();
        // Only a head that arrives alone is not copied.
        let is_alone = !arrived.is_empty()
            && buffer::contents(buffer).is_empty()
            && !is_answered
            && self.keeps_open
            && self.body.is_done()
            && !self.peer.awaits_header;
        if !is_alone && !arrived.is_empty() {
            buffer::push(buffer, arrived)?;
        }
        if is_answered {
            self.note_duration(now);
            let record = self.close_account(now);
            if let (Some(record), Some(observers)) = (record, self.observers.take()) {
                return Ok(Next::Other(record.to_array(observers)));
            }
        }
        if !self.keeps_open {
            let has_all = self.body.is_done() && !self.may_go_on && buffer::contents(buffer).is_empty();
            let end = if has_all { "close" } else { "linger" };
            return Ok(Next::Other(Janet::keyword(end.into())));
        }
        if !self.body.is_done() {
            if let Err(reject) = self.discard_body(buffer) {
                return Ok(Next::Other(refused(reject, Janet::nil())));
            }
            if !self.body.is_done() {
                self.enter(vm, Phase::Body, now);
                return Ok(Next::Read);
            }
        }
        if self.peer.awaits_header {
            if let Some(next) = self.take_proxy_header(vm, buffer, now) {
                return Ok(next);
            }
        }
        let head = if is_alone { arrived } else { buffer::contents(buffer) };
        if head.is_empty() {
            self.parser.restart();
            self.enter_idle(vm, buffer, now);
            return Ok(Next::Read);
        }
        let (next, used) = match self.parser.parse_known(head, &mut vm.headers.known) {
            Ok(Parse::Complete(head)) => {
                let next = self.begin(vm, &head, received, fiber, now);
                // The head of a refused request stays in the buffer.
                let used = if let Next::Request(_) = next { head.len } else { 0 };
                (next, used)
            }
            Ok(Parse::Partial) => {
                if self.parser.has_begun() {
                    self.enter(vm, Phase::Head, now);
                } else {
                    self.enter_idle(vm, buffer, now);
                }
                (Next::Read, 0)
            }
            Err(reject) => {
                self.exchange = Exchange::unread();
                (Next::Other(refused(reject, Janet::boolean(true))), 0)
            }
        };
        if !is_alone {
            buffer::consume(buffer, used);
        } else if used < arrived.len() {
            buffer::push(buffer, &arrived[used..])?;
        }
        Ok(next)
    }

    /// Waits for the first bytes of a request.
    fn enter_idle(&mut self, vm: &mut Vm, buffer: &mut Buffer, now: Duration) {
        buffer::shrink(buffer, IDLE_BUFFER);
        self.enter(vm, Phase::Idle, now);
        if let Some(silence) = self.silence_while_draining() {
            self.set_deadline(vm, Some(now + silence), Reason::Keyword("idle-timeout"));
        }
    }

    /// How long a client that sends nothing has if the server drains.
    pub fn silence_while_draining(&self) -> Option<Duration> {
        self.config.is_draining.get().then_some(SILENCE_WHILE_DRAINING)
    }

    /// Begins the request with this head, unless its body is refused.
    fn begin(&mut self, vm: &mut Vm, head: &Head<'_>, buffer: Janet, fiber: *mut c::JanetFiber, now: Duration) -> Next {
        self.parser.restart();
        self.requests += 1;
        self.exchange = head.exchange();
        self.may_go_on = head.keep_alive;
        if self.config.max_requests.is_some_and(|max| self.requests >= max) {
            self.exchange = self.exchange.closing();
        }
        self.awaits_continue = head.expect_continue && head.framing != Framing::None;
        let request = request_table(vm, self.requests, self.stream, head, buffer);
        if self.config.proxies.any() {
            let scheme = self.scheme(vm, head);
            put_scheme(vm, request, scheme);
        }
        // SAFETY: the fiber refers to the table at once.
        unsafe { self.begin_request(vm.layouts.env(&vm.spare_tables, self.config.env), fiber) };
        self.begin_in_chain();
        self.account.begin(&self.config.statistics, head.method, now);
        self.enter(vm, Phase::Handler, now);
        match BodyReader::new(head.framing, self.config.max_body) {
            Ok(body) => {
                self.body = body;
                self.request = request;
                Next::Request(request)
            }
            Err(reject) => Next::Other(refused(reject, request)),
        }
    }
}

/// Takes the connection's buffer from a request that is over. What comes next is not for a task that still has the request.
fn release_buffer(vm: &Vm, request: Janet) {
    // SAFETY: the type is checked, and the caller has just taken the table from the connection that kept it alive.
    unsafe {
        if c::janet_checktype(request.into(), c::JanetType_JANET_TABLE) != 0 {
            vm.layouts.remove_buffer(c::janet_unwrap_table(request.into()));
        }
    }
}
