//! Compares the crate with the reference parsers on many inputs.
//!
//! The bulk run is ignored by default. Run it in release mode, with the number of cases in the environment:
//! `CASES=1000000 cargo test --release -p kqnet-http1 --test agreement -- --ignored --nocapture`,
//! or with `SECONDS=20` for as many cases as that time allows. `SEED` repeats a run.

mod reference;

use kqnet_cases::Random;
use kqnet_http1::HeadLimits;
use proptest::prelude::*;
use reference::chunked::Stop;
use reference::compare::{compare_chunked, compare_head};
use reference::generate;
use std::collections::BTreeMap;

/// Compares the parsers on one request and one body, and counts the results.
fn one_case(random: &mut Random, results: &mut BTreeMap<String, u64>) {
    let request = generate::request(random);
    let limits = generate::limits(random);
    let cuts = generate::cuts(random, request.len());
    let result = match compare_head(&request, &limits, &cuts) {
        Ok(_) => "head complete".to_owned(),
        Err(None) => "head partial".to_owned(),
        Err(Some(status)) => format!("head {status}"),
    };
    *results.entry(result).or_default() += 1;

    let body = generate::body(random);
    let max_body = if random.once_in(8) { random.below(40) as u64 } else { u64::MAX };
    let cuts = generate::cuts(random, body.len());
    let result = match compare_chunked(&body, max_body, &cuts) {
        Ok(_) => "body complete".to_owned(),
        Err(Stop::More) => "body partial".to_owned(),
        Err(Stop::Refused(status)) => format!("body {status}"),
    };
    *results.entry(result).or_default() += 1;
}

#[test]
fn a_sample_agrees_and_has_every_result() {
    let mut random = Random(1);
    let mut results = BTreeMap::new();
    for _ in 0..20_000 {
        one_case(&mut random, &mut results);
    }
    let seen: Vec<&str> = results.keys().map(String::as_str).collect();
    let expected = [
        "body 400",
        "body 413",
        "body 431",
        "body complete",
        "body partial",
        "head 400",
        "head 414",
        "head 417",
        "head 431",
        "head 501",
        "head 505",
        "head complete",
        "head partial",
    ];
    assert_eq!(seen, expected);
}

#[test]
#[ignore = "takes as long as CASES or SECONDS allow"]
fn bulk() {
    let mut results = BTreeMap::new();
    kqnet_cases::bulk(100_000, |random| one_case(random, &mut results));
    println!("{results:#?}");
}

/// Generates fewer than `most` pieces, one after the other.
fn pieces(pool: &'static [&'static [u8]], most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(pool), 0..most).prop_map(|pieces| pieces.concat())
}

#[rustfmt::skip]
const HEAD_PIECES: &[&[u8]] = &[
    b"GET ", b"POST ", b"CONNECT ", b"OPTIONS ", b"/", b"/a?b", b"*", b"a:80", b"http://a", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n",
    b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"Host: a\r\n", b"Host:", b"Content-Length: 5\r\n", b"Content-Length:",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:", b"chunked", b",", b"gzip", b"Connection: ", b"close", b"keep-alive",
    b"Upgrade: x\r\n", b"Expect: 100-continue\r\n", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b":", b"a", b"5", b"\0", b"\xe9",
];

#[rustfmt::skip]
const BODY_PIECES: &[&[u8]] = &[
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"1\r\n", b"x", b"0", b"a", b"F", b"00000000", b"\r\n", b"\r", b"\n", b";", b"a=b", b"=", b"\"",
    b"\\", b" ", b"\t", b"X: y\r\n", b":", b"\0", b"\xe9", b"hello",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn heads_of_pieces_agree(bytes in pieces(HEAD_PIECES, 14), cut in any::<prop::sample::Index>(), is_tight: bool) {
        let tight = HeadLimits { max_head: 40, max_request_line: 16, max_headers: 2 };
        let limits = if is_tight { tight } else { HeadLimits::default() };
        let _ = compare_head(&bytes, &limits, &[cut.index(bytes.len() + 1)]);
    }

    #[test]
    fn heads_of_any_bytes_agree(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in any::<prop::sample::Index>()) {
        let _ = compare_head(&bytes, &HeadLimits::default(), &[cut.index(bytes.len() + 1)]);
        // After a good request line the parser reaches the headers.
        let request = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &bytes[..], b"\r\n\r\n"].concat();
        let _ = compare_head(&request, &HeadLimits::default(), &[cut.index(request.len() + 1)]);
    }

    #[test]
    fn bodies_of_pieces_agree(bytes in pieces(BODY_PIECES, 14), cut in any::<prop::sample::Index>(), max_body in 0u64..12) {
        let _ = compare_chunked(&bytes, max_body, &[cut.index(bytes.len() + 1)]);
    }

    #[test]
    fn bodies_of_any_bytes_agree(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in any::<prop::sample::Index>()) {
        let _ = compare_chunked(&bytes, u64::MAX, &[cut.index(bytes.len() + 1)]);
    }
}
