//! What janet.h has as macros for the usual layout of a value: its type, and what it refers to, without a call.
//!
//! C code gets the macros; for other languages Janet exports functions of the same names. A request looks at some forty
//! values. build/check.rs compares what is assumed here with the header; with another layout, Janet's functions are called.

#![allow(missing_docs, clippy::missing_safety_doc, reason = "the names and the documentation are janet.h's")]

use core::ffi::{c_int, c_void};

use crate::bindings::{
    Janet, JanetAbstract, JanetArray, JanetBuffer, JanetFiber, JanetFunction, JanetKeyword, JanetString, JanetStruct,
    JanetSymbol, JanetTable, JanetTuple, JanetType, JanetType_JANET_ABSTRACT, JanetType_JANET_ARRAY,
    JanetType_JANET_BOOLEAN, JanetType_JANET_BUFFER, JanetType_JANET_FIBER, JanetType_JANET_FUNCTION,
    JanetType_JANET_KEYWORD, JanetType_JANET_NIL, JanetType_JANET_NUMBER, JanetType_JANET_POINTER,
    JanetType_JANET_STRING, JanetType_JANET_STRUCT, JanetType_JANET_SYMBOL, JanetType_JANET_TABLE,
    JanetType_JANET_TUPLE,
};

/// The first bit of the type in the bits of a value that is not a number.
const SHIFT: u32 = 47;

/// The bits above the type, which make such a value a double that is not a number, and the bits of the type as zeros.
const NAN: u64 = 0x1FFF0;

/// The bits of a value of this type, without what it refers to.
const fn tag(kind: JanetType) -> u64 {
    (kind as u64 | NAN) << SHIFT
}

#[inline]
fn bits(x: Janet) -> u64 {
    // SAFETY: all fields have the same eight bytes, which are always initialized.
    unsafe { x.u64 }
}

#[inline]
fn pointer(x: Janet) -> *mut c_void {
    (bits(x) & ((1 << SHIFT) - 1)) as *mut c_void
}

#[inline]
fn wrap(kind: JanetType, pointer: *const c_void) -> Janet {
    Janet { u64: pointer as u64 | tag(kind) }
}

#[inline]
pub unsafe fn janet_type(x: Janet) -> JanetType {
    // All other values are numbers, including those doubles that are not a number.
    let kind = (bits(x) >> SHIFT) ^ NAN;
    if kind <= 0xF { kind as JanetType } else { JanetType_JANET_NUMBER }
}

#[inline]
pub unsafe fn janet_checktype(x: Janet, kind: JanetType) -> c_int {
    // SAFETY: the function only looks at the bits.
    let is = if kind == JanetType_JANET_NUMBER { unsafe { janet_type(x) == kind } } else { is_tagged(x, kind) };
    is.into()
}

/// Whether a value has this type, which is not that of numbers.
#[inline]
fn is_tagged(x: Janet, kind: JanetType) -> bool {
    bits(x) >> SHIFT == tag(kind) >> SHIFT
}

#[inline]
pub unsafe fn janet_truthy(x: Janet) -> c_int {
    (!is_tagged(x, JanetType_JANET_NIL) && (!is_tagged(x, JanetType_JANET_BOOLEAN) || bits(x) & 1 != 0)).into()
}

#[inline]
pub unsafe fn janet_unwrap_boolean(x: Janet) -> c_int {
    (bits(x) & 1) as c_int
}

#[inline]
pub unsafe fn janet_unwrap_number(x: Janet) -> f64 {
    // SAFETY: all fields have the same eight bytes, which are always initialized.
    unsafe { x.number }
}

#[inline]
pub unsafe fn janet_wrap_nil() -> Janet {
    Janet { u64: tag(JanetType_JANET_NIL) | 1 }
}

#[inline]
pub unsafe fn janet_wrap_true() -> Janet {
    Janet { u64: tag(JanetType_JANET_BOOLEAN) | 1 }
}

#[inline]
pub unsafe fn janet_wrap_boolean(x: c_int) -> Janet {
    Janet { u64: tag(JanetType_JANET_BOOLEAN) | u64::from(x != 0) }
}

#[inline]
pub unsafe fn janet_wrap_number(x: f64) -> Janet {
    Janet { number: x }
}

macro_rules! pointers {
    ($($kind:ident: $unwrap:ident and $wrap:ident of $pointer:ty;)*) => {$(
        #[inline]
        pub unsafe fn $unwrap(x: Janet) -> $pointer {
            pointer(x).cast()
        }

        #[inline]
        pub unsafe fn $wrap(x: $pointer) -> Janet {
            wrap($kind, x.cast())
        }
    )*};
}

pointers! {
    JanetType_JANET_ABSTRACT: janet_unwrap_abstract and janet_wrap_abstract of JanetAbstract;
    JanetType_JANET_ARRAY: janet_unwrap_array and janet_wrap_array of *mut JanetArray;
    JanetType_JANET_BUFFER: janet_unwrap_buffer and janet_wrap_buffer of *mut JanetBuffer;
    JanetType_JANET_FIBER: janet_unwrap_fiber and janet_wrap_fiber of *mut JanetFiber;
    JanetType_JANET_FUNCTION: janet_unwrap_function and janet_wrap_function of *mut JanetFunction;
    JanetType_JANET_KEYWORD: janet_unwrap_keyword and janet_wrap_keyword of JanetKeyword;
    JanetType_JANET_POINTER: janet_unwrap_pointer and janet_wrap_pointer of *mut c_void;
    JanetType_JANET_STRING: janet_unwrap_string and janet_wrap_string of JanetString;
    JanetType_JANET_STRUCT: janet_unwrap_struct and janet_wrap_struct of JanetStruct;
    JanetType_JANET_SYMBOL: janet_unwrap_symbol and janet_wrap_symbol of JanetSymbol;
    JanetType_JANET_TABLE: janet_unwrap_table and janet_wrap_table of *mut JanetTable;
    JanetType_JANET_TUPLE: janet_unwrap_tuple and janet_wrap_tuple of JanetTuple;
}
