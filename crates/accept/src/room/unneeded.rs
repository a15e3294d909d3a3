//! For systems on which `accept` without a free descriptor loses nothing.

use std::os::fd::RawFd;

use crate::errno::Errno;

/// Nothing.
#[derive(Debug, Default)]
pub struct Room {}

impl Room {
    /// Does nothing.
    pub fn forget(&mut self) {}

    /// Always succeeds.
    ///
    /// # Errors
    /// None.
    pub fn take(&mut self, _listener: RawFd) -> Result<(), Errno> {
        Ok(())
    }
}
