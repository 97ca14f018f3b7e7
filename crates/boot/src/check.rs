//! The check of a kernel by the rules of a machine's `kexec_file_load(2)`.

use alloc::format;
use alloc::vec::Vec;

use crate::arch::{Arch, Platform};
use crate::format::KernelFormat;
use crate::kernel::Kernel;
use crate::problem::{EINVAL, ENOEXEC, ENOSYS, Problem, Severity, cut_off};

impl Kernel {
    /// Returns what the kernel of `platform` would object to, and what would go
    /// wrong without an objection. Nothing means that the image is as it should
    /// be; signatures and memory are looked at by that kernel alone.
    #[must_use]
    pub fn check(&self, platform: &Platform) -> Vec<Problem> {
        let mut problems: Vec<_> = self.check_fit(platform).into_iter().collect();
        // The loader of another machine would not get to these.
        if !problems.iter().any(Problem::is_refusal) {
            problems.extend(self.check_header(platform));
        }
        if self.is_cut() {
            let len = self.len;
            let setup = self.setup.as_ref();
            let is_noticed = self.format == KernelFormat::Elf
                || setup.is_some_and(|setup| setup.is_noticed(len));
            let severity = match is_noticed {
                true => Severity::Refused(ENOEXEC),
                false => Severity::Fatal,
            };
            problems.push(Problem::new(severity, cut_off(self.needed, len)));
        }
        for fault in &self.faults {
            if !problems.iter().any(|problem| problem.fault == *fault) {
                problems.push(Problem::new(Severity::Unnoticed, fault.clone()));
            }
        }
        problems
    }

    /// Returns what is wrong with a command line of `len` bytes, without NUL.
    #[must_use]
    pub fn check_cmdline(&self, len: usize) -> Option<Problem> {
        let limit = self.cmdline_limit?;
        if u32::try_from(len).is_ok_and(|len| len <= limit.bytes) {
            return None;
        }
        let severity = if limit.refused {
            Severity::Refused(EINVAL)
        } else {
            Severity::Unnoticed
        };
        let (most, source) = (limit.bytes, limit.source);
        let fault =
            format!("the command line has {len} bytes, at most {most} are taken ({source})");
        Some(Problem::new(severity, fault))
    }

    fn check_fit(&self, platform: &Platform) -> Option<Problem> {
        let machine = platform.arch;
        let loader = machine.row();
        if loader.formats.is_empty() {
            let fault = format!("Linux has no kexec_file_load on {machine}: use kexec-tools there");
            return Some(Problem::refused(ENOSYS, fault));
        }
        // A 32-bit bzImage has a word of its own.
        let is_taken = |kernel| (kernel, machine) == (Arch::X86, Arch::X86_64);
        if let Some(kernel) = self.arch
            && kernel != machine
            && !is_taken(kernel)
        {
            let fault = format!(
                "the kernel is for {kernel}, this machine is {machine}: give one for {machine}"
            );
            return Some(Problem::refused(loader.errno, fault));
        }
        if !loader.formats.contains(&self.format) {
            let (format, takes) = (self.format, loader.takes);
            let fault = format!(
                "the kernel is packed as {format}, and {machine} loads {takes} only: give {takes}"
            );
            return Some(Problem::refused(loader.errno, fault));
        }
        let (kernel, machine) = (self.byte_order, platform.byte_order);
        (kernel != machine).then(|| {
            let fault = format!(
                "the kernel is {kernel}, this machine's is {machine}: give a {machine} one"
            );
            Problem::new((loader.other_order)(loader.errno), fault)
        })
    }

    fn check_header(&self, platform: &Platform) -> Vec<Problem> {
        let mut problems = match &self.setup {
            Some(setup) => setup.check(platform),
            None => Vec::new(),
        };
        if let (Some(needed), Some(running)) = (self.page_size, platform.page_size)
            && needed != running
        {
            // Only the size in use can be seen from here, not which ones the
            // processor knows.
            let (needed, running) = (needed >> 10, running >> 10);
            let fault = format!(
                "the kernel wants pages of {needed} KiB, this machine uses {running} KiB: its \
                 processor must know both"
            );
            problems.push(Problem::new(Severity::MayBeRefused(EINVAL), fault));
        }
        let is_flat = matches!(self.format, KernelFormat::Image | KernelFormat::LoongArchPe);
        if is_flat && self.memory_len == Some(0) {
            problems.push(Problem::refused(
                EINVAL,
                "the size in memory is 0, as before Linux 3.17 or in a zboot image: give a bare \
                 Image",
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::arch::ByteOrder;
    use crate::identify;
    use crate::testing::{self, put};

    /// Compares what a machine says of an image.
    fn check(machine: &Platform, image: &[u8], expected: Expect) {
        let problems = identify(image).unwrap().check(machine);
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    fn machine(uname: &str) -> Platform {
        Platform::from_uname(uname).unwrap()
    }

    #[test]
    fn each_machine_takes_its_own() {
        for (uname, image) in [
            ("x86_64", testing::bzimage()),
            ("aarch64", testing::arm64()),
            ("riscv64", testing::riscv64()),
            ("riscv64", testing::elf(243, 2, false)),
            ("loongarch64", testing::loongarch64()),
            ("loongarch64", testing::elf(258, 2, false)),
            ("ppc64le", testing::elf(21, 2, false)),
            ("ppc64", testing::elf(21, 3, true)),
            ("s390x", testing::s390()),
            ("s390x", testing::elf(22, 2, true)),
        ] {
            assert_eq!(
                identify(&image).unwrap().check(&machine(uname)),
                [],
                "{uname}"
            );
        }
    }

    #[test]
    fn machines_refuse_what_is_not_theirs() {
        check(
            &machine("x86_64"),
            &testing::arm64(),
            expect![
                "the kernel is for arm64, this machine is x86_64: give one for x86_64 (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check(
            &machine("aarch64"),
            &testing::bzimage(),
            expect![
                "the kernel is for x86_64, this machine is arm64: give one for arm64 (kexec_file_load would answer EINVAL)"
            ],
        );
        check(
            &machine("x86_64"),
            &testing::elf(62, 2, false),
            expect![
                "the kernel is packed as ELF, and x86_64 loads a bzImage (vmlinuz) only: give a bzImage (vmlinuz) (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check(
            &machine("aarch64"),
            &testing::elf(183, 2, false),
            expect![
                "the kernel is packed as ELF, and arm64 loads an Image only: give an Image (kexec_file_load would answer EINVAL)"
            ],
        );
        check(
            &machine("armv7l"),
            &testing::arm64(),
            expect![
                "Linux has no kexec_file_load on arm: use kexec-tools there (kexec_file_load would answer ENOSYS)"
            ],
        );
        check(
            &machine("s390x"),
            &testing::elf(22, 2, false),
            expect![
                "the kernel is little-endian, this machine's is big-endian: give a big-endian one (kexec_file_load would answer EINVAL)"
            ],
        );
    }

    /// Edits a bzImage.
    fn check_bzimage(at: usize, bytes: &[u8], expected: Expect) {
        let mut image = testing::bzimage();
        put(&mut image, at, bytes);
        check(&machine("x86_64"), &image, expected);
    }

    #[test]
    fn bzimage_rules() {
        check_bzimage(
            0x1fe,
            &[0, 0],
            expect![
                "boot_flag at 0x1fe: expected 0xaa55, found 0x0: the file is damaged (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check_bzimage(
            0x206,
            &[0x0b, 2],
            expect![
                "boot protocol 2.11, and 2.12 (Linux 3.8) is needed: give a newer kernel (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check_bzimage(
            0x211,
            &[0],
            expect![
                "a zImage, which loads below 1 MiB: build it as bzImage (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check_bzimage(
            0x236,
            &[0x22],
            expect![
                "a 32-bit kernel (XLF_KERNEL_64 is not set): give a 64-bit one (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check_bzimage(
            0x236,
            &[0x21],
            expect![
                "a kernel that cannot be loaded above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G is not set): build it with CONFIG_RELOCATABLE (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check_bzimage(
            0x234,
            &[0],
            expect![
                "a kernel that is not relocatable: build it with CONFIG_RELOCATABLE (kexec_file_load would not notice)"
            ],
        );
        check_bzimage(
            0x1f1,
            &[40],
            expect![
                "the kernel needs 0x5231 bytes, the file has 0x440: it was cut off, copy it again (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check_bzimage(
            0x1f4,
            &[5],
            expect![
                "the kernel needs 0x441 bytes, the file has 0x440: it was cut off, copy it again (kexec_file_load would not notice, and it would not start)"
            ],
        );
    }

    #[test]
    fn an_old_bzimage_is_old_at_home_and_foreign_elsewhere() {
        let mut image = testing::bzimage();
        put(&mut image, 0x206, &[0x0b, 2]);
        check(
            &machine("x86_64"),
            &image,
            expect![
                "boot protocol 2.11, and 2.12 (Linux 3.8) is needed: give a newer kernel (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check(
            &machine("aarch64"),
            &image,
            expect![
                "the kernel is packed as bzImage, and arm64 loads an Image only: give an Image (kexec_file_load would answer EINVAL)"
            ],
        );
        assert_eq!(identify(&image).unwrap().home().arch, Arch::X86_64);
    }

    #[test]
    fn a_32_bit_bzimage_is_refused_for_that_alone() {
        let mut image = testing::bzimage();
        put(&mut image, 0x236, &[0, 0]);
        check(
            &machine("x86_64"),
            &image,
            expect![
                "a 32-bit kernel (XLF_KERNEL_64 is not set): give a 64-bit one (kexec_file_load would answer ENOEXEC)"
            ],
        );
        check(
            &machine("aarch64"),
            &image,
            expect![
                "the kernel is for x86, this machine is arm64: give one for arm64 (kexec_file_load would answer EINVAL)"
            ],
        );
        assert_eq!(identify(&image).unwrap().home().arch, Arch::X86_64);
    }

    #[test]
    fn bzimage_rules_that_depend_on_the_machine() {
        let mut image = testing::bzimage();
        put(&mut image, 0x236, &[3]);
        let mut machine = machine("x86_64");
        check(&machine, &image, expect![""]);
        machine.five_level_paging = Some(true);
        check(
            &machine,
            &image,
            expect![
                "a kernel without 5-level paging (XLF_5LEVEL is not set), which the running one uses: boot with no5lvl, or give a newer kernel (kexec_file_load would answer ENOEXEC)"
            ],
        );
        machine.five_level_paging = None;
        machine.efi_32bit = Some(true);
        check(
            &machine,
            &image,
            expect![
                "this machine's UEFI firmware is 32-bit: boot with efi=noruntime to kexec (kexec_file_load may answer ENOEXEC)"
            ],
        );
    }

    #[test]
    fn image_rules() {
        let mut image = testing::arm64();
        put(&mut image, 0x10, &[0; 8]);
        check(
            &machine("aarch64"),
            &image,
            expect![
                "the size in memory is 0, as before Linux 3.17 or in a zboot image: give a bare Image (kexec_file_load would answer EINVAL)"
            ],
        );
        let mut image = testing::arm64();
        put(&mut image, 0x10, &0x80_u64.to_le_bytes());
        check(
            &machine("aarch64"),
            &image,
            expect![
                "the size in memory (0x80) is less than half of the file (0x200) (kexec_file_load would not notice)"
            ],
        );
        let mut image = testing::arm64();
        put(&mut image, 0x18, &[0xb]);
        check(
            &machine("aarch64"),
            &image,
            expect![
                "the kernel is big-endian, this machine's is little-endian: give a little-endian one (kexec_file_load may answer EINVAL)"
            ],
        );
        check(
            &machine("aarch64_be"),
            &testing::arm64(),
            expect![
                "the kernel is little-endian, this machine's is big-endian: give a big-endian one (kexec_file_load may answer EINVAL)"
            ],
        );
        let mut riscv = testing::riscv64();
        put(&mut riscv, 0x18, &[1]);
        check(
            &machine("riscv64"),
            &riscv,
            expect![
                "the kernel is big-endian, this machine's is little-endian: give a little-endian one (kexec_file_load would answer EINVAL)"
            ],
        );
        let mut loongarch = testing::loongarch64();
        put(&mut loongarch, 0x10, &[0; 8]);
        check(
            &machine("loongarch64"),
            &loongarch,
            expect![
                "the size in memory is 0, as before Linux 3.17 or in a zboot image: give a bare Image (kexec_file_load would answer EINVAL)"
            ],
        );
    }

    #[test]
    fn page_sizes() {
        let mut machine = machine("aarch64");
        machine.page_size = Some(4096);
        check(&machine, &testing::arm64(), expect![""]);
        let mut image = testing::arm64();
        put(&mut image, 0x18, &[6]);
        check(
            &machine,
            &image,
            expect![
                "the kernel wants pages of 64 KiB, this machine uses 4 KiB: its processor must know both (kexec_file_load may answer EINVAL)"
            ],
        );
        put(&mut image, 0x18, &[0]);
        check(&machine, &image, expect![""]);
    }

    #[test]
    fn elf_rules() {
        check(
            &machine("ppc64"),
            &testing::elf(21, 2, false),
            expect![
                "the kernel is little-endian, this machine's is big-endian: give a big-endian one (kexec_file_load would not notice)"
            ],
        );
        let mut image = testing::elf(21, 2, false);
        put(&mut image, 0x60, &[0xff]);
        check(
            &machine("ppc64le"),
            &image,
            expect![
                "the kernel needs 0x1ff bytes, the file has 0x110: it was cut off, copy it again (kexec_file_load would answer ENOEXEC)"
            ],
        );
    }

    #[test]
    fn command_lines() {
        let check = |image: &[u8], len: usize, expected: Expect| {
            let problem = identify(image).unwrap().check_cmdline(len);
            expected.assert_eq(
                &problem
                    .map(|problem| problem.to_string())
                    .unwrap_or_default(),
            );
        };
        check(&testing::bzimage(), 2016, expect![""]);
        check(
            &testing::bzimage(),
            2017,
            expect![
                "the command line has 2017 bytes, at most 2016 are taken (cmdline_size of the kernel's header, less room for elfcorehdr=) (kexec_file_load would answer EINVAL)"
            ],
        );
        check(&testing::arm64(), 2047, expect![""]);
        check(
            &testing::arm64(),
            2048,
            expect![
                "the command line has 2048 bytes, at most 2047 are taken (COMMAND_LINE_SIZE of arm64) (kexec_file_load would not notice)"
            ],
        );
        check(&testing::s390(), 4094, expect![""]);
        check(
            &testing::s390(),
            4095,
            expect![
                "the command line has 4095 bytes, at most 4094 are taken (max_command_line_size of the kernel's parameter area) (kexec_file_load would answer EINVAL)"
            ],
        );
        check(&testing::elf(243, 2, false), usize::MAX, expect![""]);
        check(
            &testing::bzimage(),
            usize::MAX,
            expect![
                "the command line has 18446744073709551615 bytes, at most 2016 are taken (cmdline_size of the kernel's header, less room for elfcorehdr=) (kexec_file_load would answer EINVAL)"
            ],
        );
    }

    #[test]
    fn knows_machines_by_name() {
        assert_eq!(
            Platform::from_uname("i686").map(|machine| machine.arch),
            Some(Arch::X86)
        );
        assert_eq!(
            Platform::from_uname("armv7l").map(|machine| machine.arch),
            Some(Arch::Arm)
        );
        assert_eq!(Platform::from_uname("vax"), None);
        assert_eq!(machine("s390x").byte_order, ByteOrder::Big);
        assert_eq!(machine("ppc64le").byte_order, ByteOrder::Little);
    }
}
