//! Lingering: letting the client take the last response before its connection is closed.
//!
//! Closing with unread bytes would reset the connection, and the client would lose what it has not read yet.

use std::time::Duration;

use janetrs::Janet;
use kqnet_accept::socket;

use super::connection::{self, Connection};
use super::phase::Phase;
use crate::boundary::{Function, Outcome, native};
use crate::deadlines::Reason;
use crate::stream;
use crate::value::{arg, is_true};
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-linger", "http draining", linger)];

/// How long a client that still sends may take in all.
const TOTAL: Duration = Duration::from_secs(30);

/// How long it may send nothing meanwhile.
const SILENCE: Duration = Duration::from_secs(5);

/// How long it may send nothing while the server drains.
pub const SILENCE_WHILE_DRAINING: Duration = Duration::from_secs(1);

/// How long a client may take to receive its last response.
#[derive(Default)]
pub struct Lingering {
    /// The time at which lingering ends in any case.
    until: Duration,
    /// The server is draining.
    pub is_brief: bool,
}

impl Connection {
    /// Waits longer for a client that still sends while its last response arrives.
    pub fn extend_lingering(&mut self) {
        vm::with_existing(|vm| {
            let silence = if self.lingering.is_brief { SILENCE_WHILE_DRAINING } else { SILENCE };
            let at = (vm.engine.now() + silence).min(self.lingering.until);
            self.set_deadline(vm, Some(at), Reason::Keyword("linger-timeout"));
        });
    }
}

/// `(native/http-linger http draining)`: Ends the server's side of the connection, then waits for what the client still
/// sends, and discards it. Returns true when there may be more, and nil or :gone when the connection can be closed.
fn linger(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let Some(fd) = stream::descriptor(stream::get(connection.stream)?) else { return Ok(Outcome::Value(Janet::nil())) };
    if connection.phase != Phase::Linger {
        if socket::end_sending(fd).is_err() {
            return Ok(Outcome::Value(Janet::nil()));
        }
        vm::with(|vm| {
            connection.enter(vm, Phase::Linger, vm.engine.now());
            connection.lingering.until = vm.engine.now() + TOTAL;
            Ok(())
        })?;
        connection.lingering.is_brief = is_true(arg(args, 1));
        connection.extend_lingering();
    }
    connection.read_and_discard()
}
