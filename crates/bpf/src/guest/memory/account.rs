//! The cost of memory operations: bytes that are held, and work to be paid for
//! in instructions.

use crate::{BpfError, Meter};

/// Bytes in use, bytes that may be, and work since the last look.
#[derive(Debug)]
pub(crate) struct Account {
    used: u64,
    limit: u64,
    /// How much of `used` the meter knows of.
    drawn: u64,
    work: u64,
}

impl Default for Account {
    /// Returns an account without a limit; [`Account::draw`] sets one.
    fn default() -> Self {
        Self {
            used: 0,
            limit: u64::MAX,
            drawn: 0,
            work: 0,
        }
    }
}

impl Account {
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), BpfError> {
        self.ask(bytes)?;
        self.used += bytes;
        Ok(())
    }

    /// Says whether `bytes` more could be taken into use.
    pub(crate) fn ask(&self, bytes: u64) -> Result<(), BpfError> {
        let left = self.limit.saturating_sub(self.used);
        if bytes <= left {
            Ok(())
        } else {
            Err(BpfError::out_of_memory(bytes, left))
        }
    }

    pub(crate) fn give(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Charges work by its price in [`crate::costs`].
    pub(crate) fn worked(&mut self, cost: u64) {
        self.work += cost;
    }

    /// Returns the work since the last call, in instructions.
    #[inline]
    pub(crate) fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    /// Learns from the meter what may be used.
    pub(crate) fn draw(&mut self, meter: &Meter) -> Result<(), BpfError> {
        self.limit = meter.memory.saturating_add(self.drawn);
        let asked = self.used.saturating_sub(self.drawn);
        if self.used <= self.limit {
            Ok(())
        } else {
            Err(BpfError::out_of_memory(asked, meter.memory))
        }
    }

    pub(crate) fn settle(&mut self, meter: &mut Meter) {
        meter.memory = self.limit.saturating_sub(self.used);
        self.drawn = self.used.min(self.limit);
    }

    /// Gives everything back to the meter.
    pub(crate) fn close(self, meter: &mut Meter) {
        meter.memory = meter.memory.saturating_add(self.drawn);
    }
}
