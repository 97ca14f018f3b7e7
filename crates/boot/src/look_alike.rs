//! Names for images that are no kernel.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// The kind of an image that is no kernel, with its article.
#[derive(Clone, Debug)]
pub struct LookAlike {
    pub(crate) name: Cow<'static, str>,
    /// How to come to the kernel.
    pub(crate) advice: Cow<'static, str>,
    kind: Kind,
}

/// The name of something, and the advice about it.
pub(crate) type Known = (&'static str, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Compressed(&'static str),
    /// A parser may know it.
    ForParsers,
    Other,
}

impl LookAlike {
    /// Returns its name without an article and without what is said of it: `unified
    /// kernel image`.
    #[must_use]
    pub fn kind(&self) -> &str {
        let mut articles = ["a ", "an ", "the "].iter();
        let name = articles.find_map(|article| self.name.strip_prefix(article));
        let name = name.unwrap_or(&self.name);
        let begins_clause = |at: &usize| {
            let rest = name.get(*at..).unwrap_or_default();
            [", ", ": ", " that "].iter().any(|it| rest.starts_with(it))
        };
        let end = (0..name.len()).find(begins_clause).unwrap_or(name.len());
        name.get(..end).unwrap_or(name)
    }

    /// Returns the name of the compression of compressed data.
    #[must_use]
    pub fn compression(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Compressed(with) => Some(with),
            Kind::ForParsers | Kind::Other => None,
        }
    }

    /// Returns whether a parser may find a kernel in it: in a zboot image, in
    /// compressed data, and in bytes that nothing here knows.
    #[must_use]
    pub fn is_for_parsers(&self) -> bool {
        self.kind != Kind::Other
    }

    /// Returns something that was named in its own words.
    pub(crate) fn named(name: impl Into<Cow<'static, str>>, advice: &'static str) -> Self {
        Self {
            name: name.into(),
            advice: advice.into(),
            kind: Kind::Other,
        }
    }

    pub(crate) fn for_parsers(name: String, advice: &'static str) -> Self {
        Self {
            kind: Kind::ForParsers,
            ..Self::named(name, advice)
        }
    }

    /// Returns data compressed `with` something, which `command` undoes.
    pub(crate) fn compressed(with: &'static str, command: &str) -> Self {
        Self {
            name: format!("{with}-compressed data: a bare compressed kernel or an initrd").into(),
            advice: format!(
                "a kernel: unpack it first (`{command} <IMAGE >kernel`); an initrd: give it with \
                 --initrd"
            )
            .into(),
            kind: Kind::Compressed(with),
        }
    }
}

impl From<Known> for LookAlike {
    fn from((name, advice): Known) -> Self {
        Self::named(name, advice)
    }
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known;

    #[test]
    fn a_kind_is_the_name_alone() {
        for (known, kind) in [
            (known::UKI, "unified kernel image"),
            (known::UKI_ADDON, "UKI addon"),
            (known::LANZABOOTE_STUB, "lanzaboote stub"),
            (known::EMPTY, "empty file"),
            (known::TEXT, "text"),
            (known::EFI_PROGRAM_32, "32-bit UEFI program (PE32)"),
            (
                known::DOS_PROGRAM,
                "MS-DOS program (MZ without a PE header)",
            ),
            (known::XEN_UNIFIED, "Xen unified image"),
            (known::XEN, "Xen hypervisor"),
        ] {
            assert_eq!(LookAlike::from(known).kind(), kind);
        }
        let zboot = "an EFI zboot image (zstd) that no parser unfolded".to_owned();
        assert_eq!(
            LookAlike::for_parsers(zboot, "").kind(),
            "EFI zboot image (zstd)"
        );
    }
}
