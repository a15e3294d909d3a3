//! The files that were opened or uploaded for a request, which are closed when it ends.

use std::cell::RefCell;

use janetrs::Janet;

use super::connection::close_with_request;
use crate::boundary::{Function, Outcome, native};
use crate::collected;
use crate::files::{self, OpenFile, Upload};
use crate::value::arg;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("file-response", "folder request", respond)];

/// The files that were opened for a connection's running request, and those that came with it.
///
/// A handler may raise an error or be cancelled, and middleware may drop a response. Without this list, nothing would close
/// the files before the next collection.
///
/// Few requests have files, so the lists are made when they are needed. Each connection has room for their address only.
#[derive(Default)]
pub struct OpenFiles(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    files: Vec<*const RefCell<OpenFile>>,
    uploads: Vec<*const RefCell<Upload>>,
}

impl OpenFiles {
    /// Adds a file of this VM.
    pub fn add(&mut self, file: *const RefCell<OpenFile>) {
        self.0.get_or_insert_default().files.push(file);
    }

    /// Adds an upload of this VM.
    pub fn add_upload(&mut self, upload: *const RefCell<Upload>) {
        self.0.get_or_insert_default().uploads.push(upload);
    }

    /// Marks the files.
    ///
    /// # Safety
    /// The collector is asking for what is reachable.
    pub unsafe fn mark(&self) {
        let Some(lists) = &self.0 else { return };
        // SAFETY: the connection marks its files for as long as they are in the lists, so they are alive.
        unsafe {
            lists.files.iter().for_each(|&file| collected::mark(file));
            lists.uploads.iter().for_each(|&upload| collected::mark(upload));
        }
    }

    /// Closes the files, and empties the lists.
    pub fn close(&mut self) {
        let Some(lists) = self.0.take() else { return };
        for file in lists.files {
            // SAFETY: the connection has marked its files until now, so they are alive.
            unsafe { &*file }.borrow_mut().close();
        }
        for upload in lists.uploads {
            // SAFETY: as for the files.
            unsafe { &*upload }.borrow_mut().close();
        }
    }
}

/// `(native/file-response folder request)`: Returns the response to a request for a file of a folder, a table, or nil if
/// nothing is served for it. If a function decides on Cache-Control, and the response serves a file, returns a tuple of the
/// response and the path that the function is given.
///
/// An open file that is the body of the response is closed when the request ends.
fn respond(args: &[Janet]) -> Result<Outcome, String> {
    files::respond(arg(args, 0), arg(args, 1), close_with_request)
}
