//! C bindings for the *installed* Janet. The build script has the C compiler compare them with its `janet.h`.
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
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    reason = "the names and the documentation are janet.h's; some functions are replaced below"
)]
mod bindings;

#[allow(missing_docs, reason = "macros of janet.h")]
mod numbers {
    include!(concat!(env!("OUT_DIR"), "/numbers.rs"));
}

mod heads;
#[cfg(inlined)]
mod inlined;
mod uncalled;

pub use bindings::*;
// These take the place of Janet's functions of the same names.
pub use heads::{janet_abstract_head, janet_checkabstract, janet_string_head, janet_struct_head, janet_tuple_head};
#[cfg(inlined)]
pub use inlined::{
    janet_checktype, janet_truthy, janet_type, janet_unwrap_abstract, janet_unwrap_array, janet_unwrap_boolean,
    janet_unwrap_buffer, janet_unwrap_fiber, janet_unwrap_function, janet_unwrap_keyword, janet_unwrap_number,
    janet_unwrap_pointer, janet_unwrap_string, janet_unwrap_struct, janet_unwrap_symbol, janet_unwrap_table,
    janet_unwrap_tuple, janet_wrap_abstract, janet_wrap_array, janet_wrap_boolean, janet_wrap_buffer, janet_wrap_fiber,
    janet_wrap_function, janet_wrap_keyword, janet_wrap_nil, janet_wrap_number, janet_wrap_pointer, janet_wrap_string,
    janet_wrap_struct, janet_wrap_symbol, janet_wrap_table, janet_wrap_true, janet_wrap_tuple,
};
pub use numbers::*;
pub use uncalled::*;

/// The largest integer below which a double is exact. (A comparison of doubles is not a constant for every C compiler.)
pub const JANET_INTMAX_DOUBLE: f64 = 9007199254740992.0;
/// The smallest such integer.
pub const JANET_INTMIN_DOUBLE: f64 = -9007199254740992.0;

impl Janet {
    /// Whether this is the very same value: the same number, or the same thing in memory. Equal strings, tuples and structs
    /// may be different things; equal keywords and symbols never are.
    #[inline]
    pub fn is_identical(self, other: Self) -> bool {
        // SAFETY: every bit of a value is initialized, except for the padding of the layout without nanboxing, which is not
        // compared.
        unsafe {
            #[cfg(no_nanbox)]
            return self.type_ == other.type_ && self.as_.u64 == other.as_.u64;
            #[cfg(not(no_nanbox))]
            return self.u64 == other.u64;
        }
    }

    /// Bits that are the same in identical values. Without nanboxing, values of different types may have the same ones.
    #[inline]
    pub fn bits(self) -> u64 {
        // SAFETY: these bits of a value are always initialized.
        unsafe {
            #[cfg(no_nanbox)]
            return self.as_.u64;
            #[cfg(not(no_nanbox))]
            return self.u64;
        }
    }
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
