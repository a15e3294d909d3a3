//! C bindings for the *installed* Janet, made from its `janet.h` by the build script.
//!
//! janetrs takes its bindings from a crate of this name. The published one brings the header of one fixed version
//! and links a second Janet into a module; a module must instead match the program that loads it, down to the layout
//! of a value (8 bytes with nanboxing, 16 without), and link nothing.
#![no_std]

extern crate alloc;

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unnecessary_transmutes,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;

/// The bits that a module must share with the program that loads it (nanboxing, threads).
#[allow(clippy::unnecessary_cast, reason = "some compilers' enums are signed")]
pub const JANET_CURRENT_CONFIG_BITS: u32 = evil_janet_config_bits as u32;

/// What is behind a `core/file`. Only for access through a pointer: newer headers add a third field.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct JanetFile {
    /// The C library's stream.
    pub file: *mut FILE,
    /// `JANET_FILE_*`.
    pub flags: i32,
}

impl fmt::Debug for Janet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(core::any::type_name::<Self>())
    }
}

impl PartialEq for Janet {
    #[inline]
    fn eq(&self, other: &Janet) -> bool {
        // SAFETY: comparing two values has no precondition but that they are values.
        unsafe { janet_equals(*self, *other) != 0 }
    }
}

impl Eq for Janet {}

impl Hash for Janet {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // SAFETY: hashing a value has no precondition but that it is one.
        state.write_i32(unsafe { janet_hash(*self) })
    }
}

impl PartialOrd for Janet {
    #[inline]
    fn partial_cmp(&self, other: &Janet) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Janet {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // SAFETY: comparing two values has no precondition but that they are values.
        unsafe { janet_compare(*self, *other) }.cmp(&0)
    }
}
