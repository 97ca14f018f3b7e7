//! The flat kernels of arm64 and riscv64: one segment after the other gets the lowest place that
//! fits, or the highest, and the device tree says where they are.

use core::ops::Range;

use alloc::format;
use ukexec_boot::Arch;

use crate::device_tree::{Chosen, CrashMemory};
use crate::error::LayoutError;
use crate::layout::{Content, Layout};
use crate::memory::MemoryMap;
use crate::room::{Room, Spot};
use crate::wishes::Wishes;
use crate::{arm64, elfcorehdr, riscv64};

/// Finds a place for everything, and edits the device tree to say where.
///
/// The same input gives the same layout, and the layout passes [`Layout::check`].
///
/// # Errors
///
/// There is no room, the device tree is damaged or has no memory, the architecture is another
/// one, or no memory is reserved for the crash kernel that is asked for.
pub fn lay_out(wishes: &Wishes<'_>, memory: &MemoryMap) -> Result<Layout, LayoutError> {
    let rules = match wishes.kernel.arch {
        Arch::Arm64 => &arm64::RULES,
        Arch::Riscv64 => &riscv64::RULES,
        other => {
            return Err(LayoutError::new(format!(
                "kexec_load is done for arm64 and riscv64, and the kernel is for {other}"
            )));
        }
    };
    let is_crash = wishes.crash.is_some();
    let mut room = Room::new(memory, is_crash, &wishes.window, wishes.page_size)?;
    // Linux allocates the tables early, from the begin of memory. A kernel that lies over them
    // believes that they were reserved for it, and clears them (`gic_check_reserved_range`). A
    // crash kernel lies where none are.
    let has_warning = wishes.kernel.arch == Arch::Arm64 && !is_crash;
    let warning = wishes.device_tree.warning().filter(|_| has_warning);
    if warning.is_some() {
        room = room.filled_from_end();
    }
    let kernel = put_kernel(&mut room, wishes, rules)?;
    let window = (rules.window)(&kernel);
    let initrd = room.put_initrd(wishes.initrd_len, window.clone(), rules.initrd_why)?;
    let crash = put_elfcorehdr(&mut room, &kernel, wishes, memory, rules)?;
    let chosen = Chosen {
        cmdline: wishes.cmdline,
        initrd,
        seeds: &wishes.seeds,
        crash,
    };
    let spot = Spot {
        align: MIB_2,
        window,
        why: "at a multiple of 2 MiB, as it must not cross one",
        ..Spot::ANY
    };
    let device_tree = Content::DeviceTree(wishes.device_tree.write(&chosen)?);
    let device_tree = room.put(device_tree, &spot)?;
    let entry = match rules.trampoline {
        Some(code) => {
            let why = "a page, as the call itself names no device tree to the kernel";
            room.put_trampoline(&code(kernel.start, device_tree.start), why)?
        }
        None => kernel.start,
    };
    let mut layout = room.into_layout(entry);
    layout.warnings.extend(warning);
    layout.check(memory, wishes.page_size, is_crash)?;
    Ok(layout)
}

/// How an architecture is entered, and what its kernels ask.
pub(crate) struct Rules {
    pub(crate) elf_machine: u16,
    /// Whether the kernel starts `text_offset` behind a multiple of 2 MiB, or at one.
    pub(crate) has_text_offset: bool,
    /// Where what the kernel reads may lie, by its own place.
    pub(crate) window: fn(&Range<u64>) -> Range<u64>,
    pub(crate) initrd_why: &'static str,
    /// The code that enters the kernel at one address with the device tree at another.
    pub(crate) trampoline: Option<fn(u64, u64) -> [u8; 48]>,
}

fn put_kernel(
    room: &mut Room,
    wishes: &Wishes<'_>,
    rules: &Rules,
) -> Result<Range<u64>, LayoutError> {
    let kernel = wishes.kernel.checked()?;
    let (offset, why) = match kernel.text_offset {
        offset @ 1.. if rules.has_text_offset => (offset, "text_offset behind a multiple of 2 MiB"),
        _ => (0, "at a multiple of 2 MiB"),
    };
    let spot = Spot {
        len: kernel.memory_len,
        align: MIB_2,
        offset,
        why,
        ..Spot::ANY
    };
    room.put(Content::Kernel(0..kernel.file_len), &spot)
}

fn put_elfcorehdr<'a>(
    room: &mut Room,
    kernel: &Range<u64>,
    wishes: &Wishes<'_>,
    memory: &'a MemoryMap,
    rules: &Rules,
) -> Result<Option<CrashMemory<'a>>, LayoutError> {
    let Some(notes) = wishes.crash else {
        return Ok(None);
    };
    let header = elfcorehdr::write(rules.elf_machine, notes, memory.dumped().as_slice())?;
    let spot = Spot {
        align: KIB_64,
        window: (rules.window)(kernel),
        why: "at a multiple of 64 KiB, the largest page",
        ..Spot::ANY
    };
    let elfcorehdr = room.put(Content::ElfCoreHeader(header), &spot)?;
    let usable = &memory.crash;
    Ok(Some(CrashMemory { elfcorehdr, usable }))
}

pub(crate) const MIB_2: u64 = 2 << 20;
const KIB_64: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ARM64, ARM64_UEFI, RISCV64, device_tree, memory, notes, wishes};
    use crate::{CrashNotes, KernelHeader};

    /// Edits a load of an arm64 kernel, and compares the error.
    fn refuses(edit: impl FnOnce(&mut Wishes<'_>), expected: Expect) {
        let tree = device_tree();
        let mut wishes = wishes(Arch::Arm64, &tree);
        edit(&mut wishes);
        expected.assert_eq(&lay_out(&wishes, &memory(ARM64)).unwrap_err().to_string());
    }

    #[test]
    fn says_what_is_missing() {
        refuses(
            |it| it.kernel.arch = Arch::X86_64,
            expect!["kexec_load is done for arm64 and riscv64, and the kernel is for x86_64"],
        );
        refuses(
            |it| it.kernel.memory_len = 0,
            expect![
                "image_size of the kernel is 0, as before Linux 3.17: nothing says how much memory it takes"
            ],
        );
        refuses(
            |it| it.kernel.memory_len = u64::MAX,
            expect![
                "no room for the kernel: it needs 0xffffffffffffffff bytes at a multiple of 0x200000, and the longest free range has 0x51300000; give a smaller kernel or initrd"
            ],
        );
        refuses(
            |it| it.initrd_len = Some(3 << 30),
            expect![
                "no room for the initrd: it needs 0xc0000000 bytes at a multiple of 0x1000, and the longest free range has 0x51300000; give a smaller kernel or initrd"
            ],
        );
        refuses(
            |it| it.initrd_len = Some(1 << 30),
            expect![
                "the segments need 0x42102000 bytes, and kexec_load takes half of the memory (0x40000000)"
            ],
        );
        refuses(
            |it| it.window = 0..0x4100_0000,
            expect![
                "no room for the kernel: it needs 0x2100000 bytes at a multiple of 0x200000, and the longest free range has 0x1000000; give a smaller kernel or initrd, or a wider range of addresses"
            ],
        );
    }

    #[test]
    fn a_crash_kernel_needs_a_region_that_is_large_enough() {
        const NOTES: &CrashNotes = &CrashNotes {
            cpus: Vec::new(),
            vmcoreinfo: None,
        };
        refuses(
            |it| {
                it.crash = Some(NOTES);
                it.initrd_len = Some(600 << 20);
            },
            expect![
                "no room for the initrd: it needs 0x25800000 bytes at a multiple of 0x1000, and the longest free range has 0x1df00000; reserve more with crashkernel="
            ],
        );
        let tree = device_tree();
        let mut wishes = wishes(Arch::Arm64, &tree);
        wishes.crash = Some(NOTES);
        let without = memory("40000000-7fffffff : System RAM\n");
        let error = lay_out(&wishes, &without).unwrap_err();
        expect!["no memory is reserved for a crash kernel: boot with crashkernel=SIZE"]
            .assert_eq(&error.to_string());
    }

    fn headers() -> impl Strategy<Value = KernelHeader> {
        let arch = prop::sample::select(vec![Arch::Arm64, Arch::Riscv64]);
        let offset = prop::sample::select(vec![0, 0x8_0000, 0x20_0000]);
        (arch, 1..64_u64 << 20, 1..64_u64 << 20, offset).prop_map(
            |(arch, file_len, memory_len, text_offset)| KernelHeader {
                arch,
                file_len,
                memory_len,
                text_offset,
            },
        )
    }

    /// Memory with ranges of the running kernel, of others, and a crash region.
    fn memories() -> impl Strategy<Value = String> {
        let hole = (0..0x7f_u64, 1..0x20_u64, any::<bool>());
        (1..4_u64, prop::collection::vec(hole, 0..6)).prop_map(|(gib, holes)| {
            let mut text = format!("40000000-{:x} : System RAM\n", (gib << 30) + 0x3fff_ffff);
            for (start, len, is_crash) in holes {
                let start = 0x4000_0000 + (start << 20);
                let name = if is_crash { "Crash kernel" } else { "reserved" };
                text += &format!("  {start:x}-{:x} : {name}\n", start + (len << 20) - 1);
            }
            text
        })
    }

    proptest! {
        #[test]
        fn every_layout_passes_the_check(
            kernel in headers(),
            iomem in memories(),
            initrd_len in prop::option::of(0..200_u64 << 20),
            page_size in prop::sample::select(vec![4096, 16 << 10, 64 << 10]),
            is_crash in any::<bool>(),
            low in 0..1_u64 << 31,
        ) {
            let (tree, map) = (device_tree(), memory(&iomem));
            let notes = notes(0x4100_0000..0x4100_0200);
            let wishes = Wishes {
                kernel,
                initrd_len,
                page_size,
                crash: is_crash.then_some(&notes),
                window: low..u64::MAX,
                ..wishes(kernel.arch, &tree)
            };
            if let Ok(layout) = lay_out(&wishes, &map) {
                layout.check(&map, page_size, is_crash).unwrap();
                let again = lay_out(&wishes, &map).unwrap();
                prop_assert_eq!(&again, &layout);
                let [kernel_at, others @ ..] = &layout.segments[..] else { panic!() };
                let offset = if kernel.arch == Arch::Arm64 { kernel.text_offset } else { 0 };
                prop_assert_eq!(kernel_at.memory.start % MIB_2, offset % MIB_2);
                prop_assert!(is_crash || layout.segments.iter().all(|it| it.memory.start >= low));
                for segment in others {
                    if let Content::DeviceTree(_) = segment.content {
                        prop_assert_eq!(segment.memory.start % MIB_2, 0);
                    }
                }
            }
        }
    }

    #[test]
    fn the_usual_machines_have_room() {
        for (iomem, arch) in [
            (ARM64, Arch::Arm64),
            (ARM64_UEFI, Arch::Arm64),
            (RISCV64, Arch::Riscv64),
        ] {
            let tree = device_tree();
            lay_out(&wishes(arch, &tree), &memory(iomem)).unwrap();
        }
    }
}
