//! Checks that nothing in X-Forwarded-For or Forwarded causes a panic, or hides the address that a trusted proxy appends.
#![no_main]

#[path = "../../../proxy/tests/reference/headers.rs"]
#[allow(dead_code, reason = "the target needs a part")]
mod headers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| headers::check_nothing_hides_the_client(input));
