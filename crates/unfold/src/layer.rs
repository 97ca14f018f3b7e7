//! One layer: an image, what its headers say, and what to call what is in it.

use ukexec_bpf::{Piece, Rope, RopeError, SourceId};
use ukexec_pe::PeImage;

use crate::content::{same_bytes, same_places};
use crate::error::Place;
use crate::interface::PARSER_SECTION;
use crate::report::{Layer, ParserInfo, PeSummary, SectionSummary};
use crate::{ParserOrigin, PeBytes, UnfoldError};

/// An image on its way.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) path: String,
    pub(crate) image: Rope,
    pub(crate) pe: Option<PeImage>,
}

impl Current {
    /// Reads the headers of `image`. One that begins with `MZ` has to be a
    /// sound PE: whatever would take it apart trusts these headers.
    pub(crate) fn examine(path: String, image: Rope) -> Result<Self, UnfoldError> {
        let place = Place::in_layer(&path, None);
        let mut magic = [0; 2];
        let is_mz = match image.read_at(0, &mut magic) {
            Ok(()) => magic == *b"MZ",
            Err(RopeError::OutOfRange { .. }) => false,
            Err(error) => return Err(place.error(error)),
        };
        let pe = is_mz
            .then(|| PeImage::parse(&PeBytes(&image)))
            .transpose()
            .map_err(|error| place.error(error))?;
        Ok(Self { path, image, pe })
    }

    /// Returns what the report says of this layer.
    pub(crate) fn report(&self, parser: Option<ParserInfo>) -> Layer {
        let pe = self.pe.as_ref().map(|pe| PeSummary {
            machine: pe.machine().0,
            subsystem: pe.subsystem().0,
            certificates: pe.certificates(),
            sections: pe
                .sections()
                .iter()
                .map(|section| SectionSummary {
                    name: section.name().to_string(),
                    content: section.content(),
                })
                .collect(),
        });
        Layer {
            path: self.path.clone(),
            size: self.image.len(),
            pe,
            parser,
        }
    }

    /// Returns the path of `kernel`, which `parser` found in this layer;
    /// `outputs` is what it decompressed.
    pub(crate) fn path_of(
        &self,
        kernel: &Rope,
        outputs: &[SourceId],
        parser: &ParserInfo,
    ) -> String {
        let name = self.section_of(kernel).unwrap_or_else(|| {
            let maker = (parser.origin != ParserOrigin::Embedded).then(|| stem(&parser.name));
            match (is_output(kernel, outputs), maker) {
                (true, Some(maker)) => format!("{maker} payload"),
                (true, None) => "decompressed payload".to_owned(),
                (false, Some(maker)) => format!("kernel handed over by {maker}"),
                (false, None) => format!("kernel handed over by {PARSER_SECTION}"),
            }
        });
        format!("{} > {name}", self.path)
    }

    /// Returns the name of the section whose content begins with `kernel`: the
    /// end may have been cut, where a signed image is padded.
    fn section_of(&self, kernel: &Rope) -> Option<String> {
        let pe = self.pe.as_ref()?;
        let found = pe.sections().iter().find(|section| {
            let content = section.content();
            let end = content.start.saturating_add(kernel.len());
            let start = (end <= content.end).then(|| self.image.slice(content.start..end));
            start
                .and_then(Result::ok)
                .is_some_and(|start| is_taken_from(kernel, &start))
        })?;
        Some(found.name().to_string())
    }
}

/// Returns whether `kernel` is `content`, by reference or, where it is so short
/// that a record has it as a copy, by its bytes.
fn is_taken_from(kernel: &Rope, content: &Rope) -> bool {
    same_places(kernel, content)
        || (kernel.len() <= COPIED && same_bytes(kernel, content).is_ok_and(|same| same))
}

/// Bytes up to which a hand-over may be a copy though nothing was changed.
const COPIED: u64 = 4 << 10;

/// Returns whether all of `kernel` was decompressed.
fn is_output(kernel: &Rope, outputs: &[SourceId]) -> bool {
    kernel
        .pieces()
        .iter()
        .all(|piece| matches!(piece, Piece::Source { id, .. } if outputs.contains(id)))
}

/// Returns a parser's name without what every parser's file name ends in.
fn stem(name: &str) -> &str {
    let name = name.strip_suffix(".o").unwrap_or(name);
    let name = name.strip_suffix(".bpf").unwrap_or(name);
    name.strip_suffix(".match").unwrap_or(name)
}
