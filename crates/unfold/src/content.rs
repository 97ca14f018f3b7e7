//! Comparing ropes: by where their bytes came from, then by the bytes.
//!
//! Parsers choose what is compared, and of how many pieces it is. So nothing is
//! sliced to be compared, a comparison ends where the first difference is, and
//! what it costs is drawn from the instructions that are left.

use std::sync::Arc;

use ukexec_bpf::{Piece, Rope, Source, SourceId};

use crate::chunks::{Chunks, ReadError};
use crate::costs::{self, pay, wide};

/// How often a span that looks like the wanted one may turn out not to be.
const MAX_LOOKALIKES: u32 = 8;

/// Returns what a caller gave, with its memory as sources: unlike copies that programs made, it is
/// not in the budget, and may be referred to.
pub(crate) fn lent(given: [Option<Rope>; 2]) -> [Option<Rope>; 2] {
    // Far from the numbers that callers give.
    let mut ids = (0..=u32::MAX).rev().map(SourceId);
    given.map(|rope| {
        let mut lent = Rope::new();
        for piece in rope?.pieces() {
            match (piece, ids.next()) {
                (Piece::Memory(bytes), Some(id)) => {
                    let source: Arc<dyn Source> = Arc::new(bytes.clone());
                    lent.append(&Rope::from_source(id, source));
                }
                (piece, _) => lent.push(piece.clone()),
            }
        }
        Some(lent)
    })
}

/// Returns whether both hold the same bytes. Reads only where they refer to
/// different places.
pub(crate) fn same_bytes(a: &Rope, b: &Rope, insns: &mut u64) -> Result<bool, ReadError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for span in Aligned::new(a.pieces(), 0, b) {
        pay(insns, costs::PIECE)?;
        if !span.same_place && !same_bytes_read(a, b, span, insns)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether `part` lies somewhere in `whole`. First looks for the same
/// places, and reads only when these are not found.
pub(crate) fn holds(whole: &Rope, part: &Rope, insns: &mut u64) -> Result<bool, ReadError> {
    if part.is_empty() {
        return Ok(true);
    }
    if part.len() > whole.len() {
        return Ok(false);
    }
    Ok(References::new(whole, part, insns)?.any(insns)? || holds_bytes(whole, part, insns)?)
}

/// Where in a rope another one may lie by reference.
#[derive(Debug)]
pub(crate) struct References<'a> {
    whole: &'a Rope,
    part: &'a Rope,
    /// Every place in `whole` that is the first of `part`.
    starts: Vec<Start>,
}

/// The place of a byte in a rope.
#[derive(Clone, Copy, Debug)]
struct Start {
    offset: u64,
    /// The piece that holds it, and where in that piece.
    piece: usize,
    inside: u64,
}

impl<'a> References<'a> {
    /// Looks at every piece of `whole` once.
    pub(crate) fn new(whole: &'a Rope, part: &'a Rope, insns: &mut u64) -> Result<Self, ReadError> {
        let pieces = whole.pieces();
        pay(insns, costs::pieces(whole))?;
        let mut starts = Vec::new();
        let mut end = 0_u64;
        for (number, piece) in pieces.iter().enumerate() {
            let begin = end;
            end = begin.saturating_add(piece.len());
            let first = part.pieces().first();
            if let Some(inside) = first.and_then(|first| distance(piece, first)) {
                starts.push(Start {
                    offset: begin.saturating_add(inside),
                    piece: number,
                    inside,
                });
            }
        }
        Ok(Self {
            whole,
            part,
            starts,
        })
    }

    /// Returns whether the part lies at `offset` of the whole.
    pub(crate) fn at(&self, offset: u64, insns: &mut u64) -> Result<bool, ReadError> {
        let found = self
            .starts
            .binary_search_by_key(&offset, |start| start.offset);
        match found.ok().and_then(|found| self.starts.get(found)) {
            Some(start) => self.from(*start, insns),
            None => Ok(false),
        }
    }

    /// Returns whether the part lies anywhere in the whole.
    fn any(&self, insns: &mut u64) -> Result<bool, ReadError> {
        for start in &self.starts {
            if self.from(*start, insns)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn from(&self, start: Start, insns: &mut u64) -> Result<bool, ReadError> {
        if self.whole.len().saturating_sub(start.offset) < self.part.len() {
            return Ok(false);
        }
        // Every start is in a piece of the whole.
        let whole = self.whole.pieces().get(start.piece..).unwrap_or_default();
        for span in Aligned::new(whole, start.inside, self.part) {
            pay(insns, costs::PIECE)?;
            if !span.same_place {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The space that a piece's place is in.
#[derive(PartialEq, Eq)]
enum Medium {
    Source(SourceId),
    Memory,
    /// All places in it are the same.
    Zeros,
}

/// Returns the place of a piece's first byte.
fn place(piece: &Piece) -> (Medium, u64) {
    match piece {
        Piece::Source { id, range, .. } => (Medium::Source(*id), range.start),
        Piece::Memory(bytes) => (Medium::Memory, wide(bytes.as_ptr().addr())),
        Piece::Zeros(_) => (Medium::Zeros, 0),
    }
}

/// Returns how far inside `outer` the place lies where `inner` begins.
fn distance(outer: &Piece, inner: &Piece) -> Option<u64> {
    let ((medium, start), (inner_medium, inner_start)) = (place(outer), place(inner));
    let distance = inner_start.checked_sub(start)?;
    let is_inside = medium == inner_medium && medium != Medium::Zeros && distance < outer.len();
    is_inside.then_some(distance)
}

/// Returns whether byte `offset_a` of `a` is byte `offset_b` of `b` because
/// both refer to one place.
fn same_place(a: &Piece, offset_a: u64, b: &Piece, offset_b: u64) -> bool {
    let ((medium, start_a), (medium_b, start_b)) = (place(a), place(b));
    medium == medium_b
        && (medium == Medium::Zeros
            || start_a.checked_add(offset_a) == start_b.checked_add(offset_b))
}

fn same_bytes_read(a: &Rope, b: &Rope, span: Span, insns: &mut u64) -> Result<bool, ReadError> {
    let span = span.offset..span.offset.saturating_add(span.len);
    let mut a = Chunks::new(a, span.clone());
    let mut b = Chunks::new(b, span);
    loop {
        let (a, b) = (a.advance(insns)?, b.advance(insns)?);
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

/// Looks for `part` byte by byte, in one pass and constant memory.
///
/// A parser may have copied the caller's initrd into a record, between bytes of
/// its own and at any offset, or may hand over other bytes that are the same. So
/// neither places nor the ends of pieces say where to compare, and a rolling hash
/// does. An image that fakes the hash many times over counts as not holding the
/// part, so that it cannot make the search long.
fn holds_bytes(whole: &Rope, part: &Rope, insns: &mut u64) -> Result<bool, ReadError> {
    let len = part.len();
    let wanted = hash(part, len, insns)?;
    let mut hash = hash(whole, len, insns)?;
    // No stage takes an initrd as long as this, so none can hand it on.
    let Ok(exponent) = u32::try_from(len) else {
        return Ok(false);
    };
    let out_factor = BASE.wrapping_pow(exponent);
    let mut leaving = Chunks::new(whole, 0..whole.len().saturating_sub(len));
    let mut entering = Chunks::new(whole, len..whole.len());
    let mut lookalikes = 0..MAX_LOOKALIKES;
    for start in 0_u64.. {
        if hash == wanted && lookalikes.next().is_some() {
            let end = start.saturating_add(len);
            if same_bytes(&whole.slice(start..end)?, part, insns)? {
                return Ok(true);
            }
        }
        let (Some(leave), Some(enter)) = (leaving.byte(insns)?, entering.byte(insns)?) else {
            break;
        };
        hash = roll(hash, enter).wrapping_sub(out_factor.wrapping_mul(u64::from(leave)));
    }
    Ok(false)
}

/// Multiplier of the rolling hash: odd, with its bits spread (that of FNV).
const BASE: u64 = 0x0100_0000_01b3;

fn roll(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(u64::from(byte))
}

/// Returns the hash of the first `len` bytes.
fn hash(rope: &Rope, len: u64, insns: &mut u64) -> Result<u64, ReadError> {
    let mut chunks = Chunks::new(rope, 0..len);
    let mut hash = 0;
    while let Some(byte) = chunks.byte(insns)? {
        hash = roll(hash, byte);
    }
    Ok(hash)
}

/// A span of two ropes that lies in one piece of each.
#[derive(Clone, Copy)]
struct Span {
    offset: u64,
    len: u64,
    same_place: bool,
}

/// Cuts two ropes at the ends of either's pieces, as far as both go.
struct Aligned<'a> {
    a: &'a [Piece],
    b: &'a [Piece],
    /// Bytes of the first piece of each that are done.
    used_a: u64,
    used_b: u64,
    offset: u64,
}

impl<'a> Aligned<'a> {
    /// Begins at byte `used_a` of the first piece of `a`.
    fn new(a: &'a [Piece], used_a: u64, b: &'a Rope) -> Self {
        Self {
            a,
            b: b.pieces(),
            used_a,
            used_b: 0,
            offset: 0,
        }
    }
}

impl Iterator for Aligned<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let (piece_a, rest_a) = self.a.split_first()?;
        let (piece_b, rest_b) = self.b.split_first()?;
        let left_a = piece_a.len().saturating_sub(self.used_a);
        let left_b = piece_b.len().saturating_sub(self.used_b);
        let len = left_a.min(left_b);
        let same_place = same_place(piece_a, self.used_a, piece_b, self.used_b);
        let span = Span {
            offset: self.offset,
            len,
            same_place,
        };
        self.offset = self.offset.saturating_add(len);
        self.used_a = self.used_a.saturating_add(len);
        self.used_b = self.used_b.saturating_add(len);
        if len == left_a {
            (self.a, self.used_a) = (rest_a, 0);
        }
        if len == left_b {
            (self.b, self.used_b) = (rest_b, 0);
        }
        Some(span)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use ukexec_bpf::{Source, SourceId};

    use super::*;

    /// A source that cannot be read, so that places alone answer.
    #[derive(Debug)]
    struct Unreadable(u64);

    impl Source for Unreadable {
        fn len(&self) -> u64 {
            self.0
        }

        fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
    }

    fn unreadable(id: u32, range: std::ops::Range<u64>) -> Rope {
        let source: Arc<dyn Source> = Arc::new(Unreadable(1000));
        Rope::from(Piece::Source {
            id: SourceId(id),
            source,
            range,
        })
    }

    fn join(parts: &[Rope]) -> Rope {
        let mut whole = Rope::new();
        parts.iter().for_each(|part| whole.append(part));
        whole
    }

    fn text(bytes: &'static [u8]) -> Rope {
        Rope::from(Bytes::from_static(bytes))
    }

    /// Expects `same` of both.
    fn check(a: &Rope, b: &Rope, same: bool) {
        assert_eq!(same_bytes(a, b, &mut u64::MAX.clone()).unwrap(), same);
    }

    fn found(whole: &Rope, part: &Rope) -> bool {
        holds(whole, part, &mut u64::MAX.clone()).unwrap()
    }

    #[test]
    fn equal_places_need_no_reading() {
        let cut = join(&[unreadable(1, 0..10), unreadable(1, 10..30)]);
        check(&cut, &unreadable(1, 0..30), true);
        check(&cut, &unreadable(1, 0..31), false);
        for other in [unreadable(2, 0..30), unreadable(1, 1..31)] {
            let same = same_bytes(&cut, &other, &mut u64::MAX.clone());
            assert!(matches!(same, Err(ReadError::Rope(_))), "{same:?}");
        }
    }

    #[test]
    fn equal_bytes_are_equal_wherever_they_lie() {
        let zeros = Rope::from(Piece::Zeros(3));
        let a = join(&[text(b"ab"), zeros, text(b"c")]);
        check(&a, &text(b"ab\0\0\0c"), true);
        check(&a, &text(b"ab\0\0\0d"), false);
    }

    #[test]
    fn parts_are_found_by_place() {
        let part = join(&[unreadable(1, 5..20), unreadable(3, 0..7)]);
        let whole = join(&[
            unreadable(2, 0..9),
            unreadable(1, 0..20),
            unreadable(3, 0..9),
        ]);
        assert!(found(&whole, &part));
        assert!(found(&unreadable(1, 0..1), &Rope::new()));
        assert!(!found(&unreadable(1, 0..5), &unreadable(1, 0..6)));
        let mut insns = u64::MAX;
        let references = References::new(&whole, &part, &mut insns).unwrap();
        assert!(references.at(14, &mut insns).unwrap());
        assert!(!references.at(13, &mut insns).unwrap());
    }

    #[test]
    fn parts_are_found_by_bytes() {
        for (whole, part) in [
            (&b"xxabcabd"[..], &b"abd"[..]),
            (b"abd", b"abd"),
            (b"aaab", b"ab"),
        ] {
            assert!(found(&text(whole), &Rope::from(part.to_vec())));
        }
        assert!(!found(&text(b"xxabcab"), &text(b"abd")));
    }

    /// A rope of `count` pieces that each begin like `unreadable(1, 0..len)`.
    fn beginnings(count: usize) -> Rope {
        join(&vec![unreadable(1, 0..256); count])
    }

    #[test]
    fn many_beginnings_of_a_part_are_looked_at_once_each() {
        const PIECES: u64 = 100_000;
        let part = unreadable(1, 0..1000);
        let whole = beginnings(PIECES as usize);
        let mut insns = u64::MAX;
        let references = References::new(&whole, &part, &mut insns).unwrap();
        assert!(!references.any(&mut insns).unwrap());
        let spent = u64::MAX - insns;
        assert!(spent <= 3 * PIECES, "{spent}");
    }

    #[test]
    fn a_part_that_is_nearly_there_many_times_meets_the_budget() {
        const PIECES: u64 = 100_000;
        let part = join(&[beginnings(PIECES as usize / 2), unreadable(2, 0..1)]);
        let whole = beginnings(PIECES as usize);
        // Each start looks promising for long: the budget ends it.
        let mut insns = 10 * PIECES;
        let ended = holds(&whole, &part, &mut insns);
        assert!(matches!(ended, Err(ReadError::Budget)), "{ended:?}");
        assert_eq!(insns, 0);
    }

    #[test]
    fn reading_is_paid_for() {
        let zeros = |len| Rope::from(Piece::Zeros(len));
        let ones = |len: usize| Rope::from(vec![1; len]);
        let mut insns = 2_000;
        let same = same_bytes(&zeros(1 << 20), &ones(1 << 20), &mut insns);
        assert!(matches!(same, Ok(false)), "{same:?}");
        assert!((500..1_000).contains(&insns), "{insns} are left of 2000");
        let ended = holds(&zeros(1 << 20), &ones(1 << 10), &mut insns);
        assert!(matches!(ended, Err(ReadError::Budget)), "{ended:?}");
    }
}
