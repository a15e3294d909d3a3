//! Response heads: framing, persistence, and that no header can end the head or begin another header.

use kqnet_http1::response::{
    Beginning, Body, Delivery, Exchange, HeadError, HeadWriter, Plan, plan, reason, write_failure,
};
use kqnet_http1::{Reject, Version, date};
use proptest::prelude::*;

const V10: Version = Version::Http10;
const V11: Version = Version::Http11;
/// `Sun, 06 Nov 1994 08:49:37 GMT`
const THEN: i64 = 784_111_777;

fn exchange(method: &str, version: Version, keep_alive: bool) -> Exchange {
    Exchange::new(method.as_bytes(), version, keep_alive)
}

/// Writes a head and returns it as text, with `|` for its line ends, and whether the connection is kept.
fn head(exchange: Exchange, status: u16, headers: &[(&str, &str)], body: Body) -> (String, bool) {
    let mut out = b"before".to_vec();
    let mut writer = HeadWriter::new(&mut out, status).unwrap();
    for (name, value) in headers {
        writer.header(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let keep = writer.finish(&exchange, &plan(&exchange, status, body), None);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_prefix("before").unwrap().strip_suffix("\r\n\r\n").unwrap();
    (text.replace("\r\n", "|"), keep)
}

#[test]
fn the_framing_follows_method_status_version_and_body() {
    let planned = |content_length, delivery| Plan { content_length, delivery };
    #[rustfmt::skip]
    let cases = [
        ("GET", V11, 200, Body::Known(5), planned(Some(5), Delivery::Plain)),
        ("GET", V11, 200, Body::Known(0), planned(Some(0), Delivery::Plain)),
        ("HEAD", V11, 200, Body::Known(0), planned(Some(0), Delivery::None)),
        ("GET", V11, 200, Body::Streamed, planned(None, Delivery::Chunked)),
        ("GET", V10, 200, Body::Known(5), planned(Some(5), Delivery::Plain)),
        ("GET", V10, 200, Body::Streamed, planned(None, Delivery::UntilClose)),
        ("HEAD", V11, 200, Body::Known(5), planned(Some(5), Delivery::None)),
        ("HEAD", V11, 200, Body::Streamed, planned(None, Delivery::None)),
        ("HEAD", V10, 200, Body::Streamed, planned(None, Delivery::None)),
        ("head", V11, 200, Body::Known(5), planned(Some(5), Delivery::Plain)),
        ("GET", V11, 100, Body::Known(5), planned(None, Delivery::None)),
        ("GET", V11, 101, Body::Streamed, planned(None, Delivery::None)),
        ("GET", V11, 204, Body::Known(5), planned(None, Delivery::None)),
        ("GET", V11, 204, Body::Streamed, planned(None, Delivery::None)),
        ("GET", V11, 205, Body::Known(5), planned(Some(0), Delivery::None)),
        ("GET", V11, 205, Body::Streamed, planned(Some(0), Delivery::None)),
        ("GET", V11, 304, Body::Known(5), planned(None, Delivery::None)),
        ("HEAD", V11, 304, Body::Known(5), planned(None, Delivery::None)),
        ("GET", V11, 404, Body::Known(5), planned(Some(5), Delivery::Plain)),
        ("CONNECT", V11, 200, Body::Known(5), planned(None, Delivery::None)),
        ("CONNECT", V11, 299, Body::Streamed, planned(None, Delivery::None)),
        ("CONNECT", V11, 404, Body::Known(5), planned(Some(5), Delivery::Plain)),
    ];
    for (method, version, status, body, expected) in cases {
        let got = plan(&exchange(method, version, true), status, body);
        assert_eq!(got, expected, "{method} {version:?} {status} {body:?}");
    }
}

#[test]
fn a_head_says_what_frames_its_body() {
    let get = exchange("GET", V11, true);
    let text = |exchange, status, body| head(exchange, status, &[("X", "y")], body).0;
    assert_eq!(text(get, 200, Body::Known(5)), "HTTP/1.1 200 OK|X: y|Content-Length: 5");
    assert_eq!(text(get, 200, Body::Known(0)), "HTTP/1.1 200 OK|X: y|Content-Length: 0");
    assert_eq!(text(get, 200, Body::Streamed), "HTTP/1.1 200 OK|X: y|Transfer-Encoding: chunked");
    assert_eq!(text(get, 204, Body::Known(5)), "HTTP/1.1 204 No Content|X: y");
    assert_eq!(text(get, 103, Body::Known(0)), "HTTP/1.1 103 Early Hints|X: y");
    let get_10 = exchange("GET", V10, true);
    assert_eq!(text(get_10, 200, Body::Streamed), "HTTP/1.1 200 OK|X: y|Connection: close");
}

#[test]
fn the_connection_is_kept_if_client_server_and_handler_agree() {
    let case = |exchange, headers: &[(&str, &str)], body| head(exchange, 200, headers, body);
    let kept = |text: &str| (text.to_owned(), true);
    let closed = |text: &str| (text.to_owned(), false);
    let (get, get_10) = (exchange("GET", V11, true), exchange("GET", V10, true));
    assert_eq!(case(get, &[], Body::Known(1)), kept("HTTP/1.1 200 OK|Content-Length: 1"));
    assert_eq!(case(get.closing(), &[], Body::Known(1)), closed("HTTP/1.1 200 OK|Content-Length: 1|Connection: close"));
    assert_eq!(case(get_10, &[], Body::Known(1)), kept("HTTP/1.1 200 OK|Content-Length: 1|Connection: keep-alive"));
    assert_eq!(case(get_10, &[], Body::Streamed), closed("HTTP/1.1 200 OK|Connection: close"));
    let asked = case(get, &[("connection", "Close")], Body::Known(1));
    assert_eq!(asked, closed("HTTP/1.1 200 OK|Content-Length: 1|Connection: close"));
    let insisted = case(get.closing(), &[("Connection", "keep-alive")], Body::Known(1));
    assert_eq!(insisted, closed("HTTP/1.1 200 OK|Content-Length: 1|Connection: close"));
    let other = case(get, &[("Connection", "upgrade, close"), ("Upgrade", "h2c")], Body::Known(1));
    assert_eq!(other, closed("HTTP/1.1 200 OK|Upgrade: h2c|Content-Length: 1|Connection: upgrade, close"));
    // There is one line, however many headers the handler has and however it spells them.
    let several = [("Connection", "foo,, Close , bar"), ("connection", "keep-alive, baz")];
    assert_eq!(
        case(get, &several, Body::Known(1)),
        closed("HTTP/1.1 200 OK|Content-Length: 1|Connection: foo, bar, baz, close")
    );
    assert_eq!(
        case(get_10, &[("Connection", "foo")], Body::Known(1)),
        kept("HTTP/1.1 200 OK|Content-Length: 1|Connection: foo, keep-alive")
    );
    assert_eq!(
        case(get, &[("Connection", "foo")], Body::Known(1)),
        kept("HTTP/1.1 200 OK|Content-Length: 1|Connection: foo")
    );
}

#[test]
fn a_switch_of_protocols_keeps_its_headers() {
    let headers = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let (text, _) = head(exchange("GET", V11, true), 101, &headers, Body::Known(0));
    assert_eq!(text, "HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: Upgrade");
}

#[test]
fn framing_headers_of_a_handler_are_not_sent() {
    let headers = [("content-length", "7"), ("Transfer-Encoding", "gzip"), ("X", "y")];
    let (text, _) = head(exchange("GET", V11, true), 200, &headers, Body::Known(5));
    assert_eq!(text, "HTTP/1.1 200 OK|X: y|Content-Length: 5");
    let (text, _) = head(exchange("GET", V11, true), 200, &headers, Body::Streamed);
    assert_eq!(text, "HTTP/1.1 200 OK|X: y|Transfer-Encoding: chunked");
    let (text, _) = head(exchange("GET", V11, true), 204, &headers, Body::Known(0));
    assert_eq!(text, "HTTP/1.1 204 No Content|X: y");
    let (text, _) = head(exchange("GET", V11, true), 103, &headers, Body::Known(0));
    assert_eq!(text, "HTTP/1.1 103 Early Hints|X: y");
}

#[test]
fn a_length_that_a_handler_declares_is_sent_if_there_is_no_body_to_count() {
    let declared = [("Content-Length", "7")];
    assert_eq!(
        head(exchange("HEAD", V11, true), 200, &declared, Body::Streamed).0,
        "HTTP/1.1 200 OK|Content-Length: 7"
    );
    assert_eq!(
        head(exchange("GET", V11, true), 304, &declared, Body::Known(0)).0,
        "HTTP/1.1 304 Not Modified|Content-Length: 7"
    );
    let malformed = [("Content-Length", "+7")];
    assert_eq!(head(exchange("HEAD", V11, true), 200, &malformed, Body::Streamed).0, "HTTP/1.1 200 OK");
    let to_head = |status, body| head(exchange("HEAD", V11, true), status, &declared, body).0;
    assert_eq!(to_head(200, Body::Known(0)), "HTTP/1.1 200 OK|Content-Length: 7");
    assert_eq!(to_head(200, Body::Known(5)), "HTTP/1.1 200 OK|Content-Length: 5");
    assert_eq!(to_head(204, Body::Streamed), "HTTP/1.1 204 No Content");
    assert_eq!(to_head(205, Body::Streamed), "HTTP/1.1 205 Reset Content|Content-Length: 0");
}

#[test]
fn a_date_is_added_unless_the_handler_gave_one() {
    let write = |status, headers: &[(&str, &str)]| {
        let mut out = vec![];
        let exchange = exchange("GET", V11, true);
        let mut writer = HeadWriter::new(&mut out, status).unwrap();
        for (name, value) in headers {
            writer.header(name.as_bytes(), value.as_bytes()).unwrap();
        }
        writer.finish(&exchange, &plan(&exchange, status, Body::Known(0)), Some(THEN));
        String::from_utf8(out).unwrap()
    };
    assert!(write(200, &[]).ends_with("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"));
    let own = write(200, &[("date", "x")]);
    assert!(own.contains("date: x\r\n") && !own.contains("Date:"), "{own}");
    assert!(!write(103, &[]).contains("Date"));
}

#[test]
fn no_header_can_break_out_of_its_line() {
    let mut out = b"before".to_vec();
    let mut add = |name: &[u8], value: &[u8]| HeadWriter::new(&mut out, 200).unwrap().header(name, value);
    for value in [&b"a\r\nX: y"[..], b"a\n", b"\r", b"a\0b", b"\x0b", b"\x7f"] {
        assert_eq!(add(b"X", value), Err(HeadError::Value(b"X".to_vec())), "{}", value.escape_ascii());
    }
    for name in [&b""[..], b"a b", b"a:", b"a\r\nb", b"a\0", b"\xe9", b" a", b"a "] {
        assert_eq!(add(name, b"x"), Err(HeadError::Name(name.to_vec())), "{}", name.escape_ascii());
    }
    // A malformed header that would be dropped is an error too.
    assert!(add(b"Transfer-Encoding", b"a\r\nb").is_err());
    assert_eq!(add(b"x-y", b"caf\xe9\t a"), Ok(()));
    assert_eq!(out, b"before", "a head that is not finished leaves nothing behind");
    for status in [0, 99, 1000, u16::MAX] {
        assert_eq!(HeadWriter::new(&mut out, status).err(), Some(HeadError::Status(status)));
    }
    assert_eq!(out, b"before");
}

#[test]
fn errors_name_the_status_or_header() {
    assert_eq!(HeadError::Status(42).to_string(), "response status 42 is not between 100 and 999");
    assert_eq!(HeadError::Name(b"a b".to_vec()).to_string(), "header name \"a b\" is not a token");
    assert_eq!(HeadError::Value(b"X".to_vec()).to_string(), "value of header \"X\" has a control byte");
}

#[test]
fn a_status_without_a_reason_phrase_keeps_its_space() {
    assert_eq!(head(exchange("GET", V11, true), 299, &[], Body::Known(0)).0, "HTTP/1.1 299 |Content-Length: 0");
    assert_eq!(reason(413), "Payload Too Large");
    assert_eq!(reason(1), "");
}

#[test]
fn a_refusal_is_a_whole_response() {
    let mut out = vec![];
    let reject = Reject::HOST_MISSING;
    write_failure(&mut out, &Exchange::unread(), reject.status, reject.reason, None);
    let expected = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 15\r\n\
                    Connection: close\r\n\r\nno Host header\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_failure_response_to_head_has_no_body() {
    let mut out = vec![];
    write_failure(&mut out, &Exchange::new(b"HEAD", Version::Http11, true), 500, "failed", None);
    let expected = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\n\
                    Content-Length: 7\r\nConnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn dates_are_formatted_and_parsed() {
    assert_eq!(&date::format(THEN), b"Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(&date::format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(&date::format(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
    assert_eq!(&date::format(i64::MIN), b"Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(&date::format(i64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
        assert_eq!(date::parse(text.as_bytes()), Some(THEN), "{text}");
    }
    #[rustfmt::skip]
    let malformed = ["", "yesterday", "Mon, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994", "Thu, 01 Jan 1969 00:00:00 GMT", "784111777"];
    for text in malformed {
        assert_eq!(date::parse(text.as_bytes()), None, "{text}");
    }
    assert_eq!(date::parse(b"\xff"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_formatted_date_is_parsed_back(seconds in 0i64..253_402_300_800) {
        prop_assert_eq!(date::parse(&date::format(seconds)), Some(seconds));
    }

    #[test]
    fn the_date_parser_does_not_panic(
        text in "(Sun|Mon|Sunday|Wednesday)?,? ?[0-9]{0,2}[ -](Nov|Feb|Dec)?[ -][0-9]{0,4} [0-9:]{0,9}( GMT)?|\\PC{0,30}",
    ) {
        date::parse(text.as_bytes());
    }

    /// Copying the beginning of a head gives what writing it gives.
    #[test]
    fn a_head_that_begins_like_another_is_the_same(
        headers in prop::collection::vec(
            (
                prop::sample::select(vec!["a", "b", "Date", "dat", "Connection", "connectiox", "content-length",
                    "Content-Lengtx", "Transfer-Encoding", "transfer-encodinx"]),
                prop::sample::select(vec!["1", "close", "keep-alive, x", "", "chunked"]),
            ),
            0..4,
        ),
        status in prop::sample::select(vec![100, 200, 204, 205, 304, 404, 999]),
        method in prop::sample::select(vec!["GET", "HEAD"]),
        version in prop::sample::select(vec![V10, V11]),
        keep_alive: bool,
        body in prop::sample::select(vec![Body::Streamed, Body::Known(0), Body::Known(123)]),
    ) {
        let exchange = exchange(method, version, keep_alive);
        let plan = plan(&exchange, status, body);
        let (mut written, mut copied) = (b"before".to_vec(), b"other".to_vec());
        let mut writer = HeadWriter::new(&mut written, status).unwrap();
        for (name, value) in &headers {
            writer.header(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let beginning = writer.beginning().map(|beginning| (beginning.bytes.to_vec(), beginning.declared_length));
        let is_plain = |(name, _): &(&str, &str)| *name == "content-length" || name.len() == 1 || name.ends_with(['x', 't']);
        prop_assert_eq!(beginning.is_some(), headers.iter().all(is_plain));
        let keeps = writer.finish(&exchange, &plan, Some(THEN));
        if let Some((bytes, declared_length)) = beginning {
            let writer =
                HeadWriter::with_beginning(&mut copied, status, Beginning { bytes: &bytes, declared_length });
            prop_assert_eq!(writer.declared_length(), declared_length);
            prop_assert_eq!(writer.finish(&exchange, &plan, Some(THEN)), keeps);
            prop_assert_eq!(&written[6..], &copied[5..]);
        }
    }

    /// A client that splits the head at line ends finds exactly the headers that were accepted.
    #[test]
    fn headers_are_written_unchanged(
        headers in prop::collection::vec(("[a-zA-Z!#0-9 :\r\n\u{0}]{0,6}", "[a-z \t\r\n\u{0}:]{0,6}"), 0..6),
    ) {
        let mut out = vec![];
        let mut writer = HeadWriter::new(&mut out, 200).unwrap();
        let mut expected = vec!["HTTP/1.1 200 OK".to_owned()];
        for (name, value) in &headers {
            if writer.header(name.as_bytes(), value.as_bytes()).is_ok() {
                expected.push(format!("{name}: {value}"));
            }
        }
        let exchange = exchange("GET", V11, true);
        writer.finish(&exchange, &plan(&exchange, 200, Body::Known(1)), None);
        expected.extend(["Content-Length: 1".to_owned(), String::new(), String::new()]);
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.split("\r\n").collect::<Vec<_>>(), expected);
        prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']));
    }
}
