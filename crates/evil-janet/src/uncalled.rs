//! Stands in for what janetrs names in functions that kqnet never calls: they catch an error of Janet's or raise one.
//!
//! An error must not pass through a frame of Rust. The real `JanetTryState` holds a `jmp_buf`, whose size depends on the
//! C library.

#![allow(missing_docs, clippy::missing_safety_doc, reason = "each of these panics and does nothing else")]

use core::ffi::c_int;

use crate::{Janet, JanetFiber};

pub struct JanetTryState {
    pub vm_fiber: *mut JanetFiber,
    pub buf: [u8; 0],
    pub payload: Janet,
}

pub unsafe fn janet_try_init(_state: *mut JanetTryState) {
    unreachable!()
}

pub unsafe fn janet_restore(_state: *mut JanetTryState) {
    unreachable!()
}

pub unsafe fn _setjmp(_buf: *mut u8) -> c_int {
    unreachable!()
}

pub unsafe fn janet_panicv(_message: Janet) -> ! {
    unreachable!()
}
