//! Checks that request heads cause no panic, agree with the reference parser, and may arrive in any pieces.
#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

use kqnet_http1::HeadLimits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [limits, cut, bytes @ ..] = input else { return };
    let limits = match limits % 4 {
        0 => HeadLimits { max_head: 60, max_request_line: 20, max_headers: 2 },
        _ => HeadLimits::default(),
    };
    let _ = reference::compare::compare_head(bytes, &limits, &[usize::from(*cut).min(bytes.len())]);
});
