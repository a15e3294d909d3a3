//! Makes PROXY headers of version 2, and compares what the parser says of a header with what it says of its beginnings.

use kqnet_proxy::protocol::{MAX_V2, Parse, parse};
use kqnet_proxy::{Endpoint, Headers, Kind, Trusted, client};

/// A header of version 2.
#[allow(dead_code)]
pub fn v2(command: u8, family: u8, after: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[command, family]);
    header.extend_from_slice(&u16::try_from(after.len()).unwrap().to_be_bytes());
    header.extend_from_slice(after);
    header
}

/// A field of a header of version 2.
#[allow(dead_code)]
pub fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// Checks that no beginning of these bytes is judged differently from all of them, and that a reader that reads no more than the
/// parser asks for reads nothing behind the header.
pub fn check_every_split(bytes: &[u8]) {
    let all = parse(bytes);
    if let Ok(Parse::Complete(header)) = &all {
        assert!(header.len <= bytes.len() && header.len <= MAX_V2);
    }
    for cut in 0..bytes.len() {
        match parse(&bytes[..cut]) {
            Ok(Parse::Partial(more)) => {
                assert!(more > 0);
                if let Ok(Parse::Complete(header)) = &all {
                    assert!(cut + more <= header.len, "{more} more after {cut} of {bytes:?}");
                }
            }
            other => assert_eq!(other, all, "the first {cut} of {bytes:?}"),
        }
    }
}

/// Checks that nothing in X-Forwarded-For or Forwarded hides the address that a trusted proxy appends.
#[allow(dead_code)]
pub fn check_nothing_hides_the_client(input: &[u8]) {
    let mut trusted = Trusted::default();
    trusted.add("10.0.0.0/8");
    let peer = Endpoint::from_ip([10, 0, 0, 1].into(), None);
    let real = Endpoint::from_ip([192, 0, 2, 1].into(), None);
    let x = [input, b", 192.0.2.1"].concat();
    let forwarded = [input, b", for=192.0.2.1, for=10.0.0.2"].concat();
    for kind in [Kind::XForwarded, Kind::Forwarded] {
        let headers = Headers { x_forwarded_for: &[&x], x_forwarded_proto: &[input], forwarded: &[&forwarded] };
        assert_eq!(client(&trusted, kind, peer, &headers).endpoint, real);
    }
}
