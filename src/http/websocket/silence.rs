//! Silence: pings for a client that sends nothing, and the end for one that does not answer, takes nothing, or does not close.

use std::cell::RefCell;
use std::ffi::c_void;
use std::time::Duration;

use kqnet_websocket::Opcode;

use super::socket::Socket;
use crate::deadlines::{Reason, Slot};
use crate::vm::{self, Vm};

/// When to look again if there is nothing to look for.
const LATER: Duration = Duration::from_secs(3600);

/// How long silences may be, and when they began. The times are those of the engine's clock.
pub struct Silence {
    /// How long a client may send nothing before it gets a ping.
    ping: Option<Duration>,
    /// How long it may take to send something then, or to take some of what is sent to it.
    pong_timeout: Option<Duration>,
    /// How long the closing handshake may take.
    close_timeout: Option<Duration>,
    /// When something was last received.
    heard: Duration,
    /// When a ping was sent that nothing has followed yet.
    pinged: Option<Duration>,
    /// When the client last took some of the queue, or when the queue began.
    progress: Duration,
    /// When the closing handshake began.
    closing: Option<Duration>,
}

impl Silence {
    /// The silence of a new connection.
    pub fn new(
        ping: Option<Duration>,
        pong_timeout: Option<Duration>,
        close_timeout: Option<Duration>,
        now: Duration,
    ) -> Self {
        Self { ping, pong_timeout, close_timeout, heard: now, pinged: None, progress: now, closing: None }
    }

    /// The closing handshake begins, unless it has begun.
    pub fn begin_closing(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(now().unwrap_or(self.heard));
        }
    }

    /// When to look next, if not later for another reason.
    fn next(&self) -> Option<Duration> {
        match self.closing {
            Some(since) => Some(since + self.close_timeout?),
            None => {
                let least = [self.ping, self.pong_timeout].into_iter().flatten().min()?;
                Some(self.heard + least)
            }
        }
    }
}

impl Socket {
    /// Something was received.
    pub fn hear(&mut self) {
        self.silence.pinged = None;
        if let Some(now) = now() {
            self.silence.heard = now;
        }
    }

    /// The client has taken some of the queue.
    pub fn progress(&mut self) {
        if let Some(now) = now() {
            self.silence.progress = now;
        }
    }

    /// Something has to wait to be sent.
    pub fn begin_queue(&mut self) {
        self.progress();
    }

    /// Does what has to be done at a time. Returns when to look again, or `None` if there is nothing to look for.
    fn look_at_silence(&mut self, now: Duration) -> Option<Duration> {
        let is_queued = self.queued() > 0;
        let silence = &mut self.silence;
        if let Some(since) = silence.closing {
            // A client that takes what was queued before the Close frame has more time.
            let since = if is_queued { since.max(silence.progress) } else { since };
            let end = since + silence.close_timeout?;
            if now < end {
                return Some(end);
            }
            self.give_up(1006, "the closing handshake took too long");
            return None;
        }
        let mut next = None;
        let mut look_at = |at: Option<Duration>| {
            if let Some(at) = at {
                next = Some(next.map_or(at, |next: Duration| next.min(at)));
            }
        };
        if is_queued {
            let end = silence.pong_timeout.map(|timeout| silence.progress + timeout);
            if end.is_some_and(|end| end <= now) {
                self.give_up(1006, "the client took nothing for too long");
                return None;
            }
            look_at(end);
        }
        // While the handler leaves messages unread, nothing is received, and the client's answer may be there already.
        if self.reader.is_none() {
            look_at(silence.ping.or(silence.pong_timeout).map(|later| now + later));
            return next;
        }
        match (silence.pinged, silence.ping) {
            (Some(at), _) => {
                let end = silence.pong_timeout.map(|timeout| at + timeout);
                if end.is_some_and(|end| end <= now) {
                    self.give_up(1006, "the client did not answer a ping");
                    return None;
                }
                look_at(end);
                // The answer may have come by then, and the next ping may be due.
                look_at(silence.ping.map(|ping| now + ping));
            }
            (None, Some(ping)) if silence.heard + ping <= now => {
                silence.pinged = Some(now);
                look_at(silence.pong_timeout.map(|timeout| now + timeout));
                look_at(Some(now + ping));
                // If something else is queued, its end is answer enough.
                if !is_queued {
                    self.send_frame(Opcode::Ping, b"");
                }
            }
            (None, ping) => look_at(ping.map(|ping| silence.heard + ping)),
        }
        next
    }
}

/// The time of the engine's clock. There is none within a look, which gets the time as an argument.
fn now() -> Option<Duration> {
    let mut now = None;
    vm::with_existing(|vm| now = Some(vm.engine.now()));
    now
}

/// Sets the deadline of the next look.
pub fn set_deadline(vm: &mut Vm, slot: Slot, silence: &Silence) {
    vm.set_deadline(slot, silence.next(), Reason::Keyword("websocket"));
}

/// Looks at a WebSocket whose deadline has come. The deadline never ends the wait of its fiber: what has to end is ended
/// here.
pub fn look(socket: *mut c_void, now: Duration) -> Option<Duration> {
    // SAFETY: the deadline that this look belongs to is given back before the WebSocket is dropped.
    let socket = &mut *unsafe { &*socket.cast::<RefCell<Socket>>() }.borrow_mut();
    Some(socket.look_at_silence(now).map_or(now + LATER, |at| at.max(now)))
}
