//! Whether a message that comes in pieces is UTF-8.

use crate::Violation;

/// How much of a message is known to be UTF-8.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    valid: usize,
}

impl Utf8 {
    /// Looks at what was added to a message since the last call. Only its last character may be incomplete.
    ///
    /// # Errors
    /// Returns an error at the first byte that no following byte can make right.
    pub fn check(&mut self, message: &[u8]) -> Result<(), Violation> {
        match std::str::from_utf8(&message[self.valid..]) {
            Ok(_) => self.valid = message.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::NotUtf8),
        }
        Ok(())
    }

    /// Whether all of the message is UTF-8.
    pub fn is_complete(self, message: &[u8]) -> bool {
        self.valid == message.len()
    }
}
