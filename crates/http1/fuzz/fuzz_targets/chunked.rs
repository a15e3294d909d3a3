//! Checks that chunked bodies cause no panic, agree with the reference parser, and may arrive in any pieces.
#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [limit, cut, bytes @ ..] = input else { return };
    let max_body = if limit % 4 == 0 { 20 } else { u64::MAX };
    let _ = reference::compare::compare_chunked(bytes, max_body, &[usize::from(*cut).min(bytes.len())]);
});
