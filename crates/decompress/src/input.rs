//! The compressed input: a buffered reader that knows its offset.

use std::cell::Cell;
use std::io::{self, BufRead};

use crate::error::{DecompressError, Fault};

/// The size of the buffer that decoders fill and the output takes.
pub(crate) const CHUNK: usize = 128 << 10;

/// The most that [`Input::peek`] can look ahead: a zstd frame header is 18.
const PEEK_MAX: usize = 32;

/// The bytes that may be consumed before there is any output: a bzip2 block of
/// random bytes is 904 kB long.
const UNPRODUCTIVE_MAX: u64 = 1 << 20;

/// One byte in so many may be consumed beyond what was written. Encoders that
/// meet random bytes store them; LZ4 and bzip2 lose most by it, one in 100.
const LOSS: u64 = 8;

/// The compressed input. Every byte is consumed once and counted. Input that
/// makes too little output is refused, or the time it takes would know no
/// bound but its own length: a format has many ways to say nothing.
pub(crate) struct Input<'a> {
    reader: &'a mut dyn BufRead,
    /// Offset of the first byte not consumed.
    position: u64,
    /// Bytes taken from `reader` ahead of `position`, where a look ahead
    /// crossed the end of the reader's buffer.
    held: [u8; PEEK_MAX],
    held_start: usize,
    held_end: usize,
    /// Bytes that were consumed and given back, the last before the drain.
    unread: u64,
    memory_limit: u64,
    /// The output's length so far.
    written: &'a Cell<u64>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(
        reader: &'a mut dyn BufRead,
        memory_limit: u64,
        written: &'a Cell<u64>,
    ) -> Self {
        Self {
            reader,
            written,
            position: 0,
            held: [0; PEEK_MAX],
            held_start: 0,
            held_end: 0,
            unread: 0,
            memory_limit,
        }
    }

    /// Returns the offset of the first byte not consumed.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next bytes without consuming them; empty at the end only.
    pub(crate) fn fill(&mut self) -> Result<&[u8], Fault> {
        self.check_yield()?;
        self.next()
    }

    /// Refuses input that makes too little output.
    fn check_yield(&self) -> Result<(), Fault> {
        let written = self.written.get();
        let most = written
            .saturating_add(written / LOSS)
            .saturating_add(UNPRODUCTIVE_MAX);
        if self.position <= most {
            return Ok(());
        }
        Err(Fault::Stream(format!(
            "says too little: its first {} bytes make {written} bytes of output; expected no \
             more than 9 bytes for every 8 of output, and 1 MiB; compress the payload anew",
            self.position
        )))
    }

    /// As [`fill`](Self::fill), where little output is no fault: inside of a
    /// block, and behind the stream.
    fn next(&mut self) -> Result<&[u8], Fault> {
        match self.held.get(self.held_start..self.held_end) {
            None | Some([]) => fill(self.reader, self.position),
            Some(held) => Ok(held),
        }
    }

    /// Consumes `count` bytes of the last [`fill`](Self::fill).
    pub(crate) fn consume(&mut self, count: usize) {
        if self.held_start < self.held_end {
            self.held_start = self.held_start.saturating_add(count).min(self.held_end);
        } else {
            self.reader.consume(count);
        }
        self.position = self.position.saturating_add(wide(count));
    }

    /// Returns the next `count` bytes without consuming them, fewer at the end.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], Fault> {
        let count = count.min(PEEK_MAX);
        if self.fill()?.len() < count {
            self.hold(count)?;
        }
        Ok(clamp(self.fill()?, wide(count)))
    }

    /// Moves bytes from the reader until `count` are held, or all there are.
    fn hold(&mut self, count: usize) -> Result<(), Fault> {
        self.held.copy_within(self.held_start..self.held_end, 0);
        self.held_end = self.held_end.saturating_sub(self.held_start);
        self.held_start = 0;
        while let Some(free) = self.held.get_mut(self.held_end..count)
            && !free.is_empty()
        {
            let next = fill(self.reader, self.position)?;
            let moved = free.len().min(next.len());
            if moved == 0 {
                break;
            }
            for (to, from) in free.iter_mut().zip(next) {
                *to = *from;
            }
            self.reader.consume(moved);
            self.held_end = self.held_end.saturating_add(moved);
        }
        Ok(())
    }

    /// Returns the next `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = *self.peek(N)?.first_chunk().ok_or(Fault::Truncated)?;
        self.consume(N);
        Ok(bytes)
    }

    /// Hands the next `count` bytes in one piece to `look`, then consumes
    /// them. `scratch` is used only where the reader's buffer ends inside.
    pub(crate) fn block<T>(
        &mut self,
        count: u32,
        scratch: &mut Vec<u8>,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Fault> {
        let count = size(count);
        if let Some(whole) = self.fill()?.get(..count) {
            let seen = look(whole);
            self.consume(count);
            return Ok(seen);
        }
        // The buffer grows with the bytes that arrive, not by what a header
        // says will come.
        scratch.clear();
        while scratch.len() < count {
            let missing = count.saturating_sub(scratch.len());
            let part = clamp(self.next()?, wide(missing));
            let taken = part.len();
            if taken == 0 {
                return Err(Fault::Truncated);
            }
            scratch.extend_from_slice(part);
            self.consume(taken);
        }
        Ok(look(scratch))
    }

    /// Consumes `count` bytes, handing each piece to `look`.
    pub(crate) fn skip(&mut self, count: u64, mut look: impl FnMut(&[u8])) -> Result<(), Fault> {
        let mut left = count;
        while left > 0 {
            let next = self.fill()?;
            let part = clamp(next, left.min(wide(CHUNK)));
            let taken = part.len();
            if taken == 0 {
                return Err(Fault::Truncated);
            }
            look(part);
            self.consume(taken);
            left = left.saturating_sub(wide(taken));
        }
        Ok(())
    }

    /// Counts back `count` bytes, which a decoder read and did not use. Only
    /// [`drain`](Self::drain) may follow.
    pub(crate) fn unread(&mut self, count: u64) {
        self.position = self.position.saturating_sub(count);
        self.unread = count;
    }

    /// Consumes what is left and returns how much it was.
    pub(crate) fn drain(&mut self) -> Result<u64, Fault> {
        let start = self.position;
        self.position = start.saturating_add(self.unread);
        self.unread = 0;
        loop {
            let count = self.next()?.len();
            if count == 0 {
                return Ok(self.position.saturating_sub(start));
            }
            self.consume(count);
        }
    }

    /// Returns the error of a decoder that stopped here with `fault`.
    pub(crate) fn error(&self, name: &str, fault: Fault) -> DecompressError {
        let at = self.position;
        let text = match fault {
            Fault::Truncated => {
                let held = self.held_end.saturating_sub(self.held_start);
                let end = at.saturating_add(wide(held));
                format!(
                    "the {name} stream is cut short: the input ends at offset {end:#x} and the \
                     data go on; check the payload's size in the image's header"
                )
            }
            Fault::Corrupt(place, cause) => {
                let at = place.unwrap_or(at);
                format!("the {name} stream is corrupt at input offset {at:#x}: {cause}")
            }
            Fault::Unsupported(feature) => format!(
                "the {name} stream uses what is not supported, at input offset {at:#x}: {feature}"
            ),
            Fault::Memory(needed) => {
                return DecompressError::limit(format!(
                    "the {name} stream needs {needed} bytes of memory to decompress, the limit is \
                     {}; compress it with a smaller window, or raise --max-memory",
                    self.memory_limit
                ));
            }
            Fault::Output(limit) => {
                return DecompressError::limit(format!(
                    "the {name} stream decompresses to more bytes than the limit of {limit}; \
                     --max-output raises it"
                ));
            }
            Fault::Stream(text) => format!("the {name} stream {text}"),
            Fault::Input(text) => text,
            Fault::Io(text, error) => return DecompressError::new(text, Some(error)),
        };
        DecompressError::new(text, None)
    }

    /// Refuses a decoder that wants more than the memory limit.
    pub(crate) fn check_memory(&self, needed: u64) -> Result<(), Fault> {
        if needed > self.memory_limit {
            return Err(Fault::Memory(needed));
        }
        Ok(())
    }

    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory_limit
    }
}

fn fill(reader: &mut dyn BufRead, position: u64) -> Result<&[u8], Fault> {
    let failed = |error| {
        let text = format!("could not read the compressed input at offset {position:#x}");
        Fault::Io(text, error)
    };
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(&[]),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    // Asked twice, because the borrow of a loop's answer would not end. The
    // second answer comes out of the buffer.
    reader.fill_buf().map_err(failed)
}

/// Returns at most the first `count` bytes.
pub(crate) fn clamp(bytes: &[u8], count: u64) -> &[u8] {
    usize::try_from(count)
        .ok()
        .and_then(|count| bytes.get(..count))
        .unwrap_or(bytes)
}

/// Widens a length.
pub(crate) fn wide(count: usize) -> u64 {
    // No machine that Rust compiles for has a wider `usize`.
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Returns a length that a stream says as one of this machine's.
pub(crate) fn size(count: u32) -> usize {
    // With a narrower `usize`, nothing is as long: the input ends before.
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    /// A reader that is interrupted before each byte.
    struct Stutter<'a>(&'a [u8], bool);

    impl Read for Stutter<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let one = buf.len().min(1);
            self.0.read(&mut buf[..one])
        }
    }

    #[track_caller]
    fn check(use_it: impl Fn(&mut Input<'_>)) {
        let bytes: Vec<u8> = (0..40).collect();
        let written = Cell::new(0);
        let readers: [&mut dyn BufRead; 3] = [
            &mut bytes.as_slice(),
            &mut BufReader::with_capacity(3, bytes.as_slice()),
            &mut BufReader::new(Stutter(&bytes, false)),
        ];
        for reader in readers {
            use_it(&mut Input::new(reader, 0, &written));
        }
    }

    /// Asks for more than there is, and expects the error that says so.
    #[track_caller]
    fn ends(input: &mut Input<'_>, ask: impl FnOnce(&mut Input<'_>) -> Result<(), Fault>) {
        let fault = ask(input).unwrap_err();
        let text = input.error("gzip", fault).to_string();
        assert!(text.contains("the input ends at offset 0x28"), "{text}");
    }

    #[test]
    fn peeks_across_buffer_ends_without_consuming() {
        check(|input| {
            assert_eq!(input.peek(5).unwrap(), [0, 1, 2, 3, 4]);
            assert_eq!(input.peek(2).unwrap(), [0, 1]);
            assert_eq!(input.take().unwrap(), [0, 1, 2]);
            assert_eq!(input.peek(4).unwrap(), [3, 4, 5, 6]);
            assert_eq!(input.position(), 3);
            assert_eq!(input.drain().unwrap(), 37);
            assert!(input.peek(1).unwrap().is_empty());
        });
    }

    #[test]
    fn hands_blocks_in_one_piece() {
        check(|input| {
            let mut scratch = Vec::new();
            assert_eq!(input.take().unwrap(), [0]);
            let copy = |bytes: &[u8]| bytes.to_vec();
            assert_eq!(
                input.block(10, &mut scratch, copy).unwrap(),
                (1..11).collect::<Vec<u8>>()
            );
            input.skip(9, |_| {}).unwrap();
            assert_eq!(input.peek(2).unwrap(), [20, 21]);
            ends(input, |input| input.block(21, &mut scratch, copy).map(drop));
        });
    }

    #[test]
    fn says_where_the_input_ends() {
        check(|input| {
            input.skip(38, |_| {}).unwrap();
            ends(input, |input| input.take::<4>().map(drop));
            ends(input, |input| input.skip(3, |_| {}));
        });
    }
}
