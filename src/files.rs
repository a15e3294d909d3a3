//! Files that are served, and files that were uploaded.
//!
//! `folder` opens files by the paths of requests, `open_file` is a file that was opened, `answer` decides what a request
//! gets of it, and `contents` reads it. `upload` is a file that a client sent in a form.

mod answer;
mod contents;
mod folder;
mod open_file;
mod upload;

use kqnet_accept::Errno;

use crate::boundary::{self, Function};

pub use folder::open;
pub use open_file::OpenFile;
pub use upload::{Unstored, Upload, borrow as borrow_upload};

/// The native functions of all these files.
pub const FUNCTIONS: &[Function] = &boundary::join::<{ boundary::count(LISTS) }>(LISTS);

const LISTS: &[&[Function]] = &[folder::FUNCTIONS, answer::FUNCTIONS, contents::FUNCTIONS, upload::FUNCTIONS];

/// The system's words for an error.
pub fn text(why: &std::io::Error) -> String {
    why.raw_os_error().map_or_else(|| why.to_string(), |number| Errno(number).to_string())
}
