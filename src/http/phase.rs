//! The phases of a connection: what its fiber is doing, and how long it may wait in each of them.

use std::time::Duration;

use janetrs::Janet;

use super::connection::{self, Connection};
use super::lingering;
use super::second_read;
use crate::boundary::{Function, Outcome, native};
use crate::deadlines::Reason;
use crate::vm::{self, Vm};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-phase", "http", phase), native!("http-end-idle", "http", end_idle)];

/// What a connection's fiber is doing. Its names are what `(native/http-phase http)` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a request.
    Idle,
    /// It waits for the rest of a request's head.
    Head,
    /// The handler runs.
    Handler,
    /// The handler waits for the body of its request.
    Body,
    /// The last response was written, and the client may still send.
    Linger,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Head => "head",
            Self::Handler => "handler",
            Self::Body => "body",
            Self::Linger => "linger",
        }
    }
}

impl Connection {
    /// Changes to a phase. This starts the phase's timeout, unless the connection was in that phase already. The timeout
    /// of a body starts again with each read.
    pub fn enter(&mut self, vm: &mut Vm, phase: Phase, now: Duration) {
        let is_new = std::mem::replace(&mut self.phase, phase) != phase;
        let config = &self.config;
        let (timeout, reason) = match phase {
            Phase::Idle => (config.idle_timeout, Reason::Keyword("idle-timeout")),
            Phase::Head => {
                self.account.begin_head(now);
                (config.head_timeout, Reason::Keyword("head-timeout"))
            }
            Phase::Body => (config.body_timeout, Reason::Reject(408, "request body did not arrive in time")),
            // A handler has no time limit. Any deadline is left as it is, since looking at it then costs less than removing it
            // for each request (src/http/second_read.rs).
            Phase::Handler => {
                self.reads_at_deadline = false;
                return;
            }
            // Lingering sets its own deadlines (src/http/lingering.rs).
            Phase::Linger => (None, Reason::Keyword("")),
        };
        if is_new && phase == Phase::Idle && self.may_read_again() {
            self.set_deadline(vm, Some(now + second_read::MOMENT), reason);
            self.reads_at_deadline = true;
        } else if is_new || phase == Phase::Body {
            self.set_deadline(vm, timeout.map(|timeout| now + timeout), reason);
        }
    }

    /// Ends the connection's wait after a time, with `reason` as the error. `None` lets it wait for ever.
    pub fn set_timeout(&mut self, vm: &mut Vm, timeout: Option<Duration>, reason: Reason) {
        let at = timeout.map(|timeout| vm.engine.now() + timeout);
        self.set_deadline(vm, at, reason);
    }

    /// Ends the connection's wait at a time, with `reason` as the error. `None` lets it wait for ever.
    pub fn set_deadline(&mut self, vm: &mut Vm, at: Option<Duration>, reason: Reason) {
        self.reads_at_deadline = false;
        let Some(slot) = self.slot else { return };
        vm.set_deadline(slot, at, reason);
    }
}

/// `(native/http-phase http)`: Returns what the connection's fiber is doing, a keyword.
fn phase(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::keyword(connection::borrow(args)?.phase.name().into())))
}

/// `(native/http-end-idle http)`: Ends a connection that waits for a request, unless a request has arrived that was not
/// read yet. Ends one that lingers after a short time.
fn end_idle(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    vm::with(|vm| {
        match connection.phase {
            Phase::Idle => connection.set_timeout(vm, Some(Duration::ZERO), Reason::Keyword("idle-timeout")),
            Phase::Linger => {
                connection.lingering.is_brief = true;
                let silence = Some(lingering::SILENCE_WHILE_DRAINING);
                connection.set_timeout(vm, silence, Reason::Keyword("linger-timeout"));
            }
            _ => {}
        }
        Ok(Outcome::Value(Janet::nil()))
    })
}
