//! PE headers in front of a kernel: where it ends and whether it is signed, and
//! which kernel it is where nothing else says so.

use alloc::format;

use ukexec_pe::{Machine, PeImage, ReadAt, Subsystem};

use crate::arch::{Arch, Row};
use crate::bytes::{Fields, read};
use crate::error::BootError;
use crate::identify::identify_flat;
use crate::image::{Flat, has_entry};
use crate::kernel::Kernel;
use crate::known;
use crate::look_alike::LookAlike;
use crate::problem::broken_pe;

/// Identifies a PE file without another kernel header: LoongArch, or no kernel.
pub(crate) fn identify_pe(
    head: Fields<'_>,
    image: &(impl ReadAt + ?Sized),
) -> Result<Kernel, BootError> {
    if let Some(arm) = LookAlike::of_arm_zimage(head) {
        return Err(arm.into());
    }
    let pe = PeImage::parse(image);
    let kind = PeKind::read(head, image)?;
    if let Some(flat) = flat(head, pe.as_ref().ok(), &kind, image.len()) {
        return Ok(identify_flat(&flat?, head, image));
    }
    Err(match (pe, kind) {
        (Ok(pe), _) => LookAlike::of_pe(&pe, image).into(),
        (Err(_), PeKind::None) => LookAlike::from(known::DOS_PROGRAM).into(),
        (Err(_), PeKind::Pe32 { subsystem }) => LookAlike::of_pe32(subsystem).into(),
        (Err(error), PeKind::Other { .. }) => error.into(),
    })
}

/// Reads the header of a flat image that nothing but the DOS header and the
/// machine identifies. The loaders of such images look at the DOS header alone;
/// where a damaged PE header does not name the machine, that has to do here too.
fn flat(
    head: Fields<'_>,
    pe: Option<&PeImage>,
    kind: &PeKind,
    len: u64,
) -> Option<Result<Flat, BootError>> {
    if head.u32(0x38) != Some(LINUX_PE_MAGIC) {
        return None;
    }
    let machine = match (pe, kind) {
        (Some(pe), _) if pe.section(".linux").is_some() => return None,
        (Some(pe), _) => Some(pe.machine()),
        (None, PeKind::Pe32 { .. }) => return None,
        (
            None,
            PeKind::Other {
                machine: Some(machine),
            },
        ) => Some(*machine),
        (None, PeKind::Other { machine: None } | PeKind::None) if has_entry(head) => None,
        (None, PeKind::Other { machine: None } | PeKind::None) => return None,
    };
    let is_it = |row: &Row| match (machine, row.pe_machine) {
        (Some(machine), Some((known, _))) => machine == known,
        (machine, _) => machine.is_none(),
    };
    let mut images = Row::flat_images();
    let (row, format) = images.find(|(row, _)| row.magics.is_empty() && is_it(row))?;
    Some(Flat::read(row, format, head, len))
}

/// Looks for a signature, and for the true end, which follows from it. A kernel
/// boots without PE headers, so damaged ones are a fault and no error.
pub(crate) fn look_at_pe(kernel: &mut Kernel, head: Fields<'_>, image: &(impl ReadAt + ?Sized)) {
    if !head.has(0, b"MZ") {
        return;
    }
    let pe = match PeImage::parse(image) {
        Ok(pe) => pe,
        // As 32-bit kernels have it, which are refused for being 32-bit.
        Err(error) if error.is_pe32() && matches!(kernel.arch, Some(Arch::X86) | None) => return,
        Err(error) => return kernel.faults.push(broken_pe(error)),
    };
    let Some(certificates) = pe.certificates() else {
        return;
    };
    // Nothing signed a file whose certificates lie where sections have their
    // bytes, and cutting there would cut the kernel.
    let sections = pe.sections().iter().map(|section| section.content().end);
    let sections_end = sections.max().unwrap_or(0);
    if certificates.start < sections_end {
        kernel.faults.push(broken_pe(format!(
            "certificate table at file offset {:#x}: expected it behind the sections, which end \
             at {sections_end:#x}",
            certificates.start
        )));
        return;
    }
    kernel.signed = true;
    kernel.true_len = certificates.end.min(kernel.len);
}

/// Which kind of file begins with `MZ`, by as little as that takes.
enum PeKind {
    /// No PE: programs of the days before it have code, not an offset, at 0x3c.
    None,
    /// A 32-bit one, which has another layout than what `pe` reads.
    Pe32 { subsystem: Subsystem },
    /// Another, good or broken; the machine, if the file is no shorter.
    Other { machine: Option<Machine> },
}

impl PeKind {
    fn read(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Result<Self, BootError> {
        let Some(at) = head.u32(0x3c) else {
            return Ok(Self::Other { machine: None });
        };
        let bytes = read(image, at.into(), 0x80)?;
        let headers = Fields(&bytes);
        match headers.0.first_chunk() {
            Some(b"PE\0\0") => {}
            Some(_) => return Ok(Self::None),
            // Cut off, as the error of `pe` will say.
            None => return Ok(Self::Other { machine: None }),
        }
        // Both kinds have Magic at 0 and Subsystem at 68 of the optional header.
        Ok(match (headers.u16(24), headers.u16(24 + 68)) {
            (Some(0x10b), Some(subsystem)) => Self::Pe32 {
                subsystem: Subsystem(subsystem),
            },
            _ => Self::Other {
                machine: headers.u16(4).map(Machine),
            },
        })
    }
}

/// Linux `include/linux/pe.h`.
pub(crate) const LINUX_PE_MAGIC: u32 = 0x8182_23cd;
