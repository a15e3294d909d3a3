//! The pieces of HTTP's grammar that several files share.

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    let mut b = 0;
    while b < 128 {
        if (b as u8).is_ascii_alphanumeric() {
            table[b] = true;
        }
        b += 1;
    }
    table
};

/// Returns whether `b` may stand in a token (tchar of RFC 9110, 5.6.2).
pub(crate) fn is_tchar(b: u8) -> bool {
    TOKEN[usize::from(b)]
}

/// Returns whether `bytes` are a token, which methods and header names are (RFC 9110, 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// Returns whether `b` may stand in a field value: a visible byte, space, tab or obs-text (RFC 9110, 5.5).
pub(crate) fn is_field_byte(b: u8) -> bool {
    matches!(b, b'\t' | b' '..=b'~' | 0x80..)
}

/// The lowest and the highest bit of each byte of a word.
const LOWEST: u64 = u64::from_ne_bytes([1; 8]);
const HIGHEST: u64 = u64::from_ne_bytes([0x80; 8]);

/// Returns whether `value` has nothing but bytes that may stand in a field value. It looks at eight bytes at once.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    let is_allowed = |&b: &u8| is_field_byte(b);
    let mut rest = value;
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let bytes = u64::from_le_bytes(*word);
        let deleted = bytes ^ (LOWEST * 0x7f);
        // If the highest bits of both differences are clear, no byte is below the space, and none is DEL.
        let below = bytes.wrapping_sub(LOWEST * u64::from(b' ')) & !bytes;
        let is_deleted = deleted.wrapping_sub(LOWEST) & !deleted;
        if (below | is_deleted) & HIGHEST != 0 && !word.iter().all(is_allowed) {
            return false;
        }
        rest = tail;
    }
    rest.iter().all(is_allowed)
}

/// Removes the spaces and tabs around `bytes` (OWS of RFC 9110, 5.6.3).
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Returns the trimmed elements of a comma-separated list, including empty ones (RFC 9110, 5.6.1). A comma in a quoted
/// string separates too: the lists that decide framing and persistence have no quoted strings.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim)
}

/// Returns the number that decimal digits stand for. Returns `None` if there is no digit, if there is anything else, or
/// if the number does not fit 64 bits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Returns the byte that two hexadecimal digits stand for.
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Returns the index of the first `wanted` in `bytes`. It looks at eight bytes at once.
pub(crate) fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (mut rest, mut at) = (bytes, 0);
    while let Some((word, tail)) = rest.split_first_chunk() {
        let differences = u64::from_le_bytes(*word) ^ (LOWEST * u64::from(wanted));
        // Up to the first byte that is zero, this has the highest bit of just those bytes that are zero.
        let zeros = differences.wrapping_sub(LOWEST) & !differences & HIGHEST;
        if zeros != 0 {
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
        (rest, at) = (tail, at + 8);
    }
    rest.iter().position(|&b| b == wanted).map(|i| at + i)
}

#[cfg(test)]
mod tests {
    use super::{is_field_value, position};

    #[test]
    fn a_field_value_has_no_control_byte_at_any_place() {
        for length in 1..20 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    for others in [b' ', b'~', b'\t', 0x80, 0xff] {
                        let mut value = vec![others; length];
                        value[at] = byte;
                        let is_control = byte < b' ' && byte != b'\t' || byte == 0x7f;
                        assert_eq!(is_field_value(&value), !is_control, "{}", value.escape_ascii());
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_bytes_is_found_at_any_place() {
        for length in 0..40 {
            for first in 0..length {
                // The byte below and the one with the highest bit are those that a wrong carry would confuse.
                let mut bytes = vec![b'\t'; length];
                bytes[first..].fill(0x8a);
                bytes[first] = b'\n';
                assert_eq!(position(&bytes, b'\n'), Some(first));
                bytes[first] = 0x0b;
                assert_eq!(position(&bytes, b'\n'), None);
                bytes[length - 1] = b'\n';
                assert_eq!(position(&bytes, b'\n'), Some(length - 1));
            }
        }
    }
}
