//! Sizes as people write and read them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Context as _, LoaderError, Result};

/// A number of bytes, written as `4096`, `64K`, `64M` or `1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 3] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

impl FromStr for Size {
    type Err = LoaderError;

    fn from_str(text: &str) -> Result<Self> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper
            .strip_suffix("IB")
            .or(upper.strip_suffix('B'))
            .unwrap_or(&upper);
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((bare.strip_suffix(suffix)?, *unit)))
            .unwrap_or((bare, 1));
        let number: Option<u64> = number.trim().parse().ok();
        let bytes = number.and_then(|number| number.checked_mul(unit));
        let bytes = bytes.context(|| "expected a number of bytes, such as 4096, 64K, 64M or 1G")?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
            Some((suffix, unit)) => {
                let tenths = u128::from(bytes) * 10 / u128::from(*unit);
                write!(f, "{}.{} {suffix}iB", tenths / 10, tenths % 10)
            }
            None => write!(f, "{bytes} bytes"),
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
    fn writes_what_people_read() {
        assert_eq!(Size(512).to_string(), "512 bytes");
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
        assert_eq!(Size(229_638_144).to_string(), "219.0 MiB");
    }
}
