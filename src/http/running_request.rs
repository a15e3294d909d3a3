//! The request that a connection's handler is answering: which one it is, its environment, and its end.

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use super::connection::{self, Connection};
use super::wait;
use crate::boundary::{Function, Outcome, native};
use crate::value::string;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] =
    &[native!("http-answering?", "http", is_answering), native!("http-running-request", "http", running_request)];

/// The error for a task that still uses a request after its response was sent.
const OVER: &str = "this request is over: its response was sent, so its body and its client are no longer available";

impl Connection {
    /// Returns an error unless the request with this number is running. A copy that a program has made of some of a
    /// request's keys may have no number, so nil stands for the running request.
    pub fn check_running(&self, number: Janet) -> Result<(), String> {
        let is_running = self.running_request != 0
            && match number.unwrap() {
                TaggedJanet::Nil => true,
                TaggedJanet::Number(number) => number == f64::from(self.running_request),
                _ => false,
            };
        if is_running { Ok(()) } else { Err(OVER.into()) }
    }

    /// Begins the request that was read last, in an environment of its own, which is new. `fiber` runs the handler.
    pub fn begin_request(&mut self, env: *mut c::JanetTable, fiber: *mut c::JanetFiber) {
        self.running_request = self.requests;
        self.observers = None;
        // SAFETY: the fiber is the connection's, which is live.
        unsafe { (*fiber).env = env };
    }

    /// Ends the running request: tasks that still wait for something of it get an error, and its files are closed.
    pub fn end_request(&mut self) {
        (self.running_request, self.is_answering) = (0, false);
        self.request = Janet::nil();
        (self.unsent_body, self.written_head) = (None, None);
        (self.ending, self.ends_with_input) = (Janet::nil(), false);
        self.to_cancel = Janet::nil();
        self.files.close();
        self.end_transfers(OVER);
        self.end_watching("over");
    }

    /// Ends the waits of tasks that outlive their request.
    fn end_transfers(&mut self, error: &str) {
        if self.reading.is_none() && self.writing.is_none() {
            return;
        }
        let reader = self.reading.as_ref().map(|reading| reading.fiber);
        let writer = self.writing.as_ref().map(|writing| writing.fiber);
        for fiber in [reader, writer].into_iter().flatten() {
            // SAFETY: a fiber in `reading` or `writing` waits (the invariant of `Connection`).
            unsafe { wait::finish(fiber, string(error), c::JanetSignal_JANET_SIGNAL_ERROR) };
        }
        if self.reading.is_some() {
            self.end_reading();
        }
        self.end_writing();
    }

    /// Gives the connection's fiber the environment of the server again.
    pub fn restore_env(&self, fiber: *mut c::JanetFiber) {
        // SAFETY: the configuration keeps the table alive, and the fiber is the connection's, which is live.
        unsafe { (*fiber).env = self.config.env };
    }
}

/// `(native/http-answering? http)`: Returns whether the response to the running request is being sent.
fn is_answering(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(connection::borrow(args)?.is_answering)))
}

/// `(native/http-running-request http)`: Returns the table of the request that the handler is answering, or nil.
fn running_request(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(connection::borrow(args)?.request))
}
