//! One layer: an image, what its headers say, and what to call what is in it.

use ukexec_bpf::{Piece, Rope, RopeError, SourceId};
use ukexec_pe::{PeError, PeImage};

use crate::chunks::ReadError;
use crate::content::{References, same_bytes};
use crate::costs;
use crate::error::Place;
use crate::names::PARSER_SECTION;
use crate::report::{Layer, ParserInfo};
use crate::{ParserOrigin, PeBytes, UnfoldError};

/// An image on its way.
#[derive(Debug)]
pub(crate) struct LayerImage {
    pub(crate) path: String,
    pub(crate) image: Rope,
    /// The headers of an image that begins with `MZ`, or what is wrong with
    /// them.
    pe: Option<Result<PeImage, PeError>>,
}

impl LayerImage {
    /// Reads the headers of `image`. One that begins with `MZ` need not be a
    /// sound PE: kernels and zboot images have headers of their own, and boot
    /// without. But it lacks everything that only sound headers name, such as a
    /// parser of its own.
    pub(crate) fn examine(path: String, image: Rope) -> Result<Self, UnfoldError> {
        let place = Place::in_layer(&path, None);
        let mut magic = [0; 2];
        let is_mz = match image.read_at(0, &mut magic) {
            Ok(()) => magic == *b"MZ",
            Err(RopeError::OutOfRange { .. }) => false,
            Err(error) => return Err(UnfoldError::unread(error).at(&place)),
        };
        match is_mz.then(|| PeImage::parse(&PeBytes(&image))) {
            Some(Err(error)) if error.is_read() => {
                let text = "the image begins with MZ, but its headers cannot be read";
                Err(UnfoldError::caused(text, error).at(&place))
            }
            pe => Ok(Self { path, image, pe }),
        }
    }

    /// Returns the headers of a sound PE.
    pub(crate) fn pe(&self) -> Option<&PeImage> {
        self.pe.as_ref()?.as_ref().ok()
    }

    /// Returns what is wrong with the headers of an image that begins with `MZ`.
    pub(crate) fn pe_fault(&self) -> Option<&PeError> {
        self.pe.as_ref()?.as_ref().err()
    }

    /// Returns what the report says of this layer before a parser is chosen.
    pub(crate) fn report(&self) -> Layer {
        Layer {
            path: self.path.clone(),
            size: self.image.len(),
            pe_fault: self.pe_fault().map(ToString::to_string),
            parser: None,
            asked: Vec::new(),
        }
    }

    /// Returns the path of `kernel`, which `parser` found in this layer, and which was `how`
    /// (`handed over`) if it is no other part of it; `outputs` is what it decompressed.
    pub(crate) fn path_of(
        &self,
        how: &str,
        kernel: &Rope,
        outputs: &[SourceId],
        parser: &ParserInfo,
    ) -> String {
        let name = self.section_of(kernel, &mut { costs::NAMING_MAX });
        let name = name.unwrap_or_else(|| {
            let maker = (parser.origin != ParserOrigin::Embedded).then(|| stem(&parser.name));
            match (is_output(kernel, outputs), maker) {
                (true, Some(maker)) => format!("{maker} payload"),
                (true, None) => "decompressed payload".to_owned(),
                (false, Some(maker)) => format!("{how} by {maker}"),
                (false, None) => format!("{how} by {PARSER_SECTION}"),
            }
        });
        format!("{} > {name}", self.path)
    }

    /// Returns the name of the section whose content begins with `kernel`: the
    /// end may have been cut, where a signed image is padded.
    ///
    /// A name is not worth failing for, so that `insns` is an allowance of its
    /// own, and no name is what comes of using it up.
    fn section_of(&self, kernel: &Rope, insns: &mut u64) -> Option<String> {
        let pe = self.pe()?;
        let references = References::new(&self.image, kernel, insns).ok()?;
        let found = pe.sections().iter().find(|section| {
            let content = section.content();
            let len = content.end.saturating_sub(content.start);
            len >= kernel.len()
                && (references.at(content.start, insns).unwrap_or(false)
                    || self
                        .is_copied_from(content.start, kernel, insns)
                        .unwrap_or(false))
        })?;
        Some(found.name().to_string())
    }

    /// Returns whether `kernel` is what lies at `start`, and so short that a
    /// record holds a copy.
    fn is_copied_from(
        &self,
        start: u64,
        kernel: &Rope,
        insns: &mut u64,
    ) -> Result<bool, ReadError> {
        if kernel.len() > COPIED || *insns == 0 {
            return Ok(false);
        }
        let end = start.saturating_add(kernel.len());
        same_bytes(kernel, &self.image.slice(start..end)?, insns)
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use ukexec_bpf::Source;

    use super::*;
    use crate::tests::pe;

    fn refer(id: u32, len: u64) -> Rope {
        let source: Arc<dyn Source> = Arc::new(Bytes::from(vec![0xaa; 1 << 16]));
        Rope::from(Piece::Source {
            id: SourceId(id),
            source,
            range: 0..len,
        })
    }

    /// A PE of `sections` sections, of which only the first has content: one of
    /// `pieces` pieces that begin alike.
    fn image(sections: usize, pieces: usize) -> Rope {
        let mut all: Vec<(&str, &[u8])> = vec![(".first", b"")];
        all.resize(sections, (".other", b""));
        let (mut headers, at) = pe(&all);
        let (entry, len) = (crate::tests::SECTION_TABLE, 0x200 * pieces as u32);
        for field in [8, 16] {
            headers[entry + field..entry + field + 4].copy_from_slice(&len.to_le_bytes());
        }
        headers.truncate(at[0] as usize);
        let mut image = Rope::from(headers);
        (0..pieces).for_each(|_| image.append(&refer(1, 0x200)));
        image
    }

    /// Expects the name of the section that `kernel` is the content of, and
    /// that no more than `insns` are spent on finding it.
    fn check(image: Rope, kernel: &Rope, insns: u64, name: Option<&str>) {
        let layer = LayerImage::examine("image".to_owned(), image).unwrap();
        let mut left = u64::MAX;
        assert_eq!(layer.section_of(kernel, &mut left).as_deref(), name);
        let spent = u64::MAX - left;
        assert!(spent <= insns, "{spent}");
    }

    #[test]
    fn each_piece_and_each_section_is_looked_at_once() {
        let mut kernel = Rope::new();
        (0..10_000).for_each(|_| kernel.append(&refer(1, 0x200)));
        check(image(1_000, 10_000), &kernel, 20_001, Some(".first"));
        kernel.append(&refer(2, 1));
        check(image(1_000, 10_001), &kernel, 20_003, None);
        check(image(1_000, 10_000), &refer(2, 0x2000), 10_001, None);
    }

    #[test]
    fn a_name_that_costs_too_much_is_left_out() {
        let layer = LayerImage::examine("image".to_owned(), image(1, 100)).unwrap();
        assert_eq!(layer.section_of(&refer(1, 0x200), &mut 101), None);
        assert_eq!(layer.section_of(&refer(2, 0x200), &mut 110), None);
        let name = layer.section_of(&refer(1, 0x200), &mut 102);
        assert_eq!(name.as_deref(), Some(".first"));
    }
}
