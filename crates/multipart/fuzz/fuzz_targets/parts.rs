//! Checks that bodies cause no panic, agree with the reference parser, and may arrive in any pieces.
#![no_main]

#[path = "../../tests/reference/mod.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [limit, cut, room, bytes @ ..] = input else { return };
    let max_head = if limit % 4 == 0 { 50 } else { 8192 };
    let cuts = [usize::from(*cut).min(bytes.len())];
    let _ = reference::compare(bytes, b"b", max_head, &cuts, usize::from(*room) + 1);
    let _ = kqnet_multipart::form(bytes);
});
