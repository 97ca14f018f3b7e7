//! The parent's part of an unfolding: the descriptors behind the spans that
//! its worker answers with.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use ukexec_bpf::{Rope, SourceId};
use ukexec_kexec::{GrowableFile, KexecError, Moved, Part, SealedFile, SharedMemfd, assemble};

use crate::error::{Context as _, Result};
use crate::fd_source::FdSource;
use crate::parent::border;
use crate::protocol::Span;

/// All sources of one unfolding, by number.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    backings: Vec<Option<Backing>>,
}

/// Bytes of sources that are all there, as [`Sources::check`] found: nothing else
/// is assembled, grown, written or loaded.
#[derive(Debug)]
pub(crate) struct CheckedSpans {
    spans: Vec<Span>,
}

/// The parent keeps account of so many sources. Each of 64 decompressions in a
/// stage has an output.
const SOURCES_MAX: usize = 1 << 16;

/// The bytes behind a source.
#[derive(Debug)]
pub(crate) enum Backing {
    /// Sealed memory: a part of a snapshot, or a stream that was read.
    Sealed(SealedFile),
    /// Sealed memory that the worker wrote.
    Written(SealedFile),
    /// A part of a snapshot that something may have to be put behind. The
    /// worker only reads it, too.
    Growable(GrowableFile),
    /// Such a part with something behind it, sealed.
    Grown(SealedFile, Moved),
    /// The output that the worker is writing.
    Shared(SharedMemfd),
    /// A file as it lies on disk, and its length when it was opened.
    File(File, u64),
}

impl Sources {
    /// Takes a source in and returns its number.
    pub(crate) fn add(&mut self, backing: Backing) -> Result<u32> {
        let id = u32::try_from(self.backings.len())
            .ok()
            .context(|| "there are too many files")?;
        self.backings.push(Some(backing));
        Ok(id)
    }

    /// Returns all sources in order, each with its length. The worker, which counts
    /// them, has not begun: none is an output, and none is freed.
    pub(crate) fn given(&self) -> impl Iterator<Item = Result<(BorrowedFd<'_>, u64)>> {
        self.backings.iter().map(|backing| {
            let there = backing.as_ref();
            let there = there.and_then(|backing| Some((backing.as_fd(), backing.len()?)));
            there.context(|| "a source is not complete before the worker begins")
        })
    }

    /// Makes memory for the worker to write into. It writes one after the
    /// other, and not without end.
    pub(crate) fn add_output(&mut self) -> Result<BorrowedFd<'_>> {
        if let Some(Some(Backing::Shared(_))) = self.backings.last() {
            return Err(border::names("an output while it writes another"));
        }
        if self.backings.len() >= SOURCES_MAX {
            return Err(border::names("more outputs than any image needs"));
        }
        let output = Backing::Shared(SharedMemfd::new("ukexec-output")?);
        Ok(self
            .backings
            .push_mut(Some(output))
            .as_ref()
            .map(AsFd::as_fd)
            .expect("it was just put there"))
    }

    /// Seals an output that the worker reports as written, and returns its
    /// length.
    pub(crate) fn seal(&mut self, id: u32) -> Result<u64> {
        let slot = self.slot(id)?;
        match slot.take_if(|backing| matches!(backing, Backing::Shared(_))) {
            Some(Backing::Shared(output)) => {
                let sealed = output.seal()?;
                let len = sealed.len();
                *slot = Some(Backing::Written(sealed));
                Ok(len)
            }
            _ => Err(border::names(format!(
                "source {id} as written, which is no output"
            ))),
        }
    }

    /// Lets go of an output that the worker does not refer to any more. Returns
    /// the length of one that it had not written to the end: that is sealed
    /// before, since it can keep its descriptor.
    pub(crate) fn free(&mut self, id: u32) -> Result<u64> {
        let is_output =
            |backing: &mut Backing| matches!(backing, Backing::Shared(_) | Backing::Written(_));
        match self.slot(id)?.take_if(is_output) {
            Some(Backing::Shared(output)) => Ok(output.seal()?.len()),
            Some(Backing::Written(_)) => Ok(0),
            _ => Err(border::names(format!(
                "source {id} as freed, which is no output"
            ))),
        }
    }

    fn slot(&mut self, id: u32) -> Result<&mut Option<Backing>> {
        let slot = self.backings.get_mut(id as usize);
        slot.ok_or_else(|| border::names(format!("source {id}, which there is not")))
    }

    /// If `spans` have a whole source in them that can grow, puts the bytes in front of
    /// it into its room and appends those behind it: then nothing of the source itself
    /// moves, however long it is. Other spans stay as they are.
    pub(crate) fn grow(&mut self, spans: &mut CheckedSpans) -> Result<()> {
        let all = &spans.spans;
        let Some((at, id)) = all.iter().enumerate().find_map(|(at, span)| match span {
            Span::Source { id, range } if self.is_growable(*id, range) => Some((at, *id)),
            _ => None,
        }) else {
            return Ok(());
        };
        let (front, rest) = all.split_at(at);
        let behind = rest.get(1..).unwrap_or_default();
        let itself = |span: &Span| matches!(span, Span::Source { id: it, .. } if *it == id);
        let slot = self.slot(id)?;
        let growable = slot.take_if(|backing| {
            let room: u64 = front.iter().map(Span::len).sum();
            let fits = matches!(backing, Backing::Growable(file) if file.room() == room);
            fits && all.len() > 1 && !front.iter().chain(behind).any(itself)
        });
        let Some(Backing::Growable(mut file)) = growable else {
            return Ok(());
        };
        let mut moved = file.fill(&self.parts(front)?)?;
        moved += file.append(&self.parts(behind)?)?;
        spans.spans = vec![Span::Source {
            id,
            range: 0..file.len(),
        }];
        *self.slot(id)? = Some(Backing::Grown(file.seal()?, moved));
        Ok(())
    }

    /// Returns whether `range` is all of source `id` but its room, and the source can
    /// grow.
    fn is_growable(&self, id: u32, range: &Range<u64>) -> bool {
        let backing = self.backings.get(id as usize).and_then(Option::as_ref);
        matches!(backing, Some(Backing::Growable(file)) if *range == (file.room()..file.len()))
    }

    /// Seals all that could grow. Nothing can be changed any more from then on.
    pub(crate) fn seal_all(&mut self) -> Result<(), KexecError> {
        for slot in &mut self.backings {
            if let Some(Backing::Growable(file)) =
                slot.take_if(|backing| matches!(backing, Backing::Growable(_)))
            {
                *slot = Some(Backing::Sealed(file.seal()?));
            }
        }
        Ok(())
    }

    /// Returns `spans` if every byte that they name is there, and there are no more
    /// than `limit`.
    pub(crate) fn check(&self, spans: Vec<Span>, limit: u64) -> Result<CheckedSpans> {
        let mut len: u64 = 0;
        for span in &spans {
            if let Span::Source { id, range } = span {
                let backing = self.backings.get(*id as usize).and_then(Option::as_ref);
                let there = backing.and_then(Backing::len);
                if range.start > range.end || there.is_none_or(|there| range.end > there) {
                    return Err(border::names(format!(
                        "bytes {range:x?} of source {id}, which has {there:x?}"
                    )));
                }
            }
            len = len.saturating_add(span.len());
        }
        if len > limit {
            return Err(border::names(format!(
                "a part of {len} bytes, where {limit} is all there can be"
            )));
        }
        Ok(CheckedSpans { spans })
    }

    /// Returns the bytes that `spans` name, as parts that can be moved.
    pub(crate) fn parts_of(&self, spans: &CheckedSpans) -> Result<Vec<Part<'_>>> {
        self.parts(&spans.spans)
    }

    fn parts(&self, spans: &[Span]) -> Result<Vec<Part<'_>>> {
        let part = |span: &Span| {
            Ok(match span {
                Span::Source { id, range } => Part::File {
                    fd: self.backing(*id)?.as_fd(),
                    range: range.clone(),
                },
                Span::Zeros(len) => Part::Zeros(*len),
            })
        };
        spans.iter().map(part).collect()
    }

    /// Returns `spans` as one descriptor: as it lies if it is one sealed file,
    /// else assembled.
    pub(crate) fn descriptor(&self, spans: &CheckedSpans) -> Result<Descriptor<'_>> {
        if let Some(whole) = self.whole(&spans.spans)? {
            return Ok(whole);
        }
        let (sealed, moved) = assemble(&self.parts_of(spans)?)?;
        Ok(Descriptor::Assembled(sealed, moved))
    }

    /// Returns the sealed file that `spans` are, whole, if it is just one.
    fn whole(&self, spans: &[Span]) -> Result<Option<Descriptor<'_>>> {
        let [Span::Source { id, range }] = spans else {
            return Ok(None);
        };
        let whole = match self.backing(*id)? {
            Backing::Sealed(sealed) | Backing::Written(sealed) => Descriptor::AsItLies(sealed),
            Backing::Grown(sealed, moved) => Descriptor::Grown(sealed, *moved),
            Backing::Growable(_) | Backing::Shared(_) | Backing::File(..) => return Ok(None),
        };
        Ok((*range == (0..whole.len())).then_some(whole))
    }

    fn backing(&self, id: u32) -> Result<&Backing> {
        let backing = self.backings.get(id as usize).and_then(Option::as_ref);
        backing.ok_or_else(|| border::names(format!("source {id}, which is gone")))
    }
}

impl Backing {
    /// Returns the length, once it cannot change.
    fn len(&self) -> Option<u64> {
        match self {
            Self::Sealed(sealed) | Self::Written(sealed) | Self::Grown(sealed, _) => {
                Some(sealed.len())
            }
            // Its bytes stay, also where more come behind them.
            Self::Growable(file) => Some(file.len()),
            Self::Shared(_) => None,
            Self::File(_, len) => Some(*len),
        }
    }
}

impl AsFd for Backing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Sealed(sealed) | Self::Written(sealed) | Self::Grown(sealed, _) => sealed.as_fd(),
            Self::Growable(file) => file.as_fd(),
            Self::Shared(output) => output.as_fd(),
            Self::File(file, _) => file.as_fd(),
        }
    }
}

/// A part as the kernel takes it.
#[derive(Debug)]
pub(crate) enum Descriptor<'a> {
    /// The file that the caller named, and its length: nothing was unfolded.
    Original(BorrowedFd<'a>, u64),
    /// A piece of the snapshot, or the output of a decompression: nothing
    /// moved.
    AsItLies(&'a SealedFile),
    /// A piece of the snapshot with something behind it, which alone was moved.
    Grown(&'a SealedFile, Moved),
    /// Put together from pieces.
    Assembled(SealedFile, Moved),
}

impl Descriptor<'_> {
    /// Returns how many bytes were moved to make it.
    pub(crate) fn moved(&self) -> Moved {
        match self {
            Self::Original(..) | Self::AsItLies(_) => Moved::default(),
            Self::Grown(_, moved) | Self::Assembled(_, moved) => *moved,
        }
    }

    /// Returns its bytes.
    pub(crate) fn rope(&self) -> Result<Rope> {
        let fd = self.as_fd().try_clone_to_owned()?;
        let source = Arc::new(FdSource::new(fd, self.len()));
        Ok(Rope::from_source(SourceId(0), source))
    }

    /// Returns the memory that it is; a file is none.
    pub(crate) fn sealed(&self) -> Option<&SealedFile> {
        match self {
            Self::Original(..) => None,
            Self::AsItLies(sealed) | Self::Grown(sealed, _) => Some(sealed),
            Self::Assembled(sealed, _) => Some(sealed),
        }
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Original(_, len) => *len,
            Self::AsItLies(sealed) | Self::Grown(sealed, _) => sealed.len(),
            Self::Assembled(sealed, _) => sealed.len(),
        }
    }
}

impl AsFd for Descriptor<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Original(fd, _) => *fd,
            Self::AsItLies(sealed) | Self::Grown(sealed, _) => sealed.as_fd(),
            Self::Assembled(sealed, _) => sealed.as_fd(),
        }
    }
}

impl fmt::Display for Descriptor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original(..) => "the original file",
            Self::AsItLies(_) => "as it lies",
            Self::Grown(..) => "grown",
            Self::Assembled(..) => "assembled",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use expect_test::{Expect, expect};
    use ukexec_kexec::{MemfdWriter, Room, Snapshot};

    use super::*;

    fn sealed(bytes: &[u8]) -> SealedFile {
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn checked(sources: &Sources, spans: Vec<Span>) -> CheckedSpans {
        sources.check(spans, 1000).unwrap()
    }

    fn span(id: u32, range: Range<u64>) -> Span {
        Span::Source { id, range }
    }

    #[test]
    fn a_whole_sealed_file_is_handed_over_as_it_lies() {
        let mut sources = Sources::default();
        sources.add(Backing::Sealed(sealed(b"kernel"))).unwrap();
        let kernel = checked(&sources, vec![span(0, 0..6)]);
        let descriptor = sources.descriptor(&kernel).unwrap();
        assert_eq!(descriptor.to_string(), "as it lies");
        assert_eq!((descriptor.moved().total(), descriptor.len()), (0, 6));
        let part = checked(&sources, vec![span(0, 1..6)]);
        let part = sources.descriptor(&part).unwrap();
        assert_eq!(part.to_string(), "assembled");
    }

    #[test]
    fn other_parts_are_assembled_in_the_kernel() {
        let mut sources = Sources::default();
        sources.add(Backing::Sealed(sealed(b"microcode"))).unwrap();
        sources.add(Backing::Sealed(sealed(b"initrd"))).unwrap();
        let spans = vec![span(0, 0..9), Span::Zeros(3), span(1, 0..6)];
        let spans = checked(&sources, spans);
        let Descriptor::Assembled(file, moved) = sources.descriptor(&spans).unwrap() else {
            panic!("this part is not one file")
        };
        assert_eq!(content(&file, file.len()), b"microcode\0\0\0initrd");
        assert_eq!((moved.in_kernel, moved.through_user), (15, 0));
    }

    fn content(file: impl AsFd, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len.try_into().unwrap()];
        let file = File::from(file.as_fd().try_clone_to_owned().unwrap());
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn growable(bytes: &[u8], room: u64) -> GrowableFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let room = Some(Room { cut: 0, len: room });
        let cut = 0..bytes.len() as u64;
        let mut snapshot = Snapshot::take(file, &[cut], room, None, &mut |_| {}).unwrap();
        snapshot.parts.remove(0)
    }

    /// Grows `spans` where source 0 is `section`, which can, and 1 is `tail`;
    /// expects what comes of it, and how many bytes were moved for it.
    fn check_grown(spans: Vec<Span>, expected: (&str, u64, &[u8])) {
        check_grown_in(0, spans, expected);
    }

    /// As [`check_grown`], with `room` in front of the section.
    fn check_grown_in(room: u64, spans: Vec<Span>, expected: (&str, u64, &[u8])) {
        let mut sources = Sources::default();
        sources
            .add(Backing::Growable(growable(b"section", room)))
            .unwrap();
        sources.add(Backing::Sealed(sealed(b"tail"))).unwrap();
        let mut spans = checked(&sources, spans);
        sources.grow(&mut spans).unwrap();
        sources.seal_all().unwrap();
        let descriptor = sources.descriptor(&spans).unwrap();
        let moved = descriptor.moved().total();
        let bytes = content(&descriptor, descriptor.len());
        assert_eq!((&*descriptor.to_string(), moved, &*bytes), expected);
        // The section is still the same.
        let section = span(0, room..room + 7);
        let section = sources.parts(&[section]).unwrap();
        let (section, _) = assemble(&section).unwrap();
        assert_eq!(content(&section, 7), b"section");
        assert!(!format!("{sources:?}").contains("Growable"));
    }

    #[test]
    fn what_comes_behind_a_section_does_not_move_it() {
        let section = span(0, 0..7);
        let tail = span(1, 0..4);
        check_grown(vec![section.clone()], ("as it lies", 0, b"section"));
        check_grown(
            vec![section.clone(), Span::Zeros(1), tail.clone()],
            ("grown", 4, b"section\0tail"),
        );
        check_grown(
            vec![tail.clone(), section.clone()],
            ("assembled", 11, b"tailsection"),
        );
        check_grown(vec![span(0, 0..6), tail], ("assembled", 10, b"sectiotail"));
        check_grown(
            vec![section.clone(), section],
            ("assembled", 14, b"sectionsection"),
        );
        check_grown(vec![], ("assembled", 0, b""));
    }

    #[test]
    fn what_comes_in_front_of_a_section_takes_its_room() {
        let (section, tail) = (span(0, 6..13), span(1, 0..4));
        let front = [span(1, 0..4), Span::Zeros(2)];
        let with = |behind: &[Span]| [&front, &[section.clone()][..], behind].concat();
        let check = |spans, expected| check_grown_in(6, spans, expected);
        check(with(&[]), ("grown", 4, b"tail\0\0section"));
        check(
            with(&[Span::Zeros(1), tail.clone()]),
            ("grown", 8, b"tail\0\0section\0tail"),
        );
        // Others than those there is room for.
        check(vec![section.clone()], ("assembled", 7, b"section"));
        check(
            vec![tail, section.clone()],
            ("assembled", 11, b"tailsection"),
        );
        check(
            vec![span(0, 0..6), section],
            ("assembled", 13, b"\0\0\0\0\0\0section"),
        );
    }

    #[test]
    fn an_output_counts_when_it_is_sealed() {
        let mut sources = Sources::default();
        let output = sources.add_output().unwrap().try_clone_to_owned().unwrap();
        File::from(output).write_all(b"image").unwrap();
        sources.check(vec![span(0, 0..5)], 100).unwrap_err();
        sources.seal(0).unwrap();
        let output = checked(&sources, vec![span(0, 0..5)]);
        let descriptor = sources.descriptor(&output).unwrap();
        assert_eq!(descriptor.to_string(), "as it lies");
        sources.seal(0).unwrap_err();
        sources.free(0).unwrap();
        sources.descriptor(&output).unwrap_err();
        sources.check(vec![span(0, 0..5)], 100).unwrap_err();
    }

    #[test]
    fn an_output_is_freed_once_and_nothing_else_is() {
        let mut sources = Sources::default();
        sources.add(Backing::Sealed(sealed(b"image"))).unwrap();
        sources.add_output().unwrap();
        sources.seal(1).unwrap();
        sources.free(1).unwrap();
        for id in [0, 1, 2] {
            let error = sources.free(id).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with("the worker cannot be trusted"), "{said}");
        }
        sources.check(vec![span(0, 0..5)], 5).unwrap();
    }

    #[test]
    fn outputs_are_written_one_after_the_other() {
        let mut sources = Sources::default();
        let output = sources.add_output().unwrap().try_clone_to_owned().unwrap();
        let error = sources.add_output().unwrap_err();
        expect!["the worker cannot be trusted: it names an output while it writes another; nothing was done with its answer"]
            .assert_eq(&error.to_string());
        let mut output = File::from(output);
        output.write_all(b"image").unwrap();
        assert_eq!(sources.free(0).unwrap(), 5);
        // Its descriptor is of no use any more.
        output.write_all(b"more").unwrap_err();
        sources.add_output().unwrap();
        assert_eq!(sources.seal(1).unwrap(), 0);
        assert_eq!(sources.free(1).unwrap(), 0);
    }

    #[test]
    fn outputs_are_counted() {
        let mut sources = Sources::default();
        for id in 0..SOURCES_MAX {
            sources.add_output().unwrap();
            sources.free(id.try_into().unwrap()).unwrap();
        }
        sources.add_output().unwrap_err();
    }

    /// Expects an answer to be refused.
    fn check(spans: Vec<Span>, expected: &Expect) {
        let mut sources = Sources::default();
        sources.add(Backing::Sealed(sealed(b"0123456789"))).unwrap();
        let error = sources.check(spans, 1000).unwrap_err();
        expected.assert_eq(&error.to_string());
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        check(
            vec![span(1, 0..1)],
            &expect![
                "the worker cannot be trusted: it names bytes 0..1 of source 1, which has None; nothing was done with its answer"
            ],
        );
        check(
            vec![span(0, 0..11)],
            &expect![
                "the worker cannot be trusted: it names bytes 0..b of source 0, which has Some(a); nothing was done with its answer"
            ],
        );
        #[expect(clippy::reversed_empty_ranges, reason = "as a liar would")]
        check(
            vec![span(0, 5..4)],
            &expect![
                "the worker cannot be trusted: it names bytes 5..4 of source 0, which has Some(a); nothing was done with its answer"
            ],
        );
        check(
            vec![Span::Zeros(1000), span(0, 0..1)],
            &expect![
                "the worker cannot be trusted: it names a part of 1001 bytes, where 1000 is all there can be; nothing was done with its answer"
            ],
        );
        check(
            vec![Span::Zeros(u64::MAX), Span::Zeros(u64::MAX)],
            &expect![
                "the worker cannot be trusted: it names a part of 18446744073709551615 bytes, where 1000 is all there can be; nothing was done with its answer"
            ],
        );
    }
}
