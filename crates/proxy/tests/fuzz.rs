//! Calls the fuzz targets with changed headers: some thousands of them, or as many as CASES or SECONDS say.

#[path = "reference/headers.rs"]
mod headers;

use headers::{check_every_split, check_nothing_hides_the_client, field, v2};
use kqnet_cases::{fuzz, words};

#[test]
fn changed_proxy_headers_may_arrive_in_any_pieces() {
    let with_fields = v2(0x21, 0x11, &[&[7; 12][..], &field(0x20, &[1, 0, 0, 0, 0]), &field(0x04, b"")].concat());
    let seeds: [&[u8]; 5] = [
        b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET /",
        b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
        b"PROXY UNKNOWN\r\n",
        &v2(0x20, 0x00, &[]),
        &with_fields,
    ];
    let words = words(
        "\"PROXY \"\n\"TCP4 \"\n\"TCP6 \"\n\"UNKNOWN\"\n\"255.255.255.255 \"\n\"::1 \"\n\"65535\"\n\"\\x0d\\x0a\"",
    );
    fuzz(&seeds, &words, 0, check_every_split);
}

#[test]
fn changed_headers_of_proxies_hide_no_client() {
    let seeds: [&[u8]; 3] = [
        b"203.0.113.7, 10.0.0.3",
        b"for=203.0.113.7;proto=https;by=10.0.0.1, for=\"[2001:db8::1]:80\"",
        b"for=_hidden, for=unknown;host=\"a\\\"b\"",
    ];
    let words = words("\"for=\"\n\", \"\n\"; \"\n\"\\\"\"\n\"10.0.0.1\"\n\"[::1]\"\n\"unknown\"\n\"proto=http\"");
    fuzz(&seeds, &words, 0, check_nothing_hides_the_client);
}
