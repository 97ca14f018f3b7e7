//! GUIDs, as UEFI stores and writes them.

use core::fmt;

/// A GUID: 16 bytes, the first three groups in little-endian order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// Returns the GUID with these groups, as they are written in text; the
    /// last two are one number.
    pub(crate) const fn new(data1: u32, data2: u16, data3: u16, data4: u64) -> Self {
        let [a, b, c, d] = data1.to_le_bytes();
        let ([e, f], [g, h]) = (data2.to_le_bytes(), data3.to_le_bytes());
        let [i, j, k, l, m, n, o, p] = data4.to_be_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, j, k, rest @ ..] = self.0;
        let data1 = u32::from_le_bytes([a, b, c, d]);
        let (data2, data3) = (u16::from_le_bytes([e, g]), u16::from_le_bytes([h, i]));
        write!(f, "{data1:08x}-{data2:04x}-{data3:04x}-{j:02x}{k:02x}-")?;
        rest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_the_specification_writes_it() {
        let x509 = Guid([
            0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b,
            0xf0, 0x72,
        ]);
        assert_eq!(x509.to_string(), "a5c059a1-94e4-4aa7-87b5-ab155c2bf072");
        let new = Guid::new(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072);
        assert_eq!(x509, new);
    }
}
