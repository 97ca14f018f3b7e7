//! Comparing ropes: by where their bytes came from, then by the bytes.

use std::ops::Range;

use ukexec_bpf::{Piece, Rope, RopeError};

/// Bytes read at once from each side when bytes have to be compared.
const CHUNK: u64 = 64 << 10;

/// How often a span that looks like the wanted one may turn out not to be.
const MAX_LOOKALIKES: u32 = 8;

/// Returns whether both are known to hold the same bytes without reading any:
/// they refer to the same places.
pub(crate) fn same_places(a: &Rope, b: &Rope) -> bool {
    a.len() == b.len() && Aligned::new(a, b).all(|span| span.same_place)
}

/// Returns whether both hold the same bytes. Reads only where they refer to
/// different places.
pub(crate) fn same_bytes(a: &Rope, b: &Rope) -> Result<bool, RopeError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for span in Aligned::new(a, b).filter(|span| !span.same_place) {
        if !same_bytes_read(a, b, span)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether `part` lies somewhere in `whole`. First looks for the same
/// places, and reads only when these are not found.
pub(crate) fn holds(whole: &Rope, part: &Rope) -> Result<bool, RopeError> {
    if part.len() > whole.len() {
        return Ok(false);
    }
    Ok(holds_places(whole, part) || holds_bytes(whole, part)?)
}

fn same_bytes_read(a: &Rope, b: &Rope, span: Span) -> Result<bool, RopeError> {
    let span = span.offset..span.offset.saturating_add(span.len);
    let mut a = Chunks::new(a, span.clone());
    let mut b = Chunks::new(b, span);
    while let (Some(a), Some(b)) = (a.next()?, b.next()?) {
        if a != b {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds_places(whole: &Rope, part: &Rope) -> bool {
    let Some(first) = part.pieces().first() else {
        return true;
    };
    let mut start = 0_u64;
    whole.pieces().iter().any(|piece| {
        let piece_start = start;
        start = start.saturating_add(piece.len());
        distance(piece, first)
            .map(|distance| piece_start.saturating_add(distance))
            .and_then(|from| Some(from..from.checked_add(part.len())?))
            .and_then(|range| whole.slice(range).ok())
            .is_some_and(|candidate| same_places(&candidate, part))
    })
}

/// Returns how far inside `outer` the place lies where `inner` begins.
fn distance(outer: &Piece, inner: &Piece) -> Option<u64> {
    let distance = match (outer, inner) {
        (
            Piece::Source { id, range, .. },
            Piece::Source {
                id: inner_id,
                range: inner_range,
                ..
            },
        ) if id == inner_id => inner_range.start.checked_sub(range.start)?,
        (Piece::Memory(outer), Piece::Memory(inner)) => {
            let distance = inner.as_ptr().addr().checked_sub(outer.as_ptr().addr())?;
            u64::try_from(distance).ok()?
        }
        _ => return None,
    };
    (distance < outer.len()).then_some(distance)
}

/// Looks for `part` byte by byte with a rolling hash, in one pass and constant
/// memory. An image that fakes the hash many times over counts as not holding
/// it, so that it cannot make the search long.
fn holds_bytes(whole: &Rope, part: &Rope) -> Result<bool, RopeError> {
    let len = part.len();
    let wanted = hash(part)?;
    let start = hash(&whole.slice(0..len)?)?;
    // No stage takes an initrd as long as this, so none can hand it on.
    let Ok(exponent) = u32::try_from(len) else {
        return Ok(false);
    };
    let out_factor = BASE.wrapping_pow(exponent);
    let mut search = Search {
        whole,
        part,
        wanted,
        hash: start,
        lookalikes: 0,
    };
    if search.found_at(0)? {
        return Ok(true);
    }
    let mut leaving = Chunks::new(whole, 0..whole.len().saturating_sub(len));
    let mut entering = Chunks::new(whole, len..whole.len());
    let mut at = 0_u64;
    while let (Some(leave), Some(enter)) = (leaving.next()?, entering.next()?) {
        for (leave, enter) in leave.into_iter().zip(enter) {
            search.hash =
                roll(search.hash, enter).wrapping_sub(out_factor.wrapping_mul(u64::from(leave)));
            at = at.saturating_add(1);
            if search.found_at(at)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Multiplier of the rolling hash: odd, with its bits spread (that of FNV).
const BASE: u64 = 0x0100_0000_01b3;

fn roll(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(u64::from(byte))
}

fn hash(rope: &Rope) -> Result<u64, RopeError> {
    let mut chunks = Chunks::new(rope, 0..rope.len());
    let mut hash = 0;
    while let Some(chunk) = chunks.next()? {
        hash = chunk.into_iter().fold(hash, roll);
    }
    Ok(hash)
}

/// Reads a span of a rope piecemeal.
struct Chunks<'a> {
    rope: &'a Rope,
    rest: Range<u64>,
}

impl<'a> Chunks<'a> {
    fn new(rope: &'a Rope, span: Range<u64>) -> Self {
        Self { rope, rest: span }
    }

    /// Returns the next bytes, or `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, RopeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = self.rest.end.min(self.rest.start.saturating_add(CHUNK));
        let chunk = self.rope.slice(self.rest.start..end)?.to_vec()?;
        self.rest.start = end;
        Ok(Some(chunk))
    }
}

struct Search<'a> {
    whole: &'a Rope,
    part: &'a Rope,
    wanted: u64,
    hash: u64,
    lookalikes: u32,
}

impl Search<'_> {
    /// Returns whether the part begins at `start`, where the hash has got to.
    fn found_at(&mut self, start: u64) -> Result<bool, RopeError> {
        if self.hash != self.wanted || self.lookalikes >= MAX_LOOKALIKES {
            return Ok(false);
        }
        self.lookalikes = self.lookalikes.saturating_add(1);
        let end = start.saturating_add(self.part.len());
        same_bytes(&self.whole.slice(start..end)?, self.part)
    }
}

/// A span of two ropes of equal length that lies in one piece of each.
#[derive(Clone, Copy)]
struct Span {
    offset: u64,
    len: u64,
    same_place: bool,
}

/// Cuts two ropes of equal length at the ends of either's pieces.
struct Aligned<'a> {
    a: &'a [Piece],
    b: &'a [Piece],
    /// Bytes of the first piece of each that are done.
    used_a: u64,
    used_b: u64,
    offset: u64,
}

impl<'a> Aligned<'a> {
    fn new(a: &'a Rope, b: &'a Rope) -> Self {
        Self {
            a: a.pieces(),
            b: b.pieces(),
            used_a: 0,
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

/// Returns whether byte `offset_a` of `a` is byte `offset_b` of `b` because
/// both refer to one place.
fn same_place(a: &Piece, offset_a: u64, b: &Piece, offset_b: u64) -> bool {
    match (a, b) {
        (
            Piece::Source {
                id: id_a, range: a, ..
            },
            Piece::Source {
                id: id_b, range: b, ..
            },
        ) => id_a == id_b && a.start.checked_add(offset_a) == b.start.checked_add(offset_b),
        (Piece::Memory(a), Piece::Memory(b)) => {
            let address = |bytes: &bytes::Bytes, offset: u64| {
                bytes
                    .as_ptr()
                    .addr()
                    .checked_add(usize::try_from(offset).ok()?)
            };
            address(a, offset_a) == address(b, offset_b)
        }
        (Piece::Zeros(_), Piece::Zeros(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use ukexec_bpf::{Source, SourceId};

    use super::*;

    /// A source that cannot be read: what is told without reading is told by
    /// places alone.
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

    #[test]
    fn equal_places_need_no_reading() {
        let cut = join(&[unreadable(1, 0..10), unreadable(1, 10..30)]);
        assert!(same_places(&cut, &unreadable(1, 0..30)));
        assert!(same_bytes(&cut, &unreadable(1, 0..30)).unwrap());
        assert!(!same_places(&cut, &unreadable(2, 0..30)));
        assert!(!same_places(&cut, &unreadable(1, 1..31)));
        assert!(!same_bytes(&cut, &unreadable(1, 0..31)).unwrap());
        assert!(same_bytes(&cut, &unreadable(2, 0..30)).is_err());
    }

    #[test]
    fn equal_bytes_are_equal_wherever_they_lie() {
        let zeros = Rope::from(Piece::Zeros(3));
        let a = join(&[text(b"ab"), zeros, text(b"c")]);
        assert!(same_bytes(&a, &text(b"ab\0\0\0c")).unwrap());
        assert!(!same_bytes(&a, &text(b"ab\0\0\0d")).unwrap());
        assert!(!same_places(&a, &text(b"ab\0\0\0c")));
    }

    #[test]
    fn parts_are_found_by_place() {
        let part = join(&[unreadable(1, 5..20), unreadable(3, 0..7)]);
        let whole = join(&[
            unreadable(2, 0..9),
            unreadable(1, 0..20),
            unreadable(3, 0..9),
        ]);
        assert!(holds(&whole, &part).unwrap());
        assert!(holds(&unreadable(1, 0..1), &Rope::new()).unwrap());
        assert!(!holds(&unreadable(1, 0..5), &unreadable(1, 0..6)).unwrap());
    }

    #[test]
    fn parts_are_found_by_bytes() {
        for (whole, part) in [
            (&b"xxabcabd"[..], &b"abd"[..]),
            (b"abd", b"abd"),
            (b"aaab", b"ab"),
        ] {
            assert!(holds(&text(whole), &Rope::from(part.to_vec())).unwrap());
        }
        assert!(!holds(&text(b"xxabcab"), &text(b"abd")).unwrap());
    }
}
