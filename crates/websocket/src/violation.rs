//! What a client may do wrong, and the code by which a Close frame tells it.

use std::fmt;

/// Something that RFC 6455 or a limit forbids a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The frames are wrong, as the text says.
    Protocol(&'static str),
    /// Text, or the reason in a Close frame, is not UTF-8.
    NotUtf8,
    /// A message is larger than the limit.
    TooLarge,
}

impl Violation {
    /// The code of the Close frame (RFC 6455, 7.4.1).
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
        }
    }

    /// The reason in the Close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Protocol(reason) => reason,
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooLarge => "message is too large",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
