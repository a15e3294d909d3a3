//! Checks that nothing in X-Forwarded-For or Forwarded causes a panic, or hides the address that a trusted proxy appends.
#![no_main]

use kqnet_proxy::{Endpoint, Headers, Kind, Trusted, client};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
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
});
