//! Variable-length integers: seven bits a byte, lowest first, the top bit says "more follows".
//!
//! Promises: one number has exactly one form; a longer form of the same number is refused. Never: reads
//! beyond its slice.

/// The longest form, bytes.
pub(super) const LEN_MAX: usize = 10;

/// Reads one number and steps past it; `None` when the bytes end, overflow 64 bits or are overlong.
pub(super) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for index in 0..LEN_MAX {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = u64::from(byte & 0x7F);
        // The tenth byte has room for the single bit 63.
        if index == LEN_MAX - 1 && *byte > 1 {
            return None;
        }
        value |= low << (7 * index);
        if byte & 0x80 == 0 {
            // A last byte of zero adds nothing: an overlong form.
            return (index == 0 || low != 0).then_some(value);
        }
    }
    None
}

/// Writes one number at `at` and returns the place behind it; `None` when there is no room.
pub(super) fn write(out: &mut [u8], at: usize, mut value: u64) -> Option<usize> {
    let mut place = at;
    while value >= 0x80 {
        *out.get_mut(place)? = (value & 0x7F) as u8 | 0x80;
        value >>= 7;
        place += 1;
    }
    *out.get_mut(place)? = value as u8;
    Some(place + 1)
}

/// Small magnitudes of either sign become small numbers.
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_every_length_boundary_round_trip_and_longer_forms_are_refused() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = [0; LEN_MAX + 1];
                let len = write(&mut out, 0, value).unwrap();
                let mut rest = &out[..len];
                assert_eq!(read(&mut rest), Some(value));
                assert!(rest.is_empty());
                out[len - 1] |= 0x80;
                out[len] = 0;
                assert_eq!(read(&mut &out[..=len]), None, "overlong form of {value}");
            }
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        assert_eq!(read(&mut &[0xFF; 9][..]), None);
        let mut bytes = [0xFF; 10];
        bytes[9] = 2;
        assert_eq!(read(&mut &bytes[..]), None);
    }

    #[test]
    fn zigzag_keeps_the_extremes() {
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }
}
