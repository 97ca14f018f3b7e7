//! Taking a file over into memory, in one pass.
//!
//! Nothing that happens to the file afterwards does harm: from then on only the
//! parts in memory are looked at, whose bytes nobody can change. Bytes go from the
//! page cache into the memory files inside the kernel, each of them once: in file order, or, where
//! the page cache has them all, the largest part beside the others.

use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, available_parallelism, scope};

use rustix::fs::Advice;
use rustix::io::{ReadWriteFlags, preadv2};

use crate::error::{KexecError, failed};
use crate::input::{InputKind, input_kind};
use crate::memfd::Memfd;
use crate::sealed::GrowableFile;
use crate::tap::{Show, Tap, Window, beside};
use crate::transfer::{Moved, TransferError, copy, send};

/// A file's bytes in parts, each of which its owner seals, or makes longer and
/// seals then.
///
/// Each range that was cut out is a part of its own, all bytes between them
/// together are one more.
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The parts, none of them empty.
    pub parts: Vec<GrowableFile>,
    /// Where the file's bytes lie: spans in file order that cover it without gap or
    /// overlap.
    pub layout: Vec<Extent>,
    /// How many bytes were moved, and how.
    pub moved: Moved,
}

/// Bytes to leave free in front of a range that is cut out: others take their place
/// later ([`GrowableFile::fill`]), and the range does not move for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Index in the cuts.
    pub cut: usize,
    /// So many bytes.
    pub len: u64,
}

/// Where a range of the file lies in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// The bytes of the file.
    pub range: Range<u64>,
    /// Index in [`Snapshot::parts`].
    pub part: usize,
    /// Where in that part `range` begins.
    pub offset: u64,
}

impl Snapshot {
    /// Takes all bytes that `file` has now over into memory.
    ///
    /// `cuts` are ascending and disjoint; empty ones are passed over. In front of one
    /// there may be `room`, which takes no memory. Bytes that are appended meanwhile
    /// are left alone. `progress` gets the sum of
    /// bytes so far.
    ///
    /// Where there is a `tap`, it sees all bytes in file order, as they are
    /// kept: for a digest of exactly these. They then go through this process.
    ///
    /// # Errors
    ///
    /// `file` is none that can be read at offsets, `cuts` do not fit, the file gets
    /// shorter meanwhile, or reading, writing or sealing fails.
    pub fn take(
        file: impl AsFd,
        cuts: &[Range<u64>],
        room: Option<Room>,
        tap: Option<Tap<'_>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, KexecError> {
        let fd = file.as_fd();
        let InputKind::File { len } = input_kind(fd)? else {
            let text = "a pipe cannot be taken over in pieces: read it into memory first";
            return Err(KexecError::new(text));
        };
        check_cuts(cuts, len)?;
        // Only a hint, so a file system that takes none does no harm.
        let _unheeded = rustix::fs::fadvise(fd, 0, None, Advice::Sequential);
        let pass = Pass::new(fd, len, cuts, room)?;
        let moved = match tap {
            Some(tap) => beside(tap, |show| pass.copy_all(show, progress)),
            None => pass.send_all(progress),
        }?;
        pass.finish(moved)
    }
}

impl Extent {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// One way through a file.
struct Pass<'a> {
    fd: BorrowedFd<'a>,
    len: u64,
    /// Where each part begins: with the room in front.
    parts: Vec<(Memfd, u64)>,
    layout: Vec<Extent>,
}

impl<'a> Pass<'a> {
    fn new(
        fd: BorrowedFd<'a>,
        len: u64,
        cuts: &[Range<u64>],
        room: Option<Room>,
    ) -> Result<Self, KexecError> {
        let mut pass = Self {
            fd,
            len,
            parts: Vec::new(),
            layout: Vec::new(),
        };
        let cuts = cuts.iter().enumerate().filter(|(_, cut)| !cut.is_empty());
        let covered = cuts.clone().map(|(_, cut)| cut.end - cut.start);
        let rest = (covered.sum::<u64>() < len).then(|| pass.add("ukexec-rest", 0));
        let rest = rest.transpose()?;
        let mut at = 0;
        for (index, cut) in cuts {
            pass.lay_out(rest, at..cut.start);
            let room = room.filter(|room| room.cut == index);
            let part = pass.add("ukexec-section", room.map_or(0, |room| room.len))?;
            pass.lay_out(Some(part), cut.clone());
            at = cut.end;
        }
        pass.lay_out(rest, at..len);
        Ok(pass)
    }

    /// Adds a part, and returns its number.
    fn add(&mut self, name: &str, room: u64) -> Result<usize, KexecError> {
        let mut memfd = Memfd::new(name)?;
        memfd.skip(room)?;
        self.parts.push((memfd, room));
        Ok(self.parts.len() - 1)
    }

    /// Gives `range` to `part`, behind what it has. There is a part where there is a range.
    fn lay_out(&mut self, part: Option<usize>, range: Range<u64>) {
        let memfd = part.and_then(|part| Some((part, &mut self.parts.get_mut(part)?.0)));
        if let Some((part, memfd)) = memfd.filter(|_| !range.is_empty()) {
            let offset = memfd.len;
            memfd.len += range.end - range.start;
            self.layout.push(Extent {
                range,
                part,
                offset,
            });
        }
    }

    /// Copies all ranges in file order, shows each window, and gives `progress` the sum so far.
    fn copy_all(&self, show: Show<'_>, progress: &mut dyn FnMut(u64)) -> Result<Moved, KexecError> {
        let mut done = 0;
        let mut show = |window: Window| {
            done += window.len as u64;
            progress(done);
            show(window)
        };
        self.each(&self.layout, &mut |range, to| {
            copy(self.fd, range, to, &mut show)
        })
    }

    /// Sends all ranges, and gives `progress` the sum so far: in file order, or where that is
    /// faster, the largest part beside the others. Each part is a file of its own, which one
    /// thread at a time can write.
    fn send_all(&self, progress: &mut dyn FnMut(u64)) -> Result<Moved, KexecError> {
        let done = AtomicU64::new(0);
        let send = |extents: &[Extent], tell: &mut dyn FnMut(u64)| {
            let mut tell = |count| tell(done.fetch_add(count, Ordering::Relaxed) + count);
            self.each(extents, &mut |range, to| {
                send(self.fd, range, to, &mut tell)
            })
        };
        let [largest, others] = self.lanes();
        let worth = others.iter().map(Extent::len).sum::<u64>() >= LANE_MIN;
        let has_second = || available_parallelism().is_ok_and(|count| count.get() > 1);
        if !worth || !has_second() || !self.is_in_memory() {
            return send(&self.layout, progress);
        }
        scope(|scope| {
            let thread = Builder::new().name("ukexec-copy".to_owned());
            let Ok(beside) = thread.spawn_scoped(scope, || send(&others, &mut |_| {})) else {
                return send(&self.layout, progress);
            };
            let moved = send(&largest, progress);
            let beside = beside.join().unwrap_or_else(|panic| resume_unwind(panic));
            progress(done.load(Ordering::Relaxed));
            let mut moved = moved?;
            moved += beside?;
            Ok(moved)
        })
    }

    /// Returns the extents of the largest part, and those of all others.
    fn lanes(&self) -> [Vec<Extent>; 2] {
        let lens = self.parts.iter().map(|(memfd, room)| memfd.len - room);
        let largest = lens.enumerate().max_by_key(|(_, len)| *len);
        let largest = largest.map(|(part, _)| part);
        let (largest, others) = self
            .layout
            .iter()
            .cloned()
            .partition(|extent| Some(extent.part) == largest);
        [largest, others]
    }

    /// Returns whether the page cache seems to have the file. A disk is read in one piece: two
    /// readers would move its heads to and fro.
    fn is_in_memory(&self) -> bool {
        (0..PROBES).all(|probe| {
            let mut byte = [0];
            let mut buf = [IoSliceMut::new(&mut byte)];
            let at = self.len / PROBES * probe;
            preadv2(self.fd, &mut buf, at, ReadWriteFlags::NOWAIT).is_ok()
        })
    }

    /// Has `transfer` move each of `extents`.
    fn each(&self, extents: &[Extent], transfer: Transfer<'_>) -> Result<Moved, KexecError> {
        let mut all = Moved::default();
        for Extent { range, part, .. } in extents {
            if let Some((memfd, _)) = self.parts.get(*part) {
                all += transfer(range.clone(), memfd.as_fd()).map_err(|it| self.failed(it))?;
            }
        }
        Ok(all)
    }

    fn failed(&self, error: TransferError) -> KexecError {
        match error {
            TransferError::Io(cause) => failed("copying the file into memory")(cause),
            TransferError::End { found } => KexecError::new(format!(
                "the file shrank from {} to {found} bytes while it was being read; try again when \
                 nothing writes to it",
                self.len
            )),
        }
    }

    fn finish(self, moved: Moved) -> Result<Snapshot, KexecError> {
        let parts = self.parts.into_iter();
        let parts = parts.map(|(memfd, room)| GrowableFile::new(memfd, room));
        Ok(Snapshot {
            parts: parts.collect::<Result<_, _>>()?,
            layout: self.layout,
            moved,
        })
    }
}

/// Moves a range of the file to a memory file.
type Transfer<'a> = &'a mut dyn FnMut(Range<u64>, BorrowedFd<'_>) -> Result<Moved, TransferError>;

/// Bytes beside the largest part that are worth a thread.
const LANE_MIN: u64 = 1 << 20;

/// Places of a file that are looked for in memory.
const PROBES: u64 = 8;

fn check_cuts(cuts: &[Range<u64>], len: u64) -> Result<(), KexecError> {
    let mut previous_end = 0;
    for cut in cuts.iter().filter(|cut| !cut.is_empty()) {
        if cut.start < previous_end {
            return Err(KexecError::new(format!(
                "the range {:#x}..{:#x} to cut out does not lie behind the one before it, which \
                 ends at {previous_end:#x}",
                cut.start, cut.end
            )));
        }
        if cut.end > len {
            return Err(KexecError::new(format!(
                "bytes {:#x}..{:#x} of the file were to be taken apart, but it has only {len:#x}; \
                 it changed while it was being read: try again when nothing writes to it",
                cut.start, cut.end
            )));
        }
        previous_end = cut.end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::single_range_in_vec_init,
        reason = "a list of cuts may have one"
    )]

    use std::fs::File;
    use std::io::Write as _;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    /// Puts the file together again, as the layout says.
    fn whole(snapshot: &Snapshot) -> Vec<u8> {
        let mut whole = Vec::new();
        for span in &snapshot.layout {
            assert_eq!(span.range.start, whole.len() as u64, "gap or overlap");
            let mut part = vec![0; (span.range.end - span.range.start) as usize];
            let from = &snapshot.parts[span.part];
            assert!(span.offset + part.len() as u64 <= from.len());
            assert_eq!(
                rustix::io::pread(from, &mut part, span.offset),
                Ok(part.len())
            );
            whole.extend_from_slice(&part);
        }
        whole
    }

    #[test]
    fn a_tap_sees_what_is_kept() {
        let len = 3 << 20;
        let mut seen = Vec::new();
        let mut tap = |bytes: &[u8]| seen.extend_from_slice(bytes);
        let cuts = [10..20, 300_000..2_000_000];
        let snapshot =
            Snapshot::take(file(&bytes(len)), &cuts, None, Some(&mut tap), &mut |_| {}).unwrap();
        assert_eq!(seen, bytes(len));
        assert_eq!(whole(&snapshot), seen);
        let moved = snapshot.moved;
        assert_eq!((moved.in_kernel, moved.through_user), (0, len as u64));
    }

    /// Cuts a file of 100 bytes and lists what lies where.
    fn check(cuts: &[Range<u64>], expected: &Expect) {
        let text = match Snapshot::take(file(&bytes(100)), cuts, None, None, &mut |_| {}) {
            Ok(snapshot) => {
                assert_eq!(whole(&snapshot), bytes(100));
                let Moved {
                    in_kernel,
                    through_user,
                } = snapshot.moved;
                assert_eq!((in_kernel, through_user), (100, 0));
                let spans = snapshot.layout.iter().map(|span| {
                    let Extent {
                        range,
                        part,
                        offset,
                    } = span;
                    format!("{}..{}: part {part} at {offset}\n", range.start, range.end)
                });
                let parts = snapshot.parts.iter();
                let parts = parts.map(|part| format!(" {}", part.len()));
                spans.chain(["parts:".to_owned()]).chain(parts).collect()
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn without_cuts_there_is_one_part() {
        check(
            &[],
            &expect![[r#"
            0..100: part 0 at 0
            parts: 100"#]],
        );
    }

    #[test]
    fn each_cut_is_a_part_and_the_rest_is_one() {
        check(
            &[10..20, 20..30, 50..60],
            &expect![[r#"
            0..10: part 0 at 0
            10..20: part 1 at 0
            20..30: part 2 at 0
            30..50: part 0 at 10
            50..60: part 3 at 0
            60..100: part 0 at 30
            parts: 70 10 10 10"#]],
        );
    }

    #[test]
    fn cuts_may_leave_no_rest() {
        check(
            &[0..40, 40..100],
            &expect![[r#"
            0..40: part 0 at 0
            40..100: part 1 at 0
            parts: 40 60"#]],
        );
    }

    #[test]
    fn passes_over_empty_cuts() {
        check(
            &[0..0, 30..30, 40..50, 200..200],
            &expect![[r#"
            0..40: part 0 at 0
            40..50: part 1 at 0
            50..100: part 0 at 40
            parts: 90 10"#]],
        );
    }

    #[test]
    fn refuses_cuts_that_do_not_fit() {
        check(
            &[90..101],
            &expect![
                "bytes 0x5a..0x65 of the file were to be taken apart, but it has only 0x64; it changed while it was being read: try again when nothing writes to it"
            ],
        );
        check(
            &[10..30, 20..40],
            &expect![
                "the range 0x14..0x28 to cut out does not lie behind the one before it, which ends at 0x1e"
            ],
        );
        check(
            &[50..60, 10..20],
            &expect![
                "the range 0xa..0x14 to cut out does not lie behind the one before it, which ends at 0x3c"
            ],
        );
    }

    #[test]
    fn takes_an_empty_file() {
        let snapshot = Snapshot::take(file(b""), &[], None, None, &mut |_| {}).unwrap();
        assert!(snapshot.parts.is_empty() && snapshot.layout.is_empty());
    }

    #[test]
    fn leaves_the_file_position_alone_and_ignores_it() {
        let file = file(&bytes(100));
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(42)).unwrap();
        let snapshot = Snapshot::take(&file, &[], None, None, &mut |_| {}).unwrap();
        assert_eq!(whole(&snapshot), bytes(100));
        assert_eq!(
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Current(0)),
            Ok(42)
        );
    }

    #[test]
    fn reports_its_progress() {
        let len = (20 << 20) + 5;
        let mut seen = Vec::new();
        let cuts = [1 << 20..10 << 20];
        Snapshot::take(file(&bytes(len)), &cuts, None, None, &mut |done| {
            seen.push(done)
        })
        .unwrap();
        assert!(seen.is_sorted());
        assert_eq!(seen.last(), Some(&(len as u64)));
        assert!(seen.len() >= 4, "{seen:?}");
    }

    #[test]
    fn parts_that_are_sent_beside_each_other_are_whole() {
        let len = 5 << 20;
        let cuts = [100..3_000_100, 3_500_000..4_800_000];
        let room = Room { cut: 0, len: 77 };
        let mut seen = Vec::new();
        let snapshot = Snapshot::take(file(&bytes(len)), &cuts, Some(room), None, &mut |done| {
            seen.push(done);
        });
        let snapshot = snapshot.unwrap();
        assert!(whole(&snapshot) == bytes(len));
        assert_eq!(snapshot.moved.in_kernel, len as u64);
        assert!(seen.is_sorted());
        assert_eq!(seen.last(), Some(&(len as u64)));
        let lens: Vec<u64> = snapshot.parts.iter().map(GrowableFile::len).collect();
        let rest = len as u64 - 4_300_000;
        assert_eq!(lens, [rest, 3_000_077, 1_300_000]);
        let offsets: Vec<u64> = snapshot.layout.iter().map(|it| it.offset).collect();
        assert_eq!(offsets, [0, 77, 100, 0, 500_000]);
    }

    #[test]
    fn a_reversed_cut_is_an_empty_one() {
        #[expect(clippy::reversed_empty_ranges, reason = "it is under test")]
        let cuts = [30..20];
        let snapshot = Snapshot::take(file(&bytes(100)), &cuts, None, None, &mut |_| {}).unwrap();
        assert_eq!(whole(&snapshot), bytes(100));
    }

    #[test]
    fn changes_of_the_file_afterwards_do_no_harm() {
        let file = file(&bytes(100));
        let snapshot = Snapshot::take(&file, &[10..20], None, None, &mut |_| {}).unwrap();
        file.set_len(5).unwrap();
        assert_eq!(whole(&snapshot), bytes(100));
    }

    #[test]
    fn a_file_that_shrinks_meanwhile_is_an_error() {
        let len = 20 << 20;
        let file = file(&bytes(len));
        let mut shrink = |done: u64| {
            if done == 8 << 20 {
                file.set_len(9 << 20).unwrap();
            }
        };
        let error = Snapshot::take(&file, &[], None, None, &mut shrink).unwrap_err();
        expect!["the file shrank from 20971520 to 9437184 bytes while it was being read; try again when nothing writes to it"].assert_eq(&error.to_string());
    }

    #[test]
    fn bytes_appended_meanwhile_are_left_alone() {
        let len = 20 << 20;
        let file = file(&bytes(len));
        let mut append = |_| file.set_len(30 << 20).unwrap();
        let snapshot = Snapshot::take(&file, &[], None, None, &mut append).unwrap();
        assert_eq!(whole(&snapshot), bytes(len));
    }

    #[test]
    fn refuses_what_is_no_file() {
        let refused = |path: &str| {
            let file = File::open(path).unwrap();
            Snapshot::take(file, &[], None, None, &mut |_| {})
                .unwrap_err()
                .to_string()
        };
        expect!["a directory is not an image: give a file, a block device or a pipe"]
            .assert_eq(&refused("/"));
        expect!["a pipe cannot be taken over in pieces: read it into memory first"]
            .assert_eq(&refused("/dev/null"));
    }

    proptest! {
        #[test]
        fn any_cuts_give_the_file_back(
            len in 0_usize..5000,
            mut edges in prop::collection::vec(0_u64..5000, 0..12),
        ) {
            edges.retain(|&edge| edge <= len as u64);
            edges.sort_unstable();
            let cuts: Vec<_> = edges.chunks_exact(2).map(|edge| edge[0]..edge[1]).collect();
            let snapshot = Snapshot::take(file(&bytes(len)), &cuts, None, None, &mut |_| {}).unwrap();
            prop_assert_eq!(whole(&snapshot), bytes(len));
            prop_assert_eq!(snapshot.moved.total(), len as u64);
            for cut in cuts.iter().filter(|cut| !cut.is_empty()) {
                let span = snapshot.layout.iter().find(|span| span.range == *cut).unwrap();
                prop_assert_eq!(span.offset, 0);
                prop_assert_eq!(snapshot.parts[span.part].len(), cut.end - cut.start);
            }
        }
    }
}
