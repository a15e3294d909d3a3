//! Making messages of a client's frames.

use crate::head::{MAX_CONTROL, MAX_HEAD, Opcode, Received};
use crate::text::Utf8;
use crate::{Close, Violation, mask};

/// Whether a message is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// What some bytes of a client make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing yet: all bytes were taken, and more are needed.
    More,
    /// A whole message.
    Message(Kind, &'a [u8]),
    /// A ping, which is to be answered with a pong that has the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The end: no frames follow.
    Close(Close<'a>),
}

/// A frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: Received,
    /// How many bytes of the payload have been taken.
    taken: u64,
}

impl Frame {
    fn remaining(&self) -> usize {
        usize::try_from(self.head.length - self.taken).unwrap_or(usize::MAX)
    }
}

/// What is known of a client's frames so far.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    /// The beginning of a head that has not arrived completely.
    head: [u8; MAX_HEAD],
    head_length: usize,
    frame: Option<Frame>,
    /// What has arrived of the payload of a control frame.
    control: Vec<u8>,
    /// What has arrived of a message that is not in one piece of the input.
    message: Vec<u8>,
    /// The kind of the message whose next part is expected.
    kind: Option<Kind>,
    utf8: Utf8,
    /// The last step returned what is in `control` or `message`.
    was_returned: bool,
    failure: Option<Violation>,
}

impl Decoder {
    /// A decoder for a new connection, with a limit for the bytes of a message.
    pub fn new(max_message: usize) -> Self {
        Self {
            max_message,
            head: [0; MAX_HEAD],
            head_length: 0,
            frame: None,
            control: Vec::new(),
            message: Vec::new(),
            kind: None,
            utf8: Utf8::default(),
            was_returned: false,
            failure: None,
        }
    }

    /// Takes bytes of the input, whose mask is removed in place. Returns how many, and what they make. Call it with the rest
    /// until it returns [`Step::More`]. After [`Step::Close`] there is nothing to decode.
    ///
    /// # Errors
    /// Returns what the client did wrong. Each later call returns it again.
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<(usize, Step<'a>), Violation> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.forget_returned();
        match self.take(input) {
            Ok((count, Found::Nothing)) => Ok((count, Step::More)),
            Ok((count, Found::Whole(kind, start))) => Ok((count, Step::Message(kind, &input[start..count]))),
            Ok((count, Found::Message(kind))) => {
                self.was_returned = true;
                Ok((count, Step::Message(kind, &self.message)))
            }
            Ok((count, Found::Control(opcode))) => {
                self.was_returned = true;
                let payload = &self.control[..];
                match opcode {
                    Opcode::Ping => Ok((count, Step::Ping(payload))),
                    Opcode::Close => match Close::parse(payload) {
                        Ok(close) => Ok((count, Step::Close(close))),
                        Err(violation) => {
                            self.failure = Some(violation);
                            Err(violation)
                        }
                    },
                    _ => Ok((count, Step::Pong(payload))),
                }
            }
            Err(violation) => {
                self.failure = Some(violation);
                Err(violation)
            }
        }
    }

    /// Gives back the memory of what the last step returned.
    fn forget_returned(&mut self) {
        if std::mem::take(&mut self.was_returned) {
            self.control = Vec::new();
            if self.kind.is_none() {
                self.message = Vec::new();
                self.utf8 = Utf8::default();
            }
        }
    }

    fn take(&mut self, input: &mut [u8]) -> Result<(usize, Found), Violation> {
        let mut at = 0;
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.take_head(input, &mut at)? {
                    Some(head) => Frame { head, taken: 0 },
                    None => return Ok((at, Found::Nothing)),
                },
            };
            let count = frame.remaining().min(input.len() - at);
            let payload = &mut input[at..at + count];
            mask::apply(payload, frame.head.mask, frame.taken);
            let start = at;
            at += count;
            frame.taken += count as u64;
            let is_complete = frame.remaining() == 0;
            if frame.head.opcode.is_control() {
                self.control.extend_from_slice(payload);
                if is_complete {
                    return Ok((at, Found::Control(frame.head.opcode)));
                }
            } else if let Some(kind) = self.kind {
                let is_last = is_complete && frame.head.is_final;
                if is_last && self.message.is_empty() {
                    // All of the message is here, and needs no copy.
                    if kind == Kind::Text && std::str::from_utf8(payload).is_err() {
                        return Err(Violation::NotUtf8);
                    }
                    self.kind = None;
                    return Ok((at, Found::Whole(kind, start)));
                }
                self.message.extend_from_slice(payload);
                if kind == Kind::Text {
                    self.utf8.check(&self.message)?;
                }
                if is_last {
                    if kind == Kind::Text && !self.utf8.is_complete(&self.message) {
                        return Err(Violation::NotUtf8);
                    }
                    self.kind = None;
                    return Ok((at, Found::Message(kind)));
                }
            }
            if !is_complete {
                self.frame = Some(frame);
                return Ok((at, Found::Nothing));
            }
        }
    }

    /// Takes the head of a frame, and checks that the frame may come now.
    fn take_head(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Received>, Violation> {
        let before = self.head_length;
        let head = if before == 0 {
            Received::parse(&input[*at..])?
        } else {
            let count = (MAX_HEAD - before).min(input.len() - *at);
            self.head[before..before + count].copy_from_slice(&input[*at..*at + count]);
            Received::parse(&self.head[..before + count])?
        };
        let Some((head, length)) = head else {
            // Fewer bytes than the longest head has, since that would be complete.
            let rest = &input[*at..];
            self.head[before..before + rest.len()].copy_from_slice(rest);
            self.head_length += rest.len();
            *at = input.len();
            return Ok(None);
        };
        *at += length - before;
        self.head_length = 0;
        self.expect(&head)?;
        Ok(Some(head))
    }

    /// Checks that a frame may come now, and begins the message that it is the first part of.
    fn expect(&mut self, head: &Received) -> Result<(), Violation> {
        let kind = match (head.opcode, self.kind) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
                debug_assert!(head.length <= MAX_CONTROL as u64);
                return Ok(());
            }
            (Opcode::Continuation, Some(kind)) => kind,
            (Opcode::Text, None) => Kind::Text,
            (Opcode::Binary, None) => Kind::Binary,
            (Opcode::Continuation, None) => {
                return Err(Violation::Protocol("a continuation has no message to go on"));
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::Protocol("a message begins before the last one has ended"));
            }
        };
        if head.length > (self.max_message - self.message.len()) as u64 {
            return Err(Violation::TooLarge);
        }
        self.kind = Some(kind);
        Ok(())
    }
}

/// What `take` found.
enum Found {
    Nothing,
    /// A message that is in the input, from this index to the end of what was taken.
    Whole(Kind, usize),
    /// A message that is in `Decoder::message`.
    Message(Kind),
    /// A control frame whose payload is in `Decoder::control`.
    Control(Opcode),
}
