//! Measures how many nanoseconds the hot paths take: `cargo run --release -p kqnet-http1 --example speed`.

use kqnet_http1::response::{Body, Exchange, HeadWriter, plan};
use kqnet_http1::{BodyReader, Framing, HeadLimits, HeadParser, Parse, Version, date};
use std::hint::black_box;
use std::time::Instant;

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2024/a-title?page=2&sort=new HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/articles\r\nConnection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\nUpgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\n\r\n";

/// Makes a body of `count` chunks with the same data.
fn chunked(count: usize, data: &[u8]) -> Vec<u8> {
    let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    [chunk.repeat(count), b"0\r\n\r\n".to_vec()].concat()
}

/// Reads a chunked body, and returns how many bytes of data it has.
fn read(body: &[u8]) -> usize {
    let mut reader = BodyReader::new(Framing::Chunked, u64::MAX).expect("a body without a limit");
    let (mut consumed, mut len) = (0, 0);
    while !reader.is_done() {
        let step = reader.step(&body[consumed..]).expect("good chunks");
        consumed += step.consumed;
        len += step.data.len();
    }
    len
}

/// Prints the time of one call in the fastest of several rounds.
fn time(name: &str, calls: u32, mut f: impl FnMut()) {
    let round = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| f());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    let fastest = (0..7).map(|_| round(&mut f)).fold(f64::INFINITY, f64::min);
    println!("{fastest:>12.0} ns  {name}");
}

fn main() {
    let limits = HeadLimits::default();
    for (name, bytes) in [("small", SMALL), ("browser's", BROWSER)] {
        time(&format!("a {name} head of {} bytes", bytes.len()), 100_000, || {
            black_box(HeadParser::new(limits).parse(black_box(bytes))).expect("a good head");
        });
    }
    let largest =
        [SMALL[..SMALL.len() - 2].to_vec(), b"X: ".to_vec(), vec![b'y'; 16_000], b"\r\n\r\n".to_vec()].concat();
    time("a head of 16 KB at once", 1000, || {
        black_box(HeadParser::new(limits).parse(black_box(&largest))).expect("a good head");
    });
    time("a head of 16 KB byte by byte", 10, || {
        let mut parser = HeadParser::new(limits);
        let is_complete = |end| matches!(parser.parse(&largest[..end]), Ok(Parse::Complete(_)));
        assert!((0..=largest.len()).any(is_complete));
    });

    let chunks = chunked(16, &[b'x'; 65536]);
    time("a body of 1 MiB in chunks of 64 KiB", 1000, || {
        assert_eq!(read(black_box(&chunks)), 1 << 20);
    });
    let chunks = chunked(10_000, b"x");
    time("a body of 10,000 chunks of a byte", 100, || {
        assert_eq!(read(black_box(&chunks)), 10_000);
    });

    let exchange = Exchange::new(b"GET", Version::Http11, true);
    let mut out = Vec::with_capacity(1024);
    time("a response head with two headers and a date", 100_000, || {
        out.clear();
        let mut head = HeadWriter::new(&mut out, 200).expect("a good status");
        head.header(b"Content-Type", b"text/html; charset=utf-8").expect("a good header");
        head.header(b"Cache-Control", b"no-cache").expect("a good header");
        head.finish(&exchange, &plan(&exchange, 200, Body::Known(1234)), Some(784_111_777));
        black_box(&out);
    });
    time("a date alone", 100_000, || {
        black_box(date::format(black_box(784_111_777)));
    });
}
