//! Generates requests and chunked bodies that are nearly well-formed: a few of their parts are odd, and some are
//! damaged afterwards.

use kqnet_cases::Random;
use kqnet_http1::HeadLimits;

/// Texts for one place in a message: usual ones, then odd ones.
struct Pool(&'static [&'static str], &'static [&'static str]);

impl Pool {
    /// Appends one of the texts, an odd one once in `n` times. The characters become bytes of Latin-1.
    fn push(&self, random: &mut Random, bytes: &mut Vec<u8>, n: usize) {
        let texts = if random.once_in(n) { self.1 } else { self.0 };
        let text = random.pick(texts);
        bytes.extend(text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')));
    }
}

/// How rare odd texts are in a place that nearly every message has.
const RARE: usize = 40;

const METHOD: Pool = Pool(
    &["GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "get", "M-SEARCH"],
    &["", "G T", "GE@T", "\u{1}", "PRI", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"],
);
const TARGET: Pool = Pool(
    &[
        "/",
        "/a/b",
        "/a?b=c&d",
        "/%41?",
        "/a?b?c",
        "/a:b@c",
        "http://h/p?q",
        "http://h",
        "//x",
        "HTTPS://[::1]:8080?x",
        "/é",
    ],
    &[
        "*",
        "h:443",
        "https://u@h/",
        "http://",
        "a",
        "/a#b",
        "/\u{7f}",
        "",
        "?x",
        "http:/x",
        "://h/",
        "http://h:x/",
        "/|{\"<",
    ],
);
const AUTHORITY: Pool = Pool(
    &["h:443", "[::1]:80", "h:00080", "h:65535"],
    &["h:", "h", "h:65536", "[::1:80", "/", "http://h:80", ":80", "*"],
);
const VERSION: Pool = Pool(
    &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2"],
    &[
        "HTTP/2.0",
        "HTTP/0.9",
        "http/1.1",
        "http/1.0",
        "HTTP/1.10",
        "HTTP/1",
        "",
        "HTTP/11",
        "HTTP/1.1 ",
        "HTTP/1.x",
        "HTTP/1.1.1",
    ],
);
const SPACE: Pool = Pool(&[" "], &["", "  ", "\t", "\r"]);
const COLON: Pool = Pool(&[": ", ":", ":\t "], &[" :", "\t:", "", "::", ":\r\n "]);
const LINE_END: Pool = Pool(&["\r\n", "\r\n", "\r\n", " \r\n"], &["\n", "\r", "\r\n ", "\0\r\n", "\r\r\n", ""]);
const REST: Pool = Pool(&["", "", "hello", "GET / HTTP/1.1\r\n", "5\r\nhello\r\n0\r\n\r\n"], &["\n\0", "\r", "\u{e9}"]);
const OTHER: Pool = Pool(&["", "a", "a b", "a, b", "é", "a:b", "\"q\""], &["\0", "\t", "a\u{b}", "\u{7f}", "\u{80}"]);

/// The headers that the parser reads, and values for them.
const SPECIAL: &[(&str, Pool)] = &[
    (
        "Content-Length",
        Pool(
            &["0", "5", "5", "007", "18446744073709551615"],
            &["5, 5", "+5", "-0", "", "0x5", "18446744073709551616", "5 5", "5,"],
        ),
    ),
    (
        "Transfer-Encoding",
        Pool(
            &["chunked", "CHUNKED"],
            &[
                "gzip, chunked",
                "chunked, chunked",
                "identity",
                "identity, chunked",
                "gzip",
                "",
                "chunked;a",
                ", chunked",
                "chunked,",
                "gzip,\tx , chunked",
            ],
        ),
    ),
    (
        "Connection",
        Pool(
            &["close", "keep-alive", "Keep-Alive, Upgrade", "upgrade", "x"],
            &[",,", "close, keep-alive", "closed", ""],
        ),
    ),
    ("Expect", Pool(&["100-continue", "100-Continue,"], &["", "x", "100-continue, x"])),
    ("Upgrade", Pool(&["websocket", "h2c, x"], &["", ","])),
];
const HOST: Pool = Pool(
    &["a", "a:80", "a.b", "[::1]", "", "a:", "a%41"],
    &["a b", "a, b", "a,b", "u@h", "[::1", "a%4", ":1", "[::1]x", "[::1]:9", "[::g]", "é", "a:b", "%41"],
);
const NAMES: &[&str] = &["Accept", "X", "Cookie", "User-Agent", "x-y_z", "Content_Length"];
const ODD_BYTES: &[u8] = b"\r\n\0 \t:,;\"\\%=/?#@[]0aA\x7f\x80\xff\x0b";

/// Generates the bytes of something like a request head, perhaps with more bytes after it.
pub fn request(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![];
    if random.once_in(10) {
        bytes.extend_from_slice(&b"\r\n\r\n\r\n\r\n\r\n"[..2 * random.below(6)]);
    }
    let is_connect = random.once_in(10);
    let (method, target) = if is_connect { (Pool(&["CONNECT"], &["POST"]), AUTHORITY) } else { (METHOD, TARGET) };
    method.push(random, &mut bytes, RARE);
    SPACE.push(random, &mut bytes, RARE);
    target.push(random, &mut bytes, 10);
    SPACE.push(random, &mut bytes, RARE);
    VERSION.push(random, &mut bytes, 20);
    LINE_END.push(random, &mut bytes, 20 * RARE);
    if !random.once_in(RARE) {
        header(random, &mut bytes, "Host", &HOST);
    }
    for _ in 0..random.below(4) {
        let (name, values) = &SPECIAL[random.below(SPECIAL.len())];
        header(random, &mut bytes, name, values);
    }
    if random.once_in(RARE) {
        header(random, &mut bytes, "Host", &HOST);
    }
    for _ in 0..random.below(3) {
        let name = random.pick(NAMES);
        header(random, &mut bytes, name, &OTHER);
    }
    if !random.once_in(RARE) {
        bytes.extend_from_slice(b"\r\n");
    }
    REST.push(random, &mut bytes, 10);
    damage(random, &mut bytes);
    bytes
}

fn header(random: &mut Random, bytes: &mut Vec<u8>, name: &str, values: &Pool) {
    match random.below(4) {
        0 => bytes.extend_from_slice(name.to_ascii_lowercase().as_bytes()),
        1 => bytes.extend_from_slice(name.to_ascii_uppercase().as_bytes()),
        _ => bytes.extend_from_slice(name.as_bytes()),
    }
    COLON.push(random, bytes, 2 * RARE);
    values.push(random, bytes, 8);
    LINE_END.push(random, bytes, 2 * RARE);
}

const EXTENSION: Pool = Pool(
    &["", "", "", ";a", ";a=b", " ; a = \"b\\\"c\"", ";a;b=c", ";a=\"\""],
    &[";", ";a=", ";a ", ";a=\"b", ";=b", ";a=b\"", " ", ";a=\"\r\n\"", ";a\n", ";a=\"b\"c", ";a=\"\\\u{7f}\""],
);
const ODD_SIZES: &[&str] = &["", "0x5", "+5", "-0", " 5", "5 ", "ffffffffffffffff", "fffffffffffffff8", "g"];

/// Generates the bytes of something like a chunked body, perhaps with more bytes after it.
pub fn body(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![];
    for _ in 0..random.below(4) {
        let len = if random.once_in(RARE) { 2000 } else { random.below(20) };
        size_line(random, &mut bytes, len);
        bytes.extend((0..len).map(|_| b"x\r\n0"[random.below(4)]));
        LINE_END.push(random, &mut bytes, RARE);
    }
    size_line(random, &mut bytes, 0);
    if random.once_in(4) {
        let name = random.pick(NAMES);
        header(random, &mut bytes, name, &OTHER);
    }
    if random.once_in(200) {
        bytes.extend_from_slice(b"X: ");
        bytes.resize(bytes.len() + 8170 + random.below(30), b'y');
        LINE_END.push(random, &mut bytes, RARE);
    }
    bytes.extend_from_slice(b"\r\n");
    REST.push(random, &mut bytes, 10);
    damage(random, &mut bytes);
    bytes
}

fn size_line(random: &mut Random, bytes: &mut Vec<u8>, len: usize) {
    let size = match random.below(20) {
        0 => random.pick(ODD_SIZES).to_owned(),
        1 => format!("{len:0>17x}"),
        2 => format!("{len:0>16x}"),
        3..=6 => format!("{len:X}"),
        _ => format!("{len:x}"),
    };
    bytes.extend_from_slice(size.as_bytes());
    EXTENSION.push(random, bytes, RARE);
    if random.once_in(200) {
        bytes.push(b';');
        bytes.resize(bytes.len() + 1000 + random.below(40), b'a');
    }
    Pool(&["\r\n"], &["\n", "\r", "\r\r\n", ""]).push(random, bytes, RARE);
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    if !random.once_in(4) {
        return;
    }
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let odd = ODD_BYTES[random.below(ODD_BYTES.len())];
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, odd),
            3 => bytes[at] = random.next() as u8,
            4 => {
                let end = (at + random.below(12)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at] = odd,
        }
    }
}

/// Generates limits: mostly the default ones, sometimes ones that a short head exceeds.
pub fn limits(random: &mut Random) -> HeadLimits {
    if random.once_in(6) {
        HeadLimits { max_head: random.below(200), max_request_line: random.below(64), max_headers: random.below(6) }
    } else {
        HeadLimits::default()
    }
}

/// Generates ascending places at which to cut `len` bytes.
pub fn cuts(random: &mut Random, len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..1 + random.below(4)).map(|_| random.below(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}
