//! The closing handshake (RFC 6455, 7): sending a Close frame, and the end for whatever reason.

use janetrs::Janet;
use kqnet_websocket::{MAX_REASON, Opcode, is_sendable};

use super::socket::{self, Socket};
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, bytes, describe, integer, string, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] =
    &[native!("websocket-close", "websocket code reason", close), native!("websocket-end", "websocket", end)];

impl Socket {
    /// No message follows, for this reason.
    pub fn end_input(&mut self, code: u16, reason: &str) {
        self.is_input_over = true;
        self.end.get_or_insert_with(|| (code, reason.to_owned()));
        self.silence.begin_closing();
        self.look_in_time();
    }

    /// Sends a Close frame, unless one was sent. Without a code it has no payload.
    pub fn send_close(&mut self, code: Option<u16>, reason: &str) {
        if !self.is_close_sent {
            let mut payload = Vec::with_capacity(2 + reason.len());
            if let Some(code) = code {
                payload.extend_from_slice(&code.to_be_bytes());
                payload.extend_from_slice(reason.as_bytes());
            }
            // It is the first Close frame, and nothing may follow it, not even a pong.
            self.pong = None;
            self.send_frame(Opcode::Close, &payload);
            self.is_close_sent = true;
            self.silence.begin_closing();
            self.look_in_time();
        }
        self.flush();
    }

    /// Ends the WebSocket without waiting for the client any longer.
    pub fn give_up(&mut self, code: u16, reason: &str) {
        (self.is_input_over, self.is_over) = (true, true);
        self.end.get_or_insert_with(|| (code, reason.to_owned()));
        (self.out, self.sent, self.pong) = (Vec::new(), 0, None);
        self.tell_reader();
        self.wake_writer();
    }
}

/// `(native/websocket-close websocket code reason)`: Sends a Close frame, unless one was sent already.
fn close(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &mut *socket::borrow(args)?;
    let code = integer(arg(args, 1)).and_then(|code| u16::try_from(code).ok()).filter(|code| is_sendable(*code));
    let code = code.ok_or_else(|| {
        let what = "the code of a Close frame is from 1000 to 1003, from 1007 to 1014, or from 3000 to 4999";
        format!("{what}; got {}", describe(arg(args, 1)))
    })?;
    let value = arg(args, 2);
    let reason = if value.is_nil() { Some("") } else { bytes(&value).and_then(|text| std::str::from_utf8(text).ok()) };
    let reason = reason.filter(|reason| reason.len() <= MAX_REASON);
    let reason = reason.ok_or_else(|| {
        format!("the reason in a Close frame is UTF-8 of at most {MAX_REASON} bytes, got {}", describe(value))
    })?;
    if !socket.is_over {
        socket.send_close(Some(code), reason);
    }
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/websocket-end websocket)`: Returns the code and the reason of the end as a tuple, or nil while there is none.
fn end(args: &[Janet]) -> Result<Outcome, String> {
    let socket = &*socket::borrow(args)?;
    Ok(Outcome::Value(match &socket.end {
        Some((code, reason)) => tuple(&[Janet::number(f64::from(*code)), string(reason)]),
        None => Janet::nil(),
    }))
}
