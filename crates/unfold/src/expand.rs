//! Unpacking the compressed archives of an initrd before a kernel does.
//!
//! A kernel makes the same files of the result as of the original. Spec: Linux
//! `init/initramfs.c` (`unpack_to_rootfs`), `lib/decompress_*.c`, `lib/earlycpio.c`. Left out:
//! which compressions the next kernel was built with.
//!
//! From the first archive on that is not understood, everything stays as it is: only
//! a kernel knows where such an archive ends.

use std::io::{self, Write};
use std::ops::Range;

use serde::Serialize;
use ukexec_bpf::{Piece, Rope};
use ukexec_decompress::{Limits, StreamWarning, decompress_archive};

use crate::chunks::{Chunks, Payload};
use crate::costs::wide;
use crate::cpio::Files;
use crate::output::CountedOutput;
use crate::{Store, UnfoldError};

/// An initrd whose compressed archives were unpacked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExpandedInitrd {
    /// The initrd.
    pub initrd: Rope,
    /// What the original consists of, in order.
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
/// # Errors
///
/// The initrd cannot be read, the output cannot be written, or `max` bytes are not enough
/// ([`UnfoldError::is_limit`]). Archives that are damaged or unknown are none.
pub fn expand_initrd(
    initrd: &Rope,
    max: u64,
    store: &mut dyn Store,
) -> Result<ExpandedInitrd, UnfoldError> {
    let mut walk = Walk {
        initrd,
        max,
        output: None,
        len: 0,
        kept: 0,
        marks: Vec::new(),
        segments: Vec::new(),
    };
    let left = walk.walk(store)?;
    let left = left.map(|left| walk.leave(left));
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
const MEMORY: u64 = 128 << 20;

struct Walk<'a> {
    initrd: &'a Rope,
    max: u64,
    /// What is made of the initrd up to `kept`, if anything.
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

/// What stays as it is, up to the end.
struct Left {
    offset: u64,
    format: &'static str,
    reason: String,
}

impl Left {
    fn new(offset: u64, format: &'static str, reason: impl Into<String>) -> Self {
        Self {
            offset,
            format,
            reason: reason.into(),
        }
    }
}

impl Walk<'_> {
    /// Unpacks archives up to the end, or up to what stays as it is.
    fn walk(&mut self, store: &mut dyn Store) -> Result<Option<Left>, UnfoldError> {
        let mut at = 0;
        loop {
            let start = at;
            let mut files = Files::at(at);
            let fault = self.pass_files(&mut files, &mut at)?;
            if files.has_early && !self.marks.is_empty() {
                // A kernel does not look behind what is compressed.
                let first = self.marks.swap_remove(0);
                self.marks.clear();
                return Ok(Some(Left::new(self.revert(&first), UNKNOWN, EARLY)));
            }
            let has_files = files.count > 0;
            if has_files {
                self.add("cpio", start..at, None);
                self.marks.iter_mut().for_each(|it| it.is_followed = true);
            } else if let Some(last) = self.segments.last_mut() {
                last.size = at.saturating_sub(last.offset);
            }
            if let Some(fault) = fault {
                return Ok(Some(Left::new(at, UNKNOWN, fault)));
            }
            if at >= self.initrd.len() {
                return Ok(None);
            }
            if has_files && !at.is_multiple_of(4) {
                let fault = "it follows a file and does not begin at a multiple of 4";
                return Ok(Some(Left::new(at, UNKNOWN, fault)));
            }
            match self.unpack(at, store)? {
                Ok(end) => at = end,
                Err(left) => return Ok(Some(left)),
            }
        }
    }

    /// Passes over files and zeros from `at` on. Returns why it stops in the middle of a file.
    fn pass_files(
        &self,
        files: &mut Files,
        at: &mut u64,
    ) -> Result<Option<&'static str>, UnfoldError> {
        loop {
            let content = files.content();
            files.skip(content);
            *at = at.saturating_add(content).min(self.initrd.len());
            let end = at.saturating_add(CHUNK).min(self.initrd.len());
            let chunk = self.read(*at..end)?;
            match files.push(&chunk) {
                Err(fault) => return Ok(Some(fault)),
                Ok(count) => {
                    *at = at.saturating_add(wide(count));
                    if count < chunk.len() || chunk.is_empty() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Unpacks the archive at `at`, and returns where it ends.
    fn unpack(&mut self, at: u64, store: &mut dyn Store) -> Result<Result<u64, Left>, UnfoldError> {
        let front = self.read(at..at.saturating_add(FRONT).min(self.initrd.len()))?;
        let format = match packed(&front) {
            Ok(format) => format,
            Err((format, fault)) => return Ok(Err(Left::new(at, format, fault))),
        };
        if self.marks.len() >= ARCHIVES_MAX {
            let fault = format!("{ARCHIVES_MAX} archives in front of it are unpacked");
            return Ok(Err(Left::new(at, format, fault)));
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
        let unpacked = self.decompress(at, &mut output);
        let written = output.written;
        self.output = Some(output);
        let (consumed, len) = match unpacked? {
            Ok(done) => done,
            Err(fault) => return Ok(Err(Left::new(at, format, fault))),
        };
        let end = at.saturating_add(consumed);
        (self.kept, self.len) = (end, written);
        self.marks.push(mark);
        self.add(format, at..end, Some(len));
        Ok(Ok(end))
    }

    /// Decompresses the archive at `at` into the output. Returns how many bytes it has, packed
    /// and unpacked, or why it cannot be unpacked.
    fn decompress(
        &self,
        at: u64,
        output: &mut CountedOutput,
    ) -> Result<Result<(u64, u64), String>, UnfoldError> {
        let rest = self.initrd.slice(at..self.initrd.len());
        let rest = rest.map_err(UnfoldError::unread)?;
        let mut insns = u64::MAX;
        let mut input = Payload::new(&rest, &mut insns);
        pad(output, self.len.wrapping_neg() % 4)?;
        let start = output.written;
        let mut checked = Checked {
            files: Files::at(0),
            max: self.max,
            fault: None,
            output,
        };
        let limits = Limits {
            output: u64::MAX,
            memory: MEMORY,
        };
        let done = decompress_archive(&mut input, &mut checked, &limits);
        let Checked { files, fault, .. } = checked;
        if let Some(error) = input.error {
            return Err(error.into());
        }
        if let Some(error) = output.error.take() {
            return Err(unwritten(error));
        }
        let done = match (fault, done) {
            (Some(Fault::Full), _) => return Err(full(self.max)),
            (Some(Fault::Content(fault)), _) => return Ok(Err(fault.to_owned())),
            (None, Err(error)) => return Ok(Err(error.to_string())),
            (None, Ok(done)) => done,
        };
        if let Some(StreamWarning::TrailerCut { part, .. }) = done.warnings.first() {
            return Ok(Err(format!("its trailer ({part}) is cut off")));
        }
        if files.count == 0 || !files.is_between() {
            return Ok(Err("its content ends inside a file of cpio".to_owned()));
        }
        if files.has_early {
            return Ok(Err(EARLY.to_owned()));
        }
        Ok(Ok((done.consumed, output.written.saturating_sub(start))))
    }

    /// Copies what stays as it is up to `at` into the output, each byte at the same place
    /// modulo 4: files begin at multiples of it.
    fn keep(&mut self, at: u64, output: &mut CountedOutput) -> Result<(), UnfoldError> {
        if at == self.kept {
            return Ok(());
        }
        let padding = self.padding();
        let count = at.saturating_sub(self.kept).saturating_add(padding);
        if output.written.saturating_add(count) > self.max {
            return Err(full(self.max));
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
    fn leave(&mut self, left: Left) -> String {
        let Left {
            mut offset,
            mut format,
            reason,
        } = left;
        let reason = format!("at offset {offset:#x}, {reason}");
        // Behind files, a kernel takes an archive at a multiple of 4 alone.
        while !offset.is_multiple_of(4)
            && let Some(last) = self.marks.pop_if(|mark| !mark.is_followed)
        {
            offset = self.revert(&last);
            format = UNKNOWN;
        }
        self.add(format, offset..self.initrd.len(), None);
        reason
    }

    /// Takes back that the archive at `mark` and all behind it were unpacked. Returns where it
    /// begins.
    fn revert(&mut self, mark: &Mark) -> u64 {
        self.len = mark.len;
        self.kept = mark.offset;
        self.segments.truncate(mark.segment);
        mark.offset
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

/// What comes out of an archive, on its way into the output.
struct Checked<'a> {
    files: Files,
    /// Bytes that the output may have.
    max: u64,
    fault: Option<Fault>,
    output: &'a mut CountedOutput,
}

/// Why an archive is not unpacked to its end.
enum Fault {
    /// The output would be too long.
    Full,
    /// A kernel would not take all of it.
    Content(&'static str),
}

impl Checked<'_> {
    fn check(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let files = &mut self.files;
        if files.count == 0 && bytes.first().is_some_and(|byte| *byte != b'0') {
            return Err(Fault::Content("its content is no cpio archive (newc)"));
        }
        let taken = files.push(bytes).map_err(Fault::Content)?;
        if taken < bytes.len() {
            return Err(Fault::Content("its content has bytes between two files"));
        }
        match self.output.written.checked_add(wide(bytes.len())) {
            Some(len) if len <= self.max => Ok(()),
            _ => Err(Fault::Full),
        }
    }
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(fault) = self.check(bytes) {
            self.fault = Some(fault);
            return Err(io::ErrorKind::Other.into());
        }
        self.output.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Returns the compression of an archive that begins with `front`, if the kernel's decompressors
/// take it; else its name, and why it stays as it is.
fn packed(front: &[u8]) -> Result<&'static str, (&'static str, String)> {
    let mut formats = FORMATS.iter();
    let format = formats.find(|(magic, _)| front.starts_with(magic));
    let Some((_, format)) = format else {
        let front = front.get(..4).unwrap_or(front);
        let bytes: Vec<String> = front.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = bytes.join(" ");
        return Err((UNKNOWN, format!("no archive begins with {bytes}")));
    };
    Ok(format)
}

/// Linux `lib/decompress.c`.
const FORMATS: [(&[u8], &str); 7] = [
    (&[0x1f, 0x8b], "gzip"),
    (b"BZ", "bzip2"),
    (&[0x5d, 0x00], "lzma"),
    (&[0xfd, b'7'], "xz"),
    (&[0x89, b'L'], "lzo"),
    (&[0x02, 0x21], "lz4"),
    (&[0x28, 0xb5], "zstd"),
];
const UNKNOWN: &str = "unknown";

/// Bytes of an archive that are looked at first.
const FRONT: u64 = 4;

const EARLY: &str = "it has files that a kernel looks for before it unpacks anything";

fn pad(output: &mut CountedOutput, count: u64) -> Result<(), UnfoldError> {
    let zeros = [0; 4];
    let count = usize::try_from(count).unwrap_or(zeros.len());
    let zeros = zeros.get(..count).unwrap_or(&zeros);
    output.write_all(zeros).map_err(unwritten)
}

fn full(max: u64) -> UnfoldError {
    UnfoldError::limit(format!("the unpacked initrd has more than {max} bytes"))
}

fn unwritten(error: io::Error) -> UnfoldError {
    UnfoldError::caused("the unpacked initrd cannot be written", error)
}
