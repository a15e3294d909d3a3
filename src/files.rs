//! Files that are served, and files that were uploaded.
//!
//! `folder` is a folder whose files are served, and `find` opens them by the routes of requests. `open_file` is a file that was
//! opened, and `contents` reads it. `response` decides which response a request gets, and `serve` makes the one with a file, with
//! `request_headers`, `answer` (all of the file, or a part) and `content_types`. `upload` is a file that a client sent in a form.

mod answer;
mod content_types;
mod contents;
mod find;
mod folder;
mod open_file;
mod request_headers;
mod response;
mod serve;
mod upload;

use kqnet_accept::Errno;

use crate::boundary::{self, Function};

pub use open_file::OpenFile;
pub use response::respond;
pub use upload::{Unstored, Upload, borrow as borrow_upload};

/// The native functions of all these files.
pub const FUNCTIONS: &[Function] = &boundary::join::<{ boundary::count(LISTS) }>(LISTS);

const LISTS: &[&[Function]] = &[folder::FUNCTIONS, contents::FUNCTIONS, upload::FUNCTIONS];

/// The system's words for an error.
pub fn text(why: &std::io::Error) -> String {
    why.raw_os_error().map_or_else(|| why.to_string(), |number| Errno(number).to_string())
}
