//! Reading open files: small ones as a whole, and large ones piece by piece.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use janetrs::{Janet, TaggedJanet};

use super::open_file::{self, OpenFile};
use crate::boundary::{Function, Outcome, native};
use crate::buffer::{self, Buffer};
use crate::collected;
use crate::value::arg;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("file-close", "file", close), native!("file-piece", "file index", piece)];

/// Bodies up to this size are read at once. Reading larger ones costs more than the calls that sendfile(2) needs, mainly because
/// garbage of that size makes Janet collect more often.
const SMALL: u64 = 4 * 1024;

/// The size of the pieces that `each` finds in a file.
pub const PIECE: u64 = 64 * 1024;

impl OpenFile {
    /// Appends `count` bytes of the file to a buffer.
    ///
    /// # Errors
    /// Returns an error if the file is closed, has fewer bytes, or cannot be read.
    fn read(&self, offset: u64, count: usize, into: &mut Buffer) -> Result<(), String> {
        let file = self.remaining()?.file;
        let space = buffer::space(into, count)?;
        // SAFETY: zeros are written before it is read as bytes.
        let space = unsafe {
            space.as_mut_ptr().write_bytes(0, count);
            std::slice::from_raw_parts_mut(space.as_mut_ptr().cast::<u8>(), count)
        };
        file.read_exact_at(space, offset).map_err(|why| match why.kind() {
            ErrorKind::UnexpectedEof => self.too_short(),
            _ => self.unreadable(&why),
        })?;
        // SAFETY: the bytes were read from the file.
        unsafe { buffer::filled(into, count) };
        Ok(())
    }

    /// Appends the next `count` bytes of the part to a buffer, and counts them as sent.
    ///
    /// # Errors
    /// Returns an error if the file is closed, has fewer bytes, or cannot be read.
    pub fn take(&mut self, count: u64, into: &mut Buffer) -> Result<(), String> {
        let offset = self.remaining()?.offset;
        self.read(offset, count as usize, into)?;
        self.advance(count);
        Ok(())
    }

    /// Returns a part of the file as the body of a response. If the part is small, this is a buffer of its bytes, and the file is
    /// closed. Otherwise it is the file, which is limited to that part and also returned as such.
    ///
    /// # Errors
    /// Returns an error if the file is closed, has fewer bytes, or cannot be read.
    pub fn into_body(mut self, first: u64, length: u64) -> Result<(Janet, Option<*const RefCell<Self>>), String> {
        if length <= SMALL {
            return Ok((self.read_new(first, length)?, None));
        }
        self.set_part(first, length);
        let file = collected::make(RefCell::new(self));
        Ok((collected::wrap(file), Some(file.cast_const())))
    }

    /// Returns `count` bytes of the file as a new buffer.
    fn read_new(&self, offset: u64, count: u64) -> Result<Janet, String> {
        let buffer = &mut buffer::new(count as usize)?;
        self.read(offset, count as usize, buffer)?;
        Ok(buffer.value())
    }
}

/// `(native/file-close file)`: Closes a file if it is open.
fn close(args: &[Janet]) -> Result<Outcome, String> {
    open_file::borrow(args)?.close();
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/file-piece file index)`: Returns the piece of a file with that number as a buffer, or nil if there is none.
fn piece(args: &[Janet]) -> Result<Outcome, String> {
    let file = &*open_file::borrow(args)?;
    let first = match arg(args, 1).unwrap() {
        TaggedJanet::Number(index) if index >= 0.0 && index.fract() == 0.0 => (index as u64).saturating_mul(PIECE),
        _ => return Ok(Outcome::Value(Janet::nil())),
    };
    if first >= file.length() {
        return Ok(Outcome::Value(Janet::nil()));
    }
    let count = PIECE.min(file.length() - first);
    Ok(Outcome::Value(file.read_new(file.first() + first, count)?))
}
