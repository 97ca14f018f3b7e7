//! A container between two of its levels: what the parsers of one leave to those of the next.

use std::collections::VecDeque;
use std::mem;

use ukexec_bpf::{Meter, Rope};

use crate::UnfoldError;
use crate::chunks::ReadError;
use crate::content::same_bytes;
use crate::context::{Inputs, Lens};
use crate::costs::NAMING_MAX;
use crate::handed_over::Charged;
use crate::layer::LayerImage;
use crate::plan::Level;
use crate::stage::StageResult;

/// An image that is to be the next layer.
#[derive(Debug)]
pub(crate) struct NextLayer {
    pub(crate) path: String,
    pub(crate) image: Rope,
}

/// A container of which a level took a layer apart.
#[derive(Debug)]
pub(crate) struct Container {
    /// Whether the layer at hand has the bytes of the image that its first level took apart, and
    /// whether the kernel has.
    layer_is_image: bool,
    kernel_is_image: bool,
    /// The levels that are left.
    levels: VecDeque<Level>,
    /// The newest kernel that its parsers handed over.
    kernel: Option<NextLayer>,
    /// The buffers that the level before filled.
    buffers: Vec<Charged<Rope>>,
    /// The first of them, which the next level takes apart.
    layer: Option<NextLayer>,
    /// Bytes of image and initrd in the beginning, and of what it decompressed since.
    there: u64,
    /// Bytes of those that its parsers handed over.
    lens: Lens,
}

impl Container {
    /// Returns one with `levels` behind that which takes an image apart, where there are `there`
    /// bytes in all.
    pub(crate) fn new(levels: Vec<Level>, there: u64) -> Self {
        Self {
            layer_is_image: true,
            kernel_is_image: false,
            levels: levels.into(),
            kernel: None,
            buffers: Vec::new(),
            layer: None,
            there,
            lens: Lens::default(),
        }
    }

    /// Returns the next level.
    pub(crate) fn next_level(&mut self) -> Level {
        self.levels.pop_front().unwrap_or_default()
    }

    /// Returns whether there is one more.
    pub(crate) fn has_levels(&self) -> bool {
        !self.levels.is_empty()
    }

    /// Returns the input of its next level, for which `inputs` are those of a parser alone.
    pub(crate) fn inputs<'a>(&'a self, inputs: Inputs<'a>) -> Inputs<'a> {
        Inputs {
            more: self.buffers.get(1..).unwrap_or_default(),
            there: self.there,
            earlier_lens: self.lens,
            ..inputs
        }
    }

    /// Takes over what a parser made of `layer`.
    pub(crate) fn take_over(
        &mut self,
        found: &mut StageResult,
        layer: &LayerImage,
        meter: &mut Meter,
    ) -> Result<(), ReadError> {
        let mut is_layer = |rope: &Rope| same_bytes(rope, &layer.image, &mut meter.insns);
        if let Some(kernel) = &found.kernel {
            self.kernel_is_image = self.layer_is_image && is_layer(kernel)?;
        }
        if let Some(buffer) = found.filled.first() {
            self.layer_is_image = self.layer_is_image && is_layer(&buffer.value)?;
        }
        let next = |how: &str, rope: &Rope| NextLayer {
            path: layer.path_of(how, rope, &found.outputs, &found.report.parser),
            image: rope.clone(),
        };
        let buffer = found.filled.first().map(|buffer| &buffer.value);
        self.layer = buffer.map(|buffer| match &found.kernel {
            // A name is not worth failing for.
            Some(kernel) if same_bytes(kernel, buffer, &mut { NAMING_MAX }).unwrap_or(false) => {
                next("kernel handed over", buffer)
            }
            _ => next("buffer filled", buffer),
        });
        self.kernel = match (&found.kernel, self.kernel.take()) {
            (Some(kernel), _) => Some(next("kernel handed over", kernel)),
            // The layer that was taken apart is one, and goes on.
            (None, Some(older)) if older.path == layer.path => {
                Some(next("left as it is", &older.image))
            }
            (None, older) => older,
        };
        // Bytes that the output budget paid for are there from now on.
        let more = found.decompressed.saturating_add(found.repeated);
        self.there = self.there.saturating_add(more);
        self.lens.update(&found.handed_over);
        self.free(meter);
        self.buffers = mem::take(&mut found.filled);
        Ok(())
    }

    /// Returns the layer for the next level, if there are both.
    pub(crate) fn next_layer(&mut self) -> Option<NextLayer> {
        let layer = self.layer.take();
        layer.filter(|_| self.has_levels())
    }

    /// Returns the kernel, now that no level follows. `None` if its parsers handed none over.
    pub(crate) fn finish(&mut self, meter: &mut Meter) -> Option<NextLayer> {
        self.free(meter);
        self.kernel.take()
    }

    /// Refuses a kernel in the end that is the image again: unfolding would never end.
    pub(crate) fn check_progress(&self) -> Result<(), UnfoldError> {
        match self.kernel_is_image {
            true => Err(UnfoldError::new(
                "the kernel in the end is the image again: there is no progress",
            )),
            false => Ok(()),
        }
    }

    /// Gives the memory of buffers back that no level needs any more.
    fn free(&mut self, meter: &mut Meter) {
        for buffer in self.buffers.drain(..) {
            meter.memory = meter.memory.saturating_add(buffer.charged);
        }
    }
}
