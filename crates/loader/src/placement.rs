//! The call that loads a kernel, and for `kexec_load(2)` the place of each part.

use std::ops::Range;
use std::path::Path;

use ukexec_boot::SetupHeader;
use ukexec_kexec::{
    EfiSources, KexecSegment, LoadCall, LoadKind, MachineState, MemorySources, SealedFile,
    SegmentContent, SegmentsRequest, random,
};
use ukexec_layout::{
    Content, CrashNotes, DeviceTree, EfiFirmware, KernelHeader, Layout, MemoryMap, Seeds, Wishes,
    X86Machine, X86Wishes, lay_out, lay_out_x86_64,
};

use crate::error::{Context as _, LoaderError, Result};
use crate::options::{DeviceTreeFrom, Syscall};
use crate::protocol::PlacedKernel;
use crate::report::size::Size;

impl Syscall {
    /// Returns the call that loads a kernel of this `kind` with `device_tree` on `machine`, and
    /// why it is that one. The other one is never tried behind it: a refusal of the running kernel is final.
    pub(crate) fn chosen(
        self,
        kind: LoadKind,
        device_tree: &DeviceTreeFrom,
        machine: &MachineState,
    ) -> (LoadCall, &'static str) {
        let has_tree = *device_tree != DeviceTreeFrom::Machine;
        match self {
            Self::File => (LoadCall::KexecFileLoad, ASKED),
            Self::Load => (LoadCall::KexecLoad, ASKED),
            Self::Auto if has_tree => (LoadCall::KexecLoad, "it alone takes a device tree"),
            Self::Auto => match machine.load_call(kind) {
                call @ LoadCall::KexecLoad => (call, "the running kernel has no kexec_file_load"),
                call @ LoadCall::KexecFileLoad => (call, USUAL),
            },
        }
    }
}

/// Parts of an image, for `kexec_load(2)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartsToPlace<'a> {
    pub(crate) header: &'a PlacedKernel,
    /// Bytes of the kernel's file.
    pub(crate) kernel_len: u64,
    pub(crate) initrd_len: Option<u64>,
    pub(crate) cmdline: &'a [u8],
    /// The device tree, if it is not the running kernel's.
    pub(crate) device_tree: Option<&'a DeviceTree>,
    /// Whether UEFI is handed over on x86_64.
    pub(crate) efi: bool,
    pub(crate) window: &'a Range<u64>,
    pub(crate) kind: LoadKind,
}

impl PartsToPlace<'_> {
    /// Finds a place for each part in the memory of `machine`, whose files are below `root`.
    pub(crate) fn lay_out(&self, machine: &MachineState, root: &Path) -> Result<Layout> {
        let sources = MemorySources::read(root)?;
        let iomem = sources.iomem.as_deref();
        let iomem = iomem.context(|| "/proc/iomem is missing, which says where memory is")?;
        let memory = MemoryMap::from_iomem(iomem)?;
        let layout = match self.header {
            PlacedKernel::Image(header) => self.lay_out_image(header, machine, sources, &memory)?,
            PlacedKernel::BzImage(header) => self.lay_out_bzimage(header, sources, &memory)?,
        };
        // The running kernel counts less memory than there is: its own is none.
        let room = machine.memory.map(|memory| memory / 2);
        let needed = layout.memory_len();
        if let Some(room) = room.filter(|room| needed > *room) {
            let (needed, room) = (Size(needed), Size(room));
            return Err(LoaderError::new(format!(
                "the segments need {needed}, and the running kernel takes no more than half of \
                 its memory ({room}); give a smaller initrd"
            )));
        }
        Ok(layout)
    }

    fn lay_out_image(
        &self,
        header: &KernelHeader,
        machine: &MachineState,
        sources: MemorySources,
        memory: &MemoryMap,
    ) -> Result<Layout> {
        let running = sources.device_tree.as_deref().map(DeviceTree::read);
        let running = running.transpose().context(|| "/sys/firmware/fdt")?;
        let device_tree = match (self.device_tree, running) {
            (Some(tree), Some(running)) => tree.clone().on_machine(&running),
            (Some(tree), None) => tree.clone(),
            (None, running) => running.context(|| NO_TREE)?,
        };
        let notes = CrashNotes {
            cpus: sources.crash_notes,
            vmcoreinfo: sources.vmcoreinfo,
        };
        let wishes = Wishes {
            kernel: KernelHeader {
                file_len: self.kernel_len,
                ..*header
            },
            initrd_len: self.initrd_len,
            cmdline: self.cmdline,
            device_tree: &device_tree,
            seeds: Seeds {
                kaslr: random()?,
                rng: random()?,
            },
            window: self.window.clone(),
            page_size: machine
                .page_size
                .context(|| "nothing shows the page size")?,
            crash: (self.kind == LoadKind::Crash).then_some(&notes),
        };
        let mut layout = lay_out(&wishes, memory)?;
        if wishes.crash.is_some() && (notes.cpus.is_empty() || notes.vmcoreinfo.is_none()) {
            layout.warnings.push(NO_NOTES);
        }
        Ok(layout)
    }

    fn lay_out_bzimage(
        &self,
        header: &SetupHeader,
        sources: MemorySources,
        memory: &MemoryMap,
    ) -> Result<Layout> {
        if self.kind == LoadKind::Crash {
            return Err(LoaderError::new(
                "kexec_load places no crash kernel for x86_64: kexec_file_load takes it",
            ));
        }
        if self.device_tree.is_some() {
            return Err(LoaderError::new(
                "an x86_64 kernel gets no device tree from here: leave out --dtb",
            ));
        }
        let is_lost = sources.efi.is_some() && self.efi;
        let machine = x86_machine(sources, self.efi)?;
        let wishes = X86Wishes {
            header,
            file_len: self.kernel_len,
            initrd_len: self.initrd_len,
            cmdline: self.cmdline,
            machine: &machine,
            seed: random()?,
            window: self.window.clone(),
        };
        let mut layout = lay_out_x86_64(&wishes, memory)?;
        if is_lost && machine.efi.is_none() {
            layout.warnings.push(NO_RUNTIME);
        }
        Ok(layout)
    }
}

/// Returns what the next kernel of x86_64 finds in its boot parameters.
fn x86_machine(sources: MemorySources, hands_efi_over: bool) -> Result<X86Machine> {
    let boot_params = sources.boot_params.context(
        || "/sys/kernel/boot_params is missing, which says what the running kernel was given",
    )?;
    if sources.memmap.is_empty() {
        return Err(LoaderError::new(
            "/sys/firmware/memmap is missing, which says where the next kernel has memory",
        ));
    }
    let tables = sources.efi.as_ref().and_then(|it| it.tables.as_deref());
    let table = |name| tables.and_then(|text| efi_table(text, name));
    Ok(X86Machine {
        boot_params,
        memmap: sources.memmap,
        acpi_rsdp: table("ACPI20").or_else(|| table("ACPI")),
        efi: sources
            .efi
            .as_ref()
            .filter(|_| hands_efi_over)
            .and_then(|efi| efi_firmware(efi, table("SMBIOS"))),
    })
}

/// Returns the firmware that the next kernel can go on with, if the running one shows it whole.
fn efi_firmware(efi: &EfiSources, smbios: Option<u64>) -> Option<EfiFirmware> {
    if efi.runtime_map.is_empty() {
        return None;
    }
    Some(EfiFirmware {
        fw_vendor: efi.fw_vendor?,
        runtime: efi.runtime?,
        config_table: efi.config_table?,
        smbios: smbios.unwrap_or(0),
        runtime_map: efi.runtime_map.clone(),
    })
}

/// Returns the address of a table that `/sys/firmware/efi/systab` names.
fn efi_table(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, address) = lines.find(|(found, _)| *found == name)?;
    u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()
}

/// Returns the request to load the parts where `layout` places them.
pub(crate) fn request<'a>(
    layout: &'a Layout,
    kernel: &'a SealedFile,
    initrd: Option<&'a SealedFile>,
    kind: LoadKind,
) -> Result<SegmentsRequest<'a>> {
    let segments = layout.segments.iter().map(|segment| {
        let content = match &segment.content {
            Content::Kernel(range) => SegmentContent::Sealed {
                file: kernel,
                range: range.clone(),
            },
            Content::Initrd(len) => SegmentContent::Sealed {
                file: initrd.context(|| "a place for an initrd that there is not")?,
                range: 0..*len,
            },
            Content::DeviceTree(bytes)
            | Content::ElfCoreHeader(bytes)
            | Content::BootParams(bytes)
            | Content::Trampoline(bytes) => SegmentContent::Memory(bytes),
            other => return Err(LoaderError::new(format!("nobody has the {other}"))),
        };
        let Range { start, end } = segment.memory;
        Ok(KexecSegment {
            mem: start,
            memsz: end.saturating_sub(start),
            content,
        })
    });
    let segments = segments.collect::<Result<Vec<_>>>()?;
    Ok(SegmentsRequest::new(layout.entry, segments, kind)?)
}

/// Why the usual call is taken.
pub(crate) const USUAL: &str = "it is the usual call";
const NO_RUNTIME: &str = "the next kernel gets no UEFI: /sys/firmware/efi does not show all that \
                          it needs to go on with it";
const NO_NOTES: &str = "a dump will lack registers or symbols: /sys shows no crash_notes of \
                        processors, or no vmcoreinfo";
const ASKED: &str = "it was asked for";
const NO_TREE: &str = "/sys/firmware/fdt is missing, the device tree of the running kernel; \
                       give another one with --dtb";

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use ukexec_boot::Arch;
    use ukexec_kexec::Condition;

    use super::*;
    use crate::conditions::segments;

    const IOMEM: &str = "\
40000000-bfffffff : System RAM
  40210000-4215ffff : Kernel code
  42160000-423fffff : reserved
  42550000-4297ffff : Kernel data
  9ee00000-bedfffff : Crash kernel
";

    /// A flattened tree with a node of memory.
    const TREE: &[u8] = b"\
        \xd0\x0d\xfe\xed\0\0\0\x78\0\0\0\x38\0\0\0\x6c\0\0\0\x28\0\0\0\x11\0\0\0\x10\0\0\0\0\0\0\0\x0c\0\0\0\x34\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \0\0\0\x01\0\0\0\0\0\0\0\x01memory\0\0\0\0\0\x03\0\0\0\x07\0\0\0\0memory\0\0\0\0\0\x02\0\0\0\x02\0\0\0\x09\
        device_type\0";

    /// Says which call loads on a machine that has these, or lacks them.
    fn check_call(file: bool, load: bool, expected: Expect) {
        let machine = machine(file, load);
        let trees = [DeviceTreeFrom::Machine, DeviceTreeFrom::Image];
        let calls = trees.iter().flat_map(|tree| {
            [Syscall::Auto, Syscall::File, Syscall::Load].map(|syscall| {
                let (call, why) = syscall.chosen(LoadKind::Reboot, tree, &machine);
                format!("{tree:?}, {syscall:?}: {}: {why}\n", call.name())
            })
        });
        expected.assert_eq(&calls.collect::<String>());
    }

    #[test]
    fn a_call_is_chosen_and_no_other_is_tried() {
        check_call(
            true,
            true,
            expect![[r#"
                Machine, Auto: kexec_file_load: it is the usual call
                Machine, File: kexec_file_load: it was asked for
                Machine, Load: kexec_load: it was asked for
                Image, Auto: kexec_load: it alone takes a device tree
                Image, File: kexec_file_load: it was asked for
                Image, Load: kexec_load: it was asked for
            "#]],
        );
        check_call(
            false,
            true,
            expect![[r#"
                Machine, Auto: kexec_load: the running kernel has no kexec_file_load
                Machine, File: kexec_file_load: it was asked for
                Machine, Load: kexec_load: it was asked for
                Image, Auto: kexec_load: it alone takes a device tree
                Image, File: kexec_file_load: it was asked for
                Image, Load: kexec_load: it was asked for
            "#]],
        );
        // The usual call says why not.
        for machine in [MachineState::default(), machine(false, false)] {
            let tree = &DeviceTreeFrom::Machine;
            let chosen = Syscall::Auto.chosen(LoadKind::Reboot, tree, &machine);
            assert_eq!(chosen, (LoadCall::KexecFileLoad, USUAL));
        }
    }

    fn machine(file: bool, load: bool) -> MachineState {
        let mut machine = MachineState::default().with_calls(file, load);
        machine.machine = Some("aarch64".to_owned());
        machine.page_size = Some(4096);
        machine
    }

    /// Lays parts out on a machine with these files, and says where they are, or why not.
    fn check(
        files: &[(&str, &[u8])],
        edit: impl FnOnce(&mut PartsToPlace<'_>, &mut MachineState),
        expected: Expect,
    ) {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let mut parts = PARTS;
        let mut machine = machine(false, true);
        edit(&mut parts, &mut machine);
        let laid_out = parts.lay_out(&machine, root.path());
        let Condition { verdict, text, .. } = segments(&laid_out, &machine, parts.kind);
        let layout = laid_out.map_or_else(|_| String::new(), |it| format!("\n{it}"));
        expected.assert_eq(&format!("{}: {text}{layout}", verdict.name()));
    }

    /// A kernel of 31 MiB that takes 33 MiB, and an initrd.
    const PARTS: PartsToPlace<'_> = PartsToPlace {
        header: &PlacedKernel::Image(KernelHeader {
            arch: Arch::Arm64,
            file_len: u64::MAX,
            memory_len: 33 << 20,
            text_offset: 0,
        }),
        kernel_len: 31 << 20,
        initrd_len: Some(1_000_000),
        cmdline: b"quiet",
        device_tree: None,
        efi: true,
        window: &(0..u64::MAX),
        kind: LoadKind::Reboot,
    };

    const FILES: &[(&str, &[u8])] = &[("proc/iomem", IOMEM.as_bytes()), ("sys/firmware/fdt", TREE)];

    #[test]
    fn parts_get_places_in_the_memory_of_the_machine() {
        check(
            FILES,
            |_, _| {},
            expect![[r#"
                ok: 4 segments of 33.9 MiB have their places in free memory
                kernel      0x0040000000..0x0042100000 0x1f00000 bytes, at a multiple of 2 MiB
                initrd      0x0042400000..0x00424f5000   0xf4240 bytes, in the 32 GiB around the kernel
                device tree 0x0042600000..0x0042601000     0x1d9 bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x0042100000..0x0042101000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x0042100000"#]],
        );
        check(
            FILES,
            |parts, _| parts.window = &(0x8000_0000..u64::MAX),
            expect![[r#"
                ok: 4 segments of 33.9 MiB have their places in free memory
                kernel      0x0080000000..0x0082100000 0x1f00000 bytes, at a multiple of 2 MiB
                initrd      0x0082100000..0x00821f5000   0xf4240 bytes, in the 32 GiB around the kernel
                device tree 0x0082200000..0x0082201000     0x1d9 bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x00821f5000..0x00821f6000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x00821f5000"#]],
        );
    }

    #[test]
    fn says_what_a_machine_does_not_show() {
        check(
            &[],
            |_, _| {},
            expect!["refused: /proc/iomem is missing, which says where memory is"],
        );
        check(
            &FILES[..1],
            |_, _| {},
            expect![
                "refused: /sys/firmware/fdt is missing, the device tree of the running kernel; give another one with --dtb"
            ],
        );
        check(
            &[("proc/iomem", b"00000000-00000000 : System RAM\n")],
            |_, machine| machine.cap_sys_boot = Some(false),
            expect![
                "unknown: places are not known: /proc/iomem shows zeros for all addresses: only root with CAP_SYS_ADMIN sees them"
            ],
        );
        check(
            &[FILES[0], ("sys/firmware/fdt", b"no tree")],
            |_, _| {},
            expect!["refused: /sys/firmware/fdt: the device tree: does not begin with 0xd00dfeed"],
        );
        check(
            FILES,
            |_, machine| machine.memory = Some(60 << 20),
            expect![
                "refused: the segments need 33.9 MiB, and the running kernel takes no more than half of its memory (30.0 MiB); give a smaller initrd"
            ],
        );
        check(
            FILES,
            |parts, _| parts.kernel_len = 3 << 30,
            expect![
                "refused: no room for the kernel: it needs 0xc0000000 bytes at a multiple of 0x200000, and the longest free range has 0x5ca00000; give a smaller kernel or initrd"
            ],
        );
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..u64::MAX, Just(0), Just(u64::MAX), 0..0x1_0000_0000_u64]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A worker that was taken over may answer with any header.
        #[test]
        fn no_header_leads_out_of_free_memory(
            numbers in [number(), number(), number(), number()],
            bytes in prop::collection::vec(any::<u8>(), 0..0x110),
            kernel_len in 0..0x1_0000_0000_u64,
            is_x86 in any::<bool>(),
            kind in prop::sample::select(vec![LoadKind::Reboot, LoadKind::Crash]),
        ) {
            let [body_at, init_size, pref_address, kernel_alignment] = numbers;
            let header = match is_x86 {
                true => PlacedKernel::BzImage(SetupHeader {
                    body_at,
                    init_size,
                    pref_address,
                    kernel_alignment,
                    bytes,
                }),
                false => PlacedKernel::Image(KernelHeader {
                    arch: Arch::Riscv64,
                    file_len: body_at,
                    memory_len: init_size,
                    text_offset: pref_address,
                }),
            };
            let root = tempfile::tempdir().unwrap();
            for folder in ["proc", "sys/firmware", "sys/kernel/boot_params"] {
                fs::create_dir_all(root.path().join(folder)).unwrap();
            }
            fs::write(root.path().join("proc/iomem"), IOMEM).unwrap();
            fs::write(root.path().join("sys/firmware/fdt"), TREE).unwrap();
            let params = [0; 4096];
            fs::write(root.path().join("sys/kernel/boot_params/data"), params).unwrap();
            let mut machine = MachineState::default();
            machine.page_size = Some(4096);
            let parts = PartsToPlace {
                header: &header,
                kernel_len,
                ..PARTS
            };
            let parts = PartsToPlace { kind, ..parts };
            if let Ok(layout) = parts.lay_out(&machine, root.path()) {
                let memory = MemoryMap::from_iomem(IOMEM).unwrap();
                layout.check(&memory, 4096, kind == LoadKind::Crash).unwrap();
                let segments = layout.segments.len();
                prop_assert!((3..=5).contains(&segments), "{layout}");
            }
        }
    }

    #[test]
    fn uefi_is_handed_over_by_its_tables() {
        let systab = "ACPI20=0x7f77e014\nACPI=0x7f77e000\nSMBIOS3=0x7f9c0000\nSMBIOS=0x7f9b0000\n";
        assert_eq!(efi_table(systab, "SMBIOS"), Some(0x7f9b_0000));
        assert_eq!(efi_table(systab, "ACPI"), Some(0x7f77_e000));
        assert_eq!(efi_table(systab, "MPS"), None);
        let mut efi = EfiSources::default();
        efi.tables = Some(systab.to_owned());
        efi.fw_vendor = Some(1);
        efi.runtime = Some(2);
        efi.config_table = Some(3);
        // Without a map, nobody could call it.
        assert!(efi_firmware(&efi, Some(4)).is_none());
        efi.runtime_map = vec![[5; 5]];
        let firmware = efi_firmware(&efi, Some(4)).unwrap();
        assert_eq!((firmware.config_table, firmware.smbios), (3, 4));
    }
}
