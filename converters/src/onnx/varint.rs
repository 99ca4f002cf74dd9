//! Numbers of variable length: seven bits a byte, the lowest first, the top bit set on all but the last.

/// Most bytes that a 64-bit number takes.
pub(super) const LONGEST: usize = 10;

/// The number that `bytes` begin with and its length; `None` when it does not end or exceeds 64 bits.
pub(super) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(LONGEST).enumerate() {
        if i == LONGEST - 1 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// How many numbers `bytes` hold: each has one last byte.
pub(super) fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| *byte & 0x80 == 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read() {
        for shift in 0..64 {
            for value in [1 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                prost::encoding::encode_varint(value, &mut bytes);
                assert_eq!(read(&bytes), Some((value, bytes.len())));
                assert_eq!(count(&bytes), 1);
                assert_eq!(read(&bytes[..bytes.len() - 1]), None);
            }
        }
        assert_eq!(read(&[0xff; 11]), None);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
    }
}
