//! Decoders that are handed bytes, and the one loop that feeds them.

use crate::error::{Corruption, DecompressError, Fault};
use crate::input::{CHUNK, clamp, wide};
use crate::job::Job;

/// A decoder that takes and gives as much as it can.
pub(crate) trait Push {
    /// Takes bytes from `input` and puts what they decode to into `output`.
    fn push<'i, 'o>(&mut self, input: &'i [u8], output: &'o mut [u8]) -> Step<'i, 'o>;
}

/// What one [`Push::push`] did.
pub(crate) struct Step<'i, 'o> {
    /// Bytes taken from the input, also where the result is a fault.
    pub(crate) consumed: &'i [u8],
    /// Bytes put into the output.
    pub(crate) produced: &'o [u8],
    /// Whether the stream has ended.
    pub(crate) ended: Result<bool, Fault>,
}

impl<'i, 'o> Step<'i, 'o> {
    /// A step from the decoder's own counters of input and output `before` and
    /// `after` it.
    pub(crate) fn between(
        input: &'i [u8],
        output: &'o [u8],
        before: (u64, u64),
        after: (u64, u64),
        ended: Result<bool, Fault>,
    ) -> Self {
        let consumed = counted(input, after.0.checked_sub(before.0));
        let produced = counted(output, after.1.checked_sub(before.1));
        match (consumed, produced) {
            (Ok(consumed), Ok(produced)) => Self {
                consumed,
                produced,
                ended,
            },
            (Err(cause), _) | (_, Err(cause)) => Self {
                consumed: &[],
                produced: &[],
                ended: Err(Fault::Corrupt(cause)),
            },
        }
    }
}

/// Returns the first `count` bytes of `buffer`, as a decoder counts what it
/// read or wrote there.
pub(crate) fn counted(buffer: &[u8], count: Option<u64>) -> Result<&[u8], Corruption> {
    let count = count.and_then(|count| usize::try_from(count).ok());
    count
        .and_then(|count| buffer.get(..count))
        .ok_or(Corruption::Miscounted)
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
pub(crate) fn feed(
    job: &mut Job<'_>,
    decoder: &mut dyn Push,
    chunk: &mut [u8],
    count: u64,
) -> Result<Fed, DecompressError> {
    let mut left = count;
    loop {
        let offered = if left == 0 {
            &[]
        } else {
            // No more than a chunk, so that the input gets to see how much
            // output comes of it.
            clamp(job.input.fill()?, left.min(wide(CHUNK)))
        };
        let nothing_offered = offered.is_empty();
        let Step {
            consumed,
            produced,
            ended,
        } = decoder.push(offered, chunk);
        let consumed = consumed.len();
        job.input.consume(consumed);
        left = left.saturating_sub(wide(consumed));

        let ended = ended.map_err(|fault| job.input.fault(fault))?;
        job.output.write(produced)?;
        if ended {
            return Ok(Fed::Ended);
        }
        if consumed == 0 && produced.is_empty() {
            return match (nothing_offered, left) {
                (true, 0) => Ok(Fed::Given),
                (true, _) => Ok(Fed::InputOver),
                (false, _) => Err(job.input.corrupt(Corruption::Stalled)),
            };
        }
    }
}

/// As [`feed`], where the input may not end before `count` bytes.
pub(crate) fn feed_all(
    job: &mut Job<'_>,
    decoder: &mut dyn Push,
    chunk: &mut [u8],
    count: u64,
) -> Result<Fed, DecompressError> {
    match feed(job, decoder, chunk, count)? {
        Fed::InputOver => Err(job.input.truncated()),
        fed => Ok(fed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// Checks a decoder that counts from 5 and 7 to `after`, with 3 bytes of
    /// input and 2 of room for output.
    fn check(after: (u64, u64), expected: Expect) {
        let step = Step::between(b"abc", b"xy", (5, 7), after, Ok(true));
        let ended = match step.ended {
            Ok(ended) => format!("ended: {ended}"),
            Err(Fault::Corrupt(cause)) => cause.to_string(),
            Err(_) => "another fault".to_owned(),
        };
        let text = |bytes| String::from_utf8_lossy(bytes);
        expected.assert_eq(&format!(
            "{:?} {:?} {ended}",
            text(step.consumed),
            text(step.produced)
        ));
    }

    #[test]
    fn takes_counters_as_far_as_there_are_bytes() {
        check((5, 7), expect![[r#""" "" ended: true"#]]);
        check((8, 9), expect![[r#""abc" "xy" ended: true"#]]);
        for after in [
            (9, 7),
            (5, 10),
            (4, 7),
            (5, 6),
            (u64::MAX, 7),
            (5, u64::MAX),
        ] {
            check(
                after,
                expect![[r#""" "" the decoder counts more bytes than there are"#]],
            );
        }
    }
}
