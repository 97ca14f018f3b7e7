//! Ropes: bytes by reference.
//!
//! A [`Rope`] is a list of [`Piece`]s. It copies nothing when it is sliced or
//! joined, and each piece of a [`Source`] knows where it came from, so that a
//! result can be given in numbers.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::bounds::size;

/// Names one [`Source`] among those of an unfolding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// Bytes outside this process's private memory: a sealed memfd, a file.
pub trait Source: fmt::Debug + Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Returns whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// Those of the medium; `UnexpectedEof` where the range passes the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl Source for Bytes {
    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let rest = self.get(size(offset)..);
        let bytes = rest.and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A span of bytes by reference.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A span of a source.
    Source {
        /// Which source.
        id: SourceId,
        /// The source itself.
        source: Arc<dyn Source>,
        /// Which of its bytes.
        range: Range<u64>,
    },
    /// Reference-counted memory.
    Memory(Bytes),
    /// So many zero bytes.
    Zeros(u64),
}

impl Piece {
    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            // A range that ends before it begins has no bytes.
            Self::Source { range, .. } => range.end.saturating_sub(range.start),
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the part of this piece in `range`, which must lie inside.
    fn slice(&self, range: Range<u64>) -> Self {
        match self {
            Self::Source {
                id,
                source,
                range: whole,
            } => Self::Source {
                id: *id,
                source: Arc::clone(source),
                range: whole.start + range.start..whole.start + range.end,
            },
            Self::Memory(bytes) => {
                Self::Memory(bytes.slice(range.start as usize..range.end as usize))
            }
            Self::Zeros(_) => Self::Zeros(range.end - range.start),
        }
    }

    /// Fills `buf` from the bytes at `offset`; the span must lie inside.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Source { source, range, .. } => source.read_at(range.start + offset, buf),
            Self::Memory(bytes) => bytes.read_at(offset, buf),
            Self::Zeros(_) => {
                buf.fill(0);
                Ok(())
            }
        }
    }
}

/// Why bytes of a rope could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RopeError {
    /// The span passes the end.
    #[error("bytes {start:#x}..{end:#x} pass the end at {len:#x}")]
    OutOfRange {
        /// First byte asked for.
        start: u64,
        /// Behind the last byte asked for.
        end: u64,
        /// Bytes there are.
        len: u64,
    },
    /// A source could not be read.
    #[error("source {} cannot be read", id.0)]
    Read {
        /// Which source.
        id: SourceId,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Bytes as a list of pieces.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    pieces: Vec<Piece>,
    /// `ends[i]` is the offset behind `pieces[i]`.
    ends: Vec<u64>,
}

impl Rope {
    /// Returns a rope without bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns all of `source`.
    #[must_use]
    pub fn from_source(id: SourceId, source: Arc<dyn Source>) -> Self {
        let range = 0..source.len();
        Self::from(Piece::Source { id, source, range })
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the pieces, none of them empty, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Adds `piece` at the end. Neighbours that continue each other become one.
    pub fn push(&mut self, piece: Piece) {
        if piece.is_empty() {
            return;
        }
        let end = self.len() + piece.len();
        match (self.pieces.last_mut(), &piece) {
            (
                Some(Piece::Source {
                    id: last_id,
                    range: last,
                    ..
                }),
                Piece::Source { id, range, .. },
            ) if *last_id == *id && last.end == range.start => last.end = range.end,
            (Some(Piece::Zeros(last)), Piece::Zeros(more)) => *last += more,
            _ => {
                self.pieces.push(piece);
                self.ends.push(end);
                return;
            }
        }
        if let Some(last) = self.ends.last_mut() {
            *last = end;
        }
    }

    /// Adds all pieces of `other` at the end.
    pub fn append(&mut self, other: &Self) {
        for piece in &other.pieces {
            self.push(piece.clone());
        }
    }

    /// Returns the bytes in `range`, by reference.
    ///
    /// # Errors
    ///
    /// [`RopeError::OutOfRange`] if it passes the end.
    pub fn slice(&self, range: Range<u64>) -> Result<Self, RopeError> {
        self.check(&range)?;
        let mut out = Self::new();
        for (piece, part) in self.cut(range) {
            out.push(piece.slice(part));
        }
        Ok(out)
    }

    /// Fills `buf` from the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// [`RopeError::OutOfRange`] if they pass the end, [`RopeError::Read`] if
    /// a source cannot be read.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), RopeError> {
        // Where the end saturates, it passes that of every rope.
        let range = offset..offset.saturating_add(buf.len() as u64);
        self.check(&range)?;
        let mut rest = buf;
        for (piece, part) in self.cut(range.clone()) {
            let (now, later) = rest.split_at_mut((part.end - part.start) as usize);
            piece
                .read_at(part.start, now)
                .map_err(|cause| match piece {
                    Piece::Source { id, .. } => RopeError::Read { id: *id, cause },
                    Piece::Memory(_) | Piece::Zeros(_) => self.out_of_range(&range),
                })?;
            rest = later;
        }
        Ok(())
    }

    /// Returns all bytes in memory of their own. The caller has looked at
    /// [`Rope::len`] before.
    ///
    /// # Errors
    ///
    /// [`RopeError::Read`] if a source cannot be read.
    pub fn to_vec(&self) -> Result<Vec<u8>, RopeError> {
        let mut out = vec![0; self.len() as usize];
        self.read_at(0, &mut out)?;
        Ok(out)
    }

    /// Returns how many pieces lie, in part at least, in `range`.
    pub(crate) fn pieces_in(&self, range: Range<u64>) -> u64 {
        self.cut(range).count() as u64
    }

    fn check(&self, range: &Range<u64>) -> Result<(), RopeError> {
        if range.start <= range.end && range.end <= self.len() {
            Ok(())
        } else {
            Err(self.out_of_range(range))
        }
    }

    fn out_of_range(&self, range: &Range<u64>) -> RopeError {
        let (&Range { start, end }, len) = (range, self.len());
        RopeError::OutOfRange { start, end, len }
    }

    /// Returns the pieces that cover `range` (checked), each with the part of
    /// it that does.
    fn cut(&self, range: Range<u64>) -> impl Iterator<Item = (&Piece, Range<u64>)> {
        let Range { start, end } = range;
        let first = self.ends.partition_point(|&piece_end| piece_end <= start);
        let pieces = self.pieces.iter().zip(&self.ends).skip(first);
        pieces.map_while(move |(piece, &piece_end)| {
            let piece_start = piece_end - piece.len();
            (piece_start < end).then(|| {
                let part = start.max(piece_start) - piece_start..end.min(piece_end) - piece_start;
                (piece, part)
            })
        })
    }
}

impl From<Piece> for Rope {
    fn from(piece: Piece) -> Self {
        let mut rope = Self::new();
        rope.push(piece);
        rope
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        Self::from(Piece::Memory(bytes))
    }
}

impl From<Vec<u8>> for Rope {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}
