//! Request targets and query strings, compared with how `spork/http` reads them.

use kqnet_http1::{Reject, Target, parse_query};
use proptest::prelude::*;

#[test]
fn a_target_is_parsed_by_its_form() {
    let parse = |method: &str, target: &'static str| Target::parse(method.as_bytes(), target.as_bytes());
    let origin = parse("GET", "/a/b?c?d").unwrap();
    assert_eq!((origin.path(), origin.query(), origin.authority()), (&b"/a/b"[..], Some(&b"c?d"[..]), None));
    let absolute = parse("GET", "http://h:1/a?b").unwrap();
    assert_eq!(
        (absolute.path(), absolute.query(), absolute.authority()),
        (&b"/a"[..], Some(&b"b"[..]), Some(&b"h:1"[..]))
    );
    let bare = parse("GET", "http://h").unwrap();
    assert_eq!((bare.path(), bare.query(), bare.authority()), (&b"/"[..], None, Some(&b"h"[..])));
    let query_only = parse("GET", "http://h?x=/").unwrap();
    assert_eq!((query_only.path(), query_only.query()), (&b"/"[..], Some(&b"x=/"[..])));
    let authority = parse("CONNECT", "h:443").unwrap();
    assert_eq!(
        (authority.path(), authority.query(), authority.authority()),
        (&b"h:443"[..], None, Some(&b"h:443"[..]))
    );
    let asterisk = parse("OPTIONS", "*").unwrap();
    assert_eq!((asterisk.path(), asterisk.query(), asterisk.authority()), (&b"*"[..], None, None));
    assert_eq!(parse("GET", ""), Err(Reject::TARGET));
}

#[test]
fn a_target_splits_at_the_first_question_mark() {
    let split = |target: &'static [u8]| Target::parse(b"GET", target).map(|target| (target.path(), target.query()));
    assert_eq!(split(b"/a"), Ok((&b"/a"[..], None)));
    assert_eq!(split(b"/a?"), Ok((&b"/a"[..], Some(&b""[..]))));
    assert_eq!(split(b"/a?b?c"), Ok((&b"/a"[..], Some(&b"b?c"[..]))));
    assert_eq!(split(b"http://h?"), Ok((&b"/"[..], Some(&b""[..]))));
}

/// Returns the pairs of a query string as text: `key: value`, or just `key`, with `|` between them.
fn pairs(text: &[u8]) -> String {
    let pairs: Vec<_> = parse_query(text)
        .map(|(key, value)| {
            let key = key.escape_ascii();
            value.map_or_else(|| key.to_string(), |value| format!("{key}: {}", value.escape_ascii()))
        })
        .collect();
    pairs.join("|")
}

/// Each expectation is what `(peg/match query-string-grammar …)` of `spork/http` returned, except for the query strings
/// that have an empty key or pair, where that grammar stops.
#[test]
fn query_strings_are_read_as_in_spork() {
    #[rustfmt::skip]
    let cases: &[(&[u8], &str)] = &[
        (b"", ""),
        (b"a=1", "a: 1"),
        (b"a", "a"),
        (b"a=", "a: "),
        (b"=v", ": v"),
        (b"a=1&&b=2", "a: 1|b: 2"),
        (b"a=1&;&b=2&&", "a: 1|b: 2"),
        (b"&&", ""),
        (b"=", ": "),
        (b"a=1&b=2&a=3", "a: 1|b: 2|a: 3"),
        (b"a=1;b", "a: 1|b"),
        (b"a=%41%zz%4", "a: A%zz%4"),
        (b"a+b=c+d", "a b: c d"),
        (b"a=1=2", "a: 1=2"),
        (b"%3D=%26", "=: &"),
        (b"a=%00", "a: \\x00"),
        (b"a&", "a"),
        (b"&a", "a"),
        (b";", ""),
        (b"a=%c3%A9", "a: \\xc3\\xa9"),
        (b"a&a&a", "a|a|a"),
        (b"a=%", "a: %"),
        (b"%", "%"),
        (b"a=+", "a:  "),
        (b"k=v&=x&y=z", "k: v|: x|y: z"),
        (b"a%3", "a%3"),
        (b"%e0=1", "\\xe0: 1"),
        (b"a=%%41", "a: %A"),
        (b"a=%2541", "a: %41"),
    ];
    for (text, expected) in cases {
        assert_eq!(pairs(text), *expected, "{}", text.escape_ascii());
    }
}

#[test]
fn the_pairs_stay_at_their_end() {
    let mut pairs = parse_query(b"a&&");
    assert!(pairs.next().is_some());
    assert!(pairs.next().is_none());
    assert!(pairs.next().is_none());
}

/// The grammar of `spork/http`, rule by rule, on bytes and with backtracking. It differs in two ways: a key may be
/// empty, and if no entry begins at a separator, reading goes on after it.
mod grammar {
    type Pair = (Vec<u8>, Option<Vec<u8>>);

    fn qchar(s: &[u8], i: usize) -> Option<(u8, usize)> {
        if s.get(i) == Some(&b'%') && i + 2 < s.len() && s[i + 1].is_ascii_hexdigit() && s[i + 2].is_ascii_hexdigit() {
            let digits = String::from_utf8(s[i + 1..i + 3].to_vec()).unwrap();
            return Some((u8::from_str_radix(&digits, 16).unwrap(), i + 3));
        }
        (s.get(i) == Some(&b'+')).then_some((b' ', i + 1))
    }

    fn some(s: &[u8], mut i: usize, stop: &[u8]) -> (Vec<u8>, usize) {
        let mut out = vec![];
        loop {
            let next = qchar(s, i).or_else(|| s.get(i).filter(|b| !stop.contains(b)).map(|b| (*b, i + 1)));
            let Some((b, after)) = next else { return (out, i) };
            out.push(b);
            i = after;
        }
    }

    fn entry(s: &[u8], i: usize) -> Option<(Pair, usize)> {
        let (key, i) = some(s, i, b"&=;");
        if key.is_empty() && s.get(i) != Some(&b'=') {
            return None;
        }
        let (value, i) = if s.get(i) == Some(&b'=') {
            let (value, i) = some(s, i + 1, b"&;");
            (Some(value), i)
        } else {
            (None, i)
        };
        let end = match s.get(i) {
            Some(b';' | b'&') => i + 1,
            None => i,
            Some(_) => return None,
        };
        Some(((key, value), end))
    }

    pub fn main(s: &[u8]) -> Vec<Pair> {
        let mut pairs = vec![];
        let mut i = 0;
        while i < s.len() {
            match entry(s, i) {
                Some((pair, after)) => {
                    pairs.push(pair);
                    i = after;
                }
                None => i += 1,
            }
        }
        pairs
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn queries_agree_with_the_grammar_of_spork(text in "[ab%+&;=4fG\u{0}\u{e9}]{0,24}") {
        let ours: Vec<_> = parse_query(text.as_bytes()).map(|(k, v)| (k.into_owned(), v.map(|v| v.into_owned()))).collect();
        prop_assert_eq!(ours, grammar::main(text.as_bytes()));
    }

    #[test]
    fn targets_of_any_bytes_are_handled_without_a_panic(method in "GET|CONNECT|OPTIONS", target in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(parsed) = Target::parse(method.as_bytes(), &target) {
            prop_assert!(!parsed.path().is_empty());
        }
        let _ = parse_query(&target).count();
    }

    #[test]
    fn targets_of_target_like_text_are_handled_without_a_panic(method in "GET|CONNECT", target in "(http://|https://|/)?[a/:?\\[\\]@%1*.]{0,12}") {
        if let Ok(parsed) = Target::parse(method.as_bytes(), target.as_bytes()) {
            prop_assert!(parsed.path().starts_with(b"/") || method == "CONNECT");
        }
    }
}
