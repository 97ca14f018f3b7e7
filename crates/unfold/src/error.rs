//! Why an unfolding failed, and where.

use std::error::Error;
use std::fmt;

use ukexec_bpf::BpfError;
use ukexec_pe::PeError;

use crate::{ParserInfo, Report};

/// Why an unfolding failed.
///
/// Its text begins with the place: the layer, and as far as they are known the
/// stage, the parser and the hook. The error of a [`Gate`](crate::Gate) is the
/// [`source`](Error::source).
#[derive(Debug)]
pub struct UnfoldError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    /// Empty where the source says all.
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    report: Report,
}

/// Where something failed, as far as known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) layer: String,
    pub(crate) stage: Option<u32>,
    pub(crate) parser: Option<ParserInfo>,
    pub(crate) hook: Option<&'static str>,
}

impl Place {
    pub(crate) fn in_layer(path: &str, stage: Option<u32>) -> Self {
        Self {
            layer: path.to_owned(),
            stage,
            ..Self::default()
        }
    }
}

impl UnfoldError {
    /// Returns an error without a place, which [`UnfoldError::at`] adds.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            place: Place::default(),
            text: text.into(),
            source: None,
            report: Report::default(),
        }))
    }

    pub(crate) fn caused(
        text: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let mut error = Self::new(text);
        error.0.source = Some(source.into());
        error
    }

    pub(crate) fn unread(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused("the image cannot be read", source)
    }

    pub(crate) fn at(mut self, place: &Place) -> Self {
        self.0.place = place.clone();
        self
    }

    /// Adds what was found and done before.
    pub(crate) fn with_report(mut self, report: Report) -> Self {
        self.0.report = report;
        self
    }

    /// Returns what was found and done before: the last layer is the one that
    /// failed.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.0.report
    }

    /// Returns the path of the layer, such as `uki.efi > .linux`.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.0.place.layer
    }

    /// Returns the stage's number, from 1.
    #[must_use]
    pub fn stage(&self) -> Option<u32> {
        self.0.place.stage
    }

    /// Returns the hook whose program failed.
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.0.place.hook
    }

    /// Returns the instruction that failed: a slot in its program's code.
    #[must_use]
    pub fn insn(&self) -> Option<u32> {
        let place = self.cause::<BpfError>()?.place()?;
        // One in a section of an object is in no program yet.
        place.section.is_none().then_some(place.slot)
    }

    /// Returns the byte of the layer that is wrong.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.cause::<PeError>()?.offset()
    }

    fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.0.source.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for UnfoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { place, text, .. } = &*self.0;
        let mut parts = vec![place.layer.clone()];
        parts.extend(match (place.stage, &place.parser) {
            (Some(stage), Some(parser)) => Some(format!("stage {stage} ({parser})")),
            (Some(stage), None) => Some(format!("stage {stage}")),
            (None, Some(parser)) => Some(format!("parser {parser}")),
            (None, None) => None,
        });
        parts.extend(place.hook.map(|hook| format!("hook {hook}")));
        parts.push(text.clone());
        parts.retain(|part| !part.is_empty());
        f.write_str(&parts.join(": "))
    }
}

impl Error for UnfoldError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.0.source.as_ref()?;
        Some(&**source)
    }
}

/// Returns an error and all its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
