//! s390: the flat image's parameter area.
//!
//! Spec: Linux `arch/s390/include/asm/setup.h` (`struct parmarea`) and
//! `arch/s390/boot/head.S`; the rules are those of
//! `arch/s390/kernel/machine_kexec_file.c`. Fields are big-endian.

use crate::bytes::Fields;
use crate::format::CmdlineLimit;

/// The fields of the parameter area that matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parmarea {
    max_command_line_size: u64,
    /// Offset of the version text.
    pub(crate) version_at: Option<u64>,
}

impl Parmarea {
    /// Where the area begins that [`Parmarea::read`] wants, and its length.
    pub(crate) const AT: u64 = 0x10000;
    pub(crate) const LEN: usize = 0x480;

    /// Reads the bytes from [`Parmarea::AT`], if they are an s390 image's.
    pub(crate) fn read(area: Fields<'_>) -> Option<Self> {
        if !area.has(0x8, b"S390EP") || area.0.len() < Self::LEN {
            return None;
        }
        Some(Self {
            max_command_line_size: area.u64_be(0x430)?,
            version_at: area.u64_be(0x428).filter(|&at| at != 0),
        })
    }

    /// The line with its NUL must be shorter than the size.
    pub(crate) fn cmdline_limit(&self) -> CmdlineLimit {
        let (size, source) = match u32::try_from(self.max_command_line_size) {
            Ok(0) | Err(_) => (896, "LEGACY_COMMAND_LINE_SIZE of s390"),
            Ok(size) => (size, "max_command_line_size of the kernel's parameter area"),
        };
        CmdlineLimit {
            bytes: size.saturating_sub(2),
            source,
            refused: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{self, check, check_change, put};

    #[test]
    fn identifies_an_s390_image() {
        check(
            &testing::s390(),
            expect![[r#"
            s390 image, s390x, big-endian
            version: Some("6.12.1-s390x (builder@host) #1 SMP")
            length: 69632 of 69632, signed: false
            memory: None
            cmdline: Some((4094, "max_command_line_size of the kernel's parameter area"))
            faults: []
        "#]],
        );
        let mut old = testing::s390();
        put(&mut old, 0x10428, &[0; 16]);
        check_change(
            &testing::s390(),
            &old,
            expect![[r#"
                version: None
                cmdline: Some((894, "LEGACY_COMMAND_LINE_SIZE of s390"))"#]],
        );
    }
}
