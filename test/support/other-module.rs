//! The Rust half of a second native module, for the test of executables that have two. It has the standard library in
//! it, and with that the names that every such module has.

use std::panic;

/// Catches a panic whose message was allocated.
#[no_mangle]
pub extern "C" fn other_answer() -> i32 {
    let caught = panic::catch_unwind(|| {
        panic::resume_unwind(Box::new(format!("{}", 6 * 7)));
    });
    let payload = caught.map_or_else(|payload| payload.downcast::<String>().ok(), |()| None);
    payload.and_then(|text| text.parse().ok()).unwrap_or(-1)
}
