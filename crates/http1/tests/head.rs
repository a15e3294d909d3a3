//! Request heads: which are accepted and how they are read, which are refused and why, and that it makes no difference
//! how their bytes arrive.

use kqnet_http1::{Framing, Head, HeadLimits, HeadParser, KnownHeaders, MAX_METHOD, Parse, Reject, Version};

/// Describes a head in one line: `METHOD target version body`, then the rest of what it says.
fn describe(head: &Head) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let version = if head.version == Version::Http11 { "1.1" } else { "1.0" };
    let body = match head.framing {
        Framing::None => "none".to_owned(),
        Framing::Length(length) => length.to_string(),
        Framing::Chunked => "chunked".to_owned(),
    };
    let mut line = format!("{} {} {version} {body}", text(head.method), text(head.raw_target));
    line += if head.keep_alive { " keep" } else { " close" };
    if head.expect_continue {
        line += " continue";
    }
    line
}

fn parse<'b>(bytes: &'b [u8], limits: &HeadLimits) -> Result<Parse<Head<'b>>, Reject> {
    HeadParser::new(*limits).parse(bytes)
}

fn complete(bytes: &[u8]) -> Head<'_> {
    match parse(bytes, &HeadLimits::default()) {
        Ok(Parse::Complete(head)) => head,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// Parses `bytes`, and returns the description of the head and its length.
fn described(parser: &mut HeadParser, bytes: &[u8]) -> Result<Parse<(String, usize)>, Reject> {
    Ok(match parser.parse(bytes)? {
        Parse::Partial => Parse::Partial,
        Parse::Complete(head) => Parse::Complete((describe(&head), head.len)),
    })
}

/// Checks that `bytes` give the same result in two pieces, wherever they are cut, and byte by byte.
fn check_splits(name: &str, bytes: &[u8], limits: HeadLimits) {
    let whole = described(&mut HeadParser::new(limits), bytes);
    for cut in 0..bytes.len() {
        let mut parser = HeadParser::new(limits);
        let first = described(&mut parser, &bytes[..cut]);
        assert!(first == Ok(Parse::Partial) || first == whole, "{name}, cut at {cut}: {first:?}, then {whole:?}");
        assert_eq!(described(&mut parser, bytes), whole, "{name}, cut at {cut}");
        assert_eq!(described(&mut parser, bytes), whole, "{name}, asked again");
    }
    let mut parser = HeadParser::new(limits);
    let last = (0..=bytes.len()).map(|end| described(&mut parser, &bytes[..end])).find(|d| *d != Ok(Parse::Partial));
    assert_eq!(last.unwrap_or(Ok(Parse::Partial)), whole, "{name}, byte by byte");
}

#[rustfmt::skip]
const ACCEPTED: &[(&str, &[u8], &str)] = &[
    ("the shortest request", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / 1.1 none keep"),
    ("the shortest 1.0 request", b"GET / HTTP/1.0\r\n\r\n", "GET / 1.0 none close"),
    ("an ordinary request", b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n", "GET /a/b?c=d 1.1 none keep"),
    ("a later minor version counts as 1.1", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / 1.1 none keep"),
    ("the last minor version", b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET / 1.1 none keep"),
    ("one empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 1.1 none keep"),
    ("four empty lines first", b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 1.1 none keep"),
    ("an unknown method", b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "BREW /pot 1.1 none keep"),
    ("a method in lower case is another method", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "get / 1.1 none keep"),
    ("a method with every kind of token byte", b"M-SEARCH!#$%&'*+.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH!#$%&\\'*+.^_`|~9 / 1.1 none keep"),
    ("a method of 32 bytes", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: a\r\n\r\n", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / 1.1 none keep"),
    ("a target with what browsers leave unencoded", b"GET /a|b?x={\"y\":[1]}^`<>\\ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a|b?x={\\\"y\\\":[1]}^`<>\\\\ 1.1 none keep"),
    ("a target beyond ASCII", b"GET /caf\xc3\xa9?\xff\x80 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /caf\\xc3\\xa9?\\xff\\x80 1.1 none keep"),
    ("a target with a bad percent escape", b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz 1.1 none keep"),
    ("a target that begins with two slashes", b"GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a/b 1.1 none keep"),
    ("an absolute target", b"GET http://example.com/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://example.com/x 1.1 none keep"),
    ("an absolute target in capitals", b"GET HTTPS://EXAMPLE.COM HTTP/1.1\r\nHost: a\r\n\r\n", "GET HTTPS://EXAMPLE.COM 1.1 none keep"),
    ("an absolute target with an IPv6 host", b"GET http://[::1]:80/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://[::1]:80/ 1.1 none keep"),
    ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", "CONNECT example.com:443 1.1 none keep"),
    ("OPTIONS of the server", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * 1.1 none keep"),
    ("OPTIONS of a path", b"OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS /x 1.1 none keep"),
    ("Host with a port", b"GET / HTTP/1.1\r\nHost: a.b:8080\r\n\r\n", "GET / 1.1 none keep"),
    ("Host with an empty port", b"GET / HTTP/1.1\r\nHost: a.b:\r\n\r\n", "GET / 1.1 none keep"),
    ("Host with an IPv6 address", b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", "GET / 1.1 none keep"),
    ("Host with an underscore and an escape", b"GET / HTTP/1.1\r\nHost: my_app%2e.local\r\n\r\n", "GET / 1.1 none keep"),
    ("obs-text in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xe9 \xff\x80\r\n\r\n", "GET / 1.1 none keep"),
    ("a tab in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\r\n\r\n", "GET / 1.1 none keep"),
    ("a value of spaces", b"GET / HTTP/1.1\r\nHost: a\r\nX: \t \r\n\r\n", "GET / 1.1 none keep"),
    ("no space after the colon", b"GET / HTTP/1.1\r\nHost:a\r\nX:y\r\n\r\n", "GET / 1.1 none keep"),
    ("a value with colons", b"GET / HTTP/1.1\r\nHost: a\r\nX: :::\r\n\r\n", "GET / 1.1 none keep"),
    ("a length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / 1.1 5 keep"),
    ("a length of zero", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST / 1.1 0 keep"),
    ("a length with leading zeros", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n", "POST / 1.1 7 keep"),
    ("the largest length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", "POST / 1.1 18446744073709551615 keep"),
    ("a length in any case", b"POST / HTTP/1.1\r\nHost: a\r\ncONTENT-lENGTH: 5\r\n\r\n", "POST / 1.1 5 keep"),
    ("a body on GET", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "GET / 1.1 5 keep"),
    ("a length in 1.0", b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", "POST / 1.0 5 close"),
    ("chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / 1.1 chunked keep"),
    ("chunked in capitals, with spaces", b"POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: \t CHUNKED \t\r\n\r\n", "POST / 1.1 chunked keep"),
    ("close", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / 1.1 none close"),
    ("close in capitals", b"GET / HTTP/1.1\r\nHost: a\r\nCONNECTION: CLOSE\r\n\r\n", "GET / 1.1 none close"),
    ("close in a list", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo , close,bar\r\n\r\n", "GET / 1.1 none close"),
    ("close wins over keep-alive", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, keep-alive\r\n\r\n", "GET / 1.1 none close"),
    ("close in another header line", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", "GET / 1.1 none close"),
    ("close within a longer word", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed, not-close\r\n\r\n", "GET / 1.1 none keep"),
    ("keep-alive in 1.0", b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET / 1.0 none keep"),
    ("keep-alive and close in 1.0", b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET / 1.0 none close"),
    ("an empty Connection", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: ,,\r\n\r\n", "GET / 1.1 none keep"),
    ("100-continue", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "PUT / 1.1 5 keep continue"),
    ("100-Continue before a chunked body", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n", "PUT / 1.1 chunked keep continue"),
    ("100-continue without a body", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", "GET / 1.1 none keep"),
    ("100-continue with an empty body", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n", "PUT / 1.1 0 keep"),
    ("100-continue in 1.0", b"PUT / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "PUT / 1.0 5 close"),
    ("100-continue twice", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue,\r\nExpect: 100-continue\r\n\r\n", "PUT / 1.1 5 keep continue"),
    ("an empty Expect", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect:\r\n\r\n", "PUT / 1.1 5 keep"),
    ("a websocket", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / 1.1 none keep"),
    ("Upgrade without Connection", b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", "GET / 1.1 none keep"),
    ("Connection: upgrade without Upgrade", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", "GET / 1.1 none keep"),
    ("Upgrade in 1.0", b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / 1.0 none close"),
    ("a pipelined request after it", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", "GET / 1.1 none keep"),
    ("nonsense after it", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\n\0\xff", "GET / 1.1 none keep"),
    ("headers whose names are nearly those that matter", b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nTransfer.Encoding: chunked\r\nXost: b\r\n\r\n", "GET / 1.1 none keep"),
];

#[rustfmt::skip]
const REFUSED: &[(&str, &[u8], Reject)] = &[
    ("five empty lines first", b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::EMPTY_LINES),
    ("an empty line of a bare LF", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::BARE_LF),
    ("a bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", Reject::BARE_LF),
    ("a bare LF after a header", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Reject::BARE_LF),
    ("a bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", Reject::BARE_LF),
    ("LF within a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\n", Reject::BARE_LF),
    ("only a method and a bare LF", b"GET\n", Reject::BARE_LF),
    ("a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Reject::METHOD),
    ("a space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::METHOD),
    ("a tab instead of the space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Reject::METHOD),
    ("a method that is not a token", b"GE@T / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::METHOD),
    ("a header as the request line", b"Host: a\r\n\r\n", Reject::METHOD),
    ("a method with a NUL", b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::METHOD),
    ("a method beyond ASCII", b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::METHOD),
    ("a CR after a first empty line", b"\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::METHOD),
    ("a line with a method only", b"GET\r\n\r\n", Reject::METHOD),
    ("a method of 33 bytes", b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::METHOD_TOO_LONG),
    ("a request of HTTP/0.9", b"GET /\r\n\r\n", Reject::REQUEST_LINE),
    ("two spaces after the method", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("a space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Reject::VERSION),
    ("no version after the space", b"GET / \r\nHost: a\r\n\r\n", Reject::VERSION),
    ("a version in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("version 1.0 in lower case", b"GET / http/1.0\r\n\r\n", Reject::VERSION),
    ("another protocol", b"GET / HTTX/1.1\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("a minor version of two digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("a version without minor", b"GET / HTTP/1\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("a version with a comma", b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("a CR before the CRLF of the request line", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Reject::VERSION),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Reject::VERSION_UNSUPPORTED),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reject::VERSION_UNSUPPORTED),
    ("HTTP/0.9 with a version", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", Reject::VERSION_UNSUPPORTED),
    ("a target that is not a path", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a target that is a query only", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a target with a fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a host beyond ASCII in an absolute target", b"GET http://caf\xc3\xa9/ HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a target with a NUL", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a target with a tab", b"GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a target with a CR", b"GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a target with DEL", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("* for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("host and port for GET", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a path for CONNECT", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("no port for CONNECT", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("an empty port for CONNECT", b"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a port over 65535 for CONNECT", b"CONNECT a:65536 HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("an absolute target without a host", b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("an absolute target with a port only", b"GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("an absolute target with a user", b"GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("an absolute target of another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("an absolute target with one slash", b"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("an absolute target with a bad address", b"GET http://[::g]/ HTTP/1.1\r\nHost: a\r\n\r\n", Reject::TARGET),
    ("a space before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", Reject::HEADER_NAME),
    ("a tab before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\n", Reject::HEADER_NAME),
    ("an empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", Reject::HEADER_NAME),
    ("a line without a colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Reject::HEADER_NAME),
    ("a name with a space", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", Reject::HEADER_NAME),
    ("a name with parentheses", b"GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n", Reject::HEADER_NAME),
    ("a name with a NUL", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: z\r\n\r\n", Reject::HEADER_NAME),
    ("a name beyond ASCII", b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: z\r\n\r\n", Reject::HEADER_NAME),
    ("a folded header", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", Reject::HEADER_NAME),
    ("a header folded with a tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n", Reject::HEADER_NAME),
    ("a fold that hides a length", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 5\r\n\r\n", Reject::HEADER_NAME),
    ("a space before the first header", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Reject::HEADER_NAME),
    ("a line of spaces", b"GET / HTTP/1.1\r\nHost: a\r\n  \r\n\r\n", Reject::HEADER_NAME),
    ("a CR at the start of a line", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", Reject::HEADER_NAME),
    ("CR CR LF for an empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", Reject::HEADER_NAME),
    ("a CR within a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", Reject::HEADER_VALUE),
    ("a CR that hides a length", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\n", Reject::HEADER_VALUE),
    ("a CR at the end of a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", Reject::HEADER_VALUE),
    ("a CR before the value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\ry\r\n\r\n", Reject::HEADER_VALUE),
    ("a NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", Reject::HEADER_VALUE),
    ("a NUL before the value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", Reject::HEADER_VALUE),
    ("a control byte in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x0bz\r\n\r\n", Reject::HEADER_VALUE),
    ("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x7f\r\n\r\n", Reject::HEADER_VALUE),
    ("no Host in 1.1", b"GET / HTTP/1.1\r\n\r\n", Reject::HOST_MISSING),
    ("no Host with an absolute target", b"GET http://a/ HTTP/1.1\r\n\r\n", Reject::HOST_MISSING),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Reject::HOST_REPEATED),
    ("two equal Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Reject::HOST_REPEATED),
    ("two empty Hosts", b"GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n", Reject::HOST_REPEATED),
    ("two Hosts in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Reject::HOST_REPEATED),
    ("a list of Hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Reject::HOST),
    ("Host with a user", b"GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", Reject::HOST),
    ("Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Reject::HOST),
    ("Host with a port that is not a number", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Reject::HOST),
    ("Host with two ports", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", Reject::HOST),
    ("Host with a port only", b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", Reject::HOST),
    ("Host with an open bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Reject::HOST),
    ("Host with bytes after the bracket", b"GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", Reject::HOST),
    ("Host with a bad escape", b"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", Reject::HOST),
    ("Host beyond ASCII", b"GET / HTTP/1.1\r\nHost: caf\xe9\r\n\r\n", Reject::HOST),
    ("a malformed Host in 1.0", b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", Reject::HOST),
    ("an empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length with a plus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length of minus zero", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a hexadecimal length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length with a fraction", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length with a space", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 5\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length with an underscore", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length in quotes", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a list of equal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a list with one length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length just over 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", Reject::CONTENT_LENGTH),
    ("a length far over 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999999\r\n\r\n", Reject::CONTENT_LENGTH),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Reject::CONTENT_LENGTH_REPEATED),
    ("two equal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", Reject::CONTENT_LENGTH_REPEATED),
    ("length, then chunked", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Reject::LENGTH_AND_ENCODING),
    ("chunked, then length", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", Reject::LENGTH_AND_ENCODING),
    ("a length and an unknown coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\n\r\n", Reject::LENGTH_AND_ENCODING),
    ("a malformed length and chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n", Reject::LENGTH_AND_ENCODING),
    ("chunked in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Reject::TRANSFER_ENCODING_IN_1_0),
    ("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked twice, in two lines", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked, but not last", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("a coding without chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("identity before chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked, then identity in a second line", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("an empty coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("an empty element before chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("an empty element after chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked in quotes", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked with an extra letter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked after a space instead of a comma", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip chunked\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked with a byte beyond ASCII", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\xa0\r\n\r\n", Reject::TRANSFER_ENCODING),
    ("chunked with a control byte", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", Reject::HEADER_VALUE),
    ("gzip before chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Reject::TRANSFER_ENCODING_UNSUPPORTED),
    ("gzip before chunked, in two lines", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", Reject::TRANSFER_ENCODING_UNSUPPORTED),
    ("another expectation", b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", Reject::EXPECTATION),
    ("another expectation in a list", b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n", Reject::EXPECTATION),
    ("Host is checked before the expectation", b"PUT / HTTP/1.1\r\nExpect: x\r\n\r\n", Reject::HOST_MISSING),
    ("framing is checked before the expectation", b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: x\r\n\r\n", Reject::CONTENT_LENGTH),
];

#[test]
fn heads_are_accepted_and_read() {
    for (name, bytes, expected) in ACCEPTED {
        let head = complete(bytes);
        assert_eq!(describe(&head), *expected, "{name}");
        let skipped = bytes.iter().take_while(|b| b"\r\n".contains(b)).count();
        let end = bytes[skipped..].windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        assert_eq!(head.len, skipped + end + 4, "{name}");
    }
}

#[test]
fn heads_are_refused_with_the_reason() {
    for (name, bytes, expected) in REFUSED {
        assert_eq!(parse(bytes, &HeadLimits::default()).err(), Some(*expected), "{name}");
    }
}

#[test]
fn it_makes_no_difference_where_a_head_is_cut() {
    for (name, bytes, _) in ACCEPTED {
        check_splits(name, bytes, HeadLimits::default());
    }
    for (name, bytes, _) in REFUSED {
        check_splits(name, bytes, HeadLimits::default());
    }
    let tight = HeadLimits { max_head: 60, max_request_line: 20, max_headers: 2 };
    for (name, bytes, _) in ACCEPTED {
        check_splits(name, bytes, tight);
    }
    for (name, bytes, _) in REFUSED {
        check_splits(name, bytes, tight);
    }
}

#[test]
fn a_head_is_partial_until_its_last_byte() {
    for (name, bytes, _) in ACCEPTED {
        let len = complete(bytes).len;
        for end in 0..len {
            assert!(matches!(parse(&bytes[..end], &HeadLimits::default()), Ok(Parse::Partial)), "{name}, {end} bytes");
        }
        assert!(matches!(parse(&bytes[..len], &HeadLimits::default()), Ok(Parse::Complete(_))), "{name}");
    }
}

#[test]
fn headers_keep_order_case_and_repetition() {
    let head = complete(b"GET / HTTP/1.1\r\nHost: a\r\nX-Foo:  b c \t\r\nCOOKIE: 1\r\nx-foo:\r\ncookie: 2\r\n\r\n");
    let headers: Vec<_> = head.headers.iter().map(|h| (h.name, h.value)).collect();
    let expected: [(&str, &[u8]); 5] =
        [("Host", b"a"), ("X-Foo", b"b c"), ("COOKIE", b"1"), ("x-foo", b""), ("cookie", b"2")];
    assert_eq!(headers, expected);
    let mut lower = Vec::new();
    kqnet_http1::push_lower(head.headers[1].name, &mut lower);
    assert_eq!(lower, b"x-foo");
}

#[test]
fn the_host_in_a_target_is_found_whatever_the_header_says() {
    let host = |bytes: &'static [u8]| complete(bytes).target.authority();
    assert_eq!(host(b"GET http://b:1/ HTTP/1.1\r\nHost: a\r\n\r\n"), Some(&b"b:1"[..]));
    assert_eq!(host(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    assert_eq!(host(b"CONNECT c:443 HTTP/1.1\r\nHost: a\r\n\r\n"), Some(&b"c:443"[..]));
    assert_eq!(host(b"GET / HTTP/1.0\r\n\r\n"), None);
}

/// Makes a request whose head has exactly `len` bytes.
fn head_of(len: usize) -> Vec<u8> {
    let frame = b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(len - frame)).into_bytes()
}

#[test]
fn the_size_of_a_head_is_limited_to_the_byte() {
    let limits = HeadLimits::default();
    assert!(matches!(parse(&head_of(limits.max_head), &limits), Ok(Parse::Complete(_))));
    let over = head_of(limits.max_head + 1);
    assert_eq!(parse(&over, &limits).err(), Some(Reject::HEAD_TOO_LARGE));
    assert_eq!(parse(&over[..limits.max_head], &limits).err(), Some(Reject::HEAD_TOO_LARGE));
    assert!(matches!(parse(&over[..limits.max_head - 1], &limits), Ok(Parse::Partial)));
    // Body bytes in the same buffer do not count.
    let mut with_body = head_of(limits.max_head);
    with_body.extend_from_slice(&[b'z'; 100_000]);
    assert!(matches!(parse(&with_body, &limits), Ok(Parse::Complete(_))));
    // Bytes beyond the limit are not examined.
    let mut late = head_of(limits.max_head + 100);
    let at = limits.max_head + 10;
    late[at] = b'\n';
    assert_eq!(parse(&late, &limits).err(), Some(Reject::HEAD_TOO_LARGE));
}

#[test]
fn the_size_of_a_request_line_is_limited_to_the_byte() {
    let limits = HeadLimits::default();
    let line = |len: usize| format!("GET /{} HTTP/1.1", "a".repeat(len - "GET / HTTP/1.1".len()));
    let request = |len: usize| format!("{}\r\nHost: a\r\n\r\n", line(len)).into_bytes();
    assert!(matches!(parse(&request(limits.max_request_line), &limits), Ok(Parse::Complete(_))));
    let over = Some(Reject::REQUEST_LINE_TOO_LONG);
    assert_eq!(parse(&request(limits.max_request_line + 1), &limits).err(), over);
    // It is refused even without a line end.
    let endless = line(limits.max_request_line + 2).into_bytes();
    assert_eq!(parse(&endless, &limits).err(), over);
    assert!(matches!(parse(&endless[..limits.max_request_line + 1], &limits), Ok(Parse::Partial)));
    // A request line that exceeds the limit of the head is too long, whatever its own limit is.
    let narrow = HeadLimits { max_head: 100, ..limits };
    assert_eq!(parse(&endless[..100], &narrow).err(), over);
}

#[test]
fn the_number_of_headers_is_limited() {
    let request = |n: usize| {
        let more: String = (1..n).map(|i| format!("X-{i}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n").into_bytes()
    };
    let limits = HeadLimits::default();
    match parse(&request(100), &limits) {
        Ok(Parse::Complete(head)) => assert_eq!(head.headers.len(), 100),
        other => panic!("{other:?}"),
    }
    assert_eq!(parse(&request(101), &limits).err(), Some(Reject::TOO_MANY_HEADERS));
    // It is refused as soon as one header line too many is complete.
    let over = request(101);
    let unfinished = &over[..over.len() - 2];
    assert_eq!(parse(unfinished, &limits).err(), Some(Reject::TOO_MANY_HEADERS));
    let none = HeadLimits { max_headers: 0, ..limits };
    assert!(matches!(parse(b"GET / HTTP/1.0\r\n\r\n", &none), Ok(Parse::Complete(_))));
    assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &none).err(), Some(Reject::TOO_MANY_HEADERS));
}

#[test]
fn bytes_that_are_not_http_are_refused_without_a_line_end() {
    let limits = HeadLimits::default();
    assert_eq!(parse(b"\x16", &limits).err(), Some(Reject::METHOD));
    assert_eq!(parse(b"{\"json\"", &limits).err(), Some(Reject::METHOD));
    assert_eq!(parse(&[b'A'; MAX_METHOD + 1], &limits).err(), Some(Reject::METHOD_TOO_LONG));
    assert!(matches!(parse(&[b'A'; MAX_METHOD], &limits), Ok(Parse::Partial)));
}

#[test]
fn a_connection_is_idle_until_a_request_begins() {
    let mut parser = HeadParser::new(HeadLimits::default());
    for (bytes, has_begun) in
        [(&b""[..], false), (b"\r", false), (b"\r\n", false), (b"\r\n\r", false), (b"\r\n\r\nG", true)]
    {
        assert!(matches!(parser.parse(bytes), Ok(Parse::Partial)));
        assert_eq!(parser.has_begun(), has_begun, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_buffer_that_shrinks_is_parsed_from_the_start() {
    let mut parser = HeadParser::new(HeadLimits::default());
    assert!(matches!(parser.parse(b"GET /a HTTP/1.1\r\nHost: a\r\nX: y"), Ok(Parse::Partial)));
    match parser.parse(b"GET /b HTTP/1.0\r\n\r\n") {
        Ok(Parse::Complete(head)) => assert_eq!(head.raw_target, b"/b"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn known_header_lines_mean_the_same_as_before() {
    let mut known = KnownHeaders::default();
    let limits = HeadLimits::default();
    let lines = "Host: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let request = |line: &str, lines: &str| format!("{line}\r\n{lines}abc").into_bytes();
    let mut parse = |bytes: &[u8], limits: HeadLimits| {
        let result = HeadParser::new(limits).parse_known(bytes, &mut known);
        let Ok(Parse::Complete(head)) = result else { return Err(result.err().map(|reject| reject.status)) };
        known.remember(&head, |replaced| assert_eq!(replaced, None));
        Ok((head.is_known, head.framing, head.keep_alive, head.expect_continue, head.len))
    };
    let get = request("GET /a HTTP/1.1", lines);
    let meaning = (Framing::Length(3), false, true, get.len() - 3);
    let expected = |is_known| Ok((is_known, meaning.0, meaning.1, meaning.2, meaning.3));
    assert_eq!(parse(&get, limits), expected(false));
    assert_eq!(parse(&get, limits), expected(true));
    // Another version, other limits, other lines and a shorter buffer are not the same.
    let old = request("GET /a HTTP/1.0", lines);
    assert_eq!(parse(&old, limits), Ok((false, meaning.0, meaning.1, false, meaning.3)));
    assert_eq!(parse(&get, HeadLimits { max_headers: 3, ..limits }), Err(Some(431)));
    assert_eq!(parse(&get, HeadLimits { max_head: meaning.3 - 1, ..limits }), Err(Some(431)));
    assert_eq!(parse(&get[..meaning.3 - 1], limits), Err(None));
    assert_eq!(parse(&request("GET /a HTTP/1.1", &lines.replace("Host: a", "Host: b")), limits), expected(false));
    assert_eq!(parse(&get, limits), expected(true));
}

#[test]
fn many_different_header_lines_leave_the_frequent_ones_known() {
    let mut known = KnownHeaders::default();
    let mut knows = |host: &str| {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        let result = HeadParser::new(HeadLimits::default()).parse_known(&bytes, &mut known);
        let Ok(Parse::Complete(head)) = result else { panic!("the head is complete") };
        known.remember(&head, |_| ());
        head.is_known
    };
    knows("frequent");
    let mut unknown = 0;
    for round in 0..2000 {
        assert!(knows("frequent"), "after {round}");
        unknown += usize::from(!knows(&format!("rare{round}")));
    }
    assert_eq!(unknown, 2000);
    // What takes a place only after many others gets it in the end.
    assert!((0..1000).any(|_| knows("new")));
}
