//! The call that loads a kernel, and for `kexec_load(2)` the place of each part.

use std::ops::Range;
use std::path::Path;

use ukexec_boot::SetupHeader;
use ukexec_kexec::{
    Condition, ConditionId, ConditionVerdict, EfiSources, KexecErrorKind, KexecSegment, LoadCall,
    LoadKind, MachineState, MemorySources, SealedFile, SegmentContent, SegmentsRequest, random,
};
use ukexec_layout::{
    Content, CrashNotes, DeviceTree, EfiFirmware, KernelHeader, Layout, MemoryMap, Seeds, Wishes,
    X86Machine, X86Wishes, lay_out, lay_out_x86_64,
};

use crate::error::{Context as _, LoaderError, Result};
use crate::options::{DeviceTreeFrom, Syscall};
use crate::protocol::PlacedKernel;
use crate::report::failure::sentence;
use crate::report::size::Size;

impl Syscall {
    /// Returns the call that loads a kernel with `device_tree` on `machine`, and why it is that
    /// one. The other one is never tried behind it: a refusal of the running kernel is final.
    pub(crate) fn chosen(
        self,
        device_tree: &DeviceTreeFrom,
        machine: &MachineState,
    ) -> Result<(LoadCall, &'static str)> {
        let has_tree = *device_tree != DeviceTreeFrom::Machine;
        Ok(match self {
            Self::File if has_tree => {
                return Err(LoaderError::new(
                    "kexec_file_load takes no device tree: leave out --syscall=file or --dtb",
                ));
            }
            Self::File => (LoadCall::KexecFileLoad, ASKED),
            Self::Load => (LoadCall::KexecLoad, ASKED),
            Self::Auto if has_tree => (LoadCall::KexecLoad, "it alone takes a device tree"),
            Self::Auto => match machine.load_call() {
                call @ LoadCall::KexecLoad => (call, "the running kernel has no kexec_file_load"),
                call @ LoadCall::KexecFileLoad => (call, USUAL),
            },
        })
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
        match self.header {
            PlacedKernel::Image(header) => self.lay_out_image(header, machine, sources, &memory),
            PlacedKernel::BzImage(header) => self.lay_out_bzimage(header, sources, &memory),
        }
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
        Ok(lay_out(&wishes, memory)?)
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
        let wishes = X86Wishes {
            header,
            file_len: self.kernel_len,
            initrd_len: self.initrd_len,
            cmdline: self.cmdline,
            machine: &x86_machine(sources, self.efi)?,
            seed: random()?,
            window: self.window.clone(),
        };
        Ok(lay_out_x86_64(&wishes, memory)?)
    }
}

/// Returns what the next kernel of x86_64 finds in its boot parameters.
fn x86_machine(sources: MemorySources, hands_efi_over: bool) -> Result<X86Machine> {
    let boot_params = sources.boot_params.context(
        || "/sys/kernel/boot_params is missing, which says what the running kernel was given",
    )?;
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

/// Returns whether there is room for each part, as a condition of the load. A process that
/// lacks the right to load does not see the machine's memory, either.
pub(crate) fn condition(
    laid_out: &Result<Layout>,
    machine: &MachineState,
    kind: LoadKind,
) -> Condition {
    let (verdict, text) = match laid_out {
        Ok(layout) if !layout.warnings.is_empty() => {
            (ConditionVerdict::Warning, layout.warnings.join("; "))
        }
        Ok(layout) => {
            let lens = layout.segments.iter();
            let lens = lens.map(|it| it.memory.end.saturating_sub(it.memory.start));
            let (count, len) = (layout.segments.len(), Size(lens.sum()));
            let place = match kind {
                LoadKind::Reboot => "free memory",
                LoadKind::Crash => "the memory for a crash kernel",
            };
            let text = format!("{count} segments of {len} have their places in {place}");
            (ConditionVerdict::Ok, text)
        }
        Err(error) if machine.cap_sys_boot == Some(false) => {
            let text = format!("places are not known: {}", sentence(error));
            (ConditionVerdict::Unknown, text)
        }
        Err(error) => (ConditionVerdict::Refused, sentence(error)),
    };
    Condition {
        id: ConditionId::Segments,
        verdict,
        text: text.into(),
        advice: None,
        panic: kind == LoadKind::Crash,
        kind: KexecErrorKind::Machine,
    }
}

/// Why the usual call is taken.
pub(crate) const USUAL: &str = "the running kernel has it";
const ASKED: &str = "it was asked for";
const NO_TREE: &str = "/sys/firmware/fdt is missing, the device tree of the running kernel; \
                       give another one with --dtb";
