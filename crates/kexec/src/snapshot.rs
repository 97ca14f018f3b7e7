//! Taking a file over into memory, in one pass.
//!
//! Nothing that happens to the file afterwards does harm: from then on only the
//! parts in memory are looked at, whose bytes nobody can change. Bytes go from the
//! page cache into the memory files inside the kernel, in file order, each of them
//! once.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::Advice;

use crate::error::{KexecError, failed};
use crate::input::{InputKind, input_kind};
use crate::memfd::Memfd;
use crate::sealed::GrowableFile;
use crate::tap::{Show, Tap, beside};
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
        let mut take = |show: Option<Show<'_>>| {
            let pass = Pass {
                fd,
                len,
                rest: None,
                layout: Vec::new(),
                moved: Moved::default(),
                show,
                progress,
            };
            pass.take(cuts, room)
        };
        match tap {
            Some(tap) => beside(tap, |show| take(Some(show))),
            None => take(None),
        }
    }
}

/// One way through a file.
struct Pass<'a, 's> {
    fd: BorrowedFd<'a>,
    len: u64,
    /// The bytes between the cuts.
    rest: Option<Memfd>,
    layout: Vec<Extent>,
    moved: Moved,
    /// Shows a window to the tap.
    show: Option<Show<'s>>,
    progress: &'a mut dyn FnMut(u64),
}

impl Pass<'_, '_> {
    fn take(mut self, cuts: &[Range<u64>], room: Option<Room>) -> Result<Snapshot, KexecError> {
        let mut parts = Vec::new();
        let mut at = 0;
        for (index, cut) in cuts.iter().enumerate() {
            if cut.is_empty() {
                continue;
            }
            self.take_rest(at..cut.start)?;
            let room = room.filter(|room| room.cut == index);
            let room = room.map_or(0, |room| room.len);
            let mut memfd = Memfd::new("ukexec-section")?;
            memfd.skip(room)?;
            self.take_range(cut.clone(), &mut memfd)?;
            // Part 0 is the rest.
            parts.push(GrowableFile::new(memfd, room)?);
            self.layout.push(Extent {
                range: cut.clone(),
                part: parts.len(),
                offset: room,
            });
            at = cut.end;
        }
        self.take_rest(at..self.len)?;
        let (mut layout, moved) = (self.layout, self.moved);
        match self.rest {
            Some(rest) => parts.insert(0, GrowableFile::new(rest, 0)?),
            // Nothing lies between the cuts: they are all the parts there are.
            None => layout.iter_mut().for_each(|span| span.part -= 1),
        }
        Ok(Snapshot {
            parts,
            layout,
            moved,
        })
    }

    fn take_rest(&mut self, range: Range<u64>) -> Result<(), KexecError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut rest = match self.rest.take() {
            Some(rest) => rest,
            None => Memfd::new("ukexec-rest")?,
        };
        self.layout.push(Extent {
            range: range.clone(),
            part: 0,
            offset: rest.len,
        });
        self.take_range(range, &mut rest)?;
        self.rest = Some(rest);
        Ok(())
    }

    fn take_range(&mut self, range: Range<u64>, memfd: &mut Memfd) -> Result<(), KexecError> {
        let mut done = self.moved.total();
        let mut progress = |count: u64| {
            done += count;
            (self.progress)(done);
        };
        let moved = match &mut self.show {
            None => send(self.fd, range, memfd.as_fd(), &mut progress),
            Some(show) => copy(self.fd, range, memfd.as_fd(), &mut |window| {
                progress(window.len as u64);
                show(window)
            }),
        }
        .map_err(|error| match error {
            TransferError::Io(cause) => failed("copying the file into memory")(cause),
            TransferError::End { found } => KexecError::new(format!(
                "the file shrank from {} to {found} bytes while it was being read; try again when \
                 nothing writes to it",
                self.len
            )),
        })?;
        memfd.len += moved.total();
        self.moved += moved;
        Ok(())
    }
}

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
