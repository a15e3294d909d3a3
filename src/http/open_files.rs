//! The files that were opened for a request, which are closed when it ends.

use std::cell::RefCell;

use crate::collected;
use crate::files::OpenFile;

/// The files that were opened for a connection's running request.
///
/// A handler may raise an error or be cancelled, and middleware may drop a response. Without this list, nothing would close
/// the files before the next collection.
#[derive(Default)]
pub struct OpenFiles(Vec<*const RefCell<OpenFile>>);

impl OpenFiles {
    /// Adds a file of this VM.
    pub fn add(&mut self, file: *const RefCell<OpenFile>) {
        self.0.push(file);
    }

    /// Marks the files.
    ///
    /// # Safety
    /// The collector is asking for what is reachable.
    pub unsafe fn mark(&self) {
        for &file in &self.0 {
            // SAFETY: the connection marks its files for as long as they are in the list, so they are alive.
            unsafe { collected::mark(file) };
        }
    }

    /// Closes the files, and empties the list.
    pub fn close(&mut self) {
        for file in self.0.drain(..) {
            // SAFETY: the connection marks its files for as long as they are in the list, so they are alive.
            unsafe { &*file }.borrow_mut().close();
        }
    }
}
