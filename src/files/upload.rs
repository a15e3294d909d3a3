//! A file that a client sends in a form: in memory while it is small, and in a temporary file without a name after that.

use std::cell::{RefCell, RefMut};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_files::{Saving, temporary, write_at};

use super::text;
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::buffer;
use crate::collected::{self, Collected, drop_collected};
use crate::value::{arg, bytes, describe, integer, string, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("upload-size", "upload", size),
    native!("upload-memory", "upload", memory),
    native!("upload-spill", "upload folder", spill, c::JANET_SANDBOX_FS_TEMP),
    native!("upload-read", "upload most buffer", read),
    native!("upload-save", "upload path", save, c::JANET_SANDBOX_FS_WRITE),
    native!("upload-save-more", "upload", save_more, c::JANET_SANDBOX_FS_WRITE),
    native!("upload-save-stop", "upload", save_stop),
    native!("upload-close", "upload", close),
];

/// Where the content of an upload is.
enum Content {
    Memory(Vec<u8>),
    File(File),
    /// Nowhere: it was closed.
    Closed,
}

/// An uploaded file. Janet's collector owns it, in a `RefCell`.
pub struct Upload {
    content: Content,
    /// The name of its field, as errors show it.
    field: String,
    size: u64,
    /// The most bytes to hold in memory.
    max_memory: u64,
    /// The most bytes that it may have.
    max_size: u64,
    /// The offset of what is read next.
    at: u64,
    /// It was given a lasting name, so another name needs a copy.
    is_linked: bool,
    /// The copy that is being made.
    saving: Option<Saving>,
}

static UPLOAD: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/upload".as_ptr(),
    gc: Some(drop_collected::<RefCell<Upload>>),
    ..NOTHING
});

// SAFETY: values of this Janet type are made by `collected::make` only, and are dropped as a `RefCell<Upload>`.
unsafe impl Collected for RefCell<Upload> {
    fn janet_type() -> &'static AbstractType {
        &UPLOAD
    }
}

/// Borrows the upload in a value.
///
/// # Errors
/// Returns an error that says what the value is, if it is not an upload.
pub fn borrow(value: &Janet) -> Result<RefMut<'_, Upload>, String> {
    collected::expect(value, "an uploaded file").map(RefCell::borrow_mut)
}

/// Why nothing can be stored: a refusal for the client, or an error of the program's set-up.
pub enum Unstored {
    /// The status and the reason for the client, and what the system said.
    Shortage(u16, &'static str, String),
    /// What is wrong.
    Failed(String),
}

impl Unstored {
    fn new(what: &str, why: &io::Error) -> Self {
        let told = format!("{what}: {}", text(why));
        match why.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => {
                Self::Shortage(507, "there is no space for the file", told)
            }
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
                Self::Shortage(503, "the server is out of descriptors or memory", told)
            }
            _ => Self::Failed(told),
        }
    }

    /// What a native function returns or raises: a tuple of the status, the reason, and what the system said, or the error.
    pub fn outcome(self) -> Result<Outcome, String> {
        match self {
            Self::Shortage(status, reason, told) => {
                Ok(Outcome::Value(tuple(&[Janet::number(status.into()), string(reason), string(&told)])))
            }
            Self::Failed(told) => Err(told),
        }
    }
}

impl Upload {
    /// An empty upload.
    pub fn new(field: String, max_memory: u64, max_size: u64) -> Self {
        let content = Content::Memory(Vec::new());
        Self { content, field, size: 0, max_memory, max_size, at: 0, is_linked: false, saving: None }
    }

    /// How many more bytes it can take as it is.
    pub fn room(&self) -> u64 {
        let most =
            if let Content::Memory(_) = self.content { self.max_memory.min(self.max_size) } else { self.max_size };
        most.saturating_sub(self.size)
    }

    /// Whether it has as many bytes as it may have.
    pub fn is_full(&self) -> bool {
        self.size >= self.max_size
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Returns why they cannot be stored.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Unstored> {
        match &mut self.content {
            Content::Memory(memory) => {
                let out = |_| Unstored::new(&self.field, &io::Error::from_raw_os_error(libc::ENOMEM));
                memory.try_reserve(data.len()).map_err(out)?;
                memory.extend_from_slice(data);
            }
            Content::File(file) => write_at(file, data, self.size)
                .map_err(|why| Unstored::new(&format!("cannot write {} to its temporary file", self.field), &why))?,
            Content::Closed => return Err(Unstored::Failed(self.over())),
        }
        self.size += data.len() as u64;
        Ok(())
    }

    /// Moves the content to a temporary file in a folder.
    fn spill(&mut self, folder: &Path) -> Result<(), Unstored> {
        let Content::Memory(memory) = &self.content else { return Ok(()) };
        let what = |verb: &str| format!("cannot {verb} a temporary file in {}", folder.display());
        let file = temporary(folder).map_err(|why| Unstored::new(&what("make"), &why))?;
        write_at(&file, memory, 0).map_err(|why| Unstored::new(&what("write"), &why))?;
        self.content = Content::File(file);
        Ok(())
    }

    /// Reads up to `most` bytes. Returns none at the end.
    fn read(&mut self, most: usize) -> Result<Vec<u8>, String> {
        let rest = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let mut read = vec![0; most.min(rest)];
        match &self.content {
            Content::Memory(memory) => {
                let at = self.at as usize;
                let count = read.len();
                read.copy_from_slice(&memory[at..at + count]);
            }
            Content::File(file) => file
                .read_exact_at(&mut read, self.at)
                .map_err(|why| format!("cannot read {}: {}", self.field, text(&why)))?,
            Content::Closed => return Err(self.over()),
        }
        self.at += read.len() as u64;
        Ok(read)
    }

    /// Begins to save it under a path. Returns whether that is done.
    fn save(&mut self, path: &Path) -> Result<bool, String> {
        if self.saving.is_some() {
            return Err(format!("{} is being saved by another task already", self.field));
        }
        let result = match &self.content {
            Content::Closed => return Err(self.over()),
            Content::Memory(memory) => Saving::copy(path).and_then(|mut saving| {
                saving.write(memory)?;
                saving.finish()
            }),
            Content::File(file) => match if self.is_linked { None } else { Saving::link(file, path) } {
                Some(saving) => {
                    let result = saving.finish();
                    self.is_linked = result.is_ok();
                    result
                }
                None => match Saving::copy(path) {
                    Ok(saving) => {
                        self.saving = Some(saving);
                        return Ok(false);
                    }
                    Err(why) => Err(why),
                },
            },
        };
        result.map_err(|why| self.unsaved(path, &why))?;
        Ok(true)
    }

    /// Copies some more of it. Returns whether that is done.
    fn save_more(&mut self) -> Result<bool, String> {
        let Some(mut saving) = self.saving.take() else { return Err(self.over()) };
        let Content::File(file) = &self.content else { return Err(self.over()) };
        let path = saving.path().to_owned();
        let result = saving.advance(file, self.size).and_then(|is_done| {
            if is_done {
                saving.finish()?;
            } else {
                self.saving = Some(saving);
            }
            Ok(is_done)
        });
        result.map_err(|why| self.unsaved(&path, &why))
    }

    /// Drops the content, and a copy that is not complete.
    pub fn close(&mut self) {
        self.content = Content::Closed;
        self.saving = None;
    }

    fn over(&self) -> String {
        format!("{} is closed: its request is over, or its method :close was called", self.field)
    }

    fn unsaved(&self, path: &Path, why: &io::Error) -> String {
        format!("cannot save {} as {}: {}", self.field, path.display(), text(why))
    }
}

fn path<'a>(value: &'a Janet, what: &str) -> Result<&'a Path, String> {
    match bytes(value) {
        Some(path) if !path.is_empty() => Ok(Path::new(OsStr::from_bytes(path))),
        _ => Err(format!("{what} must be a path, got {}", describe(*value))),
    }
}

/// `(native/upload-size upload)`: Returns how many bytes an upload has.
fn size(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::number(borrow(&arg(args, 0))?.size as f64)))
}

/// `(native/upload-memory upload)`: Returns how many bytes of an upload are in memory.
fn memory(args: &[Janet]) -> Result<Outcome, String> {
    let upload = arg(args, 0);
    let upload = borrow(&upload)?;
    let count = if let Content::Memory(memory) = &upload.content { memory.len() } else { 0 };
    Ok(Outcome::Value(Janet::number(count as f64)))
}

/// `(native/upload-spill upload folder)`: Moves the content of an upload to a temporary file in a folder, that of the system if
/// the folder is nil. Returns nil, or a tuple of a status, a reason and what the system said if there is a shortage.
fn spill(args: &[Janet]) -> Result<Outcome, String> {
    let (value, folder) = (arg(args, 0), arg(args, 1));
    let mut upload = borrow(&value)?;
    let result = if folder.is_nil() {
        upload.spill(&std::env::temp_dir())
    } else {
        upload.spill(path(&folder, "the folder for temporary files")?)
    };
    result.map_or_else(Unstored::outcome, |()| Ok(Outcome::Value(Janet::nil())))
}

/// `(native/upload-read upload most buffer)`: Appends the next bytes of an upload, at most `most` of them, to a buffer.
/// Returns whether there were any.
fn read(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let most = integer(arg(args, 1)).and_then(|most| usize::try_from(most).ok());
    let most = most.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, 1))))?;
    let into = &mut buffer::get(arg(args, 2))?;
    let read = borrow(&value)?.read(most)?;
    buffer::push(into, &read)?;
    Ok(Outcome::Value(Janet::boolean(!read.is_empty())))
}

/// `(native/upload-save upload path)`: Saves an upload under a path, which appears only when the file is complete. Returns
/// true, or false when `native/upload-save-more` has to be called until it returns true.
fn save(args: &[Janet]) -> Result<Outcome, String> {
    let (value, target) = (arg(args, 0), arg(args, 1));
    let is_done = borrow(&value)?.save(path(&target, "the path to save a file as")?)?;
    Ok(Outcome::Value(Janet::boolean(is_done)))
}

/// `(native/upload-save-more upload)`: Copies some more of an upload that is being saved. Returns whether that is done.
fn save_more(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(borrow(&arg(args, 0))?.save_more()?)))
}

/// `(native/upload-save-stop upload)`: Gives up a copy that is not complete, and removes it.
fn save_stop(args: &[Janet]) -> Result<Outcome, String> {
    borrow(&arg(args, 0))?.saving = None;
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/upload-close upload)`: Drops the content of an upload.
fn close(args: &[Janet]) -> Result<Outcome, String> {
    borrow(&arg(args, 0))?.close();
    Ok(Outcome::Value(Janet::nil()))
}
