//! Naming images that are no kernel.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use ukexec_pe::{PeImage, ReadAt, Section, Subsystem};

use crate::bytes::{Fields, HEAD_LEN, printable, read};
use crate::error::BootError;
use crate::known;
use crate::look_alike::LookAlike;

impl LookAlike {
    /// Names an image that begins like a zboot image.
    pub(crate) fn of_zboot(head: Fields<'_>) -> Option<Self> {
        // Linux 6.1 writes no 0x818223cd at 0x38, so this is all there is.
        if !head.has(0, b"MZ") || !head.has(4, b"zimg") {
            return None;
        }
        let is_name = |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic());
        let compression = head
            .text(0x18, 0x20)
            .filter(is_name)
            .unwrap_or_else(|| "compression unknown".to_owned());
        let name = format!("an EFI zboot image ({compression}) that no parser unfolded");
        Some(Self::for_parsers(name, known::NEEDS_PARSER))
    }

    /// Names a 64-bit little-endian ELF file that has an image or parsers in sections, as the
    /// kernel series packs them. The names of all sections lie in one of them.
    pub(crate) fn of_sections(
        head: Fields<'_>,
        image: &(impl ReadAt + ?Sized),
    ) -> Result<Option<Self>, BootError> {
        let (Some(table), Some(index)) = (head.u64(0x28), head.u16(0x3e)) else {
            return Ok(None);
        };
        let at = table.saturating_add(u64::from(index).saturating_mul(64));
        let section = read(image, at, 64)?;
        let (Some(at), Some(len)) = (Fields(&section).u64(0x18), Fields(&section).u64(0x20)) else {
            return Ok(None);
        };
        let len = usize::try_from(len).map_or(HEAD_LEN, |len| len.min(HEAD_LEN));
        let names = read(image, at, len)?;
        let has = |name: &[u8]| names.windows(name.len()).any(|it| it == name);
        if has(b"\0.kernel\0") || has(b"\0.uki\0") {
            let name = "an envelope (ELF) that no parser unfolded".to_owned();
            return Ok(Some(Self::for_parsers(name, known::NEEDS_PARSER)));
        }
        let holds_parser = has(b"\0.bpf.1\0") || has(b"\0.bpf.nested\0");
        Ok(holds_parser.then(|| known::PARSER_CONTAINER.into()))
    }

    /// Names a zImage of 32-bit Arm, which may be a PE file as well.
    pub(crate) fn of_arm_zimage(head: Fields<'_>) -> Option<Self> {
        let (at, magic, known) = known::ARM_ZIMAGE;
        head.has(at, magic).then(|| known.into())
    }

    /// Names a PE file that is no kernel by itself.
    pub(crate) fn of_pe(pe: &PeImage, image: &(impl ReadAt + ?Sized)) -> Self {
        if pe.section(".linuxh").is_some() || pe.section(".initrdh").is_some() {
            // The second is what the first was called at first.
            let kernel = pe.section(".linux").or_else(|| pe.section(".kernelp"));
            let kernel = kernel.and_then(|section| path(section, image));
            let (name, advice) = known::LANZABOOTE_STUB;
            return match kernel {
                Some(path) => Self::named(format!("{name} (kernel: {path})"), advice),
                None => known::LANZABOOTE_STUB.into(),
            };
        }
        if pe.section(".linux").is_some() {
            return known::UKI.into();
        }
        // Xen `docs/misc/efi.pandoc`, "Unified Xen kernel image". Its .ucode is
        // an addon's, too.
        if pe.section(".kernel").is_some() {
            return known::XEN_UNIFIED.into();
        }
        let parts = ADDON_PARTS.iter().filter(|name| pe.section(name).is_some());
        let parts: Vec<&str> = parts.copied().collect();
        let (addon, advice) = known::UKI_ADDON;
        if !parts.is_empty() {
            return Self::named(format!("{addon} ({})", parts.join(", ")), advice);
        }
        match loader_name(pe, image) {
            Some(name) if name.starts_with("systemd-stub") => {
                let name = format!("a UKI stub without a kernel ({name})");
                Self::named(name, "build a UKI with it (`ukify build`), and give that")
            }
            Some(name) if name.starts_with("systemd-addon") => known::UKI_ADDON.into(),
            Some(name) if name.starts_with("xen") => known::XEN.into(),
            Some(name) => Self::named(format!("the boot loader {name}"), known::BOOTED),
            None => Self::of_subsystem(pe.subsystem()),
        }
    }

    /// Names a PE file by what it is to run under.
    fn of_subsystem(subsystem: Subsystem) -> Self {
        let known = match subsystem {
            Subsystem::EFI_APPLICATION => known::EFI_APPLICATION,
            Subsystem::EFI_BOOT_SERVICE_DRIVER | Subsystem::EFI_RUNTIME_DRIVER => known::EFI_DRIVER,
            _ => known::WINDOWS_PROGRAM,
        };
        known.into()
    }

    /// Names a PE32 file by what it is to run under.
    pub(crate) fn of_pe32(subsystem: Subsystem) -> Self {
        match subsystem {
            Subsystem::EFI_APPLICATION => known::EFI_PROGRAM_32.into(),
            _ => Self::of_subsystem(subsystem),
        }
    }

    /// Names a 32-bit ELF file, as far as it is linked.
    pub(crate) fn of_elf32(machine: u16) -> Self {
        let name = match (machine, known::elf_machine(machine)) {
            (EM_PPC, _) => return known::POWERPC_WRAPPER.into(),
            (_, Some(name)) => format!("a 32-bit ELF file for {name}"),
            (_, None) => format!("a 32-bit ELF file for machine {machine}"),
        };
        Self::named(name, known::OTHER)
    }

    /// Names an image with a multiboot header.
    pub(crate) fn of_multiboot(image: &(impl ReadAt + ?Sized)) -> Result<Option<Self>, BootError> {
        let bytes = read(image, 0, MULTIBOOT_2_MAX)?;
        let front = Fields(&bytes);
        // A magic and what follows it, which add up to 0.
        let is_header = |at: usize, magic: u32, words: usize| {
            let mut offsets = (at..).step_by(4).take(words);
            let sum = offsets.try_fold(0_u32, |sum, at| Some(sum.wrapping_add(front.u32(at)?)));
            front.u32(at) == Some(magic) && sum == Some(0)
        };
        let is_first = |at| at < MULTIBOOT_MAX && is_header(at, 0x1bad_b002, 3);
        let is_second = |at: usize| at.is_multiple_of(8) && is_header(at, 0xe852_50d6, 4);
        let mut places = (0..bytes.len()).step_by(4);
        let found = places.any(|at| is_first(at) || is_second(at));
        Ok(found.then(|| known::MULTIBOOT.into()))
    }

    /// Names an image by its first bytes.
    pub(crate) fn of_bytes(
        head: Fields<'_>,
        image: &(impl ReadAt + ?Sized),
    ) -> Result<Self, BootError> {
        if head.0.is_empty() {
            return Ok(known::EMPTY.into());
        }
        if let Some(found) = known::by_magic(head, image)? {
            return Ok(found);
        }
        if is_text(head.0) {
            return Ok(known::TEXT.into());
        }
        if let Some(found) = Self::of_multiboot(image)? {
            return Ok(found);
        }
        let mut name = "something unknown, beginning with".to_owned();
        for byte in head.0.iter().take(8) {
            name.push_str(&format!(" {byte:02x}"));
        }
        Ok(Self::for_parsers(name, known::ITSELF))
    }
}

/// Returns whether `bytes` are the beginning of a text.
fn is_text(bytes: &[u8]) -> bool {
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if error.error_len().is_none() => {
            // The error says that these are there, and are text.
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            core::str::from_utf8(valid).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_written = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\x0c');
    !text.is_empty() && text.chars().all(is_written)
}

/// Returns what a boot loader calls itself.
fn loader_name(pe: &PeImage, image: &(impl ReadAt + ?Sized)) -> Option<String> {
    // systemd: `#### LoaderInfo: systemd-boot 252.39-1 ####`.
    if let Some(magic) = pe
        .section(".sdmagic")
        .and_then(|section| text(section, image))
    {
        let name = magic.trim_matches(|c| c == '#' || c == ' ');
        return Some(printable(name.strip_prefix("LoaderInfo: ").unwrap_or(name)));
    }
    // SBAT: a line for the format, then one for each component:
    // name, generation, vendor, package, version, address.
    let sbat = pe
        .section(".sbat")
        .and_then(|section| text(section, image))?;
    let known = |name: &str| BOOT_LOADERS.contains(&name);
    sbat.lines().find_map(|line| {
        let mut fields = line.split(',');
        let name = fields.next().filter(|name| known(name))?;
        // A line that ends before it gives no version.
        let version = fields.nth(3).unwrap_or_default();
        Some(printable(format!("{name} {version}").trim_end()))
    })
}

/// Returns a section's first 4 KiB if they are text.
fn text(section: &Section, image: &(impl ReadAt + ?Sized)) -> Option<String> {
    let bytes = front(section, image)?;
    let bytes = bytes.split(|&byte| byte == 0).next()?;
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    (!text.is_empty()).then_some(text)
}

/// Returns a section's first 4 KiB if they are text in UTF-16.
fn wide_text(section: &Section, image: &(impl ReadAt + ?Sized)) -> Option<String> {
    let bytes = front(section, image)?;
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|&unit| u16::from_le_bytes(unit));
    let text = char::decode_utf16(units.take_while(|&unit| unit != 0));
    text.collect::<Result<String, _>>().ok()
}

/// Returns a section's first 4 KiB.
fn front(section: &Section, image: &(impl ReadAt + ?Sized)) -> Option<Vec<u8>> {
    let content = section.content();
    let len = usize::try_from(content.end.checked_sub(content.start)?).ok()?;
    read(image, content.start, len.min(4096)).ok()
}

/// Returns a section's content if it can be a path: UTF-8, or UTF-16 as in
/// UEFI. A path begins with a character of ASCII, and so the second byte
/// distinguishes them.
fn path(section: &Section, image: &(impl ReadAt + ?Sized)) -> Option<String> {
    let front = read(image, section.content().start, 2).ok()?;
    let path = match front.as_slice() {
        [1..=0x7f, 0] => wide_text(section, image)?,
        _ => text(section, image)?,
    };
    let path = path.trim_end();
    (!path.is_empty() && path.len() < 512).then(|| printable(path))
}

/// The sections that a UKI addon may hold (Unified Kernel Image specification, "Addons").
const ADDON_PARTS: &[&str] = &[
    ".cmdline", ".dtb", ".dtbauto", ".ucode", ".initrd", ".hwids", ".efifw",
];

/// Components that SBAT sections name.
const BOOT_LOADERS: &[&str] = &["shim", "grub", "refind", "limine", "ipxe", "u-boot", "xen"];

const EM_PPC: u16 = 20;
/// Multiboot specification, "OS image format": where the header must lie.
const MULTIBOOT_MAX: usize = 8 << 10;
/// Multiboot 2 specification, likewise.
const MULTIBOOT_2_MAX: usize = 32 << 10;

#[cfg(test)]
mod tests;
