//! Files of cpio archives (newc), as a kernel takes them out of an initrd.
//!
//! Spec: Linux `init/initramfs.c` (its states), `lib/earlycpio.c`,
//! `driver-api/early-userspace/buffer-format.rst`. A kernel knows no archives, only files one
//! behind the other: each begins at a multiple of 4, with zeros in between, and `TRAILER!!!`
//! is one of them. Left out: the content of the files.

use crate::costs::wide;

/// Reads files from bytes that come piecemeal, and keeps nothing of them.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Where the next byte lies; multiples of 4 count from 0.
    pub(crate) at: u64,
    /// Where the last file began.
    pub(crate) start: u64,
    /// The first bytes of the file that is being read. Empty between two files.
    front: Vec<u8>,
    /// Where that file ends, once its header is known.
    end: Option<u64>,
    /// How many bytes of it are looked at.
    need: usize,
    /// How many files began.
    pub(crate) count: u64,
    /// Whether a kernel would look for one of them before it unpacks anything.
    pub(crate) has_early: bool,
}

impl Files {
    /// Returns the reader of bytes that lie at `at`.
    pub(crate) fn at(at: u64) -> Self {
        Self {
            at,
            need: HEADER_LEN,
            ..Self::default()
        }
    }

    /// Takes `bytes` up to one that is neither a zero between files nor part of a file. Returns
    /// how many were taken.
    ///
    /// # Errors
    ///
    /// A file that kernels refuse, or that not all of them treat alike.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = if self.front.len() < self.need && !self.is_between() {
                self.look(rest)?
            } else if let Some(end) = self.end {
                let left = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
                left.min(rest.len())
            } else {
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                let is_file = self.at.is_multiple_of(4) && rest.first() == Some(&b'0');
                if zeros == 0 && !is_file {
                    break;
                }
                if is_file {
                    self.start = self.at;
                    self.count = self.count.saturating_add(1);
                    self.look(rest)?
                } else {
                    zeros
                }
            };
            self.skip(wide(count));
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// Returns how many of the next bytes are the content of a file.
    pub(crate) fn content(&self) -> u64 {
        let is_known = self.front.len() >= self.need;
        let end = self.end.filter(|_| is_known);
        end.map_or(0, |end| end.saturating_sub(self.at))
    }

    /// Passes over `count` bytes, of one file at most.
    pub(crate) fn skip(&mut self, count: u64) {
        self.at = self.at.saturating_add(count);
        if self.end.is_some_and(|end| end <= self.at) {
            *self = Self {
                start: self.start,
                count: self.count,
                has_early: self.has_early,
                ..Self::at(self.at)
            };
        }
    }

    /// Returns whether no file is open.
    pub(crate) fn is_between(&self) -> bool {
        self.front.is_empty()
    }

    /// Looks at the next bytes of a file. Returns how many.
    fn look(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let missing = self.need.saturating_sub(self.front.len());
        let next = bytes.get(..missing).unwrap_or(bytes);
        self.front.extend_from_slice(next);
        if self.front.len() < self.need {
            return Ok(next.len());
        }
        if self.need == HEADER_LEN {
            self.read_header(next.len())?;
        }
        if let Some(name @ [.., last]) = self.front.get(HEADER_LEN..) {
            if *last != 0 {
                return Err("a file has a name that no NUL ends");
            }
            self.has_early |= EARLY.iter().any(|early| name.starts_with(early));
        }
        Ok(next.len())
    }

    /// Reads the header, the last bytes of which are the next `count`.
    fn read_header(&mut self, count: usize) -> Result<(), &'static str> {
        let header = self.front.as_slice();
        if !MAGICS.iter().any(|magic| header.starts_with(magic)) {
            return Err("a file is of another format than cpio's newc");
        }
        let field = |index: usize| {
            let digits = header.get(6..)?.chunks(8).nth(index)?;
            let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
            let text = str::from_utf8(digits).ok().filter(|_| is_hex)?;
            u32::from_str_radix(text, 16).ok()
        };
        let fields = (field(1), field(6), field(11));
        let (Some(mode), Some(size), Some(name_len)) = fields else {
            return Err("a field of a file's header is no number");
        };
        let kind = mode & 0o170_000;
        let has_room = match kind {
            REGULAR => true,
            LINK => size <= PATH_MAX,
            _ => size == 0,
        };
        if !(1..=PATH_MAX).contains(&name_len) || !has_room {
            return Err("a file has a name or a target of no length that kernels take");
        }
        // Sums of 32-bit numbers and a position.
        let start = self.at.saturating_add(wide(count));
        let content = start.saturating_add(name_len.into()).next_multiple_of(4);
        let end = content.saturating_add(size.into());
        self.end = Some(end.next_multiple_of(4));
        let name_len = usize::try_from(name_len).unwrap_or(usize::MAX);
        self.need = HEADER_LEN.saturating_add(name_len);
        Ok(())
    }
}

const HEADER_LEN: usize = 110;
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const PATH_MAX: u32 = 4096;

/// A kernel looks for files with such names in what is not compressed, before it unpacks.
const EARLY: [&[u8]; 2] = [b"kernel/x86/microcode/", b"kernel/firmware/acpi/"];
