//! What a fuzzer calls with any bytes, and the tests with changed requests and bodies.

use super::compare::{compare_chunked, compare_head};
use kqnet_http1::HeadLimits;

/// A request head, after a byte that selects the limits and one that says where it is cut in two.
pub fn head(input: &[u8]) {
    let [limits, cut, bytes @ ..] = input else { return };
    let limits = match limits % 4 {
        0 => HeadLimits { max_head: 60, max_request_line: 20, max_headers: 2 },
        _ => HeadLimits::default(),
    };
    let _ = compare_head(bytes, &limits, &[usize::from(*cut).min(bytes.len())]);
}

/// A chunked body, after a byte that selects its limit and one that says where it is cut in two.
pub fn chunked(input: &[u8]) {
    let [limit, cut, bytes @ ..] = input else { return };
    let max_body = if limit % 4 == 0 { 20 } else { u64::MAX };
    let _ = compare_chunked(bytes, max_body, &[usize::from(*cut).min(bytes.len())]);
}
