//! Unpacking the compressed archives of an initrd before a kernel does.
//!
//! A kernel makes the same files of the result as of the original. Spec: Linux
//! `init/initramfs.c` (`unpack_to_rootfs`), `lib/decompress_*.c`, `lib/earlycpio.c`. Left out:
//! which compressions the next kernel was built with.
//!
//! From the first archive on that is not understood, everything stays as it is: only
//! a kernel knows where such an archive ends.

mod archive;
mod stop;

use std::io::Write;
use std::ops::Range;

use serde::Serialize;
use ukexec_bpf::{Piece, Rope};
use ukexec_decompress::{Compression, Limits};

use self::archive::{Archive, full, unwritten};
use self::stop::{Left, Stop};
use crate::chunks::Chunks;
use crate::cpio::Files;
use crate::output::CountedOutput;
use crate::{Store, UnfoldError};

/// An initrd whose compressed archives were unpacked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExpandedInitrd {
    /// The initrd.
    pub initrd: Rope,
    /// The parts of the original, in order.
    pub segments: Vec<InitrdSegment>,
    /// Why the last segment stays as it is, if that is not plain cpio.
    pub left: Option<String>,
}

/// A part of an initrd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InitrdSegment {
    /// Where it begins in the original.
    pub offset: u64,
    /// `cpio`, the name of a compression, or `unknown`.
    pub format: &'static str,
    /// Its length, with zeros behind it.
    pub size: u64,
    /// Its length when it is unpacked; `None` if it stays as it is.
    pub unpacked: Option<u64>,
}

impl ExpandedInitrd {
    /// Returns whether anything was unpacked.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.segments.iter().any(|it| it.unpacked.is_some())
    }
}

/// Unpacks the compressed archives of `initrd` into an output of `store`, which has at most `max`
/// bytes. Without any, the rope is the same.
///
/// Decompressors take `memory` bytes at most, and never more than 128 MiB. Archives that need more
/// stay as they are.
///
/// # Errors
///
/// The initrd cannot be read, the output cannot be written, or `max` bytes are not enough
/// ([`UnfoldError::is_limit`]). Archives that are damaged or unknown are none.
pub fn expand_initrd(
    initrd: &Rope,
    max: u64,
    memory: u64,
    store: &mut dyn Store,
) -> Result<ExpandedInitrd, UnfoldError> {
    let mut walk = Walk {
        initrd,
        limits: Limits {
            output: max,
            memory: memory.min(MEMORY_MAX),
        },
        output: None,
        len: 0,
        kept: 0,
        marks: Vec::new(),
        segments: Vec::new(),
    };
    let left = match walk.walk(store) {
        Ok(()) => None,
        Err(Stop::Left(left)) => Some(walk.leave(left)),
        Err(Stop::Failed(error)) => return Err(error),
    };
    let (initrd, segments) = walk.finish()?;
    Ok(ExpandedInitrd {
        initrd,
        segments,
        left,
    })
}

/// Archives that are unpacked.
const ARCHIVES_MAX: usize = 64;

/// Bytes read at once where most are passed over.
const CHUNK: u64 = 4 << 10;

/// The most memory of a decompressor. No kernel takes a larger window of Zstandard.
const MEMORY_MAX: u64 = 128 << 20;

struct Walk<'a> {
    initrd: &'a Rope,
    /// The length of the output, and the memory of a decompressor.
    limits: Limits,
    /// The new initrd up to `kept`; `None` where nothing was unpacked so far.
    output: Option<CountedOutput>,
    /// Bytes of the output that count.
    len: u64,
    kept: u64,
    /// Where the archives were that are unpacked.
    marks: Vec<Mark>,
    segments: Vec<InitrdSegment>,
}

/// Where an archive was.
struct Mark {
    /// In the initrd.
    offset: u64,
    /// In the output, in front of padding.
    len: u64,
    /// The number of its segment.
    segment: usize,
    /// Whether a file follows it that is not compressed.
    is_followed: bool,
}

impl Walk<'_> {
    /// Unpacks archives up to the end, or up to what stays as it is.
    fn walk(&mut self, store: &mut dyn Store) -> Result<(), Stop> {
        let mut at = 0;
        while at < self.initrd.len() {
            at = self.pass(at)?;
            if at < self.initrd.len() {
                at = self.unpack(at, store)?;
            }
        }
        Ok(())
    }

    /// Passes over files and zeros from `start` on. Returns where they end.
    fn pass(&mut self, start: u64) -> Result<u64, Stop> {
        let mut files = Files::at(start);
        let fault = self.pass_files(&mut files)?;
        if files.has_early && !self.marks.is_empty() {
            let (offset, format) = self.revert_all();
            return Err(Stop::left(offset, format, EARLY_BEHIND));
        }
        // The file with the fault began, too.
        let (at, has_files) = match fault {
            Some(_) => (files.start, files.count > 1),
            None => (files.at.min(self.initrd.len()), files.count > 0),
        };
        if has_files {
            self.add("cpio", start..at, None);
            self.marks.iter_mut().for_each(|it| it.is_followed = true);
        } else if let Some(last) = self.segments.last_mut() {
            last.size = at.saturating_sub(last.offset);
        }
        let is_odd = has_files && at < self.initrd.len() && !at.is_multiple_of(4);
        let Some(fault) = fault.or(is_odd.then_some(ODD)) else {
            return Ok(at);
        };
        let mut stop = Stop::left(at, UNKNOWN, fault);
        // A kernel that looks for early files does not stop where one that unpacks does. It would
        // look further, were what is in front not compressed.
        if let Stop::Left(left) = &mut stop
            && !self.marks.is_empty()
        {
            (left.offset, left.format) = self.revert_all();
        }
        Err(stop)
    }

    /// Passes over files and zeros. Returns why it stops in the middle of a file.
    fn pass_files(&self, files: &mut Files) -> Result<Option<&'static str>, UnfoldError> {
        loop {
            files.skip(files.content());
            let at = files.at.min(self.initrd.len());
            let chunk = self.read(at..at.saturating_add(CHUNK).min(self.initrd.len()))?;
            match files.push(&chunk) {
                Err(fault) => return Ok(Some(fault)),
                Ok(count) if count < chunk.len() || chunk.is_empty() => return Ok(None),
                Ok(_) => {}
            }
        }
    }

    /// Unpacks the archive at `at`, and returns where it ends.
    fn unpack(&mut self, at: u64, store: &mut dyn Store) -> Result<u64, Stop> {
        let front = self.read(at..at.saturating_add(FRONT).min(self.initrd.len()))?;
        let Some(compression) = Compression::of_archive(&front) else {
            let bytes: Vec<String> = front.iter().map(|byte| format!("{byte:02x}")).collect();
            let fault = format!("no archive begins with {}", bytes.join(" "));
            return Err(Stop::left(at, UNKNOWN, &fault));
        };
        let format = compression.name();
        if self.marks.len() >= ARCHIVES_MAX {
            let fault = format!("{ARCHIVES_MAX} archives in front of it are unpacked");
            return Err(Stop::left(at, format, &fault));
        }
        let mut output = match self.output.take() {
            Some(output) => output,
            None => CountedOutput::new(store.create().map_err(unwritten)?),
        };
        self.keep(at, &mut output)?;
        let mark = Mark {
            offset: at,
            len: self.len,
            segment: self.segments.len(),
            is_followed: false,
        };
        pad(&mut output, self.len.wrapping_neg() % 4)?;
        let start = output.written;
        let rest = self.initrd.slice(at..self.initrd.len());
        let archive = Archive {
            rest: &rest.map_err(UnfoldError::unread)?,
            at,
            format,
        };
        let unpacked = archive.unpack(&self.limits, &mut output);
        let written = output.written;
        self.output = Some(output);
        let end = at.saturating_add(unpacked?);
        (self.kept, self.len) = (end, written);
        self.marks.push(mark);
        self.add(format, at..end, Some(written.saturating_sub(start)));
        Ok(end)
    }

    /// Copies what stays as it is up to `at` into the output, each byte at the same place
    /// modulo 4: files begin at multiples of it.
    fn keep(&mut self, at: u64, output: &mut CountedOutput) -> Result<(), UnfoldError> {
        if at == self.kept {
            return Ok(());
        }
        let padding = self.padding();
        let count = at.saturating_sub(self.kept).saturating_add(padding);
        if output.written.saturating_add(count) > self.limits.output {
            return Err(full(self.limits.output));
        }
        pad(output, padding)?;
        let mut insns = u64::MAX;
        let mut chunks = Chunks::new(self.initrd, self.kept..at);
        loop {
            let chunk = chunks.advance(&mut insns)?;
            if chunk.is_empty() {
                break;
            }
            output.write_all(chunk).map_err(unwritten)?;
        }
        (self.kept, self.len) = (at, output.written);
        Ok(())
    }

    /// Returns how many zeros come in front of the next byte that stays as it is.
    fn padding(&self) -> u64 {
        self.kept.wrapping_sub(self.len) % 4
    }

    /// Leaves the rest as it is, and says why.
    fn leave(&mut self, mut left: Left) -> String {
        // Behind files, a kernel takes an archive at a multiple of 4 alone.
        while !left.offset.is_multiple_of(4)
            && let Some(last) = self.marks.pop_if(|mark| !mark.is_followed)
        {
            (left.offset, left.format) = self.revert(&last);
        }
        self.add(left.format, left.offset..self.initrd.len(), None);
        left.reason
    }

    /// Takes back that anything was unpacked. Returns where the first archive begins, and its
    /// format.
    fn revert_all(&mut self) -> (u64, &'static str) {
        let first = self.marks.drain(..).next();
        first.map_or((0, UNKNOWN), |first| self.revert(&first))
    }

    /// Takes back that the archive at `mark` and all behind it were unpacked. Returns where it
    /// begins, and its format.
    fn revert(&mut self, mark: &Mark) -> (u64, &'static str) {
        self.len = mark.len;
        self.kept = mark.offset;
        let archive = self.segments.drain(mark.segment..).next();
        (mark.offset, archive.map_or(UNKNOWN, |it| it.format))
    }

    fn add(&mut self, format: &'static str, range: Range<u64>, unpacked: Option<u64>) {
        self.segments.push(InitrdSegment {
            offset: range.start,
            format,
            size: range.end.saturating_sub(range.start),
            unpacked,
        });
    }

    /// Returns the new initrd.
    fn finish(mut self) -> Result<(Rope, Vec<InitrdSegment>), UnfoldError> {
        let is_changed = self.segments.iter().any(|it| it.unpacked.is_some());
        let end = self.initrd.len();
        let Some(mut output) = self.output.take().filter(|_| is_changed) else {
            return Ok((self.initrd.clone(), self.segments));
        };
        let mut rest = Rope::new();
        if output.written == self.len {
            self.keep(end, &mut output)?;
        } else {
            // Bytes of an archive that stays as it is were written, too.
            rest.push(Piece::Zeros(self.padding()));
            let kept = self.initrd.slice(self.kept..end);
            rest.append(&kept.map_err(UnfoldError::unread)?);
        }
        let (id, source) = output.inner.finish().map_err(unwritten)?;
        let whole = Rope::from_source(id, source);
        let mut initrd = whole.slice(0..self.len).map_err(UnfoldError::unread)?;
        initrd.append(&rest);
        Ok((initrd, self.segments))
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, UnfoldError> {
        let slice = self.initrd.slice(range);
        let bytes = slice.and_then(|it| it.to_vec());
        bytes.map_err(UnfoldError::unread)
    }
}

const UNKNOWN: &str = "unknown";

/// Bytes of an archive that are looked at first.
const FRONT: u64 = 4;

const ODD: &str = "it follows a file and does not begin at a multiple of 4";
const EARLY_BEHIND: &str =
    "behind it are files that a kernel would find before it unpacks anything, were it plain";

fn pad(output: &mut CountedOutput, count: u64) -> Result<(), UnfoldError> {
    let zeros = [0; 4];
    let count = usize::try_from(count).unwrap_or(zeros.len());
    let zeros = zeros.get(..count).unwrap_or(&zeros);
    output.write_all(zeros).map_err(unwritten)
}
