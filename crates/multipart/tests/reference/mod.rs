//! A reference parser that needs the whole body and looks for delimiters one byte after the other, and the comparison of the
//! crate with it.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod generate;

use kqnet_multipart::{Boundary, Event, Parser, PartHead, Reject};

/// A part as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub name: Vec<u8>,
    pub filename: Option<Vec<u8>>,
    pub data: Vec<u8>,
    pub is_complete: bool,
}

impl Part {
    fn new(head: &PartHead<'_>) -> Self {
        Self {
            name: head.disposition.name.to_vec(),
            filename: head.disposition.filename.as_ref().map(|name| name.to_vec()),
            ..Self::default()
        }
    }
}

/// The parts of a body, and how it ended.
pub type Outcome = (Vec<Part>, Result<(), Reject>);

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    (0..text.len()).find(|&at| text[at..].starts_with(what))
}

fn without_spaces(text: &[u8]) -> &[u8] {
    match text {
        [b' ' | b'\t', rest @ ..] => without_spaces(rest),
        _ => text,
    }
}

/// Parses a whole body by the grammar of RFC 2046, 5.1.1.
pub fn whole(body: &[u8], boundary: &[u8], max_head: usize) -> Outcome {
    let mut parts = vec![];
    let end = read(body, boundary, max_head, &mut parts);
    (parts, end)
}

fn read(body: &[u8], boundary: &[u8], max_head: usize, parts: &mut Vec<Part>) -> Result<(), Reject> {
    let delimiter = [b"\r\n--", boundary].concat();
    // The first delimiter needs no CRLF.
    let text = [b"\r\n", body].concat();
    let mut rest = match find(body, &delimiter[2..]) {
        Some(start) if start > 0 && start + delimiter.len() - 2 > max_head => return Err(Reject::PREAMBLE),
        Some(start) if text[start..].starts_with(b"\r\n") => &body[start + delimiter.len() - 2..],
        Some(_) => return Err(Reject::PREAMBLE),
        None if body.len() >= max_head && !delimiter[2..].starts_with(body) => return Err(Reject::PREAMBLE),
        None => return Err(Reject::TRUNCATED),
    };
    loop {
        if let [b'-', b'-', last @ ..] = rest {
            let after = without_spaces(last);
            let is_good = after.is_empty() || after == b"\r" || after.starts_with(b"\r\n");
            return if is_good { Ok(()) } else { Err(Reject::DELIMITER) };
        }
        if rest == b"-" {
            return Err(Reject::TRUNCATED);
        }
        rest = match without_spaces(rest) {
            [] | [b'\r'] => return Err(Reject::TRUNCATED),
            [b'\r', b'\n', head @ ..] => head,
            _ => return Err(Reject::DELIMITER),
        };
        if rest.starts_with(b"\r\n") {
            return Err(Reject::NO_DISPOSITION);
        }
        let head = match find(rest, b"\r\n\r\n") {
            Some(end) if end + 4 <= max_head => &rest[..end],
            None if rest.len() < max_head => return Err(Reject::TRUNCATED),
            _ => return Err(Reject::HEAD_TOO_LARGE),
        };
        parts.push(Part::new(&PartHead::parse(head)?));
        let part = parts.last_mut().expect("it was just pushed");
        // The empty line may be the CRLF of the delimiter, in a part without a body.
        rest = &rest[head.len() + 2..];
        let Some(end) = find(rest, &delimiter) else {
            part.data = rest[2..].to_vec();
            return Err(Reject::TRUNCATED);
        };
        part.data = rest.get(2..end).unwrap_or_default().to_vec();
        part.is_complete = true;
        rest = &rest[end + delimiter.len()..];
    }
}

/// Parses a body that comes in pieces, which end at `cuts`, and takes at most `room` bytes of data at once.
pub fn in_pieces(body: &[u8], boundary: &[u8], max_head: usize, cuts: &[usize], room: usize) -> Outcome {
    let boundary = Boundary::new(boundary).expect("a good boundary");
    let mut parser = Parser::new(&boundary, max_head);
    let mut parts: Vec<Part> = vec![];
    let mut at = 0;
    for &cut in cuts.iter().chain([&body.len()]) {
        loop {
            let step = match parser.step(&body[at..cut], room) {
                Ok(step) => step,
                Err(reject) => {
                    assert_eq!(parser.step(b"--", 1), Err(reject), "a refused body stays refused");
                    return (parts, Err(reject));
                }
            };
            at += step.consumed;
            match (step.event, parts.last_mut()) {
                (Some(Event::Part(head)), _) => parts.push(Part::new(&head)),
                (Some(Event::Data(data)), Some(part)) => {
                    assert!(!data.is_empty() && data.len() <= room && !part.is_complete);
                    part.data.extend_from_slice(data);
                }
                (Some(Event::End), Some(part)) => part.is_complete = true,
                (Some(event), None) => panic!("{event:?} before the first part"),
                (None, _) => break,
            }
        }
    }
    (parts, parser.finish())
}

/// Compares the crate with the reference, on the body as a whole and in pieces. Returns their common result.
///
/// # Panics
/// Panics if there is a difference.
pub fn compare(body: &[u8], boundary: &[u8], max_head: usize, cuts: &[usize], room: usize) -> Outcome {
    let expected = whole(body, boundary, max_head);
    for cuts in [&[], cuts] {
        let mut got = in_pieces(body, boundary, max_head, cuts, room);
        // What may be the beginning of a delimiter is kept back, and is never passed on if the body ends there.
        if let (Some(part), Some(whole)) = (got.0.last_mut(), expected.0.last()) {
            let missing = whole.data.len().saturating_sub(part.data.len());
            if !part.is_complete && missing < boundary.len() + 4 && whole.data.starts_with(&part.data) {
                part.data.clone_from(&whole.data);
            }
        }
        assert!(
            got == expected,
            "{}\nboundary {}, heads of {max_head} bytes, cut at {cuts:?}, {room} at once\ngot {got:?}\nnot {expected:?}",
            body.escape_ascii(),
            boundary.escape_ascii()
        );
    }
    expected
}

/// What a fuzzer calls with any bytes: a body after three bytes that select the limit of a head, where to cut the body in two,
/// and how much data is taken at once.
pub fn target(input: &[u8]) {
    let [limit, cut, room, bytes @ ..] = input else { return };
    let max_head = if limit % 4 == 0 { 50 } else { 8192 };
    let cuts = [usize::from(*cut).min(bytes.len())];
    let _ = compare(bytes, b"b", max_head, &cuts, usize::from(*room) + 1);
    let _ = kqnet_multipart::form(bytes);
}
