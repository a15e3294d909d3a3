//! Random bodies that are nearly well-formed, since random bytes would never get beyond the first delimiter.

use kqnet_cases::Random;

/// Boundaries in which a part repeats, and ones of any length.
pub fn boundary(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => b"-".repeat(1 + random.below(5)),
        1 => b"ab".repeat(1 + random.below(3)),
        2 => vec![b'x'; 70],
        _ => b"----WebKitFormBoundaryAaB03x".to_vec(),
    }
}

const HEADS: &[&[u8]] = &[
    b"Content-Disposition: form-data; name=\"a\"\r\n\r\n",
    b"Content-Disposition: form-data; name=\"a\"; filename=\"b\"\r\nContent-Type: text/plain\r\n\r\n",
    b"content-disposition:form-data;name=a\r\n\r\n",
    b"Content-Disposition: form-data; name=a\r\nX: y\r\n\r\n",
];

const BAD_HEADS: &[&[u8]] = &[
    b"\r\n",
    b"Content-Disposition: form-data\r\n\r\n",
    b"Content-Type: a/b\r\n\r\n",
    b"Content-Disposition: form-data; name=a\n\n",
    b"Content-Disposition: form-data;\r\n name=a\r\n\r\n",
    b"Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    b"no colon\r\n\r\n",
];

/// A body.
pub fn body(random: &mut Random, boundary: &[u8]) -> Vec<u8> {
    let mut body = vec![];
    if random.once_in(6) {
        body.extend_from_slice(random.pick(&[b"preamble", b"\r\n", b"preamble\r\n", b"--", b"\r\n--"]));
        if random.once_in(2) {
            body.extend_from_slice(b"\r\n");
        }
    }
    for _ in 0..random.below(4) {
        delimiter(random, boundary, &mut body);
        let heads = if random.once_in(12) { BAD_HEADS } else { HEADS };
        body.extend_from_slice(random.pick(heads));
        data(random, boundary, &mut body);
        if !random.once_in(10) {
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(&[b"--", boundary, b"--"].concat());
    body.extend_from_slice(random.pick(&[b"\r\n", b"\r\n", b"", b" \t\r\n", b"\r\nepilogue", b"\r", b"x"]));
    if random.once_in(8) {
        body.truncate(random.below(body.len() + 1));
    }
    if random.once_in(8) && !body.is_empty() {
        let at = random.below(body.len());
        body[at] = random.pick(&[b"\r", b"\n", b"-", b"x", b"\0", b"\""])[0];
    }
    body
}

fn delimiter(random: &mut Random, boundary: &[u8], body: &mut Vec<u8>) {
    body.extend_from_slice(&[b"--", boundary].concat());
    let end: &[&[u8]] = if random.once_in(12) { &[b" \t\r\n", b"\n", b"x\r\n", b"-\r\n", b""] } else { &[b"\r\n"] };
    body.extend_from_slice(random.pick(end));
}

/// Data with what looks like a delimiter.
fn data(random: &mut Random, boundary: &[u8], body: &mut Vec<u8>) {
    for _ in 0..random.below(6) {
        match random.below(8) {
            0 => body.extend_from_slice(&[b"\r\n--", &boundary[..random.below(boundary.len())]].concat()),
            1 => body.extend_from_slice(&[b"\n--", boundary].concat()),
            2 => body.extend_from_slice(&[b"\r--", boundary].concat()),
            3 => body.extend_from_slice(&[b"--", boundary].concat()),
            4 => body.extend_from_slice(b"\r\n\r\n"),
            5 => body.extend_from_slice(boundary),
            6 => body.extend_from_slice(b"\r\n-"),
            _ => body.extend((0..random.below(100)).map(|n| n as u8)),
        }
    }
}

/// Where to cut a body: in ascending order.
pub fn cuts(random: &mut Random, length: usize) -> Vec<usize> {
    if random.once_in(4) {
        return (0..length).collect();
    }
    let mut cuts: Vec<usize> = (0..random.below(6)).map(|_| random.below(length + 1)).collect();
    cuts.sort_unstable();
    cuts
}
