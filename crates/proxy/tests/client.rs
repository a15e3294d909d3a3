//! Who the client of a request is: what trusted proxies say is believed, and nothing else, whatever a client sends.

use std::net::IpAddr;

use kqnet_proxy::{Client, Endpoint, Headers, Kind, Scheme, Trusted, client};
use proptest::prelude::*;

fn trusted() -> Trusted {
    let mut trusted = Trusted::default();
    assert!(["10.0.0.0/8", "fd00::/8", "127.0.0.1", "unix"].iter().all(|name| trusted.add(name)));
    trusted
}

fn ip(text: &str) -> Endpoint {
    Endpoint::from_ip(text.parse().unwrap(), None)
}

/// The client behind a proxy at 10.0.0.1.
fn found(kind: Kind, x_for: &[&str], x_proto: &[&str], forwarded: &[&str]) -> Client {
    found_from(ip("10.0.0.1"), kind, x_for, x_proto, forwarded)
}

fn found_from(peer: Endpoint, kind: Kind, x_for: &[&str], x_proto: &[&str], forwarded: &[&str]) -> Client {
    let bytes = |lines: &[&'static str]| lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>();
    let leak =
        |lines: &[&str]| bytes(&lines.iter().map(|line| &*line.to_string().leak()).collect::<Vec<&'static str>>());
    let (x_for, x_proto, forwarded) = (leak(x_for), leak(x_proto), leak(forwarded));
    let headers = Headers { x_forwarded_for: &x_for, x_forwarded_proto: &x_proto, forwarded: &forwarded };
    client(&trusted(), kind, peer, &headers)
}

fn x(lines: &[&str]) -> Endpoint {
    found(Kind::Either, lines, &[], &[]).endpoint
}

fn f(lines: &[&str]) -> Endpoint {
    found(Kind::Either, &[], &[], lines).endpoint
}

#[test]
fn headers_of_a_peer_that_is_not_trusted_change_nothing() {
    for peer in [ip("192.0.2.1"), ip("11.0.0.1"), ip("::1"), Endpoint::Unknown] {
        for kind in [Kind::Either, Kind::XForwarded, Kind::Forwarded] {
            let found = found_from(peer, kind, &["1.1.1.1"], &["https"], &["for=1.1.1.1;proto=https"]);
            assert_eq!(found, Client { endpoint: peer, scheme: None });
        }
    }
    let nobody = Trusted::default();
    let headers = Headers { x_forwarded_for: &[b"1.1.1.1"], x_forwarded_proto: &[b"https"], ..Headers::default() };
    let found = client(&nobody, Kind::Either, ip("10.0.0.1"), &headers);
    assert_eq!(found, Client { endpoint: ip("10.0.0.1"), scheme: None });
}

#[test]
fn x_forwarded_for_is_read_from_the_right_to_the_first_address_that_is_not_trusted() {
    assert_eq!(x(&["1.1.1.1"]), ip("1.1.1.1"));
    assert_eq!(x(&["9.9.9.9, 1.1.1.1"]), ip("1.1.1.1"));
    assert_eq!(x(&["9.9.9.9, 1.1.1.1, 10.0.0.3, 10.0.0.2"]), ip("1.1.1.1"));
    assert_eq!(x(&["9.9.9.9", "1.1.1.1,10.0.0.3", "10.0.0.2"]), ip("1.1.1.1"), "several lines are one list");
    assert_eq!(x(&["10.0.0.3, 10.0.0.2"]), ip("10.0.0.3"), "the last one if all are trusted");
    assert_eq!(x(&["1.1.1.1,, ,", " "]), ip("1.1.1.1"), "empty elements do not count");
    assert_eq!(x(&[""]), ip("10.0.0.1"));
    assert_eq!(x(&["1.1.1.1, ::ffff:127.0.0.1"]), ip("1.1.1.1"), "an IPv4 address in an IPv6 one");
    assert_eq!(x(&["1.1.1.1, [fd00::1%eth0]:80"]), ip("1.1.1.1"), "a zone and a port");
    assert_eq!(x(&["1.1.1.1, unix:"]), ip("1.1.1.1"), "nginx behind a unix socket");
    assert_eq!(x(&["2001:db8::1"]), ip("2001:db8::1"));
    assert_eq!(x(&["[2001:db8::1]:80"]), Endpoint::from_ip("2001:db8::1".parse().unwrap(), Some(80)));
    assert_eq!(found_from(Endpoint::Unix, Kind::Either, &["1.1.1.1"], &[], &[]).endpoint, ip("1.1.1.1"));
}

#[test]
fn what_is_to_the_left_of_something_unknown_is_not_believed() {
    for text in ["unknown", "_hidden", "garbage", "1.1.1.1.1", "\"", "10.0.0.2:99999", "10.0.0.256"] {
        assert_eq!(x(&[&format!("1.1.1.1, {text}")]), Endpoint::Unknown, "{text}");
        assert_eq!(x(&[&format!("1.1.1.1, {text}, 10.0.0.2")]), Endpoint::Unknown, "{text}");
        let forwarded = format!("for=1.1.1.1, for={text}, for=10.0.0.2");
        assert_eq!(f(&[&forwarded]), Endpoint::Unknown, "{text}");
    }
    assert_eq!(f(&["for=1.1.1.1, proto=http"]), Endpoint::Unknown, "an element without an address");
    assert_eq!(f(&["for=1.1.1.1, for=10.0.0.1;for=10.0.0.2"]), Endpoint::Unknown, "two addresses");
    assert_eq!(f(&["for=1.1.1.1, secret"]), Endpoint::Unknown);
    assert_eq!(f(&["for=1.1.1.1, for=\"10.0.0.1"]), Endpoint::Unknown);
    assert_eq!(f(&["for=1.1.1.1, for=\"10.0.0.1\\\""]), Endpoint::Unknown);
}

#[test]
fn forwarded_is_read_in_the_forms_of_rfc_7239() {
    assert_eq!(f(&["for=192.0.2.43, for=198.51.100.17"]), ip("198.51.100.17"));
    assert_eq!(f(&["for=192.0.2.60;proto=http;by=203.0.113.43"]), ip("192.0.2.60"));
    let v6 = Endpoint::from_ip("2001:db8:cafe::17".parse().unwrap(), Some(4711));
    assert_eq!(f(&["For=\"[2001:db8:cafe::17]:4711\""]), v6);
    assert_eq!(f(&["for=_gazonk"]), Endpoint::Unknown);
    assert_eq!(f(&["FOR=1.1.1.1;ext=\"a, b;c\\\"\" , for=10.0.0.2"]), ip("1.1.1.1"), "separators in a quoted string");
    assert_eq!(f(&["for=9.9.9.9", "for=1.1.1.1", "by=x;for=\"10.0.0.2\""]), ip("1.1.1.1"), "several lines");
    assert_eq!(f(&["for=\"1.1.1.\\1\""]), ip("1.1.1.1"), "an escaped byte");
}

#[test]
fn the_scheme_is_the_one_that_belongs_to_the_client() {
    use Scheme::{Http, Https};
    for (x_for, x_proto, expected) in [
        (&["1.1.1.1"][..], &["https"][..], Some(Https)),
        (&["1.1.1.1"], &["HTTP"], Some(Http)),
        (&["1.1.1.1"], &["wss"], Some(Https)),
        (&["1.1.1.1"], &[], None),
        (&[], &["https"], Some(Https)),
        // All proxies append to both headers.
        (&["1.1.1.1, 10.0.0.2"], &["https, http"], Some(Https)),
        (&["9.9.9.9, 1.1.1.1"], &["https, http"], Some(Http)),
        (&["9.9.9.9", "1.1.1.1, 10.0.0.2"], &["https", "http", "https"], Some(Http)),
        // The first proxy sets one, and the second passes it on.
        (&["1.1.1.1, 10.0.0.2"], &["https"], Some(Https)),
        // A proxy appends what the client has made up.
        (&["1.1.1.1"], &["https, http"], Some(Http)),
        (&["1.1.1.1"], &["https", "http"], Some(Http)),
        (&["1.1.1.1"], &["gopher"], None),
        (&["1.1.1.1"], &["https, "], Some(Https)),
    ] {
        let found = found(Kind::Either, x_for, x_proto, &["for=1.1.1.1;proto=https"]);
        assert_eq!(found.scheme, expected, "{x_for:?} {x_proto:?}");
    }
    assert_eq!(
        found(Kind::Either, &[], &[], &["for=1.1.1.1;proto=https, for=10.0.0.2;proto=http"]).scheme,
        Some(Https)
    );
    assert_eq!(found(Kind::Either, &[], &[], &["for=9.9.9.9;proto=https, for=1.1.1.1"]).scheme, None);
    assert_eq!(found(Kind::Either, &[], &[], &["for=_x;proto=https"]).scheme, Some(Https));
}

#[test]
fn x_forwarded_headers_win_over_forwarded_unless_only_that_is_set_by_the_proxies() {
    let (x_for, forwarded) = (&["1.1.1.1"][..], &["for=2.2.2.2;proto=https"][..]);
    assert_eq!(found(Kind::Either, x_for, &[], forwarded), Client { endpoint: ip("1.1.1.1"), scheme: None });
    assert_eq!(found(Kind::Either, &[], &["http"], forwarded).endpoint, ip("10.0.0.1"));
    assert_eq!(found(Kind::XForwarded, &[], &[], forwarded).endpoint, ip("10.0.0.1"));
    let found = found(Kind::Forwarded, x_for, &["http"], forwarded);
    assert_eq!(found, Client { endpoint: ip("2.2.2.2"), scheme: Some(Scheme::Https) });
}

#[test]
fn a_megabyte_of_entries_is_read_in_one_pass() {
    for (element, kind) in [
        ("10.0.0.1", Kind::XForwarded),
        ("", Kind::XForwarded),
        ("for=10.0.0.1", Kind::Forwarded),
        ("for=\"10.0.0.1\"", Kind::Forwarded),
        ("for=\"\\\\\\\"", Kind::Forwarded),
        ("\"\\\\\\\\", Kind::Forwarded),
        (";;;;;;", Kind::Forwarded),
    ] {
        let line = vec![element; 1_000_000 / (element.len() + 1)].join(",");
        let lines = [line.as_bytes()];
        let headers = Headers { x_forwarded_for: &lines, x_forwarded_proto: &lines, forwarded: &lines };
        // If each entry went through all others, this would take minutes.
        std::hint::black_box(client(&trusted(), kind, ip("10.0.0.1"), &headers));
    }
    let lines = vec![&b"10.0.0.1"[..]; 100_000];
    let headers = Headers { x_forwarded_for: &lines, x_forwarded_proto: &lines, ..Headers::default() };
    assert_eq!(client(&trusted(), Kind::Either, ip("10.0.0.1"), &headers).endpoint, ip("10.0.0.1"));
}

/// Bytes that can be in a header's value.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let grammar = prop::sample::select(b",;=\"\\ \t:[]%for1.0ab".to_vec());
    prop::collection::vec(
        prop_oneof![4 => grammar, 1 => (0x21u8..=0xff).prop_filter("a control byte", |b| *b != 0x7f)],
        0..40,
    )
}

fn untrusted() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
        .prop_map(|address| address.to_canonical())
        .prop_filter("a proxy", |address| !trusted().has(Endpoint::from_ip(*address, None)))
}

proptest! {
    #[test]
    fn nothing_that_a_client_sends_hides_or_changes_its_address(
        sent in prop::collection::vec(value(), 0..4),
        address in untrusted(),
        proxies in 0usize..3,
        in_one_line in any::<bool>(),
        is_forwarded in any::<bool>(),
        is_tls in any::<bool>(),
    ) {
        let name = |address: IpAddr| match (is_forwarded, address) {
            (true, IpAddr::V6(address)) => format!("proto={};for=\"[{address}]:80\"", if is_tls { "https" } else { "http" }),
            (true, IpAddr::V4(address)) => format!("for={address};proto={}", if is_tls { "https" } else { "http" }),
            (false, address) => address.to_string(),
        };
        let mut lines = sent;
        let mut append = |text: String| match lines.last_mut() {
            Some(last) if in_one_line => last.extend_from_slice(format!(", {text}").as_bytes()),
            _ => lines.push(text.into_bytes()),
        };
        append(name(address));
        for _ in 0..proxies {
            append(name([10, 0, 0, 2].into()));
        }
        let lines: Vec<&[u8]> = lines.iter().map(|line| &line[..]).collect();
        let headers = if is_forwarded {
            Headers { forwarded: &lines, ..Headers::default() }
        } else {
            Headers { x_forwarded_for: &lines, ..Headers::default() }
        };
        let found = client(&trusted(), Kind::Either, ip("10.0.0.1"), &headers);
        prop_assert_eq!(found.endpoint.address(), Some(address));
        if is_forwarded {
            prop_assert_eq!(found.scheme, Some(if is_tls { Scheme::Https } else { Scheme::Http }));
        }
    }
}
