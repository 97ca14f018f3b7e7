//! The resources that were handed over, and the memory that lives with it.

use ukexec_bpf::{Meter, Rope};

use crate::cmdline::Cmdline;
use crate::costs::wide;
use crate::refusal::Refusal;
use crate::report::{HandOver, Resource};

/// The newest hand-over of each resource.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    pub(crate) kernel: Option<Charged<Rope>>,
    /// Without bytes: there shall be no initrd.
    pub(crate) initrd: Option<Charged<Rope>>,
    pub(crate) cmdline: Option<Charged<Cmdline>>,
}

impl HandedOver {
    /// Puts what `newer` has in the place of what is here.
    pub(crate) fn update(&mut self, newer: Self, meter: &mut Meter) {
        fn put<T>(newer: Option<Charged<T>>, older: &mut Option<Charged<T>>, meter: &mut Meter) {
            if let Some(newer) = newer {
                newer.replace(older, meter);
            }
        }
        put(newer.kernel, &mut self.kernel, meter);
        put(newer.initrd, &mut self.initrd, meter);
        put(newer.cmdline, &mut self.cmdline, meter);
    }

    /// Returns whether nothing was handed over.
    pub(crate) fn is_empty(&self) -> bool {
        self.kernel.is_none() && self.initrd.is_none() && self.cmdline.is_none()
    }

    /// Returns the memory that lives with what is here.
    pub(crate) fn charged(&self) -> u64 {
        let ropes = [&self.kernel, &self.initrd].into_iter().flatten();
        let ropes = ropes.map(|held| held.charged);
        let lines = self.cmdline.iter().map(|held| held.charged);
        ropes.chain(lines).fold(0, u64::saturating_add)
    }

    /// Returns the resources and their lengths.
    pub(crate) fn report(&self) -> Vec<HandOver> {
        let rope = |held: &Charged<Rope>| held.value.len();
        let line = |held: &Charged<Cmdline>| wide(held.value.text.len());
        let sizes = [
            (Resource::Kernel, self.kernel.as_ref().map(rope)),
            (Resource::Initrd, self.initrd.as_ref().map(rope)),
            (Resource::Cmdline, self.cmdline.as_ref().map(line)),
        ];
        let held = sizes.into_iter();
        held.filter_map(|(resource, size)| size.map(|size| HandOver { resource, size }))
            .collect()
    }
}

/// Returns the memory that lives with `rope`, of which `copied` bytes are its
/// own.
pub(crate) fn cost(rope: &Rope, copied: u64) -> u64 {
    wide(rope.pieces().len())
        .saturating_mul(PIECE)
        .saturating_add(copied)
}

/// The bytes of a piece: 48 in a rope, of which there are three, the one
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
                "the memory budget is used up: {charged} bytes are needed, {} are left; \
                 --max-memory raises it",
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
