//! Opening an image, and bringing it into reach: as it lies on disk, or as a
//! snapshot that nobody can change.

use std::fs::{File, Metadata};
use std::io::Seek as _;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ukexec_bpf::{Rope, SourceId};
use ukexec_kexec::{
    GrowableFile, InputKind, Moved, Readers, Room, SealedFile, Snapshot, Tap, input_kind,
    read_stream,
};

use crate::console::Console;
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::fd_source::FdSource;
use crate::files::{self, IMAGE_LEN_MAX, base_name, is_stdin, shown};
use crate::parent::sources::{Backing, Sources};
use crate::protocol::{Grows, Span};

/// A file that was opened, before anybody looked at it.
#[derive(Debug)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    /// Who may read it.
    pub(crate) readers: Readers,
    /// Whose it is, if it is a file that somebody named.
    pub(crate) opened: Option<Metadata>,
    pub(crate) content: InputBytes,
}

/// Where an opened file's bytes are.
#[derive(Debug)]
pub(crate) enum InputBytes {
    /// On disk; so many.
    File(File, u64),
    /// They came as a stream, and are sealed.
    Stream(SealedFile),
}

/// An image or an initrd that is in reach.
#[derive(Debug)]
pub(crate) struct Image {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// All of its bytes.
    pub(crate) spans: Vec<Span>,
    /// Who may read the file, and so everything made of it.
    pub(crate) readers: Readers,
    /// Whether they cannot change any more.
    pub(crate) sealed: bool,
    /// How many bytes were moved to bring it into reach.
    pub(crate) moved: Moved,
    /// The file itself, where it is one that was taken over.
    pub(crate) file: Option<File>,
}

impl InputFile {
    /// Opens `path`; reads it if it is a stream.
    pub(crate) fn open(path: &Path, console: &dyn Console) -> Result<Self> {
        let file = files::open_named(path).map_err(LoaderError::from);
        let opened = file.and_then(|file| Self::of_any(file, path, console));
        opened.map_err(|error| unread(error, path))
    }

    /// Takes the open `file`, which is at `path`.
    pub(crate) fn of_file(file: File, path: &Path, console: &dyn Console) -> Result<Self> {
        Self::of_any(file, path, console).map_err(|error| unread(error, path))
    }

    fn of_any(mut file: File, path: &Path, console: &dyn Console) -> Result<Self> {
        let readers = Readers::of(&file)?;
        let opened = Some(file.metadata()?);
        // A part of standard input may have been read already.
        let is_rest = is_stdin(path) && file.stream_position().is_ok_and(|at| at > 0);
        let kind = if is_rest {
            InputKind::Stream
        } else {
            input_kind(&file)?
        };
        let content = match kind {
            InputKind::File { len } => InputBytes::File(file, len),
            _ => {
                let progress = console.progress(&format!("reading {}", base_name(path)), None);
                let sealed = read_stream(file, IMAGE_LEN_MAX, &mut |done| progress.set(done));
                InputBytes::Stream(sealed?)
            }
        };
        let path = path.to_owned();
        Ok(Self {
            path,
            readers,
            opened,
            content,
        })
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match &self.content {
            InputBytes::File(_, len) => *len,
            InputBytes::Stream(sealed) => sealed.len(),
        }
    }

    /// Leaves the bytes where they are.
    pub(crate) fn leave(self, sources: &mut Sources) -> Result<Image> {
        let (id, len, sealed, moved) = match self.content {
            InputBytes::File(file, len) => (sources.add(Backing::File(file, len))?, len, false, 0),
            InputBytes::Stream(sealed) => {
                let len = sealed.len();
                (sources.add(Backing::Sealed(sealed))?, len, true, len)
            }
        };
        Ok(Image {
            path: self.path,
            readers: self.readers,
            spans: vec![Span::Source { id, range: 0..len }],
            sealed,
            moved: Moved {
                in_kernel: 0,
                through_user: moved,
            },
            file: None,
        })
    }

    /// Takes the bytes over into memory in one pass, cut where `cuts` say. All
    /// parts are sealed but one, which can grow: the one that `grows`, or else the
    /// largest. A stream is sealed already.
    pub(crate) fn snapshot(
        self,
        cuts: &[Range<u64>],
        grows: Option<Grows>,
        tap: Option<Tap<'_>>,
        console: &dyn Console,
        sources: &mut Sources,
    ) -> Result<Image> {
        let InputBytes::File(file, len) = self.content else {
            return self.leave(sources);
        };
        let path = self.path;
        if len > IMAGE_LEN_MAX {
            return Err(LoaderError::new(format!(
                "{} has {len} bytes; an image or initrd has {IMAGE_LEN_MAX} at most",
                shown(&path)
            ))
            .of_kind(ErrorKind::File));
        }
        let room = grows.map(|Grows { cut, room }| Room { cut, len: room });
        let progress = console.progress(&format!("copying {}", base_name(&path)), Some(len));
        let snapshot = Snapshot::take(&file, cuts, room, tap, &mut |done| progress.set(done))
            .map_err(|error| unread(error.into(), &path))?;
        let Snapshot {
            parts,
            layout,
            moved,
            ..
        } = snapshot;
        let grows = grows.and_then(|grows| cuts.get(grows.cut));
        let grows = match grows {
            Some(cut) => layout.iter().find(|it| it.range == *cut).map(|it| it.part),
            // Copying the largest to put something behind it would take longest.
            None => (0..parts.len()).max_by_key(|&part| parts.get(part).map(GrowableFile::len)),
        };
        let mut ids = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            ids.push(sources.add(if Some(index) == grows {
                Backing::Growable(part)
            } else {
                Backing::Sealed(part.seal()?)
            })?);
        }
        let mut spans = Vec::new();
        for span in layout {
            let id = ids.get(span.part).copied();
            spans.push(Span::Source {
                id: id.context(|| "a snapshot names a part it does not have")?,
                range: span.offset..span.offset + (span.range.end - span.range.start),
            });
        }
        Ok(Image {
            path,
            readers: self.readers,
            spans,
            sealed: true,
            moved,
            file: Some(file),
        })
    }
}

/// Says of an error that the file at `path` cannot be read by it.
fn unread(error: LoaderError, path: &Path) -> LoaderError {
    let error = error.context(format!("cannot read {}", shown(path)));
    error.of_kind(ErrorKind::File)
}

impl Image {
    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.spans.iter().map(Span::len).sum()
    }
}

/// Returns all of the file that the caller named for this run, as source number
/// `id`, and who may read it: for callers that take images apart by themselves.
///
/// # Errors
///
/// The file cannot be read.
pub fn open_rope(path: &Path, id: u32, console: &dyn Console) -> Result<(Rope, Readers)> {
    let InputFile {
        readers, content, ..
    } = InputFile::open(path, console)?;
    let source = match content {
        InputBytes::File(file, len) => FdSource::new(file, len),
        InputBytes::Stream(sealed) => {
            FdSource::new(sealed.as_fd().try_clone_to_owned()?, sealed.len())
        }
    };
    let rope = Rope::from_source(SourceId(id), Arc::new(source));
    Ok((rope, readers))
}
