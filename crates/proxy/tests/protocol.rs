//! PROXY headers: which are accepted, which are refused and why, and that it makes no difference how their bytes arrive.

#[path = "reference/headers.rs"]
mod headers;

use headers::{field, v2};
use kqnet_proxy::Endpoint;
use kqnet_proxy::protocol::{Addresses, Header, Invalid, MAX_V1, MAX_V2, Parse, parse};
use proptest::prelude::*;

fn complete(bytes: &[u8]) -> Header {
    match parse(bytes) {
        Ok(Parse::Complete(header)) => header,
        other => panic!("{:?} is {other:?}", String::from_utf8_lossy(bytes)),
    }
}

fn inet(source: &str, destination: &str) -> Addresses {
    Addresses::Inet { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

#[test]
fn version_1_is_read_as_haproxy_and_nginx_send_it() {
    for (line, addresses) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", inet("192.0.2.1:56324", "10.0.0.1:443")),
        ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", inet("[2001:db8::1]:1", "[::1]:65535")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 0 80\r\n", inet("[::ffff:192.0.2.1]:0", "[::ffff:10.0.0.1]:80")),
        ("PROXY UNKNOWN\r\n", Addresses::Unknown),
        ("PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", Addresses::Unknown),
        ("PROXY UNKNOWN \0\x7f anything\r\n", Addresses::Unknown),
    ] {
        let header = complete(format!("{line}GET /").as_bytes());
        assert_eq!(header, Header { addresses, is_tls: false, len: line.len() }, "{line}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1 - 16));
    assert_eq!(complete(longest.as_bytes()).len, MAX_V1);
}

#[test]
fn the_client_is_the_source_without_an_ipv6_form_of_an_ipv4_address() {
    let header = complete(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 80 80\r\n");
    assert_eq!(header.addresses.client(), Some(Endpoint::from_ip([192, 0, 2, 1].into(), Some(80))));
    assert_eq!(complete(b"PROXY UNKNOWN\r\n").addresses.client(), None);
}

#[test]
fn version_1_is_refused_with_anything_that_the_protocol_does_not_allow() {
    use Invalid::{Malformed, Missing, TooLarge};
    for (text, invalid) in [
        ("GET / HTTP/1.1\r\n", Missing),
        ("POST", Missing),
        ("proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Missing),
        ("\x16\x03\x01", Missing),
        (" ", Missing),
        ("PROXY\r\n", Missing),
        ("PROXY \r\n", Malformed),
        ("PROXY TCP5", Malformed),
        ("PROXY TCP4\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", Malformed),
        ("PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", Malformed),
        ("PROXY TCP4 ::1 ::1 1 1\r\n", Malformed),
        ("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n", Malformed),
        ("PROXY TCP4 localhost 1.1.1.1 1 1\r\n", Malformed),
        ("PROXY UNKNOWNS\r\n", Malformed),
        (&format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1 - 15)), TooLarge),
        (&"PROXY UNKNOWN ".repeat(100), TooLarge),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(invalid), "{text}");
    }
}

#[test]
fn version_2_is_read_with_every_family_and_fields_are_skipped() {
    let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
    let v6 = [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 1, 0xff, 0xff]].concat();
    let mut unix = vec![0; 216];
    unix[..5].copy_from_slice(b"/a/b\0");
    unix[108..112].copy_from_slice(b"\0abs");
    let paths = Addresses::Unix { source: b"/a/b".to_vec(), destination: b"\0abs".to_vec() };
    for (command, family, block, addresses) in [
        (0x21, 0x11, &v4[..], inet("192.0.2.1:56324", "10.0.0.1:443")),
        (0x21, 0x12, &v4, inet("192.0.2.1:56324", "10.0.0.1:443")),
        (0x21, 0x21, &v6, inet("[2001:db8::1]:1", "[::1]:65535")),
        (0x21, 0x22, &v6, inet("[2001:db8::1]:1", "[::1]:65535")),
        (0x21, 0x31, &unix, paths.clone()),
        (0x21, 0x32, &unix, paths),
        (0x21, 0x31, &[0; 216], Addresses::Unix { source: vec![], destination: vec![] }),
        (0x21, 0x00, &[], Addresses::Unknown),
        (0x20, 0x00, &[], Addresses::Local),
        (0x20, 0x11, &v4, Addresses::Local),
        (0x20, 0xff, b"any bytes", Addresses::Local),
    ] {
        for fields in [&[][..], &field(0x04, b""), &[field(0x02, b"example.org"), field(0x03, &[1; 4])].concat()] {
            let header = v2(command, family, &[block, fields].concat());
            let bytes = [&header[..], b"GET /"].concat();
            let expected = Header { addresses: addresses.clone(), is_tls: false, len: header.len() };
            assert_eq!(complete(&bytes), expected, "{command:x} {family:x}");
        }
    }
}

#[test]
fn the_field_about_tls_says_whether_the_client_has_it() {
    let tls = |value: &[u8]| complete(&v2(0x21, 0x00, &[field(0x01, b"h2"), field(0x20, value)].concat())).is_tls;
    // A bit field, the result of verifying the client's certificate, and fields in the field.
    assert!(tls(&[&[0x01, 0, 0, 0, 0][..], &field(0x21, b"TLSv1.3")].concat()));
    assert!(tls(&[0x07, 0, 0, 0, 1]));
    assert!(!tls(&[0x00, 0, 0, 0, 0]));
    assert!(!complete(&v2(0x20, 0x00, &field(0x20, &[1, 0, 0, 0, 0]))).is_tls, "a LOCAL header says nothing");
}

#[test]
fn version_2_is_refused_with_anything_that_the_protocol_does_not_allow() {
    use Invalid::{Malformed, Missing, TooLarge};
    let block = [0; 12];
    for (what, bytes, invalid) in [
        ("empty lines", b"\r\n\r\nGET".to_vec(), Missing),
        ("version 1 in version 2", v2(0x11, 0x11, &block), Malformed),
        ("version 3", v2(0x31, 0x11, &block), Malformed),
        ("an unknown command", v2(0x22, 0x11, &block), Malformed),
        ("an unknown family", v2(0x21, 0x41, &block), Malformed),
        ("an unknown transport", v2(0x21, 0x13, &block), Malformed),
        ("a family without a transport", v2(0x21, 0x10, &block), Malformed),
        ("too short for its addresses", v2(0x21, 0x11, &block[1..]), Malformed),
        ("too short for IPv6", v2(0x21, 0x21, &block), Malformed),
        ("half a field", v2(0x21, 0x11, &[&block[..], &[4, 0]].concat()), Malformed),
        ("a field that is too long", v2(0x21, 0x11, &[&block[..], &[4, 0, 1]].concat()), Malformed),
        ("an empty field about TLS", v2(0x21, 0x11, &[&block[..], &field(0x20, b"")].concat()), Malformed),
        ("too large", v2(0x21, 0x00, &field(0x04, &[0; MAX_V2 - 16 - 3 + 1])), TooLarge),
        ("the most that the protocol allows", v2(0x20, 0x00, &[0; 65535]), TooLarge),
    ] {
        assert_eq!(parse(&bytes), Err(invalid), "{what}");
    }
    assert_eq!(complete(&v2(0x21, 0x00, &field(0x04, &[0; MAX_V2 - 16 - 3]))).len, MAX_V2);
}

/// Headers that are valid, nearly valid, or nothing like it.
fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "PROXY",
        "TCP4",
        "TCP6",
        "UNKNOWN",
        "1.2.3.4",
        "255.255.255.255",
        "::1",
        "fd00::1",
        "80",
        "65535",
        "0",
        "01",
        "",
        "x",
    ]);
    let line = (prop::collection::vec(word, 0..6), "\r\n|\n|")
        .prop_map(|(words, end)| format!("PROXY {}{end}", words.join(" ")));
    let address = (any::<[u8; 4]>(), any::<[u8; 16]>(), any::<(u16, u16)>(), any::<bool>());
    let v1 = address.prop_map(|(v4, v6, (from, to), is_v4)| {
        if is_v4 {
            let address = std::net::Ipv4Addr::from(v4);
            format!("PROXY TCP4 {address} {address} {from} {to}\r\n")
        } else {
            let address = std::net::Ipv6Addr::from(v6);
            format!("PROXY TCP6 {address} {address} {from} {to}\r\n")
        }
    });
    let family = prop::sample::select(vec![0x00u8, 0x11, 0x12, 0x21, 0x31, 0x41, 0x13]);
    let command = prop::sample::select(vec![0x20u8, 0x21, 0x21, 0x21, 0x22, 0x11]);
    let fields = prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..9)), 0..4);
    let size = prop::sample::select(vec![0usize, 12, 36, 216, 7]);
    let two = (command, family, size, fields).prop_map(|(command, family, size, fields)| {
        let fields: Vec<u8> = fields.iter().flat_map(|(kind, value)| field(*kind, value)).collect();
        v2(command, family, &[vec![7; size], fields].concat())
    });
    prop_oneof![
        line.prop_map(String::into_bytes),
        v1.prop_map(String::into_bytes),
        two,
        prop::collection::vec(any::<u8>(), 0..40)
    ]
}

proptest! {
    #[test]
    fn it_makes_no_difference_how_the_bytes_arrive(header in any_header(), next in prop::collection::vec(any::<u8>(), 0..20)) {
        let bytes = [header, next].concat();
        headers::check_every_split(&bytes);
    }
}
