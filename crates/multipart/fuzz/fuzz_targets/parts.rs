//! Checks that bodies cause no panic, agree with the reference parser, and may arrive in any pieces.
#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| reference::target(input));
