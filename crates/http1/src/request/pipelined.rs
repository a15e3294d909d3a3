//! A request that has arrived behind the one that is being answered: whether its head is complete, and what it asks for.

/// Returns the method and the target, up to its query, of the request at the start of `bytes`, or `None` if its head is not
/// complete. The head is not checked, so this is good for guesses only.
///
/// ```
/// use kqnet_http1::pipelined_target;
///
/// assert_eq!(pipelined_target(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\nGET"), Some(&b"GET /a"[..]));
/// assert_eq!(pipelined_target(b"GET /a HTTP/1.1\r\nHost: h\r\n"), None);
/// ```
pub fn pipelined_target(bytes: &[u8]) -> Option<&[u8]> {
    if !has_head(bytes) {
        return None;
    }
    let line = bytes.iter().position(|byte| *byte == b'\r')?;
    let method = bytes[..line].iter().position(|byte| *byte == b' ')?;
    let target = &bytes[method + 1..line];
    let length = target.iter().position(|byte| matches!(byte, b' ' | b'?')).unwrap_or(target.len());
    Some(&bytes[..method + 1 + length])
}

/// Whether the bytes contain an empty line that ends a head.
fn has_head(bytes: &[u8]) -> bool {
    const END: &[u8; 4] = b"\r\n\r\n";
    // `at` is where the end would have its last byte. A byte that does not occur in it rules four places out.
    let mut at = END.len() - 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' if bytes[at - 3..].starts_with(END) => return true,
            b'\n' => at += 2,
            b'\r' => at += 1,
            _ => at += END.len(),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_end_of_a_head_is_found_wherever_it_is(bytes in "[\r\na]{0,24}") {
            prop_assert_eq!(has_head(bytes.as_bytes()), bytes.contains("\r\n\r\n"));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(target) = pipelined_target(&bytes) {
                prop_assert!(bytes.starts_with(target));
            }
        }
    }

    #[test]
    fn the_query_is_not_part_of_the_target() {
        let of = |text: &'static str| pipelined_target(text.as_bytes());
        assert_eq!(of("GET / HTTP/1.1\r\n\r\n"), Some(&b"GET /"[..]));
        assert_eq!(of("GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\nrest"), Some(&b"GET /a"[..]));
        assert_eq!(of("GET /a"), None);
        assert_eq!(of("\r\n\r\n"), None);
        assert_eq!(of("GET\r\n\r\n"), None);
        assert_eq!(of(""), None);
    }
}
