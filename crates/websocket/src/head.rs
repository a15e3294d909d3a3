//! The head of a frame (RFC 6455, 5.2): reading a client's, and writing the server's.

use crate::Violation;

/// The most bytes of a control frame's payload.
pub const MAX_CONTROL: usize = 125;

/// The most bytes of a head.
pub const MAX_HEAD: usize = 14;

/// What kind of frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation,
    /// The first part of a text.
    Text,
    /// The first part of a binary message.
    Binary,
    /// The end of the connection.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it is a control frame, which may come between the parts of a message.
    pub fn is_control(self) -> bool {
        self.number() >= 8
    }
}

/// The head of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub is_final: bool,
    pub opcode: Opcode,
    pub length: u64,
    pub mask: [u8; 4],
}

impl Received {
    /// Parses the head that these bytes begin with. Returns it with its length, or `None` if it is incomplete. What is wrong
    /// is noticed as soon as its byte is there.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::Protocol("a reserved bit is set"));
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Violation::Protocol("a frame has an unknown opcode")),
        };
        let is_final = first & 0x80 != 0;
        if opcode.is_control() && !is_final {
            return Err(Violation::Protocol("a control frame is fragmented"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::Protocol("a frame is not masked"));
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Violation::Protocol("a control frame is too long"));
        }
        let width = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(digits) = bytes.get(2..2 + width) else { return Ok(None) };
        let length = digits.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        let (length, least) = match width {
            2 => (length, 126),
            8 => (length, 65536),
            _ => (u64::from(short), 0),
        };
        if length > i64::MAX as u64 {
            return Err(Violation::Protocol("the highest bit of a length is set"));
        }
        if length < least {
            return Err(Violation::Protocol("a length is not in its shortest form"));
        }
        let Some(&[a, b, c, d]) = bytes.get(2 + width..6 + width) else { return Ok(None) };
        Ok(Some((Self { is_final, opcode, length, mask: [a, b, c, d] }, 6 + width)))
    }
}

/// The head of a frame to send, which is the only one of its message and has no mask.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; 10],
    length: u8,
}

impl Head {
    /// The head of a frame with a payload of this many bytes.
    pub fn new(opcode: Opcode, payload: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = 0x80 | opcode.number();
        let payload = payload as u64;
        let length = match payload {
            0..=125 => {
                bytes[1] = payload as u8;
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&payload.to_be_bytes());
                10
            }
        };
        Self { bytes, length }
    }

    /// The bytes of the head.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}
