//! Holding back the response to a pipelined request, so that the system sends it together with the responses that follow.
//!
//! The bytes are the system's at once, so whatever is written to the connection afterwards, by whomever, comes after them.
//! A response is held only if the next request has arrived already. If the handler of that request then waits for something, a
//! task pushes what is held, in the same turn of the loop (src/pushes.rs). The first response after a wait is held only if the
//! handler of the next request was quick each time lately (crates/http1/src/handlers.rs), so that a client has it whatever an
//! unknown handler does.

use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::socket;
use kqnet_http1::TargetHash;

use super::connection::Connection;
use crate::boundary::{Function, Outcome, native};
use crate::value::arg;
use crate::vm::{self, Vm};
use crate::{buffer, collected, stream};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-push", "", push), native!("http-push-by", "function", push_by)];

/// How long responses may be held while quick handlers run one after the other.
const MOST_DELAY: Duration = Duration::from_millis(1);

/// How often a connection may read requests that have come already, before others have their turn. Each read may have hundreds.
const MOST_READS: u8 = 4;

/// How much is read at once while a connection waits for its next request, in bytes.
pub const ORDINARY_BUFFER: usize = 4 * 1024;

/// The same for a client that pipelines its requests.
pub const PIPELINE_BUFFER: usize = 16 * 1024;

/// The small responses that a connection sends one after the other, without waiting in between.
#[derive(Default)]
pub struct Chain {
    /// How many were sent.
    count: u32,
    /// There were several in the last chain.
    is_pipelined: bool,
    /// What the next request asks for, and what the one that runs asks for, if they were pipelined.
    next: Option<TargetHash>,
    running: Option<TargetHash>,
    /// How often the connection's task had run when that one began.
    began: u32,
    /// When the handler ran whose response was the first of those that are held.
    since: Duration,
    /// The system may hold bytes back.
    is_held: bool,
    /// The last read took all that had arrived.
    pub is_input_empty: bool,
    /// How often the connection's task had been scheduled when it was to go on with its last request
    /// (`JanetFiber::sched_id`).
    pub scheduled: u32,
    /// How often the connection has read requests since it last had to wait for one.
    reads: u8,
    /// The round of pushes that this connection is in ([`crate::pushes::Pushes`]).
    round: u64,
}

impl Chain {
    /// How much of the next requests to read at once, in bytes.
    pub fn most_to_read(&self) -> usize {
        if self.is_pipelined { PIPELINE_BUFFER } else { ORDINARY_BUFFER }
    }

    /// Counts a read that found requests, or forgets them all when the connection has to wait.
    pub fn count_read(&mut self, has_found: bool) {
        self.reads = if has_found { self.reads.saturating_add(1) } else { 0 };
    }

    /// Whether others are to have their turn before the connection reads again. Begins another turn if so.
    pub fn ends_turn(&mut self) -> bool {
        let ends = self.reads >= MOST_READS;
        if ends {
            self.reads = 0;
        }
        ends
    }
}

impl Connection {
    /// Decides whether the small response to the running request may be held back, and if so, sees to it that it is pushed if the
    /// next handler waits for something. `received` is what was read from the client after that request.
    ///
    /// # Errors
    /// Returns an error if `received` is not a buffer.
    pub fn may_hold(&mut self, vm: &mut Vm, received: Janet) -> Result<bool, String> {
        let chain = &mut self.chain;
        chain.count = chain.count.saturating_add(1);
        chain.next = None;
        // A connection with unread bytes that a program closes is reset, and then nothing more is sent.
        if !socket::CAN_HOLD || !chain.is_input_empty || !self.keeps_open || !self.body.is_done() {
            return Ok(false);
        }
        let received = buffer::get(received)?;
        let received = buffer::contents(&received);
        if received.is_empty() {
            return Ok(false);
        }
        let Some(target) = self.parser.arrived(received, &mut vm.headers.known) else { return Ok(false) };
        let target = TargetHash::new(target);
        chain.next = Some(target);
        let handlers = &self.config.handlers;
        if chain.count == 1 && !handlers.is_quick(target) || handlers.is_slow(target) {
            return Ok(false);
        }
        let start = self.account.start();
        if !chain.is_held {
            chain.since = start;
        }
        if start.saturating_sub(chain.since) >= MOST_DELAY {
            return Ok(false);
        }
        if chain.round != vm.pushes.round() {
            chain.round = vm.pushes.add(self.value.cast_mut());
        }
        Ok(true)
    }

    /// Takes note of bytes that the system has taken, and may hold back if `is_held` is true.
    pub fn sent(&mut self, count: usize, is_held: bool) {
        self.chain.is_held = is_held;
        self.count_sent(count);
    }

    /// Pushes what is held.
    pub fn push_held(&mut self) {
        if std::mem::take(&mut self.chain.is_held) {
            // A unix socket has nothing to push, and a connection that is gone needs nothing.
            let _ = stream::get(self.stream).ok().and_then(stream::descriptor).map(socket::push);
        }
    }

    /// The connection is about to read, so the next response is the first of another chain.
    pub fn end_chain(&mut self) {
        self.chain.is_pipelined = self.chain.count > 1;
        self.chain.count = 0;
    }

    /// The next request begins.
    pub fn begin_in_chain(&mut self) {
        self.chain.running = self.chain.next.take();
        if self.chain.running.is_some() {
            self.chain.began = runs_of_task();
        }
    }

    /// Takes note of how long a pipelined request took.
    pub fn note_duration(&mut self, now: Duration) {
        if let Some(target) = self.chain.running.take() {
            let has_waited = self.chain.began != runs_of_task();
            self.config.handlers.note(target, now.saturating_sub(self.account.start()), has_waited);
        }
    }
}

/// How often the running task was scheduled, so that it can be told whether it has waited in between.
fn runs_of_task() -> u32 {
    // SAFETY: it is null, or the task that runs, which is live.
    unsafe { c::janet_root_fiber().as_ref() }.map_or(0, |task| task.sched_id)
}

/// `(native/http-push)`: Pushes what the connections of this VM hold.
fn push(_args: &[Janet]) -> Result<Outcome, String> {
    vm::with_existing(|vm| {
        vm.pushes.take(|connection| {
            if let Some(connection) = collected::of::<std::cell::RefCell<Connection>>(&connection) {
                connection.borrow_mut().push_held();
            }
        });
    });
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/http-push-by function)`: Has a task call this function, which calls `native/http-push`, when responses are held.
/// Until then, none are.
fn push_by(args: &[Janet]) -> Result<Outcome, String> {
    vm::with(|vm| {
        vm.pushes.set_function(arg(args, 0))?;
        Ok(Outcome::Value(Janet::nil()))
    })
}
