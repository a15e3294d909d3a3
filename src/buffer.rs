//! Janet's buffers: looking at them, and making space in them without raising an error.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::value::describe;

/// The bit in the header of a buffer that says that it is lent. No version of Janet uses it for buffers, and Janet never sees
/// it: it is cleared before the call from Janet returns.
const LENT: i32 = 1 << 30;

/// A Janet buffer that is lent to Rust code.
///
/// Invariant: while a `Buffer` exists, there is no second one for the same Janet buffer, which is marked as lent. No Janet code and no collection
/// runs, so the buffer is live and only this changes it. It is used within one call from Janet, and the value that it was taken
/// from keeps the buffer alive for that long.
pub struct Buffer(NonNull<c::JanetBuffer>);

/// Lends the buffer in a value.
///
/// # Errors
/// Returns an error that says what else the value is, or that the buffer is in use already.
#[inline]
pub fn get(value: Janet) -> Result<Buffer, String> {
    match of(value).and_then(Buffer::lend) {
        Some(buffer) => Ok(buffer),
        None => Err(refusal(value)),
    }
}

/// Why a value cannot be lent as a buffer.
#[cold]
fn refusal(value: Janet) -> String {
    if of(value).is_some() { TWICE.into() } else { format!("expected a buffer, got {}", describe(value)) }
}

/// A new buffer with space for `capacity` bytes.
///
/// # Errors
/// Returns an error for more than 2 GiB.
pub fn new(capacity: usize) -> Result<Buffer, String> {
    let capacity = i32::try_from(capacity).map_err(|_| TOO_LARGE)?;
    // SAFETY: any capacity is allowed, and janet_buffer never gives null. The buffer lives until the next collection.
    let buffer = unsafe { NonNull::new_unchecked(c::janet_buffer(capacity)) };
    // A new buffer is never lent.
    Buffer::lend(buffer).ok_or_else(|| TWICE.into())
}

const TWICE: &str = "a buffer cannot be used twice at the same time";
const TOO_LARGE: &str = "a buffer would be larger than 2 GiB";

/// The address of the buffer in a value, if it is one.
fn of(value: Janet) -> Option<NonNull<c::JanetBuffer>> {
    // SAFETY: the type is checked before the value is unwrapped.
    unsafe {
        let is_buffer = c::janet_checktype(value.into(), c::JanetType_JANET_BUFFER) != 0;
        if is_buffer { NonNull::new(c::janet_unwrap_buffer(value.into())) } else { None }
    }
}

impl Buffer {
    /// Lends a live buffer, unless it is lent already.
    fn lend(buffer: NonNull<c::JanetBuffer>) -> Option<Self> {
        // SAFETY: the buffer is live, and there is no reference to it: those to a lent one stay within its `Buffer`, and
        // nothing but this function and `drop` touches the header.
        let flags = unsafe { &mut (*buffer.as_ptr()).gc.flags };
        if *flags & LENT != 0 {
            return None;
        }
        *flags |= LENT;
        Some(Self(buffer))
    }

    fn get(&self) -> &c::JanetBuffer {
        // SAFETY: the buffer is live, and only this refers to it, by the invariant of the type.
        unsafe { self.0.as_ref() }
    }

    fn get_mut(&mut self) -> &mut c::JanetBuffer {
        // SAFETY: the buffer is live, and only this refers to it, by the invariant of the type.
        unsafe { self.0.as_mut() }
    }

    /// The buffer as a value.
    pub fn value(&self) -> Janet {
        // SAFETY: a live buffer can be a value.
        unsafe { c::janet_wrap_buffer(self.0.as_ptr()) }.into()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.get_mut().gc.flags &= !LENT;
    }
}

/// What is in a buffer.
pub fn contents(buffer: &Buffer) -> &[u8] {
    let buffer = buffer.get();
    if buffer.count == 0 {
        return &[];
    }
    // SAFETY: a buffer has `count` bytes at `data`.
    unsafe { std::slice::from_raw_parts(buffer.data, buffer.count as usize) }
}

/// Removes bytes from the front of a buffer.
pub fn consume(buffer: &mut Buffer, count: usize) {
    // An empty buffer may have no memory.
    if count == 0 {
        return;
    }
    let buffer = buffer.get_mut();
    let rest = buffer.count as usize - count;
    // SAFETY: both ranges are within the buffer.
    unsafe { std::ptr::copy(buffer.data.add(count), buffer.data, rest) };
    buffer.count = rest as i32;
}

/// Returns `count` bytes of free memory after the contents. [`filled`] makes them part of the contents.
///
/// # Errors
/// Returns an error for more than 2 GiB, and if the memory is not Janet's (`ffi/pointer-buffer`) and has too little space. In
/// both cases Janet would raise.
pub fn space(buffer: &mut Buffer, count: usize) -> Result<&mut [MaybeUninit<u8>], String> {
    let buffer = buffer.get_mut();
    let count = i32::try_from(count).ok().filter(|&count| buffer.count.checked_add(count).is_some());
    let count = count.ok_or(TOO_LARGE)?;
    if buffer.capacity - buffer.count < count {
        if buffer.gc.flags & c::JANET_BUFFER_FLAG_NO_REALLOC as i32 != 0 {
            return Err("a buffer whose memory is not Janet's has no more space".into());
        }
        // SAFETY: the two reasons to raise were excluded.
        unsafe { c::janet_buffer_extra(buffer, count) };
    }
    if count == 0 {
        return Ok(&mut []);
    }
    // SAFETY: the buffer has that much space after its contents, in memory of its own.
    Ok(unsafe { std::slice::from_raw_parts_mut(buffer.data.add(buffer.count as usize).cast(), count as usize) })
}

/// Gives an empty buffer memory for `capacity` bytes, of which the caller tells Janet's collector. Returns false if it has that
/// much already, and if there is no memory.
pub fn reserve(buffer: &mut Buffer, capacity: usize) -> bool {
    let buffer = buffer.get_mut();
    let Ok(size) = i32::try_from(capacity) else { return false };
    let is_janets = buffer.gc.flags & c::JANET_BUFFER_FLAG_NO_REALLOC as i32 == 0;
    if buffer.count > 0 || size <= buffer.capacity || !is_janets {
        return false;
    }
    // SAFETY: the memory is Janet's, from the functions that go with these, and nothing in it is needed.
    unsafe {
        let larger = c::janet_malloc(capacity);
        if larger.is_null() {
            return false;
        }
        c::janet_free(buffer.data.cast());
        (buffer.data, buffer.capacity) = (larger.cast(), size);
    }
    true
}

/// Makes the first `count` bytes of the space part of the contents.
///
/// # Safety
/// The caller has written them since the last call of [`space`], which was for at least as many.
pub unsafe fn filled(buffer: &mut Buffer, count: usize) {
    buffer.get_mut().count += count as i32;
}

/// Adds bytes to the end of a buffer.
///
/// # Errors
/// Returns the errors of [`space`].
pub fn push(buffer: &mut Buffer, bytes: &[u8]) -> Result<(), String> {
    let space = space(buffer, bytes.len())?;
    // SAFETY: the space is as long as the bytes, which are not in it, and is filled by them.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), space.as_mut_ptr(), bytes.len());
        filled(buffer, bytes.len());
    }
    Ok(())
}

/// Removes all bytes. The memory is kept.
pub fn clear(buffer: &mut Buffer) {
    buffer.get_mut().count = 0;
}

/// Gives back the memory that a large request needed, so that it is not kept for as long as the connection lasts. The empty
/// buffer has space for `size` bytes afterwards.
pub fn shrink(buffer: &mut Buffer, size: i32) {
    let buffer = buffer.get_mut();
    let is_janets = buffer.gc.flags & c::JANET_BUFFER_FLAG_NO_REALLOC as i32 == 0;
    if buffer.count == 0 && buffer.capacity > 2 * size && is_janets {
        // Not with janet_realloc: shrinking in place leaves a hole behind that the next large buffer does not fit in.
        // SAFETY: the memory is Janet's, from the functions that go with these, and nothing in it is needed.
        unsafe {
            let smaller = c::janet_malloc(size as usize);
            if !smaller.is_null() {
                c::janet_free(buffer.data.cast());
                (buffer.data, buffer.capacity) = (smaller.cast(), size);
            }
        }
    }
}
