//! The types of values that are kqnet's own.

use std::mem::MaybeUninit;

use janetrs::lowlevel as c;

/// What Janet needs to know of a type, as a static.
#[repr(transparent)]
pub struct AbstractType(pub c::JanetAbstractType);

// SAFETY: it points to static functions and a static string, and nobody writes to it.
unsafe impl Sync for AbstractType {}

/// A type without a name and without any of the optional functions, to take the rest of a type from.
// SAFETY: the members are optional functions, for which null is none, and a pointer.
pub const NOTHING: c::JanetAbstractType = unsafe { MaybeUninit::zeroed().assume_init() };
