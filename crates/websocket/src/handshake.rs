//! The key of a client's handshake, and the server's answer to it (RFC 6455, 4.2.2).

use crate::sha1;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of Sec-WebSocket-Accept for a Sec-WebSocket-Key, or `None` if the key is not 16 bytes in base64.
pub fn accept_key(key: &[u8]) -> Option<String> {
    is_key(key).then(|| base64(&sha1::digest(&[key, GUID].concat())))
}

/// Whether a value is 16 bytes in base64: 22 characters, the last of which stands for only two bits, and the padding.
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else { return false };
    digits.len() == 22
        && digits.iter().all(|digit| ALPHABET.contains(digit))
        && matches!(digits.last(), Some(b'A' | b'Q' | b'g' | b'w'))
}

/// Bytes in base64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            if index > group.len() {
                text.push('=');
            } else {
                text.push(char::from(ALPHABET[(number >> (18 - 6 * index)) as usize % 64]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn the_example_of_the_standard() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn a_key_that_is_not_16_bytes_is_refused() {
        let wrong = ["", "==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25j", "x"];
        for key in wrong {
            assert_eq!(accept_key(key.as_bytes()), None, "{key}");
        }
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZ-=="), None);
    }
}
