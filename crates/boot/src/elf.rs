//! ELF kernels.
//!
//! Spec: System V ABI, "Object Files"; the rules are those of
//! `kernel/kexec_elf.c`. Only what that loader looks at is looked at here.

use alloc::vec::Vec;
use ukexec_pe::ReadAt;

use crate::arch::{Arch, ByteOrder};
use crate::bytes::{Fields, read, wide};
use crate::error::BootError;
use crate::format::KernelFormat;
use crate::known;
use crate::look_alike::LookAlike;

/// The fields of an ELF kernel that matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elf {
    pub(crate) arch: Arch,
    pub(crate) byte_order: ByteOrder,
    /// Bytes in memory, from the first segment to the last one's end.
    pub(crate) memory_len: Option<u64>,
    /// Where the file's last segment ends.
    pub(crate) needed: u64,
}

impl Elf {
    /// Reads an image that begins with the magic.
    pub(crate) fn read(
        head: Fields<'_>,
        image: &(impl ReadAt + ?Sized),
    ) -> Result<Self, BootError> {
        let header = Header::read(head)?;
        if header.has_sections_alone()
            && let Some(look_alike) = LookAlike::of_sections(head, image)?
        {
            return Err(look_alike.into());
        }
        header.check_type()?;
        if header.is_x86()
            && let Some(multiboot) = LookAlike::of_multiboot(image)?
        {
            return Err(multiboot.into());
        }
        if header.class == CLASS_32 {
            return Err(header.look_alike_32(image)?.into());
        }
        let table = header.program_headers(image)?;
        let mut elf = Self {
            arch: Arch::of_elf(header.e_machine),
            byte_order: header.order,
            memory_len: None,
            needed: 0,
        };
        let (mut low, mut high) = (u64::MAX, 0_u64);
        for segment in table.chunks_exact(PHDR_LEN) {
            let segment = Ordered {
                fields: Fields(segment),
                order: header.order,
            };
            match segment.u32(0)? {
                PT_INTERP => return Err(LookAlike::from(known::PROGRAM).into()),
                PT_LOAD => {}
                _ => continue,
            }
            let (paddr, memsz) = (segment.u64(0x18)?, segment.u64(0x28)?);
            low = low.min(paddr);
            high = high.max(paddr.saturating_add(memsz));
            let end = segment.u64(0x8)?.saturating_add(segment.u64(0x20)?);
            elf.needed = elf.needed.max(end);
        }
        elf.memory_len = high.checked_sub(low);
        Ok(elf)
    }
}

/// Numbers in the file's own byte order.
#[derive(Clone, Copy)]
struct Ordered<'a> {
    fields: Fields<'a>,
    order: ByteOrder,
}

impl Ordered<'_> {
    fn bytes<const N: usize>(self, at: usize) -> Result<[u8; N], BootError> {
        let Fields(all) = self.fields;
        let short = || BootError::too_short(KernelFormat::Elf, EHDR_LEN, wide(all.len()));
        let mut bytes = *self.fields.from(at).first_chunk().ok_or_else(short)?;
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u16(self, at: usize) -> Result<u16, BootError> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Result<u32, BootError> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Result<u64, BootError> {
        self.bytes(at).map(u64::from_le_bytes)
    }
}

struct Header {
    order: ByteOrder,
    class: u8,
    e_type: u16,
    e_machine: u16,
    e_phoff: u64,
    e_phnum: u16,
}

impl Header {
    fn read(head: Fields<'_>) -> Result<Self, BootError> {
        // Where the file ends before them, they have no value that counts either.
        let class = head.u8(4).unwrap_or(0);
        let order = match head.u8(5).unwrap_or(0) {
            1 => ByteOrder::Little,
            2 => ByteOrder::Big,
            found => {
                return Err(BootError::elf("EI_DATA", "1 or 2", found));
            }
        };
        let fields = Ordered {
            fields: head,
            order,
        };
        // No 64-bit machine takes a 32-bit file, but it has a name.
        let (e_phoff, e_phnum) = if class == CLASS_32 {
            (fields.u32(0x1c)?.into(), fields.u16(0x2c)?)
        } else {
            (fields.u64(0x20)?, fields.u16(0x38)?)
        };
        let header = Self {
            order,
            class,
            e_type: fields.u16(0x10)?,
            e_machine: fields.u16(0x12)?,
            e_phoff,
            e_phnum,
        };
        if class == CLASS_32 {
            return Ok(header);
        }
        let e_phentsize = fields.u16(0x36)?;
        if header.e_phnum != 0 && usize::from(e_phentsize) != PHDR_LEN {
            return Err(BootError::elf("e_phentsize", "56", e_phentsize));
        }
        Ok(header)
    }

    fn has_sections_alone(&self) -> bool {
        self.class == CLASS_64 && self.order == ByteOrder::Little && self.e_phnum == 0
    }

    fn check_type(&self) -> Result<(), BootError> {
        let look_alike = match (self.e_type, self.e_machine) {
            (ET_EXEC | ET_DYN, _) => return self.check_class(),
            (ET_REL, EM_BPF) => known::BPF_OBJECT,
            (ET_REL, _) => known::OBJECT_FILE,
            (ET_CORE, _) => known::CORE_DUMP,
            (found, _) => {
                return Err(BootError::elf("e_type", "ET_EXEC (2) or ET_DYN (3)", found));
            }
        };
        Err(LookAlike::from(look_alike).into())
    }

    fn check_class(&self) -> Result<(), BootError> {
        if matches!(self.class, CLASS_32 | CLASS_64) {
            return Ok(());
        }
        Err(BootError::elf("EI_CLASS", "2 (64-bit)", self.class))
    }

    fn is_x86(&self) -> bool {
        matches!(self.e_machine, EM_386 | EM_X86_64)
    }

    /// Returns what a linked 32-bit file is.
    fn look_alike_32(&self, image: &(impl ReadAt + ?Sized)) -> Result<LookAlike, BootError> {
        let len = usize::from(self.e_phnum.min(MAX_SEGMENTS)).saturating_mul(PHDR_LEN_32);
        let table = read(image, self.e_phoff, len)?;
        let mut segments = table.chunks_exact(PHDR_LEN_32).map(|segment| Ordered {
            fields: Fields(segment),
            order: self.order,
        });
        let is_program = segments.any(|segment| matches!(segment.u32(0), Ok(PT_INTERP)));
        Ok(if is_program {
            known::PROGRAM.into()
        } else {
            LookAlike::of_elf32(self.e_machine)
        })
    }

    /// Returns the program header table's bytes.
    fn program_headers(&self, image: &(impl ReadAt + ?Sized)) -> Result<Vec<u8>, BootError> {
        if self.e_phnum == 0 || self.e_phoff == 0 {
            return Err(BootError::elf("e_phnum", "program headers", self.e_phnum));
        }
        if self.e_phnum > MAX_SEGMENTS {
            return Err(BootError::elf("e_phnum", "at most 1000", self.e_phnum));
        }
        let len = usize::from(self.e_phnum).saturating_mul(PHDR_LEN);
        let table = read(image, self.e_phoff, len)?;
        if table.len() < len {
            return Err(BootError::elf(
                "e_phoff",
                "a table inside the file",
                self.e_phoff,
            ));
        }
        Ok(table)
    }
}

const EHDR_LEN: u64 = 0x40;
const PHDR_LEN: usize = 56;
const PHDR_LEN_32: usize = 32;
/// A kernel has a handful; more would only be read for nothing.
const MAX_SEGMENTS: u16 = 1000;
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const ET_CORE: u16 = 4;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const EM_BPF: u16 = 247;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::testing::{self, check, put};

    #[test]
    fn identifies_elf_kernels() {
        check(
            &testing::elf(21, 3, true),
            expect![[r#"
            ELF, ppc64, big-endian
            version: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of powerpc"))
            faults: []
        "#]],
        );
        check(
            &testing::elf(62, 2, false),
            expect![[r#"
            ELF, x86_64, little-endian
            version: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: None
            faults: []
        "#]],
        );
        check(
            &testing::elf(40, 2, false),
            expect![[r#"
            ELF, ELF machine 40, little-endian
            version: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: None
            faults: []
        "#]],
        );
    }

    /// Its parser reads more of it; here its names decide.
    #[test]
    fn names_an_envelope() {
        let envelope = |names: &[u8]| {
            let mut image = testing::elf(183, 1, false);
            image[0x38] = 0;
            put(&mut image, 0x28, &0x80_u64.to_le_bytes());
            put(&mut image, 0x3e, &1_u16.to_le_bytes());
            put(&mut image, 0x80 + 0x40 + 0x18, &0x110_u64.to_le_bytes());
            put(
                &mut image,
                0x80 + 0x40 + 0x20,
                &(names.len() as u64).to_le_bytes(),
            );
            image.extend_from_slice(names);
            image
        };
        for names in [&b"\0.kernel\0.shstrtab\0"[..], b"\0.addon\0.uki\0"] {
            check(
                &envelope(names),
                expect![
                    "not a kernel but an envelope (ELF) that no parser unfolded; it takes a parser: leave out --no-embedded-parser, or give one with --parser"
                ],
            );
        }
        check(
            &envelope(b"\0.text\0.kernels\0"),
            expect!["not a kernel but an object file (ELF, not linked); give the linked kernel"],
        );
        check(
            &envelope(b"\0.kernel\0")[..0xd0],
            expect!["not a kernel but an object file (ELF, not linked); give the linked kernel"],
        );
    }

    #[test]
    fn says_what_is_wrong_with_an_elf_file() {
        let edit = |at: usize, bytes: &[u8], expected: Expect| {
            let mut image = testing::elf(243, 2, false);
            put(&mut image, at, bytes);
            check(&image, expected);
        };
        edit(
            4,
            &[3],
            expect!["not a kernel: EI_CLASS of the ELF header: expected 2 (64-bit), found 0x3"],
        );
        edit(
            5,
            &[0],
            expect!["not a kernel: EI_DATA of the ELF header: expected 1 or 2, found 0x0"],
        );
        edit(
            0x10,
            &[9, 0],
            expect![
                "not a kernel: e_type of the ELF header: expected ET_EXEC (2) or ET_DYN (3), found 0x9"
            ],
        );
        edit(
            0x36,
            &[32, 0],
            expect!["not a kernel: e_phentsize of the ELF header: expected 56, found 0x20"],
        );
        edit(
            0x38,
            &[0, 0],
            expect!["not a kernel: e_phnum of the ELF header: expected program headers, found 0x0"],
        );
        edit(
            0x38,
            &[0xff, 0xff],
            expect!["not a kernel: e_phnum of the ELF header: expected at most 1000, found 0xffff"],
        );
        edit(
            0x20,
            &[0xff; 8],
            expect![
                "not a kernel: e_phoff of the ELF header: expected a table inside the file, found 0xffffffffffffffff"
            ],
        );
        edit(
            0x60,
            &[0xff; 8],
            expect![[r#"
                ELF, riscv64, little-endian
                version: None
                length: 272 of 272, signed: false
                memory: Some(12288)
                cmdline: None
                faults: []
            "#]],
        );
        check(
            &testing::elf(243, 2, false)[..0x30],
            expect![
                "ELF: the header needs 0x40 bytes, the file has 0x30; it was cut off: copy it again"
            ],
        );
    }
}
