//! Waiting for the next request without asking the system first whether it has arrived.
//!
//! A read that returns less than it has space for has taken all that had arrived. The event queue reports what comes later,
//! and the connection's task learns of it, unless the loop has waited for events meanwhile, when the task was not waiting for
//! them. This saves one of three system calls per request.
//!
//! An end of input that came together with the request is not reported again. Neither are bytes behind urgent data, at which a
//! read stops. So a connection that stays idle for a moment reads once more.

use std::ffi::c_void;
use std::time::Duration;

use janetrs::lowlevel as c;

use super::connection::{self, Connection};
use super::phase::Phase;

/// How long a connection is idle before it reads once more.
pub const MOMENT: Duration = Duration::from_millis(100);

/// The deadline of a connection that may be idle for ever: a year.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Connection {
    /// Whether nothing more can have arrived since the last request was read. `task` is the connection's task.
    pub fn has_read_all(&self, task: *mut c::JanetFiber) -> bool {
        // SAFETY: the task is running, so it is live.
        self.reads_at_deadline && self.chain.is_input_empty && self.chain.scheduled == unsafe { (*task).sched_id }
    }

    /// Whether a connection that has just become idle reads once more after [`MOMENT`].
    pub fn may_read_again(&self) -> bool {
        self.chain.is_input_empty && self.config.idle_timeout.is_none_or(|timeout| timeout > MOMENT)
    }
}

/// Looks at a connection when its deadline has come. Returns the next deadline, or `None` to end its wait.
pub fn look(connection: *mut c_void, now: Duration) -> Option<Duration> {
    // SAFETY: the deadline that this look belongs to is given back before the connection is dropped.
    let connection = &mut *unsafe { connection::from_callback(connection) }.borrow_mut();
    // The deadline is that of the phase before.
    if connection.phase == Phase::Handler {
        return Some(now + NEVER);
    }
    if !std::mem::take(&mut connection.reads_at_deadline) || connection.phase != Phase::Idle {
        return None;
    }
    connection.read_again();
    Some(now + connection.config.idle_timeout.unwrap_or(NEVER).saturating_sub(MOMENT))
}
