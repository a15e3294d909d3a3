//! Where Janet keeps lengths, and the types of abstract values: in front of what a value refers to.
//!
//! For C, janet.h has macros that find it. Janet exports them as functions for other languages, which are replaced here.

#![allow(missing_docs, clippy::missing_safety_doc, reason = "the names and the documentation are janet.h's")]

use core::ffi::c_void;
use core::mem::offset_of;

use crate::bindings::{
    Janet, JanetAbstract, JanetAbstractHead, JanetAbstractType, JanetString, JanetStringHead, JanetStruct,
    JanetStructHead, JanetTuple, JanetTupleHead, JanetType_JANET_ABSTRACT,
};
#[cfg(not(inlined))]
use crate::bindings::{janet_checktype, janet_unwrap_abstract};
#[cfg(inlined)]
use crate::inlined::{janet_checktype, janet_unwrap_abstract};

macro_rules! heads {
    ($($name:ident: $head:ty, before $pointer:ty;)*) => {$(
        #[inline]
        pub unsafe fn $name(data: $pointer) -> *mut $head {
            // A value refers to the last field of its head, and the bindings have the header's offsets.
            data.cast::<u8>().wrapping_sub(offset_of!($head, data)).cast_mut().cast()
        }
    )*};
}

heads! {
    janet_string_head: JanetStringHead, before JanetString;
    janet_tuple_head: JanetTupleHead, before JanetTuple;
    janet_struct_head: JanetStructHead, before JanetStruct;
    janet_abstract_head: JanetAbstractHead, before *const c_void;
}

#[inline]
pub unsafe fn janet_checkabstract(x: Janet, at: *const JanetAbstractType) -> JanetAbstract {
    // SAFETY: the type is checked before the live value is unwrapped, and every abstract value has a head.
    unsafe {
        if janet_checktype(x, JanetType_JANET_ABSTRACT) == 0 {
            return core::ptr::null_mut();
        }
        let value = janet_unwrap_abstract(x);
        if (*janet_abstract_head(value)).type_ == at { value } else { core::ptr::null_mut() }
    }
}
