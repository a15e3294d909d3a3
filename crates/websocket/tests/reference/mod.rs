//! A second decoder, which is slow and simple, to compare with: it looks at all bytes again for each byte that arrives.
#![allow(dead_code, reason = "each user needs only some of it")]

use kqnet_websocket::{Decoder, Kind, Step, Violation};

/// What a decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    bytes
}

/// What the decoder makes of pieces that arrive one after the other, until a Close frame or a violation.
pub fn decode(limit: usize, pieces: &[&[u8]]) -> (Vec<Event>, Option<Violation>) {
    let mut decoder = Decoder::new(limit);
    let mut events = vec![];
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut at = 0;
        loop {
            match decoder.decode(&mut bytes[at..]) {
                Ok((count, step)) => {
                    match step {
                        Step::More => {
                            assert_eq!(at + count, piece.len(), "all bytes are taken");
                            break;
                        }
                        Step::Message(kind, payload) => events.push(Event::Message(kind, payload.to_vec())),
                        Step::Ping(payload) => events.push(Event::Ping(payload.to_vec())),
                        Step::Pong(payload) => events.push(Event::Pong(payload.to_vec())),
                        Step::Close(close) => {
                            events.push(Event::Close(close.code, close.reason.to_owned()));
                            return (events, None);
                        }
                    }
                    at += count;
                }
                Err(violation) => {
                    assert_eq!(decoder.decode(&mut []), Err(violation), "it stays refused");
                    return (events, Some(violation));
                }
            }
        }
    }
    (events, None)
}

/// Fails unless the decoder finds what the reference finds, for these bytes cut in pieces.
pub fn agree(limit: usize, bytes: &[u8], cuts: &[usize]) {
    let mut pieces = vec![];
    let mut from = 0;
    for cut in cuts {
        pieces.push(&bytes[from..*cut]);
        from = *cut;
    }
    pieces.push(&bytes[from..]);
    let (events, violation) = decode(limit, &pieces);
    let (expected, code) = reference(limit, bytes);
    assert_eq!(events, expected);
    assert_eq!(violation.map(Violation::code), code);
}

/// What a fuzzer calls with any bytes: frames after a byte that selects the limit of a message, and one that says where to cut
/// the frames in two.
pub fn target(input: &[u8]) {
    let [limit, cut, bytes @ ..] = input else { return };
    let limit = if limit % 4 == 0 { 20 } else { 1000 };
    agree(limit, bytes, &[usize::from(*cut).min(bytes.len())]);
}

/// What all of the bytes make, and the code of the violation at the end, if there is one.
fn reference(limit: usize, bytes: &[u8]) -> (Vec<Event>, Option<u16>) {
    let mut events = vec![];
    let mut at = 0;
    let mut open: Option<(Kind, Vec<u8>)> = None;
    loop {
        let rest = &bytes[at..];
        if rest.is_empty() {
            return (events, None);
        }
        let (last, opcode) = (rest[0] >= 128, rest[0] % 16);
        if rest[0] / 16 % 8 != 0 || ![0, 1, 2, 8, 9, 10].contains(&opcode) || (opcode >= 8 && !last) {
            return (events, Some(1002));
        }
        if rest.len() < 2 {
            return (events, None);
        }
        let short = rest[1] % 128;
        if rest[1] < 128 || (opcode >= 8 && short > 125) {
            return (events, Some(1002));
        }
        let (length, head): (u128, usize) = match short {
            126 if rest.len() < 4 => return (events, None),
            126 => (u128::from(rest[2]) * 256 + u128::from(rest[3]), 4),
            127 if rest.len() < 10 => return (events, None),
            127 => (rest[2..10].iter().fold(0, |sum, byte| sum * 256 + u128::from(*byte)), 10),
            short => (u128::from(short), 2),
        };
        if (short == 126 && length < 126) || (short == 127 && !(65536..1 << 63).contains(&length)) {
            return (events, Some(1002));
        }
        if rest.len() < head + 4 {
            return (events, None);
        }
        if opcode < 8 {
            if (opcode == 0) != open.is_some() {
                return (events, Some(1002));
            }
            let so_far = open.as_ref().map_or(0, |(_, payload)| payload.len());
            if length + so_far as u128 > limit as u128 {
                return (events, Some(1009));
            }
        }
        let present = &rest[head + 4..];
        let taken = (present.len() as u128).min(length) as usize;
        let payload: Vec<u8> = (0..taken).map(|index| present[index] ^ rest[head + index % 4]).collect();
        let is_complete = taken as u128 == length;
        if opcode < 8 {
            let (kind, mut message) =
                open.take().unwrap_or_else(|| (if opcode == 1 { Kind::Text } else { Kind::Binary }, vec![]));
            message.extend_from_slice(&payload);
            let ends = is_complete && last;
            if kind == Kind::Text && !(if ends { is_utf8(&message) } else { is_start_of_utf8(&message) }) {
                return (events, Some(1007));
            }
            if ends {
                events.push(Event::Message(kind, message));
            } else {
                open = Some((kind, message));
            }
        }
        if !is_complete {
            return (events, None);
        }
        match opcode {
            8 => {
                if payload.is_empty() {
                    events.push(Event::Close(None, String::new()));
                    return (events, None);
                }
                if payload.len() == 1 {
                    return (events, Some(1002));
                }
                let code = u16::from(payload[0]) * 256 + u16::from(payload[1]);
                if !((1000..3000).contains(&code)
                    && [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].contains(&code)
                    || (3000..5000).contains(&code))
                {
                    return (events, Some(1002));
                }
                let Ok(reason) = String::from_utf8(payload[2..].to_vec()) else { return (events, Some(1007)) };
                events.push(Event::Close(Some(code), reason));
                return (events, None);
            }
            9 => events.push(Event::Ping(payload)),
            10 => events.push(Event::Pong(payload)),
            _ => {}
        }
        at += head + 4 + taken;
    }
}

fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// Whether some bytes could follow so that all are UTF-8.
fn is_start_of_utf8(bytes: &[u8]) -> bool {
    // A character that was begun is completed by the least or the greatest bytes that may follow its first byte.
    let endings: [&[u8]; 11] = [
        b"",
        b"\x80",
        b"\xbf",
        b"\x80\x80",
        b"\xbf\xbf",
        b"\xa0\x80",
        b"\x9f\xbf",
        b"\x80\x80\x80",
        b"\xbf\xbf\xbf",
        b"\x90\x80\x80",
        b"\x8f\xbf\xbf",
    ];
    endings.iter().any(|ending| is_utf8(&[bytes, ending].concat()))
}
