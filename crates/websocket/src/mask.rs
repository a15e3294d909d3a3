//! Removing the mask from a client's payload.

/// Applies a mask to a payload, of which `done` bytes came before these.
pub fn apply(bytes: &mut [u8], mask: [u8; 4], done: u64) {
    let mask = u32::from_ne_bytes(mask);
    let turn = (done % 4) as u32 * 8;
    let mask = if cfg!(target_endian = "little") { mask.rotate_right(turn) } else { mask.rotate_left(turn) };
    let wide = (u64::from(mask) << 32 | u64::from(mask)).to_ne_bytes();
    let word = u64::from_ne_bytes(wide);
    let mut words = bytes.chunks_exact_mut(8);
    for chunk in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ word).to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(wide) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_as_byte_by_byte_at_every_length_and_offset() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        for length in 0..40 {
            for done in 0..9 {
                let mut bytes: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(7)).collect();
                let expected: Vec<u8> =
                    (bytes.iter().enumerate()).map(|(index, byte)| byte ^ mask[(index + done) % 4]).collect();
                apply(&mut bytes, mask, done as u64);
                assert_eq!(bytes, expected, "length {length}, after {done}");
            }
        }
    }
}
