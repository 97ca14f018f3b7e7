//! The checksum of an image, as `CheckSumMappedFile` computes it: the
//! one's-complement sum of all 16-bit words, `CheckSum` itself taken as 0,
//! plus the length of the file.

use crate::read::wide;

/// Bytes of the `CheckSum` field.
const FIELD_LEN: usize = 4;

/// Returns the checksum of `image`, whose `CheckSum` field is at `field`.
pub(crate) fn checksum(image: &[u8], field: usize) -> u32 {
    // An image that ends in front of the field's end has nothing behind it.
    let (before, from_field) = image.split_at_checked(field).unwrap_or((image, &[]));
    let behind = from_field.get(FIELD_LEN..).unwrap_or_default();
    let [even, odd] = sum_bytes(before);
    // Words are counted from the start of the file, not of a slice.
    let [behind_even, behind_odd] = match field.is_multiple_of(2) {
        true => sum_bytes(behind),
        false => {
            let [even, odd] = sum_bytes(behind);
            [odd, even]
        }
    };
    let low = u128::from(even).saturating_add(u128::from(behind_even));
    let high = u128::from(odd).saturating_add(u128::from(behind_odd));
    let sum = fold(low.saturating_add(high << 8));
    let [a, b, c, d, ..] = wide(image.len()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).wrapping_add(u32::from(sum))
}

/// Returns the sums of the bytes at even and at odd positions.
fn sum_bytes(bytes: &[u8]) -> [u64; 2] {
    const LANES: u64 = 0x00ff_00ff_00ff_00ff;
    // 256 times 255 fits in each 16-bit lane, so that lanes need no carry.
    const RUN: usize = 256 * 8;
    let mut sums = [0_u64; 2];
    for run in bytes.chunks(RUN) {
        let (words, rest) = run.as_chunks::<8>();
        let mut lanes = [0_u64; 2];
        for word in words {
            let word = u64::from_le_bytes(*word);
            lanes[0] = lanes[0].wrapping_add(word & LANES);
            lanes[1] = lanes[1].wrapping_add((word >> 8) & LANES);
        }
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            for shift in [0, 16, 32, 48] {
                *sum = sum.saturating_add((lanes >> shift) & 0xffff);
            }
        }
        for pair in rest.chunks(2) {
            for (sum, byte) in sums.iter_mut().zip(pair) {
                *sum = sum.saturating_add(u64::from(*byte));
            }
        }
    }
    sums
}

/// Adds the carries back in until 16 bits are left.
fn fold(mut sum: u128) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(sum) => return sum,
            Err(_more_bits) => sum = (sum & 0xffff).saturating_add(sum >> 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, word by word.
    fn naive(image: &[u8], field: usize) -> u32 {
        let mut image = image.to_vec();
        image[field..field + FIELD_LEN].fill(0);
        let len = u32::try_from(image.len()).unwrap();
        if image.len() % 2 == 1 {
            image.push(0);
        }
        let sum = image.chunks(2).fold(0_u32, |sum, word| {
            let sum = sum + u32::from(word[0]) + (u32::from(word[1]) << 8);
            (sum & 0xffff) + (sum >> 16)
        });
        len + sum
    }

    #[test]
    fn agrees_word_by_word_on_the_largest_sums() {
        for len in [4, 5, 2047, 2048, 2049, 70_001] {
            let image = vec![0xff; len];
            for field in [0, 1] {
                if field + FIELD_LEN <= len {
                    assert_eq!(
                        checksum(&image, field),
                        naive(&image, field),
                        "{len} {field}"
                    );
                }
            }
        }
        assert_eq!(checksum(&[0; 6], 0), 6);
    }

    proptest! {
        #[test]
        fn agrees_word_by_word(image in prop::collection::vec(any::<u8>(), 4..5000), field in 0_usize..5000) {
            let field = field % (image.len() - FIELD_LEN + 1);
            prop_assert_eq!(checksum(&image, field), naive(&image, field));
        }
    }
}
