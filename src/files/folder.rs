//! Folders: opening files in them by the paths of requests.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString};
use kqnet_files::{Folder, Found, Refusal};
use kqnet_http1::coding;
use kqnet_http1::path::RelativePath;

use super::answer::joined;
use super::{OpenFile, text};
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::value::{arg, bytes, describe, is_true, string, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("file-path", "path hidden", path),
    native!("file-codings", "accept-encoding", codings),
    native!("folder", "path symlinks", folder, c::JANET_SANDBOX_FS_READ),
];

static FOLDER: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/folder".as_ptr(),
    gc: Some(drop_collected::<Folder>),
    ..NOTHING
});

// SAFETY: only `folder` makes values of this Janet type, and they are dropped as a `Folder`.
unsafe impl Collected for Folder {
    fn janet_type() -> &'static AbstractType {
        &FOLDER
    }
}

/// The folder in a value.
///
/// # Errors
/// Returns an error that says what the value is, if it is not a folder.
pub fn get(value: &Janet) -> Result<&Folder, String> {
    collected::expect(value, "a folder")
}

/// `(native/file-path path hidden)`: Returns a tuple: the path of a request as a path relative to the folder, and
/// whether it names a folder. Returns nil if the path would leave the folder, or if one of its names
/// begins with a dot and `hidden` is not true.
fn path(args: &[Janet]) -> Result<Outcome, String> {
    let path = arg(args, 0);
    let path = bytes(&path).ok_or_else(|| format!("expected a path, got {}", describe(path)))?;
    let found = RelativePath::new(path).ok().filter(|path| is_true(arg(args, 1)) || !path.is_hidden());
    Ok(Outcome::Value(match found {
        Some(path) => {
            let name = Janet::from(JanetString::new(path.as_bytes()));
            tuple(&[name, Janet::boolean(path.is_directory())])
        }
        None => Janet::nil(),
    }))
}

/// `(native/file-codings accept-encoding)`: Returns the codings that a client prefers to a file as it is. The argument is the value of
/// the header, an array of them, or nil. Each is a tuple
/// of its name and the suffix of files that have it.
fn codings(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let value = joined(value).unwrap_or_default();
    let codings = coding::accepted(&value);
    let pairs: Vec<_> = codings.map(|one| tuple(&[string(one.name()), string(one.suffix())])).collect();
    Ok(Outcome::Value(tuple(&pairs)))
}

/// `(native/folder path symlinks)`: Returns a folder to open files in. If `symlinks` is true, links are followed.
fn folder(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let path = bytes(&value).ok_or_else(|| format!("a folder's path must be a string, got {}", describe(value)))?;
    let folder = Folder::new(OsStr::from_bytes(path).as_ref(), is_true(arg(args, 1)))
        .map_err(|why| format!("cannot open the folder {}: {}", describe(value), text(&why)))?;
    // A handler that is given to another thread may take the folder with it.
    Ok(Outcome::Value(collected::wrap(collected::make_shared(folder))))
}

/// Opens what is at a relative path in a folder. Returns a file, :folder, nil if there is nothing that is served, or the status
/// of the response, 403 or 503. `opened` is called with the file.
///
/// # Errors
/// Returns an error if the arguments are not a folder and a path, or if the file cannot be opened for another reason.
pub fn open(folder: Janet, value: Janet, opened: impl FnOnce(*const RefCell<OpenFile>)) -> Result<Outcome, String> {
    let folder = get(&folder)?;
    let path = bytes(&value).ok_or_else(|| format!("expected a path, got {}", describe(value)))?;
    let (file, info) = match folder.open(path) {
        Ok(Found::File(file, info)) => (file, info),
        Ok(Found::Folder) => return Ok(Outcome::Value(Janet::keyword("folder".into()))),
        Err(Refusal::Missing) => return Ok(Outcome::Value(Janet::nil())),
        Err(Refusal::Forbidden) => return Ok(Outcome::Value(Janet::number(403.0))),
        Err(Refusal::Shortage(_)) => return Ok(Outcome::Value(Janet::number(503.0))),
        Err(Refusal::Failed(why)) => return Err(format!("cannot open {}: {}", describe(value), text(&why))),
    };
    let name = String::from_utf8_lossy(path).into_owned();
    let file = collected::make(RefCell::new(OpenFile::new(file, name, info)));
    opened(file);
    Ok(Outcome::Value(collected::wrap(file)))
}
