//! Janet's buffers: looking at them, and making room in them without raising an error.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::value::describe;

/// How many buffers can be lent at the same time: those that one function uses.
const PLACES: usize = 4;

thread_local! {
    /// The buffers that are lent on this thread; null for a free place.
    static LENT: [Cell<*mut c::JanetBuffer>; PLACES] = const { [const { Cell::new(ptr::null_mut()) }; PLACES] };
}

/// A Janet buffer that is lent to Rust code.
///
/// Invariant: while it exists, no other exists for the same buffer, and no Janet code and no collection runs, so the buffer is
/// live and only this changes it. It is used within one call from Janet, whose arguments keep the buffer alive.
pub struct Buffer {
    buffer: NonNull<c::JanetBuffer>,
    /// The place among those that are lent.
    place: NonNull<Cell<*mut c::JanetBuffer>>,
}

/// Lends the buffer in a value.
///
/// # Errors
/// Returns an error that says what else the value is, or that the buffer is in use already.
pub fn get(value: Janet) -> Result<Buffer, String> {
    match of(value) {
        Some(buffer) => Buffer::lend(buffer).ok_or_else(|| "a buffer cannot be used twice at the same time".into()),
        None => Err(format!("expected a buffer, got {}", describe(value))),
    }
}

/// A new buffer, with room for so many bytes.
///
/// # Errors
/// Returns an error if too many buffers are in use.
pub fn new(capacity: usize) -> Result<Buffer, String> {
    let capacity = i32::try_from(capacity).map_err(|_| TOO_LARGE)?;
    // SAFETY: any capacity is allowed, and janet_buffer never gives null. The buffer lives until the next collection.
    let buffer = unsafe { NonNull::new_unchecked(c::janet_buffer(capacity)) };
    Buffer::lend(buffer).ok_or_else(|| "too many buffers are in use".into())
}

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
        LENT.with(|places| {
            if places.iter().any(|place| place.get() == buffer.as_ptr()) {
                return None;
            }
            let place = places.iter().find(|place| place.get().is_null())?;
            place.set(buffer.as_ptr());
            Some(Self { buffer, place: NonNull::from(place) })
        })
    }

    fn get(&self) -> &c::JanetBuffer {
        // SAFETY: the invariant of the type.
        unsafe { self.buffer.as_ref() }
    }

    fn get_mut(&mut self) -> &mut c::JanetBuffer {
        // SAFETY: the invariant of the type.
        unsafe { self.buffer.as_mut() }
    }

    /// The buffer as a value.
    pub fn value(&self) -> Janet {
        // SAFETY: a live buffer can be a value.
        unsafe { c::janet_wrap_buffer(self.buffer.as_ptr()) }.into()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the place is in a thread-local without a destructor, and this type does not leave its thread.
        unsafe { self.place.as_ref() }.set(ptr::null_mut());
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

/// The room for so many bytes behind what is in a buffer. What is written there belongs to it after [`filled`].
///
/// # Errors
/// Returns an error for more than 2 GiB, and if the memory is not Janet's (`ffi/pointer-buffer`) and has too little room. In
/// both cases Janet would raise.
pub fn room(buffer: &mut Buffer, count: usize) -> Result<&mut [MaybeUninit<u8>], String> {
    let buffer = buffer.get_mut();
    let count = i32::try_from(count).ok().filter(|&count| buffer.count.checked_add(count).is_some());
    let count = count.ok_or(TOO_LARGE)?;
    if buffer.capacity - buffer.count < count {
        if buffer.gc.flags & c::JANET_BUFFER_FLAG_NO_REALLOC as i32 != 0 {
            return Err("a buffer whose memory is not Janet's has no more room".into());
        }
        // SAFETY: the two reasons to raise were excluded.
        unsafe { c::janet_buffer_extra(buffer, count) };
    }
    if count == 0 {
        return Ok(&mut []);
    }
    // SAFETY: the buffer has that much room behind its contents, in memory of its own.
    Ok(unsafe { std::slice::from_raw_parts_mut(buffer.data.add(buffer.count as usize).cast(), count as usize) })
}

/// Makes the first `count` bytes of the room part of the buffer.
///
/// # Safety
/// The caller has written them since the last call of [`room`], which was for at least as many.
pub unsafe fn filled(buffer: &mut Buffer, count: usize) {
    buffer.get_mut().count += count as i32;
}

/// Adds bytes to the end of a buffer.
///
/// # Errors
/// Returns the errors of [`room`].
pub fn push(buffer: &mut Buffer, bytes: &[u8]) -> Result<(), String> {
    let room = room(buffer, bytes.len())?;
    // SAFETY: the room is as long as the bytes, which are not in it, and is filled by them.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), room.as_mut_ptr(), bytes.len());
        filled(buffer, bytes.len());
    }
    Ok(())
}

/// Gives back the memory that a large request needed, so that it is not kept for as long as the connection lasts. The empty
/// buffer has room for `size` bytes afterwards.
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
