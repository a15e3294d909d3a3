//! Watching files for a supervisor that reloads.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString, TaggedJanet};
use kqnet_files::watch;

use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, bytes, describe, string};
use crate::{files, stream};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("file-version", "path", version, c::JANET_SANDBOX_FS_READ),
    native!("notifications", "", notifications, c::JANET_SANDBOX_FS_READ),
    native!("watch-folder", "stream path", watch_folder, c::JANET_SANDBOX_FS_READ),
    native!("tells-of-change?", "bytes &opt some", tells_of_change),
];

fn path(value: &Janet) -> Result<&Path, String> {
    let path = bytes(value).ok_or_else(|| format!("expected a path, got {}", describe(*value)))?;
    Ok(Path::new(OsStr::from_bytes(path)))
}

/// Returns a text that is another one once a file has changed, or nil if there is no plain file at the path.
fn version(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(watch::version(path(&arg(args, 0))?).map_or_else(Janet::nil, |text| string(&text))))
}

/// Returns a stream on which the system tells what happens in folders, or nil on systems that cannot do that.
fn notifications(_args: &[Janet]) -> Result<Outcome, String> {
    match watch::notifications() {
        Err(why) if why.kind() == ErrorKind::Unsupported => Ok(Outcome::Value(Janet::nil())),
        // What the user can raise is named. The text of the error speaks of open files.
        Err(why) if why.raw_os_error() == Some(libc::EMFILE) => {
            Err("there are too many inotify instances (sysctl fs.inotify.max_user_instances) or open files".into())
        }
        result => {
            let fd = result.map_err(|why| files::text(&why))?;
            Ok(Outcome::Value(stream::wrap(stream::make(fd, stream::Kind::Queue)?)))
        }
    }
}

/// Has the stream tell of a folder too. Returns the number that its events have, or nil if it is not there or cannot be read.
fn watch_folder(args: &[Janet]) -> Result<Outcome, String> {
    let (stream, folder) = (stream::get(arg(args, 0))?, arg(args, 1));
    let fd = stream::descriptor(stream).ok_or("the stream is closed")?;
    // SAFETY: the stream is open, and stays so until this function returns.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    match watch::watch(fd, path(&folder)?) {
        Err(why) if why.raw_os_error() == Some(libc::ENOSPC) => {
            Err("there are too many folders (sysctl fs.inotify.max_user_watches)".into())
        }
        Err(why) if matches!(why.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP)) => {
            Ok(Outcome::Value(Janet::nil()))
        }
        result => Ok(Outcome::Value(Janet::number(result.map_err(|why| files::text(&why))?.into()))),
    }
}

/// Returns whether what was read from the stream tells of something to look at. In the folders whose numbers are keys of the table
/// `some`, only the names that are keys of the table there matter.
fn tells_of_change(args: &[Janet]) -> Result<Outcome, String> {
    let (events, some) = (arg(args, 0), arg(args, 1));
    let events = bytes(&events).ok_or_else(|| format!("expected bytes, got {}", describe(events)))?;
    let matters = |number: i32, name: &[u8]| {
        let names = member(some, Janet::number(number.into()));
        names.is_nil() || name.is_empty() || !member(names, JanetString::new(name).into()).is_nil()
    };
    Ok(Outcome::Value(Janet::boolean(watch::tells_of_change(events, matters))))
}

/// Returns the value of a key in a table, or nil.
fn member(table: Janet, key: Janet) -> Janet {
    match table.unwrap() {
        // SAFETY: it is a table of Janet, which runs on this thread, and stays alive while the arguments do.
        TaggedJanet::Table(_) => unsafe { c::janet_table_get(c::janet_unwrap_table(table.into()), key.into()) }.into(),
        _ => Janet::nil(),
    }
}
