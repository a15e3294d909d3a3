//! Where Janet keeps the lengths of strings, tuples, structs and abstract values: in front of what a value refers to.
//!
//! These are macros of janet.h, which Janet also exports as functions for other languages.

#![allow(missing_docs, clippy::missing_safety_doc, reason = "the names and the documentation are janet.h's")]

use core::ffi::c_void;
use core::mem::offset_of;

use crate::bindings::{
    JanetAbstractHead, JanetString, JanetStringHead, JanetStruct, JanetStructHead, JanetTuple, JanetTupleHead,
};

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
