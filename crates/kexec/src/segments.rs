//! Loading a kernel by `kexec_load(2)`: the caller chose the place of each byte.
//!
//! Linux checks less here than in `kexec_file_load(2)`: neither a signature, nor that a
//! segment lies in memory that may be used. Both are the caller's part.

use std::ops::Range;
use std::path::Path;

use crate::cause::no_kexec;
use crate::errno::Errno;
use crate::error::KexecError;
use crate::load::unload;
use crate::machine::{LoadKind, MachineState};
use crate::mapping::Mapping;
use crate::probe::CallProbe;
use crate::sealed::SealedFile;
use crate::segments_refusal::{of_load_segments, of_unload_segments};
use crate::syscall::{Call, RawSegment, syscall};

/// The arguments of `kexec_load(2)`, as far as this process can check them.
///
/// ```
/// use ukexec_kexec::{KexecSegment, LoadKind, SegmentContent, SegmentsRequest};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let may_load = false;
/// let trampoline = [0; 48];
/// let segment = KexecSegment {
///     mem: 0x4020_0000,
///     memsz: 0x1_0000,
///     content: SegmentContent::Memory(&trampoline),
/// };
/// let request = SegmentsRequest::new(0x4020_0000, vec![segment], LoadKind::Reboot)?;
/// if may_load {
///     ukexec_kexec::load_segments(&request)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SegmentsRequest<'a> {
    entry: u64,
    segments: Vec<KexecSegment<'a>>,
    pub(crate) kind: LoadKind,
}

/// Bytes, and the physical memory that the next kernel finds them in.
#[derive(Clone, Debug)]
pub struct KexecSegment<'a> {
    /// The physical address; a multiple of the page.
    pub mem: u64,
    /// Bytes of memory; a multiple of the page. Those behind the content are zeros.
    pub memsz: u64,
    /// The bytes at its start.
    pub content: SegmentContent<'a>,
}

/// Where the bytes of a segment are.
#[derive(Clone, Debug)]
pub enum SegmentContent<'a> {
    /// A range of a sealed file. It is mapped, not copied; [`assemble`](crate::assemble())
    /// makes one file of several parts.
    Sealed {
        /// The file.
        file: &'a SealedFile,
        /// Which of its bytes.
        range: Range<u64>,
    },
    /// This process has them.
    Memory(&'a [u8]),
}

impl SegmentContent<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Sealed { range, .. } => range.end.saturating_sub(range.start),
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Maps the bytes that are not here yet.
    fn map(&self) -> Result<Option<Mapping>, KexecError> {
        match self {
            Self::Sealed { file, range } if !range.is_empty() => {
                Mapping::new(file, range).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl<'a> SegmentsRequest<'a> {
    /// Returns a request that Linux does not take for a mistake: a crash kernel that was
    /// loaded before is lost by one, and a limit of loads counts it.
    ///
    /// # Errors
    ///
    /// There are no segments, or more than 16; one of them is not made of whole pages, has no
    /// room for its bytes, overlaps another one, or ends behind its file; or `entry` is in none.
    pub fn new(
        entry: u64,
        segments: Vec<KexecSegment<'a>>,
        kind: LoadKind,
    ) -> Result<Self, KexecError> {
        check(entry, &segments, rustix::param::page_size() as u64)
            .map_err(|text| KexecError::new(format!("these segments cannot be loaded: {text}")))?;
        Ok(Self {
            entry,
            segments,
            kind,
        })
    }

    /// Returns the flags as `kexec_load(2)` takes them.
    pub(crate) fn flags(&self) -> u32 {
        kexec_load_flags(self.kind)
    }

    /// Returns how many bytes of memory all segments have.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let sizes = self.segments.iter().map(|it| it.memsz);
        sizes.fold(0, u64::saturating_add)
    }
}

/// Says the first thing that Linux, or the next kernel, would stumble over.
fn check(entry: u64, segments: &[KexecSegment<'_>], page: u64) -> Result<(), String> {
    let count = segments.len();
    if !(1..=SEGMENTS_MAX).contains(&count) {
        return Err(format!(
            "there are {count}, and Linux takes 1 to {SEGMENTS_MAX}"
        ));
    }
    let mut places = Vec::new();
    for segment in segments {
        let KexecSegment {
            mem,
            memsz,
            content,
        } = segment;
        let bad = |text: String| Err(format!("the one at {mem:#x}+{memsz:#x} {text}"));
        if mem % page != 0 || memsz % page != 0 {
            return bad(format!("is not made of whole pages ({page} bytes)"));
        }
        let Some(end) = mem.checked_add(*memsz) else {
            return bad("passes the end of all memory".to_owned());
        };
        if content.len() > *memsz {
            return bad(format!("has no room for its {} bytes", content.len()));
        }
        if let SegmentContent::Sealed { file, range } = content
            && range.end > file.len()
        {
            return bad(format!(
                "has the bytes {range:#x?} of a file with {:#x}",
                file.len()
            ));
        }
        places.push((*mem, end));
    }
    places.sort_unstable();
    for (low, high) in places.iter().zip(places.iter().skip(1)) {
        if low.1 > high.0 {
            return Err(format!("those at {:#x} and {:#x} overlap", low.0, high.0));
        }
    }
    if !places.iter().any(|(mem, end)| (mem..end).contains(&&entry)) {
        return Err(format!("the entry point {entry:#x} is in none"));
    }
    Ok(())
}

/// Loads a kernel by `kexec_load(2)`, in place of one that was loaded for the same kind
/// before.
///
/// # Errors
///
/// The running kernel refuses, or the bytes cannot be mapped.
pub fn load_segments(request: &SegmentsRequest<'_>) -> Result<(), KexecError> {
    load_segments_under(Path::new("/"), request)
}

fn load_segments_under(root: &Path, request: &SegmentsRequest<'_>) -> Result<(), KexecError> {
    let mapped = request.segments.iter().map(|it| it.content.map());
    let mapped: Vec<Option<Mapping>> = mapped.collect::<Result<_, _>>()?;
    let pairs = request.segments.iter().zip(&mapped);
    let contents = pairs.map(|(segment, mapped)| match (&segment.content, mapped) {
        (SegmentContent::Memory(bytes), _) => *bytes,
        (SegmentContent::Sealed { .. }, mapped) => mapped.as_ref().map_or(&[][..], Mapping::bytes),
    });
    let contents: Vec<&[u8]> = contents.collect();
    let pairs = request.segments.iter().zip(&contents);
    let segments = pairs.map(|(it, bytes)| RawSegment::new(bytes, it.mem, it.memsz));
    let segments: Vec<RawSegment<'_>> = segments.collect();
    // Limits count down with every try, so the state before it is what counts.
    let before = MachineState::read(root);
    let call = Call::KexecLoad {
        entry: request.entry,
        segments: &segments,
        flags: request.flags(),
    };
    syscall(&call).map_err(|answer| {
        let errno = Errno(answer.raw_os_error());
        let has_tree = contents.iter().any(|it| it.starts_with(&DEVICE_TREE));
        let machine = having_asked(before);
        let cause = of_load_segments(errno, request, has_tree, &machine);
        let lost = machine.lost_by_load(root, request.kind);
        cause
            .failed("kexec_load", errno)
            .and(lost.unwrap_or_default())
    })
}

/// Drops the kernel that is loaded for `kind`, by `kexec_load(2)`, which a kernel without
/// `kexec_file_load(2)` needs. It is no error if there is none.
///
/// # Errors
///
/// The running kernel refuses, or lacks the call.
pub fn unload_segments(kind: LoadKind) -> Result<(), KexecError> {
    unload_segments_under(Path::new("/"), kind)
}

fn unload_segments_under(root: &Path, kind: LoadKind) -> Result<(), KexecError> {
    let before = MachineState::of_kernel(root);
    let call = Call::KexecLoad {
        entry: 0,
        segments: &[],
        flags: kexec_load_flags(kind),
    };
    syscall(&call).map_err(|answer| {
        let errno = Errno(answer.raw_os_error());
        of_unload_segments(errno, kind, &having_asked(before)).failed("unload", errno)
    })
}

/// Drops the kernel that is loaded for `kind`, by `kexec_load(2)` where the running kernel lacks
/// `kexec_file_load(2)`. It is no error if there is none.
///
/// # Errors
///
/// The running kernel refuses, or has neither call.
pub fn unload_by_any_call(kind: LoadKind) -> Result<(), KexecError> {
    match unload(kind) {
        // Only its absence leads to the other call: a refusal is final.
        Err(missing) if missing.errno() == Some(ENOSYS) => match unload_segments(kind) {
            Err(error) if error.errno() == Some(ENOSYS) => {
                Err(no_kexec().failed("unload", Errno::ENOSYS))
            }
            done => done,
        },
        done => done,
    }
}

/// Asks for the calls, behind one that failed: whether there is another one matters to those
/// who may not use this one.
fn having_asked(machine: MachineState) -> MachineState {
    let (calls, ()) = CallProbe::beside(|| ());
    MachineState { calls, ..machine }
}

/// Returns the flags of `kexec_load(2)` for `kind` on a machine as this one.
#[must_use]
pub fn kexec_load_flags(kind: LoadKind) -> u32 {
    match kind {
        LoadKind::Reboot => ARCH << 16,
        LoadKind::Crash => ARCH << 16 | ON_CRASH,
    }
}

const ENOSYS: &str = "ENOSYS";

/// Linux, include/linux/kexec.h.
const SEGMENTS_MAX: usize = 16;

/// The magic number of a flattened device tree.
const DEVICE_TREE: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];

// Linux, include/uapi/linux/kexec.h.
const ON_CRASH: u32 = 1;

/// The number that ELF has for this architecture; 0 where every machine means its own.
const ARCH: u32 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else if cfg!(target_arch = "riscv64") {
    243
} else {
    0
};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use expect_test::{Expect, expect};
    use rustix::io::Errno as Answer;

    use super::*;
    use crate::sealed::MemfdWriter;
    use crate::syscall::fake;

    /// A page of every machine.
    const PAGE: u64 = 0x1_0000;
    const MEM: u64 = 0x4000_0000;

    fn sealed(bytes: &[u8]) -> SealedFile {
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn segment(mem: u64, content: SegmentContent<'_>) -> KexecSegment<'_> {
        KexecSegment {
            mem,
            memsz: PAGE,
            content,
        }
    }

    /// Requests a segment of four bytes, and another one behind it, after `edit`.
    fn check(edit: impl FnOnce(&mut u64, &mut Vec<KexecSegment<'_>>), expected: &Expect) {
        let file = sealed(b"sealed");
        let range = 1..5;
        let mut segments = vec![
            segment(MEM, SegmentContent::Sealed { file: &file, range }),
            segment(MEM + PAGE, SegmentContent::Memory(b"here")),
        ];
        let mut entry = MEM;
        edit(&mut entry, &mut segments);
        fake::answer(None);
        let request = SegmentsRequest::new(entry, segments, LoadKind::Reboot);
        let root = tempfile::tempdir().unwrap();
        let done = request.and_then(|request| load_segments_under(root.path(), &request));
        let said = match done {
            Ok(()) => fake::calls()
                .join("\n")
                .replace(&format!("{:x}0000", ARCH), "ARCH"),
            Err(error) => {
                let page = format!("({} bytes)", rustix::param::page_size());
                error.to_string().replace(&page, "(PAGE)")
            }
        };
        assert!(fake::calls().is_empty());
        expected.assert_eq(&said);
    }

    #[test]
    fn passes_its_arguments_on() {
        check(
            |_, _| {},
            &expect![[
                r#"kexec_load(0x40000000, ["eale" at 0x40000000+0x10000, "here" at 0x40010000+0x10000], 0xARCH)"#
            ]],
        );
        check(
            |entry, segments| {
                *entry = MEM + PAGE + 0x40;
                segments.reverse();
            },
            &expect![[
                r#"kexec_load(0x40010040, ["here" at 0x40010000+0x10000, "eale" at 0x40000000+0x10000], 0xARCH)"#
            ]],
        );
    }

    #[test]
    fn a_segment_may_be_zeros_alone() {
        check(
            |_, segments| {
                if let SegmentContent::Sealed { range, .. } = &mut segments[0].content {
                    *range = 6..6;
                }
                segments[1].content = SegmentContent::Memory(b"");
            },
            &expect![[
                r#"kexec_load(0x40000000, ["" at 0x40000000+0x10000, "" at 0x40010000+0x10000], 0xARCH)"#
            ]],
        );
    }

    #[test]
    fn refuses_a_number_of_segments_that_linux_does_not_take() {
        // None at all would drop the kernel that is loaded.
        check(
            |_, segments| segments.clear(),
            &expect!["these segments cannot be loaded: there are 0, and Linux takes 1 to 16"],
        );
        let more = |count: u64| {
            move |_: &mut u64, segments: &mut Vec<KexecSegment<'_>>| {
                let places = (2..count).map(|at| MEM + at * PAGE);
                let more = places.map(|mem| segment(mem, SegmentContent::Memory(b"")));
                segments.extend(more);
            }
        };
        check(
            more(17),
            &expect!["these segments cannot be loaded: there are 17, and Linux takes 1 to 16"],
        );
    }

    #[test]
    fn refuses_places_that_linux_does_not_take() {
        check(
            |_, segments| segments[0].mem += 1,
            &expect![
                "these segments cannot be loaded: the one at 0x40000001+0x10000 is not made of whole pages (PAGE)"
            ],
        );
        check(
            |_, segments| segments[1].memsz -= 8,
            &expect![
                "these segments cannot be loaded: the one at 0x40010000+0xfff8 is not made of whole pages (PAGE)"
            ],
        );
        check(
            |_, segments| segments[1].mem = MEM,
            &expect!["these segments cannot be loaded: those at 0x40000000 and 0x40000000 overlap"],
        );
        check(
            |_, segments| segments[0].memsz = 2 * PAGE,
            &expect!["these segments cannot be loaded: those at 0x40000000 and 0x40010000 overlap"],
        );
        check(
            |_, segments| segments[0].memsz = 0,
            &expect![
                "these segments cannot be loaded: the one at 0x40000000+0x0 has no room for its 4 bytes"
            ],
        );
        check(
            |_, segments| segments[1].mem = u64::MAX - PAGE + 1,
            &expect![
                "these segments cannot be loaded: the one at 0xffffffffffff0000+0x10000 passes the end of all memory"
            ],
        );
    }

    #[test]
    fn refuses_bytes_that_are_not_there() {
        check(
            |_, segments| {
                if let SegmentContent::Sealed { range, .. } = &mut segments[0].content {
                    range.end = 7;
                }
            },
            &expect![
                "these segments cannot be loaded: the one at 0x40000000+0x10000 has the bytes 0x1..0x7 of a file with 0x6"
            ],
        );
    }

    #[test]
    fn refuses_to_begin_outside_of_what_it_loads() {
        check(
            |entry, _| *entry = MEM + 2 * PAGE,
            &expect!["these segments cannot be loaded: the entry point 0x40020000 is in none"],
        );
        check(
            |entry, _| *entry = MEM - 1,
            &expect!["these segments cannot be loaded: the entry point 0x3fffffff is in none"],
        );
    }

    #[test]
    fn unloads_by_kind() {
        let root = tempfile::tempdir().unwrap();
        fake::answer(None);
        unload_segments_under(root.path(), LoadKind::Reboot).unwrap();
        unload_segments_under(root.path(), LoadKind::Crash).unwrap();
        let flags = ARCH << 16;
        assert_eq!(
            fake::calls(),
            [
                format!("kexec_load(0x0, [], {flags:#x})"),
                format!("kexec_load(0x0, [], {:#x})", flags | 1),
            ]
        );
        fake::answer(Some(Answer::NOSYS));
        let error = unload_segments_under(root.path(), LoadKind::Reboot).unwrap_err();
        expect!["unload failed with ENOSYS: kexec_load is not in this kernel (CONFIG_KEXEC is off, or a container hides it); boot one that has it"].assert_eq(&error.to_string());
    }

    #[test]
    fn unloads_by_the_other_call_where_one_is_missing() {
        // The files that say more are those of this machine.
        let (file, load) = ("kexec_file_load", "kexec_load(");
        let check = |answer, calls: &[&str]| {
            fake::answer(answer);
            let done = unload_by_any_call(LoadKind::Reboot);
            let made = fake::calls();
            assert_eq!(made.len(), calls.len(), "{made:?}");
            assert!(
                made.iter()
                    .zip(calls)
                    .all(|(made, call)| made.starts_with(call))
            );
            done
        };
        check(None, &[file]).unwrap();
        check(Some(Answer::BUSY), &[file]).unwrap_err();
        let error = check(Some(Answer::NOSYS), &[file, load]).unwrap_err();
        expect!["unload failed with ENOSYS: kexec is not in this kernel (CONFIG_KEXEC_CORE is off, or a container hides it); boot one that has it"].assert_eq(&error.to_string());
        assert_eq!(error.errno(), Some("ENOSYS"));
        fake::answer_first(Answer::NOSYS);
        check(None, &[file, load]).unwrap();
    }

    #[test]
    fn explains_a_refusal_and_says_that_the_crash_kernel_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path().join("sys/kernel");
        fs::create_dir_all(&sys).unwrap();
        fs::write(sys.join("kexec_crash_size"), "268435456\n").unwrap();
        let loaded = sys.join("kexec_crash_loaded");
        fs::write(&loaded, "1\n").unwrap();
        let segments = vec![segment(MEM, SegmentContent::Memory(b"here"))];
        let request = SegmentsRequest::new(MEM, segments, LoadKind::Crash).unwrap();
        fake::answer(Some(Answer::ADDRNOTAVAIL));
        fake::on_call(move || fs::write(&loaded, "0\n").unwrap());
        let error = load_segments_under(root.path(), &request).unwrap_err();
        assert_eq!(error.errno(), Some("EADDRNOTAVAIL"));
        expect![[r#"
            kexec_load failed with EADDRNOTAVAIL: a segment lies outside of the memory for a crash kernel (256 MiB), or is not made of whole pages; load again, if that memory changed meanwhile; otherwise please report it
            the crash kernel that was loaded before is gone (Linux drops it first): load one again"#]].assert_eq(&error.to_string());
    }
}
