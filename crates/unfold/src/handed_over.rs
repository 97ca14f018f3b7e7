//! What was handed over, and the memory that lives with it.

use ukexec_bpf::{Meter, Rope};

use crate::cmdline::Cmdline;
use crate::costs::wide;
use crate::refusal::Refusal;

/// The newest hand-over of each resource.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    pub(crate) kernel: Option<Charged<Rope>>,
    /// Without bytes: there shall be no initrd.
    pub(crate) initrd: Option<Charged<Rope>>,
    pub(crate) cmdline: Option<Charged<Cmdline>>,
}

/// Returns the memory that lives with `rope`, of which `copied` bytes are its
/// own.
pub(crate) fn cost(rope: &Rope, copied: u64) -> u64 {
    wide(rope.pieces().len())
        .saturating_mul(PIECE)
        .saturating_add(copied)
}

/// What a piece takes: 48 bytes in a rope, of which there are three, the one
/// that was handed over, the layer's and the one that programs see.
const PIECE: u64 = 3 * 48;

/// A resource, and the private memory that lives with it.
#[derive(Debug)]
pub(crate) struct Charged<T> {
    pub(crate) value: T,
    /// Bytes of [`Meter::memory`] that it holds.
    pub(crate) charged: u64,
}

impl<T> Charged<T> {
    /// Takes `charged` bytes from `meter`.
    pub(crate) fn new(value: T, charged: u64, meter: &mut Meter) -> Result<Self, Refusal> {
        let left = meter.memory.checked_sub(charged);
        meter.memory = left.ok_or_else(|| {
            Refusal::no_memory(format!(
                "the memory budget is used up: {charged} bytes needed, {} left",
                meter.memory
            ))
        })?;
        Ok(Self { value, charged })
    }

    /// Puts it where an older one may be, whose memory goes back to `meter`.
    pub(crate) fn replace(self, older: &mut Option<Self>, meter: &mut Meter) {
        if let Some(older) = older.replace(self) {
            meter.memory = meter.memory.saturating_add(older.charged);
        }
    }
}
