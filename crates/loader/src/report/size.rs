//! Sizes and counts as people write and read them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use ukexec_pe::counted;

/// A number of bytes, written as `4096`, `64K`, `64M` or `1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 3] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper
            .strip_suffix("IB")
            .or(upper.strip_suffix('B'))
            .unwrap_or(&upper);
        let bytes = with_unit(bare, &UNITS);
        let expected = "a number of bytes, such as 4096, 64K, 64M or 1G";
        bytes.map(Self).ok_or(SizeError(expected))
    }
}

/// A number of things, written as `500`, `20k`, `20M` or `1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

const THOUSANDS: [(&str, u64); 3] = [("G", 1_000_000_000), ("M", 1_000_000), ("K", 1_000)];

impl FromStr for Count {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let count = with_unit(&text.trim().to_ascii_uppercase(), &THOUSANDS);
        let expected = "a number, such as 500, 20k, 20M or 1G";
        count.map(Self).ok_or(SizeError(expected))
    }
}

/// Why a text is no size and no count.
#[derive(Debug, Error)]
#[error("expected {0}")]
pub struct SizeError(&'static str);

/// Returns the number that `text`, in capitals, begins with, times the unit behind
/// it.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = |(suffix, unit): &(&str, u64)| Some((text.strip_suffix(suffix)?, *unit));
    let (number, unit) = units.iter().find_map(split).unwrap_or((text, 1));
    let number: u64 = number.trim().parse().ok()?;
    number.checked_mul(unit)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
            Some((suffix, unit)) => {
                let tenths = u128::from(bytes) * 10 / u128::from(*unit);
                write!(f, "{}.{} {suffix}iB", tenths / 10, tenths % 10)
            }
            None => f.write_str(&counted(bytes, "byte")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65536),
            ("64m", 64 << 20),
            ("1GiB", 1 << 30),
            ("2 M", 2 << 20),
        ] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1T", "1.5G", "99999999999G"] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert_eq!(
                error,
                "expected a number of bytes, such as 4096, 64K, 64M or 1G"
            );
        }
    }

    #[test]
    fn reads_counts_of_1000() {
        for (text, count) in [
            ("0", 0),
            ("20000000", 20_000_000),
            ("20k", 20_000),
            ("20 K", 20_000),
            ("20M", 20_000_000),
            ("1g", 1_000_000_000),
        ] {
            assert_eq!(text.parse::<Count>().unwrap(), Count(count), "{text}");
        }
        for text in ["", "k", "-1", "1.5M", "1KiB", "64MB", "99999999999G"] {
            let error = text.parse::<Count>().unwrap_err().to_string();
            assert_eq!(error, "expected a number, such as 500, 20k, 20M or 1G");
        }
    }

    #[test]
    fn writes_what_people_read() {
        assert_eq!(Size(1).to_string(), "1 byte");
        assert_eq!(Size(512).to_string(), "512 bytes");
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(Size(229_638_144).to_string(), "219.0 MiB");
    }
}
