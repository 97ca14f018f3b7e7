//! The archives that systemd-stub puts behind the initrd, so that systemd in the
//! initrd finds them below `/.extra/`: sections of the image, one in each.
//!
//! Spec: systemd-stub(7), "Initrd Resources"; Linux's
//! `driver-api/early-userspace/buffer-format.rst` (the format "newc"). Left out
//! is what does not come out of the image: credentials and extensions.

use std::ops::Range;

use serde::Serialize;
use ukexec_pe::{ByteRanges, ReadAt};

use crate::{StubError, Uki};

/// The sections in the order of their archives, and their files.
const FILES: [(&str, &str); 4] = [
    (".pcrsig", "/.extra/tpm2-pcr-signature.json"),
    (".pcrpkey", "/.extra/tpm2-pcr-public-key.pem"),
    (".osrel", "/.extra/os-release"),
    (".profile", "/.extra/profile"),
];

const DIR: &str = "/.extra";
const DIR_MODE: u32 = 0o40555;
const FILE_MODE: u32 = 0o100_444;

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

/// Bytes of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivePart {
    /// These.
    Bytes(Vec<u8>),
    /// A range of the image's.
    Image(Range<u64>),
    /// So many zeros.
    Zeros(u64),
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

/// Returns what goes behind an initrd of `initrd_len` bytes, so that there are
/// `files` in it: an archive for each.
pub fn extra_archives(files: &[ExtraFile], initrd_len: u64) -> Vec<ArchivePart> {
    let mut parts = Vec::new();
    if !files.is_empty() {
        // The kernel looks for the next archive at a multiple of 4.
        parts.extend(padding(initrd_len));
    }
    for file in files {
        entry(&mut parts, 1, DIR_MODE, DIR, 0, &ByteRanges::default());
        entry(
            &mut parts,
            2,
            FILE_MODE,
            file.path,
            file.size,
            &file.content,
        );
        entry(&mut parts, 0, 0, "TRAILER!!!", 0, &ByteRanges::default());
    }
    parts
}

/// Adds an entry of an archive that begins at a multiple of 4: `size` bytes of
/// `content`.
fn entry(
    parts: &mut Vec<ArchivePart>,
    inode: u32,
    mode: u32,
    path: &str,
    size: u32,
    content: &ByteRanges,
) {
    let name = format!("{}\0", path.trim_start_matches('/'));
    // Owner, group, links, time; length; four numbers of devices.
    let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0];
    let mut header = String::from("070701");
    header.extend(fields.map(|field| format!("{field:08x}")));
    // The name's length, and no checksum.
    header.push_str(&format!("{:08x}{:08x}{name}", name.len(), 0));
    while !header.len().is_multiple_of(4) {
        header.push('\0');
    }
    parts.push(ArchivePart::Bytes(header.into_bytes()));
    let ranges = content.ranges.iter().filter(|range| !range.is_empty());
    parts.extend(ranges.cloned().map(ArchivePart::Image));
    parts.extend(zeros(content.padding));
    parts.extend(padding(size.into()));
}

/// Returns the zeros up to a multiple of 4 behind `len` bytes, if there are any.
fn padding(len: u64) -> Option<ArchivePart> {
    zeros(len.wrapping_neg() % 4)
}

fn zeros(len: u64) -> Option<ArchivePart> {
    (len > 0).then_some(ArchivePart::Zeros(len))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::{image, with_uki};

    /// Puts the files of an image of `sections` behind `initrd`.
    fn check(sections: &[(&str, &[u8])], initrd: &str, expected: &Expect) {
        let image = image(sections);
        let behind = with_uki(sections, 0, |uki| {
            let files = uki.extra_files().unwrap();
            extra_archives(&files, initrd.len() as u64)
        });
        let mut shown = initrd.to_owned();
        for part in behind.unwrap() {
            let bytes = match part {
                ArchivePart::Bytes(bytes) => bytes,
                ArchivePart::Image(range) => {
                    image[range.start as usize..range.end as usize].to_vec()
                }
                ArchivePart::Zeros(len) => vec![0; len as usize],
            };
            shown.push_str(&bytes.escape_ascii().to_string());
        }
        expected.assert_eq(&shown.replace("070701", "\n070701"));
    }

    #[test]
    fn an_archive_is_as_the_stub_makes_it() {
        let sections: &[(&str, &[u8])] = &[(".linux", b"kernel"), (".osrel", b"ID=x\n")];
        check(
            sections,
            "initrd",
            &expect![[r#"
            initrd\x00\x00
            070701000000010000416d0000000000000000000000010000000000000000000000000000000000000000000000000000000700000000.extra\x00\x00\x00\x00
            07070100000002000081240000000000000000000000010000000000000005000000000000000000000000000000000000001200000000.extra/os-release\x00ID=x\n\x00\x00\x00
            07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000b00000000TRAILER!!!\x00\x00\x00\x00"#]],
        );
        check(
            sections,
            "",
            &expect![[r#"

            070701000000010000416d0000000000000000000000010000000000000000000000000000000000000000000000000000000700000000.extra\x00\x00\x00\x00
            07070100000002000081240000000000000000000000010000000000000005000000000000000000000000000000000000001200000000.extra/os-release\x00ID=x\n\x00\x00\x00
            07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000b00000000TRAILER!!!\x00\x00\x00\x00"#]],
        );
    }

    #[test]
    fn the_profiles_sections_come_in_the_stubs_order() {
        let sections: &[(&str, &[u8])] = &[
            (".osrel", b"os"),
            (".pcrsig", b"base"),
            (".pcrpkey", b"key"),
            (".linux", b"kernel"),
            (".profile", b"ID=main"),
            (".pcrsig", b"sig"),
        ];
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
        let expected = expect![[r#"
            .pcrsig /.extra/tpm2-pcr-signature.json sig
            .pcrpkey /.extra/tpm2-pcr-public-key.pem key
            .osrel /.extra/os-release os
            .profile /.extra/profile ID=main
        "#]];
        expected.assert_eq(&shown.unwrap());
    }

    #[test]
    fn nothing_comes_behind_where_there_is_nothing() {
        check(&[(".linux", b"kernel")], "odd", &expect!["odd"]);
        check(&[(".linux", b"kernel")], "", &expect![""]);
        check(&[(".osrel", b"ID=x\n")], "odd", &expect!["odd"]);
    }

    #[test]
    fn what_memory_has_more_of_a_section_is_zeros() {
        let file = ExtraFile {
            path: "/.extra/os-release",
            section: ".osrel",
            size: 7,
            content: ByteRanges {
                padding: 2,
                ..ByteRanges::from(0x200..0x205)
            },
        };
        let parts = extra_archives(&[file], 0);
        let parts: Vec<_> = parts
            .iter()
            .filter(|part| !matches!(part, ArchivePart::Bytes(_)))
            .collect();
        expect!["[Image(512..517), Zeros(2), Zeros(1)]"].assert_eq(&format!("{parts:?}"));
    }
}
