//! Requests for files: preconditions, content codings, ranges, and paths that stay in their folder.

use kqnet_http1::coding::{Coding, accepted};
use kqnet_http1::conditional::{Conditions, Precondition, if_range};
use kqnet_http1::path::{PathError, RelativePath};
use kqnet_http1::range::{Selection, select};
use proptest::prelude::*;
use std::path::{Component, Path};

const MODIFIED: i64 = 784_111_777;
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

#[test]
fn preconditions_are_evaluated_in_order() {
    use Precondition::{Failed, NotModified, Proceed};
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let evaluate = |is_read, headers: Headers| {
        let value = |name: &str| headers.iter().find(|h| h.0 == name).map(|h| h.1.as_bytes());
        let conditions = Conditions {
            if_match: value("match"),
            if_unmodified_since: value("unmodified"),
            if_none_match: value("none-match"),
            if_modified_since: value("modified"),
        };
        conditions.evaluate(is_read, b"\"x\"", Some(MODIFIED))
    };
    #[rustfmt::skip]
    let cases: &[(bool, Headers, Precondition)] = &[
        (true, &[], Proceed),
        (true, &[("none-match", "\"x\"")], NotModified),
        (true, &[("none-match", "W/\"x\"")], NotModified),
        (true, &[("none-match", "\"a\", \"x\"")], NotModified),
        (true, &[("none-match", "\"a\" , ,W/\"b\",\"x\"")], NotModified),
        (true, &[("none-match", "\"a,b\", \"x\"")], NotModified),
        (true, &[("none-match", "*")], NotModified),
        (true, &[("none-match", " * ")], NotModified),
        (true, &[("none-match", "\"y\"")], Proceed),
        (true, &[("none-match", "\"xy\"")], Proceed),
        (true, &[("none-match", "x")], Proceed),
        (true, &[("none-match", "")], Proceed),
        (true, &[("none-match", "\"x")], Proceed),
        (true, &[("none-match", "w/\"x\"")], Proceed),
        (true, &[("none-match", "\"a\"\"x\"")], Proceed),
        (true, &[("none-match", "\"a\" \"x\"")], Proceed),
        (true, &[("none-match", "\"a\", *")], Proceed),
        (false, &[("none-match", "\"x\"")], Failed),
        (false, &[("none-match", "\"y\"")], Proceed),
        (true, &[("modified", SAME)], NotModified),
        (true, &[("modified", LATER)], NotModified),
        (true, &[("modified", EARLIER)], Proceed),
        (true, &[("modified", "nonsense")], Proceed),
        (false, &[("modified", SAME)], Proceed),
        (true, &[("none-match", "\"y\""), ("modified", SAME)], Proceed),
        (true, &[("none-match", "\"x\""), ("modified", EARLIER)], NotModified),
        (true, &[("match", "\"x\"")], Proceed),
        (true, &[("match", "*")], Proceed),
        (true, &[("match", "\"y\"")], Failed),
        (true, &[("match", "W/\"x\"")], Failed),
        (true, &[("match", "")], Failed),
        (true, &[("match", "\"x\""), ("none-match", "\"x\"")], NotModified),
        (true, &[("match", "\"x\""), ("unmodified", EARLIER)], Proceed),
        (true, &[("unmodified", SAME)], Proceed),
        (true, &[("unmodified", LATER)], Proceed),
        (true, &[("unmodified", EARLIER)], Failed),
        (true, &[("unmodified", "nonsense")], Proceed),
    ];
    for (is_read, headers, expected) in cases {
        assert_eq!(evaluate(*is_read, headers), *expected, "read: {is_read}, {headers:?}");
    }
}

#[test]
fn without_a_modification_time_dates_are_ignored() {
    let since = |date: &'static str| Some(date.as_bytes());
    let evaluate = |conditions: Conditions<'_>| conditions.evaluate(true, b"\"x\"", None);
    assert_eq!(
        evaluate(Conditions { if_modified_since: since(LATER), ..Conditions::default() }),
        Precondition::Proceed
    );
    assert_eq!(
        evaluate(Conditions { if_unmodified_since: since(EARLIER), ..Conditions::default() }),
        Precondition::Proceed
    );
    assert!(!if_range(SAME.as_bytes(), b"\"x\"", None));
    assert!(!if_range(b"nonsense", b"\"x\"", None));
}

#[test]
fn codings_come_in_the_order_that_the_client_prefers() {
    use Coding::{Brotli, Gzip, Zstandard};
    #[rustfmt::skip]
    let cases: &[(&str, &[Coding])] = &[
        ("", &[]),
        ("identity", &[]),
        ("gzip", &[Gzip]),
        ("GZip", &[Gzip]),
        ("x-gzip", &[Gzip]),
        ("gzip, deflate, br, zstd", &[Brotli, Zstandard, Gzip]),
        ("gzip;q=1.0, br;q=0.5", &[Gzip, Brotli]),
        ("gzip ; q=0.3 ,\tbr;Q=0.300, zstd;q=0.301", &[Zstandard, Brotli, Gzip]),
        ("*", &[Brotli, Zstandard, Gzip]),
        ("*;q=0", &[]),
        ("gzip, *;q=0", &[Gzip]),
        ("*, br;q=0", &[Zstandard, Gzip]),
        ("br;q=0, gzip;q=0.001", &[Gzip]),
        ("br;q=0.000", &[]),
        ("identity, gzip;q=0.5", &[]),
        ("identity;q=0.5, gzip;q=0.5", &[Gzip]),
        ("identity;q=0.5, gzip;q=0.4, br", &[Brotli]),
        ("identity;q=0, gzip", &[Gzip]),
        ("identity;q=0", &[]),
        ("gzip;q=2", &[]),
        ("gzip;q=1.001", &[]),
        ("gzip;q=0.1234", &[]),
        ("gzip;q=", &[]),
        ("gzip;q=-1", &[]),
        ("gzip;level=9", &[]),
        ("gzip;q=.5", &[]),
        ("gzip;q=1.", &[Gzip]),
        ("gzipped, brr", &[]),
        (",,gzip,,", &[Gzip]),
        ("gzip;q=0, gzip", &[]),
    ];
    for (value, expected) in cases {
        assert_eq!(accepted(value.as_bytes()).collect::<Vec<_>>(), *expected, "{value}");
    }
}

#[test]
fn if_range_matches_only_the_same_version() {
    assert!(if_range(b"\"x\"", b"\"x\"", Some(MODIFIED)));
    assert!(!if_range(b"\"y\"", b"\"x\"", Some(MODIFIED)));
    assert!(!if_range(b"W/\"x\"", b"\"x\"", Some(MODIFIED)));
    assert!(!if_range(b"x", b"\"x\"", Some(MODIFIED)));
    assert!(!if_range(b"", b"\"x\"", Some(MODIFIED)));
    assert!(if_range(SAME.as_bytes(), b"\"x\"", Some(MODIFIED)));
    assert!(!if_range(LATER.as_bytes(), b"\"x\"", Some(MODIFIED)));
    assert!(!if_range(EARLIER.as_bytes(), b"\"x\"", Some(MODIFIED)));
}

#[test]
fn a_range_selects_bytes() {
    use Selection::{All, Unsatisfiable};
    let part = |first, last| Selection::Part { first, last };
    #[rustfmt::skip]
    let cases = [
        ("bytes=0-4", 10, part(0, 4)),
        ("bytes=0-0", 10, part(0, 0)),
        ("bytes=9-9", 10, part(9, 9)),
        ("bytes=5-", 10, part(5, 9)),
        ("bytes=0-", 10, part(0, 9)),
        ("bytes=5-99", 10, part(5, 9)),
        ("bytes=-3", 10, part(7, 9)),
        ("bytes=-10", 10, part(0, 9)),
        ("bytes=-99", 10, part(0, 9)),
        ("BYTES=0-4", 10, part(0, 4)),
        ("bytes= 0-4 ", 10, part(0, 4)),
        ("bytes=,0-4,", 10, part(0, 4)),
        ("bytes=007-008", 10, part(7, 8)),
        ("bytes=0-18446744073709551615", 10, part(0, 9)),
        ("bytes=0-18446744073709551617", 10, part(0, 9)),
        ("bytes=0-99999999999999999999999", 10, part(0, 9)),
        ("bytes=-99999999999999999999999", 10, part(0, 9)),
        ("bytes=10-", 10, Unsatisfiable),
        ("bytes=10-20", 10, Unsatisfiable),
        ("bytes=99999999999999999999999-", 10, Unsatisfiable),
        ("bytes=18446744073709551616-", 10, Unsatisfiable),
        ("bytes=-0", 10, Unsatisfiable),
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=-0", 0, Unsatisfiable),
        ("bytes=-5", 0, All),
        ("bytes=0-18446744073709551614", u64::MAX, part(0, u64::MAX - 1)),
        ("bytes=0-1,3-4", 10, All),
        ("bytes=20-30,40-50", 10, All),
        ("bytes=5-4", 10, All),
        ("bytes=-", 10, All),
        ("bytes=", 10, All),
        ("bytes", 10, All),
        ("", 10, All),
        ("bytes=a-b", 10, All),
        ("bytes=1-2-3", 10, All),
        ("bytes=--1", 10, All),
        ("bytes=+1-2", 10, All),
        ("bytes=1 -2", 10, All),
        ("bytes =1-2", 10, All),
        ("bytes=0x1-2", 10, All),
        ("items=0-4", 10, All),
        ("bytes:0-4", 10, All),
    ];
    for (value, len, expected) in cases {
        assert_eq!(select(value.as_bytes(), len), expected, "{value} of {len}");
    }
}

#[test]
fn a_path_stays_in_its_folder() {
    let map = |path: &[u8]| RelativePath::new(path).map(|p| p.as_bytes().escape_ascii().to_string());
    #[rustfmt::skip]
    let cases: &[(&[u8], Result<&str, PathError>)] = &[
        (b"/", Ok("")),
        (b"/a", Ok("a")),
        (b"/a/b.txt", Ok("a/b.txt")),
        (b"/a/", Ok("a")),
        (b"//a///b", Ok("a/b")),
        (b"/./a/./b/.", Ok("a/b")),
        (b"/%2e/a", Ok("a")),
        (b"/a%20b", Ok("a b")),
        (b"/a+b", Ok("a+b")),
        (b"/caf%C3%a9", Ok("caf\\xc3\\xa9")),
        (b"/...", Ok("...")),
        (b"/..a/a..", Ok("..a/a..")),
        (b"/%252e%252e/a", Ok("%2e%2e/a")),
        (b"/a%25", Ok("a%")),
        (b"/~root/a:b", Ok("~root/a:b")),
        (b"/..", Err(PathError::Parent)),
        (b"/../a", Err(PathError::Parent)),
        (b"/a/..", Err(PathError::Parent)),
        (b"/a/../b", Err(PathError::Parent)),
        (b"/a/%2e%2e/b", Err(PathError::Parent)),
        (b"/a/.%2E/b", Err(PathError::Parent)),
        (b"/a%2f..%2fb", Err(PathError::Byte)),
        (b"/a%2Fb", Err(PathError::Byte)),
        (b"/..%2f", Err(PathError::Byte)),
        (b"/..\\a", Err(PathError::Byte)),
        (b"/%5c", Err(PathError::Byte)),
        (b"/a%00.txt", Err(PathError::Byte)),
        (b"/a\0", Err(PathError::Byte)),
        (b"/a%0a", Err(PathError::Byte)),
        (b"/a%7f", Err(PathError::Byte)),
        (b"/%", Err(PathError::Escape)),
        (b"/%4", Err(PathError::Escape)),
        (b"/%zz", Err(PathError::Escape)),
        (b"/%+1", Err(PathError::Escape)),
        (b"", Err(PathError::NotAbsolute)),
        (b"a", Err(PathError::NotAbsolute)),
        (b"..", Err(PathError::NotAbsolute)),
        (b"http://a/", Err(PathError::NotAbsolute)),
        (b"*", Err(PathError::NotAbsolute)),
    ];
    for (path, expected) in cases {
        assert_eq!(map(path), expected.map(str::to_owned), "{}", path.escape_ascii());
    }
}

#[test]
fn a_path_shows_folders_and_hidden_files() {
    let is_directory = |path: &[u8]| RelativePath::new(path).unwrap().is_directory();
    assert!(is_directory(b"/") && is_directory(b"/a/") && is_directory(b"/a/.") && is_directory(b"/a//"));
    assert!(!is_directory(b"/a") && !is_directory(b"/a/b"));
    let is_hidden = |path: &[u8]| RelativePath::new(path).unwrap().is_hidden();
    assert!(is_hidden(b"/.git/config") && is_hidden(b"/a/.env") && is_hidden(b"/%2egit"));
    assert!(!is_hidden(b"/") && !is_hidden(b"/a.b/c") && !is_hidden(b"/./a"));
    assert!(
        !is_hidden(b"/.well-known/security.txt") && !is_hidden(b"/.well-known/") && !is_hidden(b"/%2ewell-known/a")
    );
    assert!(is_hidden(b"/a/.well-known/b") && is_hidden(b"/.well-known/.git/config") && is_hidden(b"/.well-known2/a"));
    assert!(is_hidden(b"/.well-known/.well-known/a") && is_hidden(b"/.Well-Known/a"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn a_mapped_path_has_only_names(path in "/?([./%\\\\a\u{0}]|%2e|%2f|%5c|%25|%00|\\.\\.|é){0,12}") {
        if let Ok(mapped) = RelativePath::new(path.as_bytes()) {
            let text = String::from_utf8_lossy(mapped.as_bytes()).into_owned();
            prop_assert!(!text.starts_with('/') && !text.ends_with('/') && !text.contains("//"));
            prop_assert!(!text.contains(['\0', '\\']));
            prop_assert!(Path::new(&text).components().all(|c| matches!(c, Component::Normal(_))), "{}", text);
            prop_assert!(text.split('/').all(|name| name != "." && name != ".."));
        }
    }

    #[test]
    fn any_bytes_are_handled_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..30), len: u64, modified: i64) {
        let _ = RelativePath::new(&bytes);
        if let Selection::Part { first, last } = select(&bytes, len) {
            prop_assert!(first <= last && last < len);
        }
        if_range(&bytes, b"\"x\"", Some(modified));
        let _ = accepted(&bytes).count();
        let conditions = Conditions { if_match: Some(&bytes), if_none_match: Some(&bytes), ..Conditions::default() };
        conditions.evaluate(true, b"\"x\"", Some(modified));
    }

    #[test]
    fn a_selected_part_lies_within_the_file(first in 0u64..20, last in 0u64..20, suffix in 0u64..20, len in 0u64..20) {
        for value in [format!("bytes={first}-{last}"), format!("bytes={first}-"), format!("bytes=-{suffix}")] {
            if let Selection::Part { first, last } = select(value.as_bytes(), len) {
                prop_assert!(first <= last && last < len);
            }
        }
    }
}
