//! What a Close frame says, and which codes may be in one (RFC 6455, 7.4).

use crate::Violation;
use crate::head::MAX_CONTROL;

/// The most bytes of the reason in a Close frame.
pub const MAX_REASON: usize = MAX_CONTROL - 2;

/// What a Close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// The code, if there is one.
    pub code: Option<u16>,
    /// The reason, which may be empty.
    pub reason: &'a str,
}

/// Whether a Close frame may have this code. 1005, 1006 and 1015 stand for the absence of a frame, and 1004 and the others
/// below 3000 have no meaning.
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl<'a> Close<'a> {
    /// Reads the payload of a Close frame.
    ///
    /// # Errors
    /// Returns an error for a payload of one byte, for a code that may not be sent, and for a reason that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        let [high, low, reason @ ..] = payload else {
            return if payload.is_empty() {
                Ok(Self { code: None, reason: "" })
            } else {
                Err(Violation::Protocol("a Close frame has half a code"))
            };
        };
        let code = u16::from_be_bytes([*high, *low]);
        if !is_sendable(code) {
            return Err(Violation::Protocol("a Close frame has a code that may not be sent"));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
        Ok(Self { code: Some(code), reason })
    }
}
