//! Serving files: folders, the files that are opened in them, and what a request asks for of one.

use std::ffi::{OsStr, c_void};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString, TaggedJanet};
use kqnet_accept::Errno;
use kqnet_files::{Folder, Found, Info, Refusal};
use kqnet_http1::coding;
use kqnet_http1::conditional::{Conditions, Precondition, if_range};
use kqnet_http1::date;
use kqnet_http1::path::RelativePath;
use kqnet_http1::range::{Selection, select};

use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Outcome, entry, guard};
use crate::buffer;
use crate::http;
use crate::value::{arg, bytes, describe, integer, is_true, string, tuple};

entry!(kqnet_file_path => path);
entry!(kqnet_file_codings => codings);
entry!(kqnet_folder => folder);
entry!(kqnet_folder_open => open);
entry!(kqnet_file_answer => answer);
entry!(kqnet_file_body => body);
entry!(kqnet_file_close => close);
entry!(kqnet_file_take => take);
entry!(kqnet_file_piece => piece);

/// Bodies up to this size are read at once, so that their descriptor is closed before they are sent.
const SMALL: u64 = 32 * 1024;

/// The size of the pieces that `each` finds in a file.
const PIECE: u64 = 64 * 1024;

/// An open file, or the part of it that is the body of a response.
pub struct Part {
    /// None where it is closed.
    file: Option<File>,
    /// For errors.
    name: String,
    info: Info,
    first: u64,
    length: u64,
    /// How many bytes of the part were sent.
    sent: u64,
}

unsafe extern "C-unwind" {
    /// In src/trampoline.c, since it may raise.
    fn kqnet_file_get(data: *mut c_void, key: c::Janet, out: *mut c::Janet) -> i32;
}

static FOLDER: AbstractType =
    AbstractType(c::JanetAbstractType { name: c"kqnet/folder".as_ptr(), gc: Some(collect_folder), ..NOTHING });

static FILE: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/file".as_ptr(),
    gc: Some(collect_file),
    get: Some(kqnet_file_get),
    next: Some(next),
    ..NOTHING
});

unsafe extern "C-unwind" fn collect_folder(data: *mut c_void, _size: usize) -> i32 {
    guard("collecting a folder", || {
        // SAFETY: Janet passes the memory that `folder` initialized, once: when no thread has it any more.
        unsafe { data.cast::<Folder>().drop_in_place() }
    });
    0
}

unsafe extern "C-unwind" fn collect_file(data: *mut c_void, _size: usize) -> i32 {
    guard("collecting a file", || {
        // SAFETY: Janet passes the memory that `open` initialized, once.
        unsafe { data.cast::<Part>().drop_in_place() }
    });
    0
}

/// The key that follows another: the pieces of a file are numbered.
unsafe extern "C-unwind" fn next(data: *mut c_void, key: c::Janet) -> c::Janet {
    // SAFETY: Janet passes the memory that `open` initialized.
    let part = unsafe { &*data.cast::<Part>() };
    let index = match Janet::from(key).unwrap() {
        TaggedJanet::Nil => 0,
        TaggedJanet::Number(index) => (index as u64).saturating_add(1),
        _ => return Janet::nil().into(),
    };
    if index < part.length.div_ceil(PIECE) { Janet::number(index as f64).into() } else { Janet::nil().into() }
}

impl Part {
    /// The file in a value, if it is one.
    pub fn of<'a>(value: Janet) -> Option<&'a mut Self> {
        // SAFETY: a type check; the value is live, and no other reference to it exists while one of these functions
        // runs, since none calls Janet code.
        unsafe { c::janet_checkabstract(value.into(), &raw const FILE.0).cast::<Self>().as_mut() }
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The file, the offset of what is left to send, and how many bytes that is.
    ///
    /// # Errors
    /// Where it is closed.
    pub fn rest(&self) -> Result<(&File, u64, u64), String> {
        let file = self.file.as_ref().ok_or_else(|| format!("{} is closed: its response has ended", self.name))?;
        Ok((file, self.first + self.sent, self.length - self.sent))
    }

    /// Counts bytes that were sent.
    pub fn advance(&mut self, count: u64) {
        self.sent += count;
    }

    /// Closes the descriptor, where it is open.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// The error for a file that has fewer bytes than its response announced.
    pub fn short(&self) -> String {
        format!("{} became shorter while it was sent", self.name)
    }

    /// The error for a file that cannot be read.
    pub fn unreadable(&self, why: &std::io::Error) -> String {
        format!("cannot read {}: {}", self.name, text(why))
    }

    /// Appends so many bytes of the file to a buffer.
    fn read(&self, at: u64, count: usize, into: &mut c::JanetBuffer) -> Result<(), String> {
        let (file, _, _) = self.rest()?;
        let room = buffer::room(into, count)?;
        // SAFETY: zeros are written before it is read as bytes.
        let room = unsafe {
            room.as_mut_ptr().write_bytes(0, count);
            std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), count)
        };
        file.read_exact_at(room, at).map_err(|why| match why.kind() {
            std::io::ErrorKind::UnexpectedEof => self.short(),
            _ => self.unreadable(&why),
        })?;
        // SAFETY: they were read from the file.
        unsafe { buffer::filled(into, count) };
        Ok(())
    }
}

/// The system's words for an error.
fn text(why: &std::io::Error) -> String {
    why.raw_os_error().map_or_else(|| why.to_string(), |number| Errno(number).to_string())
}

fn file<'a>(args: &[Janet]) -> Result<&'a mut Part, String> {
    Part::of(arg(args, 0)).ok_or_else(|| format!("expected a file, got {}", describe(arg(args, 0))))
}

fn folder_of<'a>(value: Janet) -> Result<&'a Folder, String> {
    // SAFETY: a type check; the argument keeps it alive.
    unsafe { c::janet_checkabstract(value.into(), &raw const FOLDER.0).cast::<Folder>().as_ref() }
        .ok_or_else(|| format!("expected a folder, got {}", describe(value)))
}

/// `(native/file-path path hidden)`: the relative file path that the path of a request stands for, or nil where it would
/// leave the folder, or is hidden (a name that begins with a dot) unless `hidden` is true
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

/// `(native/file-codings accept-encoding)`: the codings that a client prefers to a file as it is, each as a tuple of its
/// name and the suffix of files in it
fn codings(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let codings = coding::accepted(bytes(&value).unwrap_or_default());
    let pairs: Vec<_> = codings.map(|one| tuple(&[string(one.name()), string(one.suffix())])).collect();
    Ok(Outcome::Value(tuple(&pairs)))
}

/// `(native/folder path symlinks)`: a folder to open files in
fn folder(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let path = bytes(&value).ok_or_else(|| format!("a folder's path must be a string, got {}", describe(value)))?;
    let folder = Folder::new(OsStr::from_bytes(path).as_ref(), is_true(arg(args, 1)))
        .map_err(|why| format!("cannot open the folder {}: {}", describe(value), text(&why)))?;
    // SAFETY: memory of the size asked for, aligned for anything. A closure may take it to other threads, which share
    // it: a folder is Sync.
    let value = unsafe {
        let place: *mut Folder = c::janet_abstract_threaded(&raw const FOLDER.0, size_of::<Folder>()).cast();
        place.write(folder);
        c::janet_wrap_abstract(place.cast())
    };
    Ok(Outcome::Value(value.into()))
}

/// `(native/folder-open folder path &opt stream)`: what is at a relative path: a file, :folder, nil for nothing that is
/// served, or the status of the answer, 403 or 503. The file is closed when the request on the HTTP connection of
/// `stream` has ended.
fn open(args: &[Janet]) -> Result<Outcome, String> {
    let folder = folder_of(arg(args, 0))?;
    let value = arg(args, 1);
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
    let part = Part { file: Some(file), name, info, first: 0, length: info.size, sent: 0 };
    // SAFETY: as in `folder`, for this VM alone.
    let (place, value) = unsafe {
        let place: *mut Part = c::janet_abstract(&raw const FILE.0, size_of::<Part>()).cast();
        place.write(part);
        (place, c::janet_wrap_abstract(place.cast()))
    };
    http::keep_file(arg(args, 2), place);
    Ok(Outcome::Value(value.into()))
}

/// `(native/file-answer file folder coding is-read if-match if-unmodified-since if-none-match if-modified-since range
/// if-range)`: a tuple of the status (200, 206, 304, 412 or 416), the values of ETag and Last-Modified (or nil), the
/// first byte and the length of the part that is asked for, and the size of the file. `coding` is nil for the file as
/// it is.
fn answer(args: &[Janet]) -> Result<Outcome, String> {
    let part = file(args)?;
    let folder = folder_of(arg(args, 1))?;
    let (handle, ..) = part.rest()?;
    let known = folder.validators(handle, &part.info, SystemTime::now()).map_err(|why| part.unreadable(&why))?;
    let tag = match bytes(&arg(args, 2)) {
        Some(coding) => format!("\"{}-{}\"", known.tag, String::from_utf8_lossy(coding)),
        None => format!("\"{}\"", known.tag),
    };
    let headers: Vec<Janet> = (4..10).map(|index| arg(args, index)).collect();
    let header = |index: usize| bytes(&headers[index]);
    let conditions = Conditions {
        if_match: header(0),
        if_unmodified_since: header(1),
        if_none_match: header(2),
        if_modified_since: header(3),
    };
    let size = part.info.size;
    let (status, first, length) = match conditions.evaluate(is_true(arg(args, 3)), tag.as_bytes(), known.modified) {
        Precondition::NotModified => (304, 0, 0),
        Precondition::Failed => (412, 0, 0),
        Precondition::Proceed => {
            // A date that was shown to be inexact cannot be the condition of a part.
            let exact = known.modified.filter(|_| known.modified == known.last_modified);
            let is_same = header(5).is_none_or(|value| if_range(value, tag.as_bytes(), exact));
            match header(4).filter(|_| is_same).map_or(Selection::All, |range| select(range, size)) {
                Selection::Part { first, last } => (206, first, last - first + 1),
                Selection::Unsatisfiable => (416, 0, 0),
                Selection::All => (200, 0, size),
            }
        }
    };
    let last_modified = match known.last_modified {
        Some(seconds) => string(std::str::from_utf8(&date::format(seconds)).unwrap_or_default()),
        None => Janet::nil(),
    };
    let number = |number: u64| Janet::number(number as f64);
    Ok(Outcome::Value(tuple(&[
        number(status),
        string(&tag),
        last_modified,
        number(first),
        number(length),
        number(size),
    ])))
}

fn whole_number(value: Janet) -> Result<u64, String> {
    match value.unwrap() {
        TaggedJanet::Number(number) if number >= 0.0 => Ok(number as u64),
        _ => Err(format!("expected a number of bytes, got {}", describe(value))),
    }
}

/// `(native/file-body file first length)`: a part of a file as the body of a response: its bytes where they are few, and
/// the file is closed then; else the file, which is that part from then on
fn body(args: &[Janet]) -> Result<Outcome, String> {
    let part = file(args)?;
    let (first, length) = (whole_number(arg(args, 1))?, whole_number(arg(args, 2))?);
    if length > SMALL {
        (part.first, part.length, part.sent) = (first, length, 0);
        return Ok(Outcome::Value(arg(args, 0)));
    }
    // SAFETY: a new buffer, which nothing collects before it is returned.
    let buffer = unsafe { &mut *c::janet_buffer(length as i32) };
    let result = part.read(first, length as usize, buffer);
    part.close();
    result?;
    // SAFETY: as above.
    Ok(Outcome::Value(unsafe { c::janet_wrap_buffer(buffer) }.into()))
}

/// `(native/file-close file)`
fn close(args: &[Janet]) -> Result<Outcome, String> {
    file(args)?.close();
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/file-take file most buffer)`: moves up to so many bytes that were not sent yet to a buffer
fn take(args: &[Janet]) -> Result<Outcome, String> {
    let part = file(args)?;
    let most = integer(arg(args, 1)).and_then(|most| u64::try_from(most).ok());
    let most = most.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, 1))))?;
    let buffer = buffer::get(arg(args, 2))?;
    let (_, at, left) = part.rest()?;
    let count = left.min(most);
    part.read(at, count as usize, buffer)?;
    part.advance(count);
    Ok(Outcome::Value(Janet::nil()))
}

/// The piece of a file with that number, as a buffer, or nil
fn piece(args: &[Janet]) -> Result<Outcome, String> {
    let part = file(args)?;
    let at = match arg(args, 1).unwrap() {
        TaggedJanet::Number(index) if index >= 0.0 && index.fract() == 0.0 => (index as u64).saturating_mul(PIECE),
        _ => return Ok(Outcome::Value(Janet::nil())),
    };
    if at >= part.length {
        return Ok(Outcome::Value(Janet::nil()));
    }
    let count = PIECE.min(part.length - at);
    // SAFETY: a new buffer, which nothing collects before it is returned.
    let buffer = unsafe { &mut *c::janet_buffer(count as i32) };
    part.read(part.first + at, count as usize, buffer)?;
    // SAFETY: as above.
    Ok(Outcome::Value(unsafe { c::janet_wrap_buffer(buffer) }.into()))
}
