//! The files that were opened for a request, which are closed when it ends.

use std::cell::RefCell;

use janetrs::Janet;

use super::connection::close_with_request;
use crate::boundary::{Function, Outcome, native};
use crate::collected;
use crate::files::{self, OpenFile};
use crate::value::arg;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("folder-open", "folder path &opt stream", open)];

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

/// `(native/folder-open folder path &opt stream)`: Opens what is at a relative path. Returns a file, :folder, nil if there
/// is nothing that is served, or the status of the response, 403 or 503. The file is closed when the request that runs on
/// the HTTP connection of `stream` has ended.
fn open(args: &[Janet]) -> Result<Outcome, String> {
    files::open(arg(args, 0), arg(args, 1), |file| close_with_request(arg(args, 2), file))
}
