//! x86: the boot protocol's setup header.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel
//! Header"; the rules are those of `arch/x86/kernel/kexec-bzimage64.c`.

use serde::{Deserialize, Serialize};

use crate::arch::{Arch, Platform};
use crate::bytes::Fields;
use crate::error::BootError;
use crate::format::{CmdlineLimit, KernelFormat};
use crate::problem::{ENOEXEC, Problem, Severity};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The fields of the setup header that matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Boot protocol, major in the high byte.
    pub(crate) version: u16,
    boot_flag: u16,
    loadflags: u8,
    xloadflags: u16,
    relocatable: bool,
    cmdline_size: u32,
    init_size: u32,
    /// Bytes before the protected-mode kernel.
    pub(crate) setup_len: u64,
    /// Bytes that the protected-mode kernel has at least.
    body_min: u64,
    /// Offset of the version text.
    version_at: Option<u64>,
}

/// Returns whether `head` has the header's magic.
pub(crate) fn is_bzimage(head: Fields<'_>) -> bool {
    head.has(HEADER_AT, b"HdrS")
}

impl Setup {
    /// Reads the header from the first bytes of an image of `len` bytes.
    pub(crate) fn read(head: Fields<'_>, len: u64) -> Result<Self, BootError> {
        // A field that an older protocol lacks reads as zeros, or as code; the version
        // rules such kernels out before it matters.
        let short = || BootError::too_short(KernelFormat::BzImage, TWO_SECTORS, len);
        Self::fields(head).ok_or_else(short)
    }

    fn fields(head: Fields<'_>) -> Option<Self> {
        let setup_sects = match head.u8(0x1f1)? {
            // "For backwards compatibility, if the setup_sects field contains 0,
            // the real value is 4."
            0 => 4,
            count => u64::from(count),
        };
        // "If set to a nonzero value, contains a pointer to a NUL-terminated
        // human-readable kernel version number string, less 0x200."
        let version_at = match head.u16(0x20e)? {
            0 => None,
            offset => Some(u64::from(offset).saturating_add(0x200)),
        };
        Some(Self {
            version: head.u16(0x206)?,
            boot_flag: head.u16(0x1fe)?,
            loadflags: head.u8(0x211)?,
            xloadflags: head.u16(0x236)?,
            relocatable: head.u8(0x234)? != 0,
            cmdline_size: head.u32(0x238)?,
            init_size: head.u32(0x260)?,
            setup_len: setup_sects.saturating_add(1).saturating_mul(SECTOR),
            // "syssize: the size of the protected-mode code in units of 16-byte
            // paragraphs", the last of which need not be whole.
            body_min: match u64::from(head.u32(0x1f4)?).checked_sub(1) {
                Some(whole) => whole.saturating_mul(16).saturating_add(1),
                None => 0,
            },
            version_at,
        })
    }

    /// Returns where the version text lies, if it lies in the setup part.
    pub(crate) fn version_at(&self) -> Option<u64> {
        self.version_at.filter(|&at| at < self.setup_len)
    }

    /// Returns what the kernel runs on. Older headers end before `xloadflags`,
    /// which alone distinguishes 64-bit kernels from others.
    pub(crate) fn arch(&self) -> Option<Arch> {
        (self.version >= PROTOCOL_2_12).then_some(if self.xloadflags & KERNEL_64 == 0 {
            Arch::X86
        } else {
            Arch::X86_64
        })
    }

    /// Returns how many bytes of memory it needs from its start, before it
    /// knows more.
    pub(crate) fn memory_len(&self) -> Option<u64> {
        (self.version >= PROTOCOL_2_10).then_some(self.init_size.into())
    }

    /// Returns the limit that `kexec_file_load` enforces. It always keeps room
    /// for `elfcorehdr=`, and counts the NUL, which `cmdline_size` does not.
    pub(crate) fn cmdline_limit(&self) -> Option<CmdlineLimit> {
        (self.version >= PROTOCOL_2_06).then(|| CmdlineLimit {
            bytes: self.cmdline_size.saturating_sub(ELFCOREHDR + 1),
            source: "cmdline_size of the kernel's header, less room for elfcorehdr=",
            refused: true,
        })
    }

    /// Returns how many bytes the image has to have: an older header does not say
    /// how long the body is.
    pub(crate) fn needed(&self) -> u64 {
        match self.version {
            ..PROTOCOL_2_12 => self.setup_len,
            _ => self.setup_len.saturating_add(self.body_min),
        }
        .max(TWO_SECTORS)
    }

    /// Returns whether Linux takes an image of `len` bytes for cut off.
    pub(crate) fn is_noticed(&self, len: u64) -> bool {
        len < self.setup_len.max(TWO_SECTORS)
    }

    /// Returns what is wrong on any machine. An older header has not all that is
    /// looked at, and is refused for its age.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.version >= PROTOCOL_2_12 && !self.relocatable {
            faults.push(
                "a kernel that is not relocatable: build it with CONFIG_RELOCATABLE".to_owned(),
            );
        }
        faults
    }

    /// Returns what the loader finds, in its order.
    pub(crate) fn check(&self, platform: &Platform) -> Vec<Problem> {
        let Self {
            version, boot_flag, ..
        } = *self;
        let lacks = |flag| self.arch() == Some(Arch::X86_64) && self.xloadflags & flag == 0;
        let refused = [
            (
                boot_flag != BOOT_FLAG,
                format!(
                    "boot_flag at 0x1fe: expected 0xaa55, found {boot_flag:#x}: the file is damaged"
                ),
            ),
            (
                version < PROTOCOL_2_12,
                format!(
                    "boot protocol {}.{:02}, and 2.12 (Linux 3.8) is needed: give a newer kernel",
                    version >> 8,
                    version & 0xff
                ),
            ),
            (
                self.loadflags & LOADED_HIGH == 0,
                "a zImage, which loads below 1 MiB: build it as bzImage".to_owned(),
            ),
            (
                self.arch() == Some(Arch::X86),
                "a 32-bit kernel (XLF_KERNEL_64 is not set): give a 64-bit one".to_owned(),
            ),
            (
                lacks(CAN_BE_LOADED_ABOVE_4G),
                "a kernel that cannot be loaded above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G is not \
                 set): build it with CONFIG_RELOCATABLE"
                    .to_owned(),
            ),
            (
                lacks(FIVE_LEVEL) && platform.five_level_paging == Some(true),
                "a kernel without 5-level paging (XLF_5LEVEL is not set), which the running one \
                 uses: boot with no5lvl, or give a newer kernel"
                    .to_owned(),
            ),
        ];
        let refused = refused.into_iter().filter(|(is_so, _)| *is_so);
        let mut problems: Vec<_> = refused
            .map(|(_, fault)| Problem::refused(ENOEXEC, fault))
            .collect();
        if platform.efi_32bit == Some(true) {
            // Not where the running kernel leaves the firmware alone.
            problems.push(Problem::new(
                Severity::MayBeRefused(ENOEXEC),
                "this machine's UEFI firmware is 32-bit: boot with efi=noruntime to kexec",
            ));
        }
        problems
    }
}

/// The fields of the setup header that a boot loader needs to use the 64-bit entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupHeader {
    /// Bytes of the file in front of the protected-mode kernel.
    pub body_at: u64,
    /// Bytes that the kernel takes in memory before it knows more.
    pub init_size: u64,
    /// Where it likes to lie.
    pub pref_address: u64,
    /// The unit that its address must be a multiple of.
    pub kernel_alignment: u64,
    /// The header itself, from 0x1f1 on, which goes into the boot parameters.
    pub bytes: Vec<u8>,
}

impl SetupHeader {
    /// Reads the header from the first bytes of a bzImage, if that has a 64-bit entry and may
    /// lie anywhere.
    #[must_use]
    pub fn read(head: &[u8]) -> Option<Self> {
        let fields = Fields(head);
        let setup = is_bzimage(fields).then(|| Setup::fields(fields))??;
        let is_64_bit = setup.arch() == Some(Arch::X86_64);
        if !is_64_bit || !setup.relocatable || setup.xloadflags & CAN_BE_LOADED_ABOVE_4G == 0 {
            return None;
        }
        // "The end of setup header is at 0x202 + the byte value at offset 0x201."
        let end = usize::from(fields.u8(0x201)?).saturating_add(HEADER_AT);
        Some(Self {
            body_at: setup.setup_len,
            init_size: setup.init_size.into(),
            pref_address: fields.u64(0x258)?,
            kernel_alignment: fields.u32(0x230)?.into(),
            bytes: head.get(0x1f1..end)?.to_vec(),
        })
    }
}

const HEADER_AT: usize = 0x202;
const SECTOR: u64 = 512;
/// The bytes that the loader reads at least.
const TWO_SECTORS: u64 = 1024;
const BOOT_FLAG: u16 = 0xaa55;
/// The first protocol with `cmdline_size`.
const PROTOCOL_2_06: u16 = 0x206;
/// The first with `init_size`.
const PROTOCOL_2_10: u16 = 0x20a;
/// The first with `xloadflags` (Linux 3.8).
const PROTOCOL_2_12: u16 = 0x20c;
/// `loadflags`: the kernel is loaded at 1 MiB.
const LOADED_HIGH: u8 = 1;
/// `xloadflags`: has a 64-bit entry.
const KERNEL_64: u16 = 1;
/// `xloadflags`.
const CAN_BE_LOADED_ABOVE_4G: u16 = 2;
/// `xloadflags`: can start in 5-level paging mode.
const FIVE_LEVEL: u16 = 0x20;
/// `MAX_ELFCOREHDR_STR_LEN`.
const ELFCOREHDR: u32 = 30;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::identify;
    use crate::testing::{self, check, check_change, put};

    #[test]
    fn identifies_a_bzimage() {
        check(
            &testing::bzimage(),
            expect![[r#"
            bzImage, x86_64, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
            length: 1088 of 1088, signed: false
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: []
        "#]],
        );
    }

    #[test]
    fn the_header_of_a_64_bit_kernel() {
        let mut image = testing::bzimage();
        put(&mut image, 0x201, &[0x6a]);
        put(&mut image, 0x258, &0x100_0000_u64.to_le_bytes());
        put(&mut image, 0x230, &0x20_0000_u32.to_le_bytes());
        let header = super::SetupHeader::read(&image).unwrap();
        assert_eq!(header.bytes, image[0x1f1..0x26c]);
        let facts = (header.body_at, header.init_size);
        assert_eq!(facts, (1024, 0x100_0000));
        assert_eq!(
            (header.pref_address, header.kernel_alignment),
            (0x100_0000, 0x20_0000)
        );
        // 32-bit, below 4 GiB, not to be moved, something else.
        for (at, byte) in [(0x236, 0x22), (0x236, 0x21), (0x234, 0), (0x202, 0)] {
            let mut image = image.clone();
            image[at] = byte;
            assert_eq!(super::SetupHeader::read(&image), None);
        }
    }

    #[test]
    fn a_bzimage_may_name_no_version_or_one_outside() {
        let mut image = testing::bzimage();
        put(&mut image, 0x20e, &[0, 0]);
        assert_eq!(identify(&image).unwrap().version, None);
        put(&mut image, 0x20e, &[0xff, 0xff]);
        assert_eq!(identify(&image).unwrap().version, None);
        put(&mut image, 0x20e, &0x100_u16.to_le_bytes());
        put(&mut image, 0x300, b"\x90\x07\xff\0");
        assert_eq!(identify(&image).unwrap().version, None);
    }

    #[test]
    fn a_version_may_have_any_letters_and_steers_no_terminal() {
        let mut image = testing::bzimage();
        put(&mut image, 0x300, "6.6.6 (jürgen@höst) #1 SMP\0".as_bytes());
        let kernel = identify(&image).unwrap();
        assert_eq!(
            kernel.version.as_deref(),
            Some("6.6.6 (jürgen@höst) #1 SMP")
        );
        put(&mut image, 0x300, b"6.6.6\x1b[31m\n\xc2\x9b\0");
        let kernel = identify(&image).unwrap();
        assert_eq!(kernel.version.as_deref(), Some(r"6.6.6\u{1b}[31m\n\u{9b}"));
    }

    #[test]
    fn the_last_unit_of_syssize_need_not_be_whole() {
        let image = testing::bzimage();
        let is_cut = |len: usize| identify(&image[..len]).unwrap().is_cut();
        assert!(!is_cut(image.len() - 15));
        assert!(is_cut(image.len() - 16));
    }

    #[test]
    fn an_old_header_does_not_name_the_machine() {
        let mut image = testing::bzimage();
        put(&mut image, 0x206, &0x20b_u16.to_le_bytes());
        put(&mut image, 0x234, &[0, 0, 0, 0]);
        check_change(
            &testing::bzimage(),
            &image,
            expect!["bzImage, unknown, little-endian"],
        );
        put(&mut image, 0x206, &0x203_u16.to_le_bytes());
        check_change(
            &testing::bzimage(),
            &image,
            expect![[r#"
                bzImage, unknown, little-endian
                memory: None
                cmdline: None"#]],
        );
    }

    #[test]
    fn a_bzimage_that_ends_in_its_header_is_cut_off() {
        check(
            &testing::bzimage()[..0x210],
            expect![
                "bzImage: the header needs 0x400 bytes, the file has 0x210; it was cut off: copy it again"
            ],
        );
    }
}
