//! Checks that PROXY headers cause no panic, and may arrive in any pieces.
#![no_main]

#[path = "../../../proxy/tests/reference/headers.rs"]
#[allow(dead_code, reason = "the target needs a part")]
mod headers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| headers::check_every_split(input));
