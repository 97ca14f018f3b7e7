//! x86_64: the page of boot parameters that a kernel finds its machine in, and the way into
//! its 64-bit entry.
//!
//! Spec: Linux `Documentation/arch/x86/boot.rst`, "64-bit Boot Protocol", and
//! `arch/x86/include/uapi/asm/{bootparam,setup_data}.h`. A crash kernel needs a copy of the
//! first 640 KiB as well, which is left to `kexec_file_load`.
//!
//! Left out are the disks that a BIOS found (EDD), which Linux only shows, and a device tree
//! (`SETUP_DTB`), which a few boards of Intel had.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use ukexec_boot::SetupHeader;

use crate::error::LayoutError;
use crate::layout::{Content, Layout, wide};
use crate::memory::MemoryMap;
use crate::ranges::len;
use crate::room::{Room, Spot};

/// An x86_64 kernel and the parts that are to be laid out with it.
#[derive(Clone, Debug)]
pub struct X86Wishes<'a> {
    /// The kernel's header.
    pub header: &'a SetupHeader,
    /// Bytes of the kernel's file that are placed, setup sectors included.
    pub file_len: u64,
    /// Bytes of the initrd, if there is one.
    pub initrd_len: Option<u64>,
    /// The kernel's command line, without a NUL.
    pub cmdline: &'a [u8],
    /// The machine.
    pub machine: &'a X86Machine,
    /// Fresh random bytes for the kernel's generator.
    pub seed: [u8; 32],
    /// The addresses that may be used.
    pub window: Range<u64>,
}

/// The facts that the first boot found, and the next finds in its boot parameters.
#[derive(Clone, Debug, Default)]
pub struct X86Machine {
    /// `/sys/kernel/boot_params/data`.
    pub boot_params: Vec<u8>,
    /// `/sys/firmware/memmap`: ranges, and the `type` of each.
    pub memmap: Vec<(Range<u64>, String)>,
    /// Its UEFI firmware, if the running kernel uses that.
    pub efi: Option<EfiFirmware>,
    /// The address of ACPI's root table, where no firmware names it: `ACPI20` of
    /// `/sys/firmware/efi/systab`.
    pub acpi_rsdp: Option<u64>,
}

/// UEFI firmware that a kernel has switched to virtual addresses, which is done once.
#[derive(Clone, Debug, Default)]
pub struct EfiFirmware {
    /// `/sys/firmware/efi/fw_vendor`.
    pub fw_vendor: u64,
    /// `/sys/firmware/efi/runtime`.
    pub runtime: u64,
    /// `/sys/firmware/efi/config_table`.
    pub config_table: u64,
    /// `SMBIOS` of `/sys/firmware/efi/systab`, or 0.
    pub smbios: u64,
    /// `/sys/firmware/efi/runtime-map`: type, physical and virtual address, pages, attribute.
    pub runtime_map: Vec<[u64; 5]>,
}

/// Finds a place for everything, and writes the boot parameters.
///
/// # Errors
///
/// There is no room, or the machine's boot parameters are no page.
pub fn lay_out_x86_64(wishes: &X86Wishes<'_>, memory: &MemoryMap) -> Result<Layout, LayoutError> {
    let header = wishes.header;
    let window = wishes.window.start.max(MIB)..wishes.window.end;
    let mut room = Room::new(memory, false, &window, PAGE)?;
    let spot = Spot {
        len: header.init_size,
        align: header.kernel_alignment,
        window: header.pref_address..u64::MAX,
        why: "at pref_address or above, at a multiple of kernel_alignment",
        ..Spot::ANY
    };
    let body = header.body_at..wishes.file_len;
    let kernel = room.put(Content::Kernel(body), &spot)?;
    let initrd = room.put_initrd(wishes.initrd_len, 0..u64::MAX, "anywhere above 1 MiB")?;
    let initrd = initrd.unwrap_or_default();
    // Its parts name addresses in it, so that it is written where it lies.
    let spot = Spot {
        why: "anywhere above 1 MiB",
        ..Spot::ANY
    };
    let draft = boot_params(0, wishes, &initrd)?;
    let at = room.put(Content::BootParams(draft), &spot)?.start;
    room.replace_last(Content::BootParams(boot_params(at, wishes, &initrd)?));
    let code = trampoline(kernel.start.saturating_add(ENTRY), at);
    let why = "a page, as the call itself leaves all registers 0";
    let entry = room.put_trampoline(&code, why)?;
    let layout = room.into_layout(entry);
    layout.check(memory, PAGE, false)?;
    Ok(layout)
}

/// Writes what the segment of boot parameters has: `struct boot_params`, the command line, the
/// map of UEFI's ranges, and a list of further data.
fn boot_params(
    base: u64,
    wishes: &X86Wishes<'_>,
    initrd: &Range<u64>,
) -> Result<Vec<u8>, LayoutError> {
    let machine = wishes.machine;
    let running = &machine.boot_params;
    if running.len() < PAGE_LEN {
        let len = running.len();
        return Err(LayoutError::new(format!(
            "/sys/kernel/boot_params/data: expected 4096 bytes, found {len}"
        )));
    }
    let mut page = Page(vec![0; PAGE_LEN]);
    page.put(SETUP_HEADER, &wishes.header.bytes);
    page.put(TYPE_OF_LOADER, &[LOADER_KEXEC]);
    for (at, len) in [(SCREEN_INFO, 0x40), (ACPI_RSDP, 8), (HARDWARE_SUBARCH, 4)] {
        page.copy(running, at, len);
    }
    if let Some(rsdp) = machine.acpi_rsdp {
        page.put(ACPI_RSDP, &rsdp.to_le_bytes());
    }
    page.put_halves(RAMDISK_IMAGE, EXT_RAMDISK_IMAGE, initrd.start);
    page.put_halves(RAMDISK_SIZE, EXT_RAMDISK_SIZE, len(initrd));

    let end = |bytes: &[u8]| {
        base.saturating_add(wide(PAGE_LEN))
            .saturating_add(wide(bytes.len()))
    };
    let mut behind = Vec::new();
    page.put_halves(CMD_LINE_PTR, EXT_CMD_LINE_PTR, end(&behind));
    behind.extend(wishes.cmdline);
    behind.push(0);
    pad(&mut behind);
    let mut data = Vec::new();
    if let Some(efi) = &machine.efi {
        let map: Vec<u8> = efi.runtime_map.iter().flat_map(descriptor).collect();
        page.copy(running, EFI_INFO, EFI_INFO_LEN);
        page.copy(running, SECURE_BOOT, 1);
        page.put(EFI_INFO + 8, &DESCRIPTOR_LEN.to_le_bytes());
        page.put(EFI_INFO + 12, &1_u32.to_le_bytes());
        page.put_halves(EFI_INFO + 16, EFI_INFO + 28, end(&behind));
        page.put(
            EFI_INFO + 20,
            wide(map.len()).to_le_bytes().get(..4).unwrap_or_default(),
        );
        behind.extend(map);
        let tables = [efi.fw_vendor, efi.runtime, efi.config_table, efi.smbios];
        let tables = tables.into_iter().chain([0; 8]).flat_map(u64::to_le_bytes);
        data.push((SETUP_EFI, tables.collect()));
    }
    let entries: Vec<_> = machine.memmap.iter().map(e820).collect();
    let (table, more) = entries.split_at(entries.len().min(E820_MAX));
    page.put(E820_TABLE, table.as_flattened());
    page.put(E820_COUNT, &[u8::try_from(table.len()).unwrap_or(0)]);
    if !more.is_empty() {
        data.push((SETUP_E820_EXT, more.as_flattened().to_vec()));
    }
    data.push((SETUP_RNG_SEED, wishes.seed.to_vec()));
    page.put(SETUP_DATA, &end(&behind).to_le_bytes());
    let count = data.len();
    for (index, (kind, mut bytes)) in data.into_iter().enumerate() {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        pad(&mut bytes);
        let behind_it = end(&behind)
            .saturating_add(16)
            .saturating_add(wide(bytes.len()));
        let is_last = index.saturating_add(1) == count;
        behind.extend(if is_last { 0 } else { behind_it }.to_le_bytes());
        behind.extend(u32::to_le_bytes(kind));
        behind.extend(size.to_le_bytes());
        behind.extend(bytes);
    }
    Ok([page.0, behind].concat())
}

/// `struct boot_params`.
struct Page(Vec<u8>);

impl Page {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let room = self.0.get_mut(at..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    /// Copies a field of the running kernel's.
    fn copy(&mut self, running: &[u8], at: usize, len: usize) {
        let field = running.get(at..).and_then(|it| it.get(..len));
        self.put(at, field.unwrap_or_default());
    }

    /// Writes a number whose upper half is a field of its own.
    fn put_halves(&mut self, low_at: usize, high_at: usize, value: u64) {
        let [a, b, c, d, high @ ..] = value.to_le_bytes();
        self.put(low_at, &[a, b, c, d]);
        self.put(high_at, &high);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// `efi_memory_desc_t`; the type is followed by padding.
fn descriptor(range: &[u64; 5]) -> Vec<u8> {
    range.map(u64::to_le_bytes).as_flattened().to_vec()
}

/// `struct boot_e820_entry`: start, length, type.
fn e820((range, kind): &(Range<u64>, String)) -> [u8; 20] {
    // Linux, `arch/x86/kernel/e820.c`, `e820_type_to_string`.
    let kind: u32 = match kind.as_str() {
        "System RAM" => 1,
        "ACPI Tables" => 3,
        "ACPI Non-volatile Storage" => 4,
        "Unusable memory" => 5,
        "Persistent Memory" => 7,
        "Persistent Memory (legacy)" => 12,
        "Soft Reserved" => 0xefff_ffff,
        _ => 2,
    };
    let mut entry = [0; 20];
    let numbers = [range.start, len(range)]
        .into_iter()
        .flat_map(u64::to_le_bytes);
    for (to, from) in entry.iter_mut().zip(numbers.chain(kind.to_le_bytes())) {
        *to = from;
    }
    entry
}

/// Loads the address of the boot parameters into `rsi` and jumps. The running kernel leaves the
/// processor in 64-bit mode, with all memory mapped at its own addresses.
fn trampoline(entry: u64, boot_params: u64) -> Vec<u8> {
    let (rsi, rax) = (boot_params.to_le_bytes(), entry.to_le_bytes());
    // mov rsi, boot_params; mov rax, entry; jmp rax
    [&[0x48, 0xbe][..], &rsi, &[0x48, 0xb8], &rax, &[0xff, 0xe0]].concat()
}

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const PAGE_LEN: usize = 4096;
/// The 64-bit entry point, from the kernel's start.
const ENTRY: u64 = 0x200;
/// `LOADER_TYPE_KEXEC`, in the upper half.
const LOADER_KEXEC: u8 = 0xd0;
const E820_MAX: usize = 128;
const DESCRIPTOR_LEN: u32 = 40;

const SCREEN_INFO: usize = 0;
const ACPI_RSDP: usize = 0x70;
const EXT_RAMDISK_IMAGE: usize = 0xc0;
const EXT_RAMDISK_SIZE: usize = 0xc4;
const EXT_CMD_LINE_PTR: usize = 0xc8;
const EFI_INFO: usize = 0x1c0;
const EFI_INFO_LEN: usize = 0x20;
const E820_COUNT: usize = 0x1e8;
const SECURE_BOOT: usize = 0x1ec;
const SETUP_HEADER: usize = 0x1f1;
const TYPE_OF_LOADER: usize = 0x210;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const HARDWARE_SUBARCH: usize = 0x23c;
const SETUP_DATA: usize = 0x250;
const E820_TABLE: usize = 0x2d0;

const SETUP_E820_EXT: u32 = 1;
const SETUP_EFI: u32 = 4;
const SETUP_RNG_SEED: u32 = 9;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{X86_64, changes, memory};

    /// A machine whose screen, and whose UEFI system table, can be told by their bytes.
    fn machine() -> X86Machine {
        let mut boot_params = vec![0; 4096];
        boot_params[..0x40].fill(0x5c);
        boot_params[0x1c0..0x1e0].fill(0xef);
        boot_params[0x1e8] = 99;
        let memmap = [
            (0..0x9_fc00, "System RAM"),
            (0x9_fc00..0xa_0000, "Reserved"),
            (0x10_0000..0x7ffe_0000, "System RAM"),
            (0x7ffe_0000..0x8000_0000, "ACPI Tables"),
        ];
        X86Machine {
            boot_params,
            memmap: memmap.map(|(range, kind)| (range, kind.to_owned())).into(),
            efi: None,
            acpi_rsdp: None,
        }
    }

    fn firmware() -> EfiFirmware {
        EfiFirmware {
            fw_vendor: 0x7e00_1000,
            runtime: 0x7e00_2000,
            config_table: 0x7e00_3000,
            smbios: 0x7e00_4000,
            runtime_map: vec![[
                5,
                0x7d00_0000,
                0xffff_fffe_fd00_0000,
                16,
                0x8000_0000_0000_000f,
            ]],
        }
    }

    /// A kernel like Debian's: 24 KiB of setup, 8 MiB of body, 48 MiB in memory.
    fn header() -> SetupHeader {
        SetupHeader {
            body_at: 24 << 10,
            init_size: 48 << 20,
            pref_address: 16 << 20,
            kernel_alignment: 2 << 20,
            bytes: vec![0x1d; 0x7b],
        }
    }

    fn lay_out(machine: &X86Machine) -> Result<Layout, LayoutError> {
        let wishes = X86Wishes {
            header: &header(),
            file_len: 8 << 20,
            initrd_len: Some(20_000_000),
            cmdline: b"console=ttyS0",
            machine,
            seed: [0xaa; 32],
            window: 0..u64::MAX,
        };
        lay_out_x86_64(&wishes, &memory(X86_64))
    }

    /// Returns the words of 32 bits in boot parameters that are not zero.
    fn words(layout: &Layout) -> String {
        let mut segments = layout.segments.iter();
        let bytes = segments.find_map(|it| match &it.content {
            Content::BootParams(bytes) => Some(bytes),
            _ => None,
        });
        let words = bytes.unwrap().chunks(16).enumerate();
        let lines = words.filter(|(_, line)| line.iter().any(|&byte| byte != 0));
        lines
            .map(|(at, line)| {
                let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{:04x}: {}\n", at * 16, hex.join(" "))
            })
            .collect()
    }

    /// Compares an error, or the lines by which the parameters differ from those of [`machine`].
    fn check(edit: impl FnOnce(&mut X86Machine), expected: Expect) {
        let mut edited = machine();
        edit(&mut edited);
        expected.assert_eq(&match lay_out(&edited) {
            Ok(layout) => changes(&words(&lay_out(&machine()).unwrap()), &words(&layout)),
            Err(error) => error.to_string(),
        });
    }

    #[test]
    fn a_layout() {
        expect![[r#"
            kernel      0x0001000000..0x0004000000  0x7fa000 bytes, at pref_address or above, at a multiple of kernel_alignment
            initrd      0x0004000000..0x0005313000 0x1312d00 bytes, anywhere above 1 MiB
            boot_params 0x0000100000..0x0000102000    0x1040 bytes, anywhere above 1 MiB
            trampoline  0x0000102000..0x0000103000      0x16 bytes, a page, as the call itself leaves all registers 0
            entry       0x0000102000"#]].assert_eq(&lay_out(&machine()).unwrap().to_string());
    }

    #[test]
    fn boot_parameters() {
        let usual = lay_out(&machine()).unwrap();
        expect![[r#"
            0000: 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c
            0010: 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c
            0020: 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c
            0030: 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c 5c
            01e0: 00 00 00 00 00 00 00 00 04 00 00 00 00 00 00 00
            01f0: 00 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d
            0200: 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d
            0210: d0 1d 1d 1d 1d 1d 1d 1d 00 00 00 04 00 2d 31 01
            0220: 1d 1d 1d 1d 1d 1d 1d 1d 00 10 10 00 1d 1d 1d 1d
            0230: 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 00 00 00 00
            0240: 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d
            0250: 10 10 10 00 00 00 00 00 1d 1d 1d 1d 1d 1d 1d 1d
            0260: 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 1d 00 00 00 00
            02d0: 00 00 00 00 00 00 00 00 00 fc 09 00 00 00 00 00
            02e0: 01 00 00 00 00 fc 09 00 00 00 00 00 00 04 00 00
            02f0: 00 00 00 00 02 00 00 00 00 00 10 00 00 00 00 00
            0300: 00 00 ee 7f 00 00 00 00 01 00 00 00 00 00 fe 7f
            0310: 00 00 00 00 00 00 02 00 00 00 00 00 03 00 00 00
            1000: 63 6f 6e 73 6f 6c 65 3d 74 74 79 53 30 00 00 00
            1010: 00 00 00 00 00 00 00 00 09 00 00 00 20 00 00 00
            1020: aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa
            1030: aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa
        "#]]
        .assert_eq(&words(&usual));
        check(
            |it| it.acpi_rsdp = Some(0x7ff0_0014),
            expect![[r#"
                +0070: 14 00 f0 7f 00 00 00 00 00 00 00 00 00 00 00 00
            "#]],
        );
        check(
            |it| it.efi = Some(firmware()),
            expect![[r#"
                -0250: 10 10 10 00 00 00 00 00 1d 1d 1d 1d 1d 1d 1d 1d
                -1010: 00 00 00 00 00 00 00 00 09 00 00 00 20 00 00 00
                -1020: aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa
                -1030: aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa
                +01c0: ef ef ef ef ef ef ef ef 28 00 00 00 01 00 00 00
                +01d0: 10 10 10 00 28 00 00 00 ef ef ef ef 00 00 00 00
                +0250: 38 10 10 00 00 00 00 00 1d 1d 1d 1d 1d 1d 1d 1d
                +1010: 05 00 00 00 00 00 00 00 00 00 00 7d 00 00 00 00
                +1020: 00 00 00 fd fe ff ff ff 10 00 00 00 00 00 00 00
                +1030: 0f 00 00 00 00 00 00 80 a8 10 10 00 00 00 00 00
                +1040: 04 00 00 00 60 00 00 00 00 10 00 7e 00 00 00 00
                +1050: 00 20 00 7e 00 00 00 00 00 30 00 7e 00 00 00 00
                +1060: 00 40 00 7e 00 00 00 00 00 00 00 00 00 00 00 00
                +10b0: 09 00 00 00 20 00 00 00 aa aa aa aa aa aa aa aa
                +10c0: aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa aa
                +10d0: aa aa aa aa aa aa aa aa
            "#]],
        );
        check(
            |it| it.boot_params.truncate(100),
            expect!["/sys/kernel/boot_params/data: expected 4096 bytes, found 100"],
        );
    }

    #[test]
    fn ranges_that_the_page_has_no_room_for_follow() {
        let mut machine = machine();
        let range = |at: u64| (at << 20..(at + 1) << 20, "System RAM".to_owned());
        machine.memmap = (0..130).map(range).collect();
        let layout = lay_out(&machine).unwrap();
        let bytes = layout.segments.iter().find_map(|it| match &it.content {
            Content::BootParams(bytes) => Some((bytes, it.memory.start)),
            _ => None,
        });
        let (bytes, base) = bytes.unwrap();
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(bytes[E820_COUNT], 128);
        assert_eq!(u64_at(E820_TABLE + 127 * 20), 127 << 20);
        // The list: the rest of the map, then the seed, which ends it.
        let first = usize::try_from(u64_at(SETUP_DATA) - base).unwrap();
        assert_eq!(u64_at(first + 8), 40 << 32 | 1);
        assert_eq!(u64_at(first + 16), 128 << 20);
        let second = usize::try_from(u64_at(first) - base).unwrap();
        assert_eq!((u64_at(second), u64_at(second + 8)), (0, 32 << 32 | 9));
        assert_eq!(bytes.len(), second + 16 + 32);
    }

    #[test]
    fn the_trampoline_names_the_entry_and_the_parameters() {
        let code = trampoline(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00);
        // As `as` writes it.
        assert_eq!(code.len(), 22);
        assert_eq!(code[..3], [0x48, 0xbe, 0x00]);
        assert_eq!(code[10..13], [0x48, 0xb8, 0x88]);
        assert_eq!(code[20..], [0xff, 0xe0]);
    }

    proptest! {
        #[test]
        fn every_layout_passes_the_check(
            init_size in any::<u32>(),
            shift in 0..40,
            pref_address in 0..1_u64 << 33,
            body_at in 0..1_u64 << 20,
        ) {
            let header = SetupHeader {
                init_size: init_size.into(),
                pref_address,
                kernel_alignment: 1_u64 << shift,
                body_at,
                ..header()
            };
            let wishes = X86Wishes {
                header: &header,
                file_len: 1 << 19,
                initrd_len: None,
                cmdline: b"",
                machine: &machine(),
                seed: [0; 32],
                window: 0..u64::MAX,
            };
            if let Ok(layout) = lay_out_x86_64(&wishes, &memory(X86_64)) {
                layout.check(&memory(X86_64), 4096, false).unwrap();
                let at = layout.segments[0].memory.start;
                prop_assert!(at >= pref_address && at % header.kernel_alignment == 0);
            }
        }
    }
}
