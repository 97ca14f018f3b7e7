//! Decoders that are handed bytes, and the one loop that feeds them.

use crate::error::Fault;
use crate::input::{CHUNK, clamp, wide};
use crate::job::Job;

/// A decoder that takes and gives as much as it can.
pub(crate) trait Push {
    /// Takes bytes from `input` and puts what they decode to into `output`.
    /// Returns whether the stream has ended.
    fn push(&mut self, input: &[u8], output: &mut [u8]) -> Result<bool, Fault>;

    /// Returns how many bytes it claims to have read and written so far.
    fn totals(&self) -> (u64, u64);

    /// Looks at bytes that were taken and given.
    fn see(&mut self, _taken: &[u8], _given: &[u8]) {}
}

/// Returns the first `count` bytes of `buffer`, as a decoder counts what it
/// read or wrote there.
pub(crate) fn counted(buffer: &[u8], count: Option<u64>) -> Result<&[u8], Fault> {
    count
        .and_then(|count| buffer.get(..usize::try_from(count).ok()?))
        .ok_or_else(|| Fault::corrupt("the decoder counts more bytes than there are"))
}

/// Why [`feed`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// The decoder says that its stream has ended.
    Ended,
    /// The decoder has taken all it was to be fed, and given all it has.
    Given,
    /// The input is over. The decoder has given all it has.
    InputOver,
}

/// Feeds `decoder` the next `count` bytes of the input, or fewer if its stream
/// or the input ends, and writes what comes out.
pub(crate) fn feed(job: &mut Job<'_>, decoder: &mut dyn Push, count: u64) -> Result<Fed, Fault> {
    let mut left = count;
    loop {
        let offered = match left {
            0 => &[],
            // No more than a chunk, so that the input gets to see how much
            // output comes of it.
            _ => clamp(job.input.fill()?, left.min(wide(CHUNK))),
        };
        let nothing_offered = offered.is_empty();
        let before = decoder.totals();
        let ended = decoder.push(offered, &mut job.chunk);
        let after = decoder.totals();
        let taken = counted(offered, after.0.checked_sub(before.0))?;
        let given = counted(&job.chunk, after.1.checked_sub(before.1))?;
        decoder.see(taken, given);
        let taken = taken.len();
        job.input.consume(taken);
        left = left.saturating_sub(wide(taken));

        let ended = ended?;
        job.output.write(given)?;
        if ended {
            return Ok(Fed::Ended);
        }
        if taken == 0 && given.is_empty() {
            return match (nothing_offered, left) {
                (true, 0) => Ok(Fed::Given),
                (true, _) => Ok(Fed::InputOver),
                (false, _) => Err(Fault::stalled()),
            };
        }
    }
}

/// As [`feed`], where the input may not end before `count` bytes.
pub(crate) fn feed_all(
    job: &mut Job<'_>,
    decoder: &mut dyn Push,
    count: u64,
) -> Result<Fed, Fault> {
    match feed(job, decoder, count)? {
        Fed::InputOver => Err(Fault::Truncated),
        fed => Ok(fed),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::input::Input;
    use crate::job::Extent;
    use crate::output::Output;

    /// A decoder that counts from 5 and 7 to these.
    struct Counts((u64, u64), (u64, u64));

    impl Push for Counts {
        fn push(&mut self, _: &[u8], _: &mut [u8]) -> Result<bool, Fault> {
            self.0 = self.1;
            Ok(true)
        }

        fn totals(&self) -> (u64, u64) {
            self.0
        }
    }

    #[test]
    fn takes_counters_as_far_as_there_are_bytes() {
        // 3 bytes of input and 2 of room for output.
        let check = |after, expected: Result<(u64, &[u8]), &str>| {
            let (written, mut bytes, mut input) = (Cell::new(0), Vec::new(), &b"abc"[..]);
            let mut job = Job {
                input: Input::new(&mut input, 0, &written),
                output: Output {
                    writer: &mut bytes,
                    written: &written,
                    limit: 9,
                },
                chunk: b"xy".to_vec(),
                extent: Extent::Payload,
            };
            let fed = feed(&mut job, &mut Counts((5, 7), after), u64::MAX);
            let position = job.input.position();
            let found = match &fed {
                Ok(_) => Ok((position, bytes.as_slice())),
                Err(Fault::Corrupt(None, cause)) => Err(cause.as_str()),
                Err(_) => Err("another fault"),
            };
            assert_eq!(found, expected, "{after:?}");
        };
        check((5, 7), Ok((0, b"")));
        check((8, 9), Ok((3, b"xy")));
        let max = u64::MAX;
        for after in [(9, 7), (5, 10), (4, 7), (5, 6), (max, 7), (5, max)] {
            check(after, Err("the decoder counts more bytes than there are"));
        }
    }
}
