//! Calls the fuzz target with changed frames: some thousands of them, or as many as CASES or SECONDS say.

mod reference;

use kqnet_cases::fuzz;
use reference::{frame, target};

#[test]
fn changed_frames_agree() {
    let seeds = [
        frame(0x81, "text é€😀".as_bytes()),
        [frame(0x01, b"a"), frame(0x89, b"ping"), frame(0x80, b"b"), frame(0x8a, b"")].concat(),
        [frame(0x82, &[0; 130]), frame(0x88, b"\x03\xe8bye")].concat(),
    ];
    let frames = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]
        .into_iter()
        .flat_map(|first| [&b""[..], b"x", b"\xf0\x9f", &[7; 126]].map(|payload| frame(first, payload)));
    let closes = (998..1018).chain([2999, 3000, 4999, 5000]).map(|code: u16| frame(0x88, &code.to_be_bytes()));
    // Lengths at the borders of what their forms may say.
    let short = [0, 125, 126, 65535].map(|length: u16| [&[0x82, 0xfe][..], &length.to_be_bytes(), &[0; 4]].concat());
    let long = [65535, 65536, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX]
        .map(|length| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat());
    let words: Vec<Vec<u8>> = frames.chain(closes).chain(short).chain(long).collect();
    fuzz(&[&seeds[0], &seeds[1], &seeds[2]], &words, 2, target);
}
