//! One archive: decompressed into the output, if a kernel takes all of it.

use std::io::{self, Write};

use ukexec_bpf::Rope;
use ukexec_decompress::{Limits, StreamWarning, decompress_archive};

use super::stop::Stop;
use crate::UnfoldError;
use crate::chunks::Payload;
use crate::costs::wide;
use crate::cpio::Files;
use crate::output::CountedOutput;

/// An archive in an initrd.
pub(super) struct Archive<'a> {
    /// The initrd from there on.
    pub(super) rest: &'a Rope,
    pub(super) at: u64,
    pub(super) format: &'static str,
}

impl Archive<'_> {
    /// Decompresses it to the end of the output, whose whole length has a limit. Returns the
    /// length of the archive.
    pub(super) fn unpack(&self, whole: &Limits, output: &mut CountedOutput) -> Result<u64, Stop> {
        let mut insns = u64::MAX;
        let mut input = Payload::new(self.rest, &mut insns);
        let mut checked = Checked {
            files: Files::at(0),
            max: whole.output,
            fault: None,
            output,
        };
        let limits = Limits {
            output: u64::MAX,
            memory: whole.memory,
        };
        let done = decompress_archive(&mut input, &mut checked, &limits);
        let Checked { files, fault, .. } = checked;
        if let Some(error) = input.error {
            return Err(UnfoldError::from(error).into());
        }
        if let Some(error) = output.error.take() {
            return Err(unwritten(error).into());
        }
        let done = match (fault, done) {
            (Some(Fault::Full), _) => return Err(full(whole.output).into()),
            (Some(Fault::Content(fault)), _) => return Err(self.refused(fault)),
            (None, Err(error)) => return Err(self.refused(&error.to_string())),
            (None, Ok(done)) => done,
        };
        if let Some(StreamWarning::TrailerCut { part, .. }) = done.warnings.first() {
            return Err(self.refused(&format!("its trailer ({part}) is cut off")));
        }
        if files.count == 0 || !files.is_between() {
            return Err(self.refused("its content ends inside a file of cpio"));
        }
        if files.has_early {
            return Err(self.refused(EARLY));
        }
        Ok(done.consumed)
    }

    fn refused(&self, reason: &str) -> Stop {
        Stop::left(self.at, self.format, reason)
    }
}

const EARLY: &str = "it has files that a kernel looks for before it unpacks anything";

/// The content of an archive, on its way into the output.
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

pub(super) fn full(max: u64) -> UnfoldError {
    UnfoldError::limit(format!("the unpacked initrd has more than {max} bytes"))
}

pub(super) fn unwritten(error: io::Error) -> UnfoldError {
    UnfoldError::caused("the unpacked initrd cannot be written", error)
}
