//! Descriptions of abstract types: what Janet needs to know of the types of kqnet's own values.

use std::mem::MaybeUninit;

use janetrs::lowlevel as c;

/// The description of a type, for a static.
#[repr(transparent)]
pub struct AbstractType(pub c::JanetAbstractType);

// SAFETY: the description points to static functions and a static string, and nothing writes to it.
unsafe impl Sync for AbstractType {}

/// The default of every field, for `..NOTHING`: no name, and no function.
// SAFETY: the fields are a pointer and optional functions, each of which may be null.
pub const NOTHING: c::JanetAbstractType = unsafe { MaybeUninit::zeroed().assume_init() };
