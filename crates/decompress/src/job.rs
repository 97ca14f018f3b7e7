//! The description of a compression, and the job of its decoder.

use crate::error::Fault;
use crate::input::Input;
use crate::output::Output;

/// A row of the compressions: each has a file, which fills it in.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    /// As in the kernel's configuration and in zboot's header.
    pub(crate) name: &'static str,
    /// gzip's and lzma's are two bytes, as in Linux `lib/decompress.c`; the
    /// others have longer ones, and are held to them.
    pub(crate) magic: &'static [u8],
    pub(crate) decode: fn(&mut Job<'_>) -> Result<Ending, Fault>,
}

/// One decompression: from where, to where.
pub(crate) struct Job<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) output: Output<'a>,
    /// [`CHUNK`](crate::input::CHUNK) bytes, for what a decoder gives out.
    pub(crate) chunk: Vec<u8>,
    pub(crate) extent: Extent,
}

impl Job<'_> {
    /// Refuses an archive that uses `feature`: a kernel makes something else of it, or nothing.
    pub(crate) fn refuse_in_archive(&self, is_used: bool, feature: &str) -> Result<(), Fault> {
        match self.extent {
            Extent::Archive if is_used => Err(Fault::Unsupported(feature.to_owned())),
            Extent::Archive | Extent::Payload => Ok(()),
        }
    }
}

/// How far a decompression goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Through all of a payload.
    Payload,
    /// To the end of an archive, which others may follow.
    Archive,
}

/// How a good stream ended: with a warning, or as it should.
pub(crate) type Ending = Option<StreamWarning>;

/// Something about a good stream that its user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamWarning {
    /// Bytes follow the stream; they were ignored.
    TrailingBytes {
        /// How many.
        count: u64,
    },
    /// The data are whole, but the input ends inside what follows them.
    TrailerCut {
        /// The part that is missing, wholly or in part.
        part: &'static str,
        /// Whether checksums elsewhere in the stream covered the data.
        data_checked: bool,
    },
}
