//! Decoders that are handed bytes, and the one loop that feeds them.

use crate::error::{Corruption, DecompressError, Fault};
use crate::input::{CHUNK, clamp, wide};
use crate::job::Job;

/// A decoder that takes and gives as much as it can.
pub(crate) trait Push {
    /// Takes bytes from `input` and puts what they decode to into `output`.
    fn push(&mut self, input: &[u8], output: &mut [u8]) -> Step;
}

/// What one [`Push::push`] did.
pub(crate) struct Step {
    /// Bytes taken from the input, also where the result is a fault.
    pub(crate) consumed: usize,
    /// Bytes put into the output.
    pub(crate) produced: usize,
    /// Whether the stream has ended.
    pub(crate) ended: Result<bool, Fault>,
}

impl Step {
    /// A step told by the decoder's own counters before and after it.
    pub(crate) fn between(
        before: (u64, u64),
        after: (u64, u64),
        ended: Result<bool, Fault>,
    ) -> Self {
        let count = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        Self {
            consumed: count(before.0, after.0),
            produced: count(before.1, after.1),
            ended,
        }
    }
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
        let step = decoder.push(offered, chunk);
        let consumed = step.consumed.min(offered.len());
        job.input.consume(consumed);
        left = left.saturating_sub(wide(consumed));

        let ended = step.ended.map_err(|fault| job.input.fault(fault))?;
        job.output
            .write(chunk.get(..step.produced).unwrap_or_default())?;
        if ended {
            return Ok(Fed::Ended);
        }
        if consumed == 0 && step.produced == 0 {
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
