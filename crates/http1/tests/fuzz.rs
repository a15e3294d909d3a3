//! Calls the fuzz targets with changed requests and bodies: some thousands of them, or as many as CASES or SECONDS say.

mod reference;

use kqnet_cases::{fuzz, words};
use reference::targets;

const DICTIONARY: &str = include_str!("../fuzz/http.dict");

#[test]
fn changed_heads_agree() {
    let seeds: [&[u8]; 6] = [
        b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
        b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
        b"GET http://h/p HTTP/1.0\r\nConnection: close, x\r\n\r\n",
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\nCookie: a=b; c=d\r\nCookie: e=f\r\n\r\n",
    ];
    fuzz(&seeds, &words(DICTIONARY), 2, targets::head);
}

#[test]
fn changed_chunked_bodies_agree() {
    let seeds: [&[u8]; 3] = [
        b"5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n",
        b"00a;a=b;c=\"d\\\"\"\r\n0123456789\r\n0\r\nX: y\r\nTrailer: z\r\n\r\n",
        b"F ; a\r\n0123456789abcde\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
    ];
    fuzz(&seeds, &words(DICTIONARY), 2, targets::chunked);
}
