//! The sources of the worker's ropes: descriptors that the parent gave.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ukexec_bpf::{Piece, Rope, Source, SourceId};
use ukexec_unfold::{Output, Store};

use super::channel::ParentChannel;
use super::progress::ProgressSender;
use crate::error::{Context as _, Result};
use crate::fd_source::FdSource;
use crate::protocol::{Event, Span};

/// All sources of one unfolding, numbered as the parent numbers them; also the
/// [`Store`] that decompression writes into.
#[derive(Debug)]
pub(crate) struct Sources {
    parent: Arc<ParentChannel>,
    /// Those that the parent gave before it asked for anything.
    given: Vec<Arc<CountedSource>>,
    /// Those that were written for answers.
    spilled: Vec<Arc<dyn Source>>,
    /// The number of the next output.
    next: u32,
    /// Counts every byte that is read from them or written into them.
    pub(crate) progress: Arc<ProgressSender>,
}

impl Sources {
    pub(crate) fn new(parent: &Arc<ParentChannel>) -> Self {
        Self {
            parent: Arc::clone(parent),
            given: Vec::new(),
            spilled: Vec::new(),
            next: 0,
            progress: Arc::new(ProgressSender::new(parent)),
        }
    }

    /// Takes in the next source.
    pub(crate) fn take_in(&mut self, descriptor: OwnedFd, len: u64) {
        self.given.push(Arc::new(CountedSource {
            source: FdSource::new(descriptor, len),
            progress: Arc::clone(&self.progress),
        }));
        self.next += 1;
    }

    /// Returns the bytes that `spans` name.
    pub(crate) fn rope(&self, spans: &[Span]) -> Result<Rope> {
        let mut rope = Rope::new();
        for span in spans {
            rope.push(match span {
                Span::Zeros(len) => Piece::Zeros(*len),
                Span::Source { id, range } => {
                    let given = self.given.get(*id as usize);
                    let source = given.context(|| format!("source {id} was not given"))?;
                    Piece::Source {
                        id: SourceId(*id),
                        source: Arc::clone(source) as Arc<dyn Source>,
                        range: range.clone(),
                    }
                }
            });
        }
        Ok(rope)
    }

    /// Returns `rope` in numbers. Pieces in this process's memory are written
    /// into an output first, which stays until this value goes.
    pub(crate) fn spans(&mut self, rope: &Rope) -> Result<Vec<Span>> {
        let spilled = self.spill(rope)?;
        let mut at = 0;
        let span = |piece: &Piece| {
            Ok(match piece {
                Piece::Source { id, range, .. } => Span::Source {
                    id: id.0,
                    range: range.clone(),
                },
                Piece::Zeros(len) => Span::Zeros(*len),
                Piece::Memory(bytes) => {
                    let SourceId(id) = spilled.context(|| "a piece in memory was not written")?;
                    let start = at;
                    at += bytes.len() as u64;
                    let range = start..at;
                    Span::Source { id, range }
                }
            })
        };
        rope.pieces().iter().map(span).collect()
    }

    /// Writes the pieces of `rope` that lie in memory into an output, if there
    /// are any.
    fn spill(&mut self, rope: &Rope) -> Result<Option<SourceId>> {
        let mut memory = rope
            .pieces()
            .iter()
            .filter_map(|piece| match piece {
                Piece::Memory(bytes) => Some(bytes),
                Piece::Source { .. } | Piece::Zeros(_) => None,
            })
            .peekable();
        if memory.peek().is_none() {
            return Ok(None);
        }
        let mut output = self.create()?;
        for bytes in memory {
            output.write_all(bytes)?;
        }
        let (id, source) = output.finish()?;
        self.spilled.push(source);
        Ok(Some(id))
    }

    /// Returns whether `rope` came out of a decompression.
    pub(crate) fn is_decompressed(&self, rope: &Rope) -> bool {
        let is_output = |id: SourceId| id.0 as usize >= self.given.len();
        rope.pieces()
            .iter()
            .any(|piece| matches!(piece, Piece::Source { id, .. } if is_output(*id)))
    }
}

impl Store for Sources {
    fn create(&mut self) -> io::Result<Box<dyn Output>> {
        let descriptor = self.parent.output().map_err(io::Error::other)?;
        let number = Number {
            id: self.next,
            parent: Arc::clone(&self.parent),
        };
        self.next += 1;
        Ok(Box::new(MemfdOutput {
            file: BufWriter::with_capacity(BUFFER, File::from(descriptor)),
            len: 0,
            number,
            progress: Arc::clone(&self.progress),
        }))
    }
}

/// Bytes gathered before they are written.
const BUFFER: usize = 64 << 10;

/// Memory of the parent that is being written.
struct MemfdOutput {
    file: BufWriter<File>,
    len: u64,
    number: Number,
    progress: Arc<ProgressSender>,
}

impl Write for MemfdOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.len += count as u64;
        self.progress.add(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for MemfdOutput {
    fn finish(self: Box<Self>) -> io::Result<(SourceId, Arc<dyn Source>)> {
        let Self {
            file,
            len,
            number,
            progress,
        } = *self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let written = Event::Written(number.id);
        number.parent.send(&written).map_err(io::Error::other)?;
        let id = SourceId(number.id);
        let source = FdSource::keeping(number, file, len);
        Ok((id, Arc::new(CountedSource { source, progress })))
    }
}

/// A source of which each byte that is read counts as progress.
#[derive(Debug)]
struct CountedSource<T = ()> {
    source: FdSource<T>,
    progress: Arc<ProgressSender>,
}

impl<T: fmt::Debug + Send + Sync> Source for CountedSource<T> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.source.read_at(offset, buf)?;
        self.progress.add(buf.len());
        Ok(())
    }
}

/// The number of an output. When it goes, the parent can free the output.
#[derive(Debug)]
struct Number {
    id: u32,
    parent: Arc<ParentChannel>,
}

impl Drop for Number {
    fn drop(&mut self) {
        let _gone = self.parent.send(&Event::Freed(self.id));
    }
}

/// Returns all of a file that stands for itself.
pub(crate) fn rope(descriptor: OwnedFd, len: u64) -> Rope {
    Rope::from_source(SourceId(u32::MAX), Arc::new(FdSource::new(descriptor, len)))
}
