//! Frames of clients: which messages they make, what is refused and why, and that it makes no difference how their bytes
//! arrive.

mod reference;

use kqnet_websocket::{Close, Decoder, Kind, Step, Violation};
use proptest::prelude::*;
use reference::{Event, agree, decode, frame};

const LIMIT: usize = 1000;

/// What the decoder makes of bytes that arrive all at once.
fn events(bytes: &[u8]) -> (Vec<Event>, Option<Violation>) {
    decode(LIMIT, &[bytes])
}

fn refused(bytes: &[u8]) -> Violation {
    events(bytes).1.expect("a violation")
}

fn text(text: &str) -> Event {
    Event::Message(Kind::Text, text.as_bytes().to_vec())
}

#[test]
fn messages_of_every_length_are_decoded() {
    for length in [0, 1, 7, 8, 9, 125, 126, 127, 500, LIMIT] {
        let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let expected = vec![Event::Message(Kind::Binary, payload.clone())];
        assert_eq!(events(&frame(0x82, &payload)), (expected, None), "{length}");
    }
    let large = vec![7; 70_000];
    let (events, violation) = decode(100_000, &[&frame(0x82, &large)]);
    assert_eq!((events, violation), (vec![Event::Message(Kind::Binary, large)], None));
}

#[test]
fn fragments_are_joined_and_control_frames_may_come_between_them() {
    let bytes = [
        frame(0x01, b"He"),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x8a, b"pong"),
        frame(0x80, b"llo"),
        frame(0x81, b"next"),
    ]
    .concat();
    let expected = vec![Event::Ping(b"ping".to_vec()), Event::Pong(b"pong".to_vec()), text("Hello"), text("next")];
    assert_eq!(events(&bytes), (expected, None));
}

#[test]
fn nothing_is_decoded_after_a_close_frame() {
    let mut bytes = [frame(0x88, b"\x03\xe8bye"), frame(0x81, b"x")].concat();
    let mut decoder = Decoder::new(LIMIT);
    let (count, step) = decoder.decode(&mut bytes).expect("a Close frame");
    assert_eq!(step, Step::Close(Close { code: Some(1000), reason: "bye" }));
    assert_eq!(count, 11);
}

#[test]
fn a_close_frame_has_a_code_that_may_be_sent_or_none() {
    for code in 0..=u16::MAX {
        let (events, violation) = events(&frame(0x88, &code.to_be_bytes()));
        let is_allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(violation.is_none(), is_allowed, "{code}");
        assert_eq!(!events.is_empty(), is_allowed);
    }
    assert_eq!(events(&frame(0x88, b"")).0, [Event::Close(None, String::new())]);
    assert_eq!(refused(&frame(0x88, b"\x03")).code(), 1002);
    assert_eq!(refused(&frame(0x88, b"\x03\xe8\xff")).code(), 1007);
}

#[test]
fn what_the_protocol_forbids_is_refused_at_its_first_byte() {
    let cases: &[(&[u8], &str)] = &[
        (b"\xc1", "a reserved bit is set"),
        (b"\xa1", "a reserved bit is set"),
        (b"\x91", "a reserved bit is set"),
        (b"\x83", "a frame has an unknown opcode"),
        (b"\x87", "a frame has an unknown opcode"),
        (b"\x8b", "a frame has an unknown opcode"),
        (b"\x8f", "a frame has an unknown opcode"),
        (b"\x08", "a control frame is fragmented"),
        (b"\x09", "a control frame is fragmented"),
        (b"\x81\x05", "a frame is not masked"),
        (b"\x89\xfe", "a control frame is too long"),
        (b"\x88\xff", "a control frame is too long"),
        (b"\x81\xfe\x00\x7d", "a length is not in its shortest form"),
        (b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff", "a length is not in its shortest form"),
        (b"\x81\xff\x80\x00\x00\x00\x00\x01\x00\x00", "the highest bit of a length is set"),
        (b"\x80\x80\x00\x00\x00\x00", "a continuation has no message to go on"),
        (b"\x00\x80\x00\x00\x00\x00", "a continuation has no message to go on"),
    ];
    for (bytes, reason) in cases {
        assert_eq!(refused(bytes), Violation::Protocol(reason), "{bytes:x?}");
        assert_eq!(events(&bytes[..bytes.len() - 1]), (vec![], None), "{bytes:x?}");
    }
    let two = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
    assert_eq!(refused(&two), Violation::Protocol("a message begins before the last one has ended"));
}

#[test]
fn a_message_above_the_limit_is_refused_when_it_is_announced() {
    let whole = frame(0x82, &[0; LIMIT + 1]);
    assert_eq!(refused(&whole[..8]), Violation::TooLarge);
    let parts = [frame(0x02, &[0; LIMIT]), frame(0x80, b"x")].concat();
    assert_eq!(refused(&parts[..parts.len() - 1]), Violation::TooLarge);
    assert_eq!(events(&[frame(0x02, &[0; LIMIT]), frame(0x80, b"")].concat()).1, None);
    // The largest announcement needs no memory.
    assert_eq!(refused(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), Violation::TooLarge);
}

#[test]
fn text_is_refused_at_the_first_byte_that_is_not_utf8() {
    let start = "aé€😀".as_bytes();
    let wrong: &[&[u8]] = &[
        b"\x80",
        b"\xbf",
        b"\xc0",
        b"\xc1",
        b"\xf5",
        b"\xff",
        b"\xc3(",
        b"\xe0\x80",
        b"\xed\xa0",
        b"\xf0\x80",
        b"\xf4\x90",
        b"\xe2\x82(",
        b"\xf0\x9f\x98(",
    ];
    for bad in wrong {
        for position in 0..=start.len() {
            let Ok(before) = std::str::from_utf8(&start[..position]) else { continue };
            let payload = [before.as_bytes(), bad].concat();
            // A frame with more to come: the text is wrong as soon as this much is there.
            let bytes = frame(0x01, &[&payload[..], b"and more"].concat());
            let known = bytes.len() - "and more".len();
            assert_eq!(events(&bytes[..known - 1]), (vec![], None), "{payload:x?}");
            assert_eq!(refused(&bytes[..known]), Violation::NotUtf8, "{payload:x?}");
            // And the same byte by byte, in frames of one byte each.
            let mut pieces: Vec<Vec<u8>> =
                payload.iter().enumerate().map(|(i, byte)| frame(u8::from(i == 0), &[*byte])).collect();
            let last = pieces.pop().expect("a byte");
            assert_eq!(events(&pieces.concat()), (vec![], None), "{payload:x?}");
            pieces.push(last);
            assert_eq!(refused(&pieces.concat()), Violation::NotUtf8, "{payload:x?}");
        }
    }
}

#[test]
fn a_character_may_be_split_but_not_left_incomplete() {
    let whole = "😀".as_bytes();
    for cut in 0..=4 {
        let bytes = [frame(0x01, &whole[..cut]), frame(0x80, &whole[cut..])].concat();
        assert_eq!(events(&bytes), (vec![text("😀")], None));
        if (1..4).contains(&cut) {
            assert_eq!(refused(&frame(0x81, &whole[..cut])), Violation::NotUtf8);
            assert_eq!(refused(&[frame(0x01, &whole[..cut]), frame(0x80, b"")].concat()), Violation::NotUtf8);
        }
    }
}

/// Frames that are mostly right.
fn some_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop_oneof![Just(0x81), Just(0x82), Just(0x01), Just(0x02), Just(0x00), Just(0x80)],
        3 => prop_oneof![Just(0x88), Just(0x89), Just(0x8a)],
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        3 => "[a-zé€😀]{0,40}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..140),
        1 => proptest::collection::vec(any::<u8>(), 500..700),
    ];
    let damage = prop_oneof![20 => Just(None), 1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(Some)];
    let one = (first, payload, damage).prop_map(|(first, payload, damage)| {
        let mut bytes = frame(first, &payload);
        if let Some((index, byte)) = damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes
    });
    proptest::collection::vec(one, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3000)))]

    #[test]
    fn the_decoder_agrees_with_the_reference_however_the_bytes_arrive(
        bytes in some_frames(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        agree(LIMIT, &bytes, &cuts);
    }

    #[test]
    fn the_decoder_agrees_with_the_reference_byte_by_byte(bytes in some_frames()) {
        agree(LIMIT, &bytes, &(0..bytes.len()).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        agree(LIMIT, &bytes, &[]);
    }
}
