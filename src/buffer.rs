//! Janet's buffers: looking at them, and making room in them without raising an error.

use std::mem::MaybeUninit;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use crate::value::describe;

/// The buffer in a value.
///
/// # Errors
/// Says what it is instead.
pub fn get<'a>(value: Janet) -> Result<&'a mut c::JanetBuffer, String> {
    match value.unwrap() {
        // SAFETY: its type was checked, and the argument keeps it alive. The functions here never get one twice.
        TaggedJanet::Buffer(_) => unsafe { Ok(&mut *c::janet_unwrap_buffer(value.into())) },
        _ => Err(format!("expected a buffer, got {}", describe(value))),
    }
}

/// What is in a buffer.
pub fn contents(buffer: &c::JanetBuffer) -> &[u8] {
    if buffer.count == 0 {
        return &[];
    }
    // SAFETY: a buffer has `count` bytes at `data`.
    unsafe { std::slice::from_raw_parts(buffer.data, buffer.count as usize) }
}

/// Removes bytes from the front of a buffer.
pub fn consume(buffer: &mut c::JanetBuffer, count: usize) {
    // An empty buffer may have no memory.
    if count == 0 {
        return;
    }
    let rest = buffer.count as usize - count;
    // SAFETY: both ranges are within the buffer.
    unsafe { std::ptr::copy(buffer.data.add(count), buffer.data, rest) };
    buffer.count = rest as i32;
}

/// The room for so many bytes behind what is in a buffer. What is written there belongs to it after [`filled`].
///
/// # Errors
/// Fails for more than 2 GiB, and where the memory is not Janet's (`ffi/pointer-buffer`) and has no such room: in both
/// cases Janet would raise.
pub fn room(buffer: &mut c::JanetBuffer, count: usize) -> Result<&mut [MaybeUninit<u8>], String> {
    let count = i32::try_from(count).ok().filter(|&count| buffer.count.checked_add(count).is_some());
    let count = count.ok_or("a buffer would be larger than 2 GiB")?;
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
pub unsafe fn filled(buffer: &mut c::JanetBuffer, count: usize) {
    buffer.count += count as i32;
}

/// Adds bytes to the end of a buffer.
///
/// # Errors
/// Those of [`room`].
pub fn push(buffer: &mut c::JanetBuffer, bytes: &[u8]) -> Result<(), String> {
    let room = room(buffer, bytes.len())?;
    // SAFETY: the room is as long as the bytes, which are not in it, and is filled by them.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), room.as_mut_ptr(), bytes.len());
        filled(buffer, bytes.len());
    }
    Ok(())
}

/// Gives back what a large request needed, so that it is not kept for as long as the connection is. Afterwards the empty
/// buffer has room for `size` bytes.
pub fn shrink(buffer: &mut c::JanetBuffer, size: i32) {
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
