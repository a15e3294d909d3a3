//! Bodies with parts: which are accepted, which are refused and why, and that it makes no difference how their bytes arrive.

mod reference;

use kqnet_multipart::{Form, MAX_HEADERS, Reject, form};
use proptest::prelude::*;
use reference::{compare, in_pieces};

/// The names and data of the parts of a body with the boundary `b`, whatever its pieces are.
fn read(body: &[u8]) -> (Vec<(String, String)>, Result<(), Reject>) {
    let every_byte: Vec<usize> = (0..body.len()).collect();
    for cut in 0..=body.len() {
        let _ = compare(body, b"b", 200, &[cut], usize::MAX);
    }
    let (parts, end) = compare(body, b"b", 200, &every_byte, 1);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (parts.iter().filter(|part| part.is_complete).map(|part| (text(&part.name), text(&part.data))).collect(), end)
}

const A: &str = "Content-Disposition: form-data; name=a\r\n\r\n";
const F: &str = "Content-Type: text/plain\r\nContent-Disposition: form-data; filename=x; name=f\r\n\r\n";

#[test]
fn the_data_of_a_part_is_what_is_between_the_delimiters() {
    for (what, body, parts) in [
        ("no part", "--b--\r\n".to_owned(), &[][..]),
        ("one part", format!("--b\r\n{A}1\r\n--b--\r\n"), &[("a", "1")]),
        ("two parts", format!("--b\r\n{A}1\r\n--b\r\n{F}2\r\n--b--\r\n"), &[("a", "1"), ("f", "2")]),
        ("no CRLF at the end", format!("--b\r\n{A}1\r\n--b--"), &[("a", "1")]),
        ("only a CR at the end", format!("--b\r\n{A}1\r\n--b--\r"), &[("a", "1")]),
        ("a preamble and an epilogue", format!("p\r\n--b\r\n{A}1\r\n--b--\r\ne\r\n--b\r\n"), &[("a", "1")]),
        ("an empty line first", format!("\r\n--b\r\n{A}1\r\n--b--\r\n"), &[("a", "1")]),
        ("a preamble like a boundary", format!("--\r\n--b\r\n{A}1\r\n--b--"), &[("a", "1")]),
        ("spaces after the boundaries", format!("--b \t\r\n{A}1\r\n--b-- \t\r\n"), &[("a", "1")]),
        ("empty data", format!("--b\r\n{A}\r\n--b--"), &[("a", "")]),
        ("no data", format!("--b\r\n{A}--b--"), &[("a", "")]),
        ("no data, and another part", format!("--b\r\n{A}--b\r\n{A}2\r\n--b--"), &[("a", ""), ("a", "2")]),
        ("line ends in the data", format!("--b\r\n{A}\r\n1\r\n\r\n\r\n--b--"), &[("a", "\r\n1\r\n\r\n")]),
        ("a bare LF before a boundary", format!("--b\r\n{A}1\n--b\r\n--b--"), &[("a", "1\n--b")]),
        ("a bare CR before a boundary", format!("--b\r\n{A}1\r--b\r\r\n--b--"), &[("a", "1\r--b\r")]),
        ("a boundary within a line", format!("--b\r\n{A}x--b--\r\n--b--"), &[("a", "x--b--")]),
        ("half a boundary", format!("--b\r\n{A}\r\n-\r\n--\r\n--B\r\n--b--"), &[("a", "\r\n-\r\n--\r\n--B")]),
    ] {
        let expected: Vec<(String, String)> = parts.iter().map(|&(n, d)| (n.to_owned(), d.to_owned())).collect();
        assert_eq!(read(body.as_bytes()), (expected, Ok(())), "{what}");
    }
}

#[test]
fn a_malformed_body_is_refused() {
    let many: String = (0..=MAX_HEADERS).map(|_| "X:\r\n").collect();
    let long = "x".repeat(200);
    for (what, body, reject) in [
        ("an empty body", String::new(), Reject::TRUNCATED),
        ("no boundary", "hello".into(), Reject::TRUNCATED),
        ("another boundary", format!("--c\r\n{A}1\r\n--c--\r\n"), Reject::TRUNCATED),
        ("no last boundary", format!("--b\r\n{A}1\r\n"), Reject::TRUNCATED),
        ("half a last boundary", format!("--b\r\n{A}1\r\n--b-"), Reject::TRUNCATED),
        ("a head without an end", format!("--b\r\n{}", &A[..20]), Reject::TRUNCATED),
        ("a preamble without a line end", format!("p--b\r\n{A}1\r\n--b--"), Reject::PREAMBLE),
        ("a bare LF first", format!("\n--b\r\n{A}1\r\n--b--"), Reject::PREAMBLE),
        ("a long preamble", format!("{long}\r\n--b\r\n{A}1\r\n--b--"), Reject::PREAMBLE),
        ("a preamble without an end", long.clone(), Reject::PREAMBLE),
        ("bare LFs", format!("--b\n{}1\n--b--\n", A.replace('\r', "")), Reject::DELIMITER),
        ("more after a boundary", format!("--bx\r\n{A}1\r\n--b--"), Reject::DELIMITER),
        ("one hyphen after a boundary", format!("--b-\r\n{A}1\r\n--b--"), Reject::DELIMITER),
        ("more after the last boundary", format!("--b\r\n{A}1\r\n--b--x"), Reject::DELIMITER),
        ("a longer boundary in the data", format!("--b\r\n{A}1\r\n--bx\r\n--b--"), Reject::DELIMITER),
        ("no headers", "--b\r\n\r\n1\r\n--b--".into(), Reject::NO_DISPOSITION),
        ("no disposition", "--b\r\nX: y\r\n\r\n1\r\n--b--".into(), Reject::NO_DISPOSITION),
        ("no name", "--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--".into(), Reject::NO_NAME),
        ("an attachment", "--b\r\nContent-Disposition: attachment\r\n\r\n\r\n--b--".into(), Reject::DISPOSITION),
        (
            "two dispositions",
            format!("--b\r\nContent-disposition: form-data; name=x\r\n{A}\r\n--b--"),
            Reject::HEADER_REPEATED,
        ),
        ("a folded header", format!("--b\r\nX: y\r\n z\r\n{A}\r\n--b--"), Reject::HEADER),
        ("a space before the colon", format!("--b\r\nX : y\r\n{A}\r\n--b--"), Reject::HEADER),
        ("a NUL", format!("--b\r\nX: \0\r\n{A}\r\n--b--"), Reject::HEADER),
        ("a bare LF in a header", format!("--b\r\nX: a\nY: b\r\n{A}\r\n--b--"), Reject::HEADER),
        ("a header that is too long", format!("--b\r\nX: {long}\r\n{A}\r\n--b--"), Reject::HEAD_TOO_LARGE),
        ("a header without an end", format!("--b\r\nX: {long}"), Reject::HEAD_TOO_LARGE),
        ("too many headers", format!("--b\r\n{many}{A}\r\n--b--"), Reject::TOO_MANY_HEADERS),
        ("base64", format!("--b\r\nContent-Transfer-Encoding: base64\r\n{A}\r\n--b--"), Reject::ENCODED),
        (
            "parts within a part",
            format!("--b\r\nContent-Type: Multipart/mixed; boundary=c\r\n{A}\r\n--b--"),
            Reject::NESTED,
        ),
    ] {
        assert_eq!(read(body.as_bytes()).1, Err(reject), "{what}");
    }
}

#[test]
fn a_file_of_any_type_and_parts_with_harmless_encodings_are_accepted() {
    let body =
        format!("--b\r\nContent-Transfer-Encoding: 8BIT\r\nContent-Type: multipart/related\r\n{}\r\n--b--", &F[26..]);
    assert_eq!(read(body.as_bytes()), (vec![("f".into(), String::new())], Ok(())));
}

#[test]
fn the_type_of_a_body_says_whether_it_is_a_form() {
    let boundary = |text: &str| match form(text.as_bytes()) {
        Ok(Some(Form::Multipart(boundary))) => Ok(String::from_utf8_lossy(boundary.as_bytes()).into_owned()),
        Ok(Some(Form::Urlencoded)) => Ok("urlencoded".into()),
        Ok(None) => Ok("other".into()),
        Err(reject) => Err(reject),
    };
    let most = "x".repeat(70);
    for (text, expected) in [
        ("application/x-www-form-urlencoded", Ok("urlencoded")),
        ("Application/X-WWW-Form-Urlencoded ; charset=UTF-8", Ok("urlencoded")),
        ("application/json", Ok("other")),
        ("multipart/mixed; boundary=b", Ok("other")),
        ("multipart/form-data; boundary=b", Ok("b")),
        ("Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b:c\"", Ok("a b:c")),
        ("multipart/form-data; boundary=-=_a/b:c?", Ok("-=_a/b:c?")),
        (&format!("multipart/form-data; boundary={most}"), Ok(most.as_str())),
        ("", Err(Reject::CONTENT_TYPE)),
        ("form", Err(Reject::CONTENT_TYPE)),
        ("multipart/form-data", Err(Reject::NO_BOUNDARY)),
        ("multipart/form-data; charset=utf-8", Err(Reject::NO_BOUNDARY)),
        ("multipart/form-data; boundary=", Err(Reject::CONTENT_TYPE)),
        ("multipart/form-data; boundary=\"\"", Err(Reject::BOUNDARY)),
        ("multipart/form-data; boundary=\"a ", Err(Reject::CONTENT_TYPE)),
        ("multipart/form-data; boundary=\"a \"", Err(Reject::BOUNDARY)),
        ("multipart/form-data; boundary=\"é\"", Err(Reject::BOUNDARY)),
        ("multipart/form-data; boundary=a; boundary=b", Err(Reject::BOUNDARY_REPEATED)),
        ("multipart/form-data boundary=a", Err(Reject::CONTENT_TYPE)),
        (&format!("multipart/form-data; boundary={most}x"), Err(Reject::BOUNDARY)),
    ] {
        assert_eq!(boundary(text), expected.map(str::to_owned), "{text}");
    }
}

proptest! {
    #[test]
    fn any_data_without_the_delimiter_is_read_back(
        data in proptest::collection::vec(any::<u8>(), 0..300),
        boundary in "[0-9a-zA-Z'()+_,./:=?-]{1,70}",
        cuts in proptest::collection::vec(0..500usize, 0..5),
        room in 1..100usize,
    ) {
        let delimiter = format!("\r\n--{boundary}");
        prop_assume!(!["\r\n".as_bytes(), &data].concat().windows(delimiter.len()).any(|w| w == delimiter.as_bytes()));
        let body = [format!("--{boundary}\r\n{A}").as_bytes(), &data, delimiter.as_bytes(), b"--\r\n"].concat();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= body.len()).collect();
        cuts.sort_unstable();
        let (parts, end) = in_pieces(&body, boundary.as_bytes(), 200, &cuts, room);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(parts.len(), 1);
        prop_assert_eq!(&parts[0].data, &data);
    }

    #[test]
    fn any_bytes_give_the_result_of_the_reference(
        body in proptest::collection::vec(proptest::sample::select(b"\r\n-b: x".to_vec()), 0..60),
        cut in 0..60usize,
    ) {
        let body = [b"--b\r\n".as_slice(), &body].concat();
        let _ = compare(&body, b"b", 30, &[cut.min(body.len())], 3);
    }
}
