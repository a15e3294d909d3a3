//! Serving files: folders, and the files that are opened in them.
//!
//! `folder` opens files by the paths of requests, `open_file` is a file that was opened, `answer` decides what a request
//! gets of it, and `contents` reads it.

mod answer;
mod contents;
mod folder;
mod open_file;

use kqnet_accept::Errno;

use crate::boundary::{self, Function};

pub use folder::open;
pub use open_file::OpenFile;

/// The native functions of all these files.
pub const FUNCTIONS: &[Function] = &boundary::join::<{ boundary::count(LISTS) }>(LISTS);

const LISTS: &[&[Function]] = &[folder::FUNCTIONS, answer::FUNCTIONS, contents::FUNCTIONS];

/// The system's words for an error.
fn text(why: &std::io::Error) -> String {
    why.raw_os_error().map_or_else(|| why.to_string(), |number| Errno(number).to_string())
}
