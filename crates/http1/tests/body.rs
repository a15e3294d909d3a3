//! Request bodies of either framing: which are accepted, which are refused and why, and that it makes no difference how
//! their bytes arrive.

#[path = "reference/feed.rs"]
mod feed;

use feed::feed;
use kqnet_http1::{BodyReader, Framing, MAX_CHUNK_LINE, MAX_OVERHEAD, MAX_TRAILERS, Reject, Step};
use proptest::prelude::*;

/// How many bytes belong to the body, and whether it is complete.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    consumed: usize,
    is_done: bool,
}

fn chunked(max_body: u64) -> BodyReader {
    BodyReader::new(Framing::Chunked, max_body).unwrap()
}

/// Reads `pieces` one after the other, and returns the data and how it ended.
fn decode(max_body: u64, pieces: &[&[u8]]) -> (Vec<u8>, Result<Progress, Reject>) {
    let mut reader = chunked(max_body);
    let mut data = vec![];
    let mut consumed = 0;
    for piece in pieces {
        match feed(&mut reader, piece, &mut data) {
            Ok(count) => {
                assert!(reader.is_done() || count == piece.len());
                consumed += count;
            }
            Err(reject) => {
                assert_eq!(reader.step(b"0\r\n\r\n"), Err(reject), "a refused body stays refused");
                return (data, Err(reject));
            }
        }
    }
    (data, Ok(Progress { consumed, is_done: reader.is_done() }))
}

const LIMIT: u64 = 100;

#[rustfmt::skip]
const ACCEPTED: &[(&str, &[u8], &[u8])] = &[
    ("no data", b"0\r\n\r\n", b""),
    ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("two chunks", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    ("a size in capitals", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ("a size in lower case", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ("a size with leading zeros", b"0005\r\nhello\r\n00\r\n\r\n", b"hello"),
    ("a size of 16 digits", b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", b"hello"),
    ("data that looks like framing", b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n"),
    ("data of any byte", b"4\r\n\0\xff\r\n\r\n0\r\n\r\n", b"\0\xff\r\n"),
    ("an extension", b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("an extension with a value", b"5;a=b\r\nhello\r\n0;c=d\r\n\r\n", b"hello"),
    ("two extensions", b"5;a=b;c\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("an extension with a quoted value", b"5;a=\"b;c d\"\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("a quoted value with escapes", b"5;a=\"\\\"\\\\\";b\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("an empty quoted value", b"5;a=\"\"\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("a quoted value beyond ASCII", b"5;a=\"\xe9\t\"\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("spaces around the parts of an extension", b"5 \t; a = b ; c\r\nhello\r\n0\r\n\r\n", b"hello"),
    ("a trailer", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"hello"),
    ("trailers, empty and with obs-text", b"0\r\nX:\r\nY: \xe9\t\r\n\r\n", b""),
    ("a trailer that would be framing in a head", b"0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    ("a body of exactly the limit", b"64\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n0\r\n\r\n",
        b"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"),
];

#[rustfmt::skip]
const REFUSED: &[(&str, &[u8], Reject)] = &[
    ("an empty size", b"\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a size with a plus", b"+5\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a negative size", b"-5\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a space before the size", b" 5\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a space after the size", b"5 \r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a space within the size", b"1 0\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("an underscore in the size", b"1_0\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a size that is not a number", b"g\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a digit beyond ASCII", b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a comma after the size", b"5,a\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a size of 17 digits", b"00000000000000005\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a size over 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a NUL after the size", b"5\0\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a bare LF after the size", b"5\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a bare CR after the size", b"5\rhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("CR CR LF after the size", b"5\r\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("an extension without a size", b";a\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("an empty extension", b"5;\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("an extension without a name", b"5;=b\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("an extension with an empty value", b"5;a=\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("two semicolons", b"5;;a\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a space at the end of an extension", b"5;a=b \r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a bare LF in an extension", b"5;a\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a bare LF in a value", b"5;a=b\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a NUL in an extension", b"5;a\0\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a quote that is not closed", b"5;a=\"b\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a quote that hides a line end", b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("an escaped line end", b"5;a=\"\\\r\n\"\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a bare LF in a quote", b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("bytes after a quote", b"5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("a quote within a token", b"5;a=b\"c\"\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("two values", b"5;a=b=c\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_EXTENSION),
    ("data longer than its size", b"4\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_END),
    ("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n", Reject::CHUNK_END),
    ("no CRLF after the data", b"5\r\nhello0\r\n\r\n", Reject::CHUNK_END),
    ("a bare LF after the data", b"5\r\nhello\n0\r\n\r\n", Reject::CHUNK_END),
    ("a bare CR after the data", b"5\r\nhello\r0\r\n\r\n", Reject::CHUNK_END),
    ("two CRLF after the data", b"5\r\nhello\r\n\r\n0\r\n\r\n", Reject::CHUNK_SIZE),
    ("a chunk in place of the end", b"0\r\n5\r\nhello\r\n0\r\n\r\n", Reject::TRAILER),
    ("a bare LF at the end", b"0\r\n\n", Reject::TRAILER),
    ("a bare CR at the end", b"0\r\n\rG", Reject::TRAILER),
    ("a request in place of the end", b"0\r\nGET / HTTP/1.1\r\n\r\n", Reject::TRAILER),
    ("a trailer without a name", b"0\r\n: y\r\n\r\n", Reject::TRAILER),
    ("a trailer with a space before the colon", b"0\r\nX : y\r\n\r\n", Reject::TRAILER),
    ("a folded trailer", b"0\r\nX: y\r\n z\r\n\r\n", Reject::TRAILER),
    ("a trailer with a NUL", b"0\r\nX: \0\r\n\r\n", Reject::TRAILER),
    ("a trailer with a bare LF", b"0\r\nX: y\n\r\n", Reject::TRAILER),
    ("a trailer with a bare CR", b"0\r\nX: y\rz\r\n\r\n", Reject::TRAILER),
    ("a chunk over the limit", b"65\r\n", Reject::BODY_TOO_LARGE),
    ("the largest size", b"ffffffffffffffff\r\n", Reject::BODY_TOO_LARGE),
    ("chunks that are over the limit together", b"5\r\nhello\r\n60\r\n", Reject::BODY_TOO_LARGE),
    ("sizes whose sum would wrap around", b"5\r\nhello\r\nfffffffffffffffb\r\n", Reject::BODY_TOO_LARGE),
];

#[test]
fn chunked_bodies_are_accepted() {
    for (name, bytes, data) in ACCEPTED {
        let done = Progress { consumed: bytes.len(), is_done: true };
        assert_eq!(decode(LIMIT, &[bytes]), (data.to_vec(), Ok(done)), "{name}");
    }
}

#[test]
fn chunked_bodies_are_refused_with_the_reason() {
    for (name, bytes, reject) in REFUSED {
        assert_eq!(decode(LIMIT, &[bytes]).1, Err(*reject), "{name}");
    }
}

#[test]
fn it_makes_no_difference_where_a_body_is_cut() {
    let all = ACCEPTED.iter().map(|c| (c.0, c.1)).chain(REFUSED.iter().map(|c| (c.0, c.1)));
    for (name, bytes) in all {
        let whole = decode(LIMIT, &[bytes]);
        for cut in 0..=bytes.len() {
            assert_eq!(decode(LIMIT, &[&bytes[..cut], &bytes[cut..]]), whole, "{name}, cut at {cut}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(decode(LIMIT, &single), whole, "{name}, byte by byte");
    }
}

#[test]
fn a_body_is_incomplete_until_its_last_byte() {
    for (name, bytes, _) in ACCEPTED {
        for end in 0..bytes.len() {
            let (_, progress) = decode(LIMIT, &[&bytes[..end]]);
            assert_eq!(progress, Ok(Progress { consumed: end, is_done: false }), "{name}, {end} bytes");
        }
    }
}

#[test]
fn the_next_request_is_left_alone() {
    let body = b"5\r\nhello\r\n0\r\n\r\n";
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
    let (data, progress) = decode(LIMIT, &[&bytes]);
    assert_eq!((data, progress), (b"hello".to_vec(), Ok(Progress { consumed: body.len(), is_done: true })));
    let mut reader = chunked(LIMIT);
    feed(&mut reader, body, &mut vec![]).unwrap();
    assert_eq!(reader.step(b"GET"), Ok(Step { consumed: 0, data: 0..0 }));
    assert!(reader.is_done());
}

#[test]
fn a_limit_of_zero_allows_an_empty_body() {
    assert!(decode(0, &[b"0\r\n\r\n"]).1.is_ok());
    assert_eq!(decode(0, &[b"1\r\n"]).1, Err(Reject::BODY_TOO_LARGE));
    assert_eq!(decode(u64::MAX, &[b"ffffffffffffffff\r\nx"]).0, b"x");
}

#[test]
fn the_line_of_a_size_is_limited_to_the_byte() {
    let line = |len: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(len - 2)).into_bytes();
    let longest = MAX_CHUNK_LINE as usize;
    assert!(decode(LIMIT, &[&line(longest)]).1.is_ok());
    assert_eq!(decode(LIMIT, &[&line(longest + 1)]).1, Err(Reject::CHUNK_OVERHEAD));
    let endless = line(longest + 1);
    assert_eq!(decode(LIMIT, &[&endless[..longest + 1]]).1, Err(Reject::CHUNK_OVERHEAD));
}

#[test]
fn extensions_are_limited_in_proportion_to_the_data() {
    // 17 small chunks with a kibibyte of extensions each are too many.
    let small = format!("1;{}\r\nx\r\n", "a".repeat(1000));
    let warranted = 18;
    let allowed = (MAX_OVERHEAD / (1002 - warranted)) as usize;
    assert!(decode(LIMIT, &[small.repeat(allowed).as_bytes()]).1.is_ok());
    assert_eq!(decode(LIMIT, &[small.repeat(allowed + 1).as_bytes()]).1, Err(Reject::CHUNK_OVERHEAD));
    // Any number of large chunks with a signature each are allowed.
    let large = format!("10000;chunk-signature={}\r\n{}\r\n", "f".repeat(64), "x".repeat(65536));
    assert!(decode(u64::MAX, &[large.repeat(100).as_bytes()]).1.is_ok());
    // So are chunks of a single byte without extensions.
    assert!(decode(u64::MAX, &["1\r\nx\r\n".repeat(100_000).as_bytes()]).1.is_ok());
}

#[test]
fn the_trailer_section_is_limited_to_the_byte() {
    let trailers = |len: usize| format!("0\r\nX: {}\r\n\r\n", "y".repeat(len - "X: \r\n\r\n".len())).into_bytes();
    let largest = MAX_TRAILERS as usize;
    assert!(decode(LIMIT, &[&trailers(largest)]).1.is_ok());
    assert_eq!(decode(LIMIT, &[&trailers(largest + 1)]).1, Err(Reject::TRAILERS_TOO_LARGE));
}

#[test]
fn data_is_not_copied() {
    let bytes = b"5\r\nhello\r\n0\r\n\r\n";
    let mut reader = chunked(LIMIT);
    assert_eq!(reader.step(bytes), Ok(Step { consumed: 8, data: 3..8 }));
    assert!(!reader.is_done());
    let step = reader.step(&bytes[8..]).unwrap();
    assert_eq!((step.consumed, step.data.is_empty(), reader.is_done()), (7, true, true));
}

#[test]
fn a_body_of_known_length_ends_after_it() {
    let mut reader = BodyReader::new(Framing::Length(5), LIMIT).unwrap();
    let mut data = vec![];
    assert!(!reader.is_done());
    assert_eq!(feed(&mut reader, b"hel", &mut data), Ok(3));
    assert!(!reader.is_done());
    assert_eq!(feed(&mut reader, b"loGET", &mut data), Ok(2));
    assert!(reader.is_done());
    assert_eq!(data, b"hello");
}

#[test]
fn an_empty_body_is_complete_from_the_start() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut reader = BodyReader::new(framing, 0).unwrap();
        assert!(reader.is_done());
        assert_eq!(reader.step(b"GET"), Ok(Step { consumed: 0, data: 0..0 }));
        assert!(reader.is_done());
    }
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    assert_eq!(BodyReader::new(Framing::Length(LIMIT + 1), LIMIT).err(), Some(Reject::BODY_TOO_LARGE));
    assert!(BodyReader::new(Framing::Length(LIMIT), LIMIT).is_ok());
    let mut chunked = chunked(LIMIT);
    assert!(!chunked.is_done());
    assert_eq!(chunked.step(b"65\r\n"), Err(Reject::BODY_TOO_LARGE));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn chunks_of_any_bytes_are_read(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8)) {
        let mut bytes = vec![];
        for piece in &pieces {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        let done = Progress { consumed: bytes.len(), is_done: true };
        prop_assert_eq!(decode(u64::MAX, &[&bytes]), (pieces.concat(), Ok(done)));
    }

    #[test]
    fn any_bytes_give_the_same_result_one_by_one(bytes in prop::collection::vec(any::<u8>(), 0..60), max_body in 0u64..20) {
        let whole = decode(max_body, &[&bytes]);
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(decode(max_body, &single), whole);
    }
}
