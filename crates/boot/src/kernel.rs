//! The facts about a kernel.

use alloc::string::String;
use alloc::vec::Vec;

use crate::arch::{Arch, ByteOrder, Platform};
use crate::bzimage::Setup;
use crate::format::{CmdlineLimit, KernelFormat};

/// A kernel, identified.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kernel {
    /// How it is packed.
    pub format: KernelFormat,
    /// The architecture that it runs on, where its header says so: a bzImage of a
    /// boot protocol before 2.12 does not.
    pub arch: Option<Arch>,
    /// The byte order that it runs in.
    pub(crate) byte_order: ByteOrder,
    /// The version in its header, if that names one: release, builder, number
    /// of the build. Control
    /// characters are escaped, bytes that are no UTF-8 replaced. Where it is
    /// absent, [`find_banner`](crate::find_banner) may know; not of a bzImage, which is
    /// compressed behind its header.
    pub version: Option<String>,
    /// Bytes of the image as it was given.
    pub(crate) len: u64,
    /// Bytes of the kernel itself: a signed one ends with its certificates, and
    /// whatever lies behind them must be cut, or its signature does not fit.
    pub true_len: u64,
    /// Bytes that the image has to have, where a header says so.
    pub(crate) needed: u64,
    /// Bytes that it takes in memory before it starts, where it says so.
    pub(crate) memory_len: Option<u64>,
    /// How long a command line may be, where there is a rule.
    pub(crate) cmdline_limit: Option<CmdlineLimit>,
    /// Whether it carries an Authenticode signature, good or bad.
    pub signed: bool,
    /// The faults that it has on every machine.
    pub(crate) faults: Vec<String>,
    /// The header of a bzImage, for the rules of its loader.
    pub(crate) setup: Option<Setup>,
    /// Bytes in a page, where it says so.
    pub(crate) page_size: Option<u64>,
    /// Bytes between a boundary in memory and the kernel, of an `Image`.
    pub(crate) text_offset: Option<u64>,
}

impl Kernel {
    /// Returns how many bytes a command line may have, without a NUL at the end,
    /// where there is a rule.
    #[must_use]
    pub fn cmdline_limit(&self) -> Option<u32> {
        Some(self.cmdline_limit?.bytes)
    }

    /// Returns whether bytes are missing at its end, without which it cannot start.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.needed > self.len
    }

    /// Returns how many bytes of memory the kernel takes at its start, if it says so.
    #[must_use]
    pub fn memory_len(&self) -> Option<u64> {
        self.memory_len
    }

    /// Returns how many bytes behind a boundary in memory (2 MiB on arm64) an `Image` wants to
    /// start.
    #[must_use]
    pub fn text_offset(&self) -> Option<u64> {
        self.text_offset
    }

    /// Returns what `uname -r` would print: the first word of the
    /// [version](Self::version), unless it is too long or no ASCII.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        let release = self.version.as_deref()?.split(' ').next()?;
        let is_release = (1..=RELEASE_MAX).contains(&release.len())
            && release.bytes().all(|byte| byte.is_ascii_graphic());
        is_release.then_some(release)
    }

    /// Returns a machine that the kernel is for, to [check](Kernel::check) it
    /// where no other is known. That of every bzImage is 64-bit: Linux loads
    /// them nowhere else.
    #[must_use]
    pub fn home(&self) -> Platform {
        Platform::usual(match self.arch {
            Some(Arch::X86) | None => Arch::X86_64,
            Some(arch) => arch,
        })
    }
}

/// Bytes of the longest release.
///
/// Linux, `include/uapi/linux/utsname.h`: `__NEW_UTS_LEN`.
pub const RELEASE_MAX: usize = 64;

/// An initrd without a file: a cpio archive that holds its trailer alone.
///
/// A kernel that gets no initrd at all may take up one that the first boot left
/// in memory, and panic. Padded to 512 bytes, as cpio writes it.
pub const EMPTY_INITRD: [u8; 512] = empty_initrd();

/// Format "new ASCII": magic, 13 fields of 8 hexadecimal digits, name.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would object"
)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, as above"
)]
const fn empty_initrd() -> [u8; 512] {
    // Fields: ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor,
    // rdevmajor, rdevminor, namesize (with its NUL), check.
    let header = b"070701\
        00000000000000000000000000000000\
        00000001\
        000000000000000000000000000000000000000000000000\
        0000000B\
        00000000\
        TRAILER!!!";
    let mut archive = [0; 512];
    let mut at = 0;
    while at < header.len() {
        archive[at] = header[at];
        at += 1;
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identify;
    use crate::testing;

    #[test]
    fn a_release_is_a_short_word() {
        let check = |version: &str, expected: Option<&str>| {
            let mut kernel = identify(&testing::bzimage()).unwrap();
            kernel.version = Some(version.to_owned());
            assert_eq!(kernel.release(), expected);
        };
        check("6.1.0-56-amd64 (builder@host) #1", Some("6.1.0-56-amd64"));
        check("6.12.1", Some("6.12.1"));
        check(" 6.12.1", None);
        check("6.12.1-höst", None);
        let longest = "6".repeat(RELEASE_MAX);
        check(&longest, Some(&longest));
        check(&format!("{longest}6 (builder@host)"), None);
    }

    #[test]
    fn the_empty_initrd_is_what_cpio_writes() {
        // `cpio -o -H newc </dev/null`.
        let expected = b"07070100000000000000000000000000000000000000010000000000000000\
            000000000000000000000000000000000000000B00000000TRAILER!!!\0";
        assert_eq!(&EMPTY_INITRD[..expected.len()], expected);
        assert!(EMPTY_INITRD[expected.len()..].iter().all(|&byte| byte == 0));
    }
}
