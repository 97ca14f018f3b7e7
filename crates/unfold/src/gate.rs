//! Who decides whether a layer may go on.

use std::error::Error;

use ukexec_bpf::Rope;
use ukexec_pe::{PeError, PeImage};

use crate::names::PARSER_SECTION;

/// Looks at every layer before anything of it runs, and before it is taken for
/// the kernel: a check of signatures, for one.
pub trait Gate {
    /// Lets `layer` pass, or says why not, which ends the unfolding. The layers
    /// of an unfolding come in order, from the outermost to the kernel.
    ///
    /// # Errors
    ///
    /// Why it may not go on.
    fn admit(&mut self, layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Returns whether a good signature is required of images: parsers of v7 see it as
    /// `sig_mode`.
    fn requires_signatures(&self) -> bool {
        false
    }

    /// Checks the signature of a PE image that a parser of v7 asks about. It decides what the
    /// parser does, and not whether a layer passes.
    ///
    /// # Errors
    ///
    /// Why it is not good. A gate that checks no signature says so.
    fn verify_signature(&mut self, _image: &Rope) -> Result<(), SignatureRefusal> {
        Err(SignatureRefusal {
            errno: ENOKEY,
            reason: "no signature is checked here".to_owned(),
        })
    }
}

/// Why a signature is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureRefusal {
    /// Linux's number for it, such as 129 (`EKEYREJECTED`).
    pub errno: u16,
    /// The same in words.
    pub reason: String,
}

/// No key is known: Linux `ENOKEY`.
const ENOKEY: u16 = 126;

/// A layer of which nothing has run yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct LayerAtGate<'a> {
    /// Where it lies, such as `uki.efi > .linux`.
    pub path: &'a str,
    /// All of its bytes.
    pub image: &'a Rope,
    /// Its headers, if it is a sound PE.
    pub pe: Option<&'a PeImage>,
    /// The fault in its headers, if it begins with `MZ` and is no sound
    /// PE: no signature can be checked then.
    pub pe_fault: Option<&'a PeError>,
}

impl LayerAtGate<'_> {
    /// Returns whether the layer carries a parser that may run: in the section
    /// `.bpf` of an EFI application.
    #[must_use]
    pub fn carries_parser(&self) -> bool {
        self.pe
            .is_some_and(|pe| pe.is_efi_application() && pe.section(PARSER_SECTION).is_some())
    }
}

/// A [`Gate`] that stands open.
pub(crate) struct Open;

impl Gate for Open {
    fn admit(&mut self, _layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}
