//! Sections of the image that systemd-stub makes files below `/.extra/` of: an archive
//! for each, in this order.
//!
//! Spec: systemd-stub(7), "Initrd Resources".

use serde::Serialize;
use ukexec_pe::{ByteRanges, ReadAt};

use crate::{Archive, ArchivePart, StubError, Uki};

/// The sections in the order of their archives, and their files.
const FILES: [(&str, &str); 4] = [
    (".pcrsig", "/.extra/tpm2-pcr-signature.json"),
    (".pcrpkey", "/.extra/tpm2-pcr-public-key.pem"),
    (".osrel", "/.extra/os-release"),
    (".profile", "/.extra/profile"),
];

/// A section as a file of the initrd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExtraFile {
    /// Where it is.
    pub path: &'static str,
    /// The section's name.
    pub section: &'static str,
    /// Its length in bytes.
    pub size: u32,
    /// Which bytes of the image it is.
    #[serde(skip)]
    pub content: ByteRanges,
}

impl ExtraFile {
    /// Returns the archive that has this file in it, with this content.
    ///
    /// # Errors
    ///
    /// None: a section is not longer than the format can say.
    pub fn pack<C>(&self, content: C) -> Result<Vec<ArchivePart<C>>, StubError> {
        let (_, name) = self.path.rsplit_once('/').unwrap_or_default();
        Archive::SECTION.pack([(name, self.size.into(), content)])
    }
}

impl<R: ReadAt> Uki<'_, R> {
    /// Returns the files that systemd-stub makes of sections; none if there is no
    /// `.linux`.
    ///
    /// # Errors
    ///
    /// A section has too many zeros behind its content.
    pub fn extra_files(&self) -> Result<Vec<ExtraFile>, StubError> {
        if self.section(".linux")?.is_none() {
            return Ok(Vec::new());
        }
        let file = |(section, path)| {
            let bytes = self.section(section)?;
            Ok(bytes.map(|bytes| ExtraFile {
                path,
                section,
                size: bytes.size(),
                content: bytes.ranges(),
            }))
        };
        let files = FILES.into_iter().map(file);
        files.filter_map(Result::transpose).collect()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::testing::{image, with_uki};

    /// Shows the files of an image of `sections`.
    fn files(sections: &[(&str, &[u8])]) -> String {
        let image = image(sections);
        let shown = with_uki(sections, 0, |uki| {
            let text = |file: &ExtraFile| {
                let range = file.content.ranges[0].clone();
                let content = &image[range.start as usize..range.end as usize];
                let content = content.escape_ascii();
                format!("{} {} {content}\n", file.section, file.path)
            };
            let files = uki.extra_files().unwrap();
            files.iter().map(text).collect::<String>()
        });
        shown.unwrap()
    }

    #[test]
    fn the_profiles_sections_come_in_the_stubs_order() {
        let shown = files(&[
            (".osrel", b"os"),
            (".pcrsig", b"base"),
            (".pcrpkey", b"key"),
            (".linux", b"kernel"),
            (".profile", b"ID=main"),
            (".pcrsig", b"sig"),
        ]);
        expect![[r#"
            .pcrsig /.extra/tpm2-pcr-signature.json sig
            .pcrpkey /.extra/tpm2-pcr-public-key.pem key
            .osrel /.extra/os-release os
            .profile /.extra/profile ID=main
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn there_are_none_without_sections_and_without_a_kernel() {
        assert_eq!(files(&[(".linux", b"kernel")]), "");
        assert_eq!(files(&[(".osrel", b"ID=x\n")]), "");
    }

    #[test]
    fn a_file_is_packed_under_its_own_name() {
        let file = ExtraFile {
            path: "/.extra/os-release",
            section: ".osrel",
            size: 7,
            content: ByteRanges {
                padding: 2,
                ..ByteRanges::from(0x200..0x205)
            },
        };
        let parts = file.pack(&file.content).unwrap();
        let packed = Archive::SECTION.pack([("os-release", 7, &file.content)]);
        assert_eq!(parts, packed.unwrap());
        assert_eq!(parts[1], ArchivePart::Content(&file.content));
    }
}
