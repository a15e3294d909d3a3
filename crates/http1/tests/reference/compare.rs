//! Compares the crate with the reference parsers on one input, whole and in pieces.

use super::chunked::{Stop, chunked};
use super::feed::feed;
use super::head::{Missing, Seen, head, latin1};
use kqnet_http1::{BodyReader, Framing, Head, HeadLimits, HeadParser, KnownHeaders, Parse, Reject, Version};
use std::cell::RefCell;

fn seen(head: &Head) -> Seen {
    Seen {
        method: latin1(head.method),
        target: latin1(head.raw_target),
        path: latin1(head.target.path()),
        query: head.target.query().map(latin1),
        is_11: head.version == Version::Http11,
        headers: head.headers.iter().map(|h| (h.name.to_owned(), latin1(h.value))).collect(),
        authority: head.target.authority().map(latin1),
        framing: head.framing,
        keep_alive: head.keep_alive,
        expect_continue: head.expect_continue,
        len: head.len,
    }
}

fn ours(result: Result<Parse<Head>, Reject>) -> Result<Seen, Missing> {
    match result {
        Ok(Parse::Complete(head)) => Ok(seen(&head)),
        Ok(Parse::Partial) => Err(None),
        Err(reject) => Err(Some(reject.status)),
    }
}

thread_local! {
    /// The header lines of the cases before, with their headers as `seen` shows them.
    static KNOWN: RefCell<KnownHeaders<Vec<(String, String)>>> = RefCell::default();
}

/// Asserts that a parser that knows earlier header lines has the same result, also if it was asked before whether the head had
/// arrived, and remembers the header lines of `bytes`. It is asked at each of the `cuts`, too.
fn compare_known(bytes: &[u8], limits: &HeadLimits, cuts: &[usize], expected: &Result<Seen, Missing>) {
    KNOWN.with_borrow_mut(|known| {
        for is_asked in [false, true, true] {
            let mut parser = HeadParser::new(*limits);
            let mut path = None;
            if is_asked {
                for part in cuts.iter().map(|&cut| &bytes[..cut]) {
                    let is_partial = matches!(HeadParser::new(*limits).parse(part), Ok(Parse::Partial));
                    assert!(parser.arrived(part, known).is_none() || !is_partial, "{}", part.escape_ascii());
                }
                path = parser.arrived(bytes, known);
                assert!(path.is_none() || *expected != Err(None), "{}", bytes.escape_ascii());
            }
            let got = match parser.parse_known(bytes, known) {
                Ok(Parse::Complete(head)) => {
                    if is_asked {
                        let target = head.raw_target.split(|&b| b == b'?').next().unwrap_or_default();
                        assert_eq!(path, Some(&[head.method, b" ", target].concat()[..]));
                    }
                    let mut seen = seen(&head);
                    if head.is_known {
                        seen.headers = known.last().cloned().unwrap_or_default();
                    } else {
                        known.remember(&head, |_| seen.headers.clone());
                    }
                    Ok(seen)
                }
                other => ours(other),
            };
            assert!(got == *expected, "{}\n{limits:?}\ngot {got:?}\nnot {expected:?}", bytes.escape_ascii());
        }
    });
}

/// Compares the parsers of heads on `bytes`, whole and in pieces that end at `cuts`, which ascend. Returns their common
/// result.
///
/// # Panics
/// Panics if there is a difference.
pub fn compare_head(bytes: &[u8], limits: &HeadLimits, cuts: &[usize]) -> Result<Seen, Missing> {
    let expected = head(bytes, limits);
    let mut parser = HeadParser::new(*limits);
    let whole = parser.parse(bytes);
    let reject = whole.as_ref().err().copied();
    let got = ours(whole);
    assert!(got == expected, "{}\n{limits:?}\ngot {got:?}\nnot {expected:?}", bytes.escape_ascii());
    compare_known(bytes, limits, cuts, &expected);

    let mut parser = HeadParser::new(*limits);
    for &cut in cuts {
        match parser.parse(&bytes[..cut]) {
            Ok(Parse::Partial) => {}
            Ok(Parse::Complete(head)) => {
                assert_eq!(Ok(seen(&head)), expected, "cut at {cut}: {}", bytes.escape_ascii());
                return expected;
            }
            Err(early) => {
                assert_eq!(Some(early), reject, "cut at {cut}: {}", bytes.escape_ascii());
                return expected;
            }
        }
    }
    let last = parser.parse(bytes);
    assert_eq!(last.as_ref().err().copied(), reject, "cut at {cuts:?}: {}", bytes.escape_ascii());
    let last = ours(last);
    assert!(last == expected, "cut at {cuts:?}: {}", bytes.escape_ascii());
    expected
}

/// Does what [`compare_head`] does, for a chunked body.
///
/// # Panics
/// Panics if there is a difference.
pub fn compare_chunked(bytes: &[u8], max_body: u64, cuts: &[usize]) -> Result<usize, Stop> {
    let expected = chunked(bytes, max_body);
    for cuts in [&[], cuts] {
        let mut reader = BodyReader::new(Framing::Chunked, max_body).expect("no length that could be too large");
        let mut data = vec![];
        let mut consumed = 0;
        let mut end = Err(Stop::More);
        let mut start = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            match feed(&mut reader, &bytes[start..cut], &mut data) {
                Ok(count) => {
                    consumed += count;
                    end = if reader.is_done() { Ok(consumed) } else { Err(Stop::More) };
                }
                Err(reject) => end = Err(Stop::Refused(reject.status)),
            }
            if end != Err(Stop::More) {
                break;
            }
            start = cut;
        }
        let got = (data, end);
        assert!(
            got == expected,
            "{}\nlimit {max_body}, cut at {cuts:?}\ngot {got:?}\nnot {expected:?}",
            bytes.escape_ascii()
        );
    }
    expected.1
}
