//! A file that was opened in a folder, and the part of it that is the body of a response.

use std::borrow::Cow;
use std::cell::{RefCell, RefMut};
use std::ffi::c_void;
use std::fs::File;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_files::Info;

use super::contents::PIECE;
use super::text;
use crate::abstract_type::{AbstractType, NOTHING};
use crate::collected::{self, Collected, drop_collected};

/// An open file. Janet's collector owns it, in a `RefCell`.
pub struct OpenFile {
    /// None once it is closed.
    file: Option<File>,
    /// Its path below the folder.
    path: Vec<u8>,
    /// What the system said of the file when it was opened.
    pub info: Info,
    /// The offset of the first byte of the part.
    first: u64,
    /// How many bytes the part has.
    length: u64,
    /// How many bytes of the part were sent.
    sent: u64,
    /// The number of the connection whose response has it as its body.
    sender: Option<usize>,
}

/// What remains to be sent of a file.
pub struct Remaining<'a> {
    pub file: &'a File,
    pub offset: u64,
    pub length: u64,
}

unsafe extern "C-unwind" {
    /// Looks up a method, or reads a piece. It is in src/trampoline.c, since it may raise an error.
    fn kqnet_file_get(data: *mut c_void, key: c::Janet, out: *mut c::Janet) -> i32;
}

static FILE: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/file".as_ptr(),
    gc: Some(drop_collected::<RefCell<OpenFile>>),
    get: Some(kqnet_file_get),
    next: Some(next),
    ..NOTHING
});

// SAFETY: values of this Janet type are made by `collected::make` only, and are dropped as a `RefCell<OpenFile>`.
unsafe impl Collected for RefCell<OpenFile> {
    fn janet_type() -> &'static AbstractType {
        &FILE
    }
}

/// Returns the key that follows another. The pieces of a file are numbered from 0.
unsafe extern "C-unwind" fn next(data: *mut c_void, key: c::Janet) -> c::Janet {
    // SAFETY: Janet passes a live file.
    let length = unsafe { &*data.cast::<RefCell<OpenFile>>() }.borrow().length;
    let index = match Janet::from(key).unwrap() {
        TaggedJanet::Nil => 0,
        TaggedJanet::Number(index) => (index as u64).saturating_add(1),
        _ => return Janet::nil().into(),
    };
    if index < length.div_ceil(PIECE) { Janet::number(index as f64).into() } else { Janet::nil().into() }
}

/// Borrows the file in the first argument of a native function.
///
/// # Errors
/// Returns an error that says what the argument is, if it is not a file.
pub fn borrow(args: &[Janet]) -> Result<RefMut<'_, OpenFile>, String> {
    collected::first(args, "a file").map(RefCell::borrow_mut)
}

impl OpenFile {
    /// A whole file.
    pub fn new(file: File, path: Vec<u8>, info: Info) -> Self {
        Self { file: Some(file), path, info, first: 0, length: info.size, sent: 0, sender: None }
    }

    /// Its path below the folder.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its path in an error.
    fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }

    /// Selects the part of the file to send, from its start.
    pub fn set_part(&mut self, first: u64, length: u64) {
        (self.first, self.length, self.sent) = (first, length, 0);
    }

    /// The offset of the first byte of the part.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many bytes the part has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What remains to be sent.
    ///
    /// # Errors
    /// Returns an error if the file is closed.
    pub fn remaining(&self) -> Result<Remaining<'_>, String> {
        let file = self.file.as_ref().ok_or_else(|| format!("{} is closed: its response has ended", self.name()))?;
        Ok(Remaining { file, offset: self.first + self.sent, length: self.length - self.sent })
    }

    /// Takes note that the file is the body of a response. `sender` is a number that no other connection has.
    ///
    /// # Errors
    /// Returns an error if the file is closed, or is the body of another response: each would leave out what the other sends.
    pub fn begin(&mut self, sender: usize) -> Result<(), String> {
        self.remaining()?;
        if self.sent > 0 || self.sender.is_some_and(|other| other != sender) {
            return Err(format!("{} is being sent in another response: each needs a file of its own", self.name()));
        }
        self.sender = Some(sender);
        Ok(())
    }

    /// Counts bytes that were sent.
    pub fn advance(&mut self, count: u64) {
        self.sent += count;
    }

    /// Closes the descriptor if it is open.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// The error for a file that has fewer bytes than its response announced.
    pub fn too_short(&self) -> String {
        format!("{} became shorter while it was sent", self.name())
    }

    /// The error for a file that cannot be read.
    pub fn unreadable(&self, why: &std::io::Error) -> String {
        format!("cannot read {}: {}", self.name(), text(why))
    }
}
