//! What systemd-stub puts behind the initrd, so that systemd in the initrd finds
//! it below `/.extra/`: sections of the image, each in an archive of its own.
//!
//! Spec: systemd-stub(7), "Initrd Resources"; Linux's
//! `driver-api/early-userspace/buffer-format.rst` (the format "newc"). Left out
//! is what does not come out of the image: credentials and extensions.

use ukexec_bpf::{Piece, Rope};

use super::uki::Uki;

/// The sections in the order of their archives, and their files.
const FILES: [(&str, &str); 4] = [
    (".pcrsig", ".extra/tpm2-pcr-signature.json"),
    (".pcrpkey", ".extra/tpm2-pcr-public-key.pem"),
    (".osrel", ".extra/os-release"),
    (".profile", ".extra/profile"),
];

const DIR: &str = ".extra";
const DIR_MODE: u32 = 0o40555;
const FILE_MODE: u32 = 0o100_444;

/// The files of an image.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) files: Vec<File>,
}

/// A section as a file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) section: &'static str,
    /// Where it is, without the `/` at its front.
    pub(crate) path: &'static str,
    pub(crate) content: Rope,
}

impl Extra {
    /// Returns the files of `image`; none if it has no `.linux`.
    pub(crate) fn of(uki: &Uki<'_>) -> anyhow::Result<Self> {
        let mut extra = Self::default();
        if uki.section(".linux")?.is_none() {
            return Ok(extra);
        }
        for (section, path) in FILES {
            if let Some(content) = uki.section(section)? {
                extra.files.push(File {
                    section,
                    path,
                    content,
                });
            }
        }
        Ok(extra)
    }

    /// Returns `initrd` with the archives behind it; the contents go by
    /// reference. Without files it stays what it is.
    pub(crate) fn behind(&self, initrd: Option<&Rope>) -> Option<Rope> {
        let mut rope = initrd.cloned().unwrap_or_default();
        for file in &self.files {
            // The kernel looks for the next archive at a multiple of 4.
            pad(&mut rope);
            file.archive(&mut rope);
        }
        (initrd.is_some() || !rope.is_empty()).then_some(rope)
    }
}

impl File {
    fn archive(&self, out: &mut Rope) {
        entry(out, 1, DIR_MODE, DIR, &Rope::new());
        entry(out, 2, FILE_MODE, self.path, &self.content);
        entry(out, 0, 0, "TRAILER!!!", &Rope::new());
    }
}

/// Adds an entry of an archive that begins at a multiple of 4.
fn entry(out: &mut Rope, inode: u32, mode: u32, name: &str, content: &Rope) {
    // Sections are shorter than an image, which is below 2 GiB.
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let name_len = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    // Owner, group, links, time; length; four numbers of devices; checksum.
    let fields = [inode, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
    let mut header = String::from("070701");
    header.extend(fields.map(|field| format!("{field:08x}")));
    header.push_str(name);
    header.push('\0');
    while !header.len().is_multiple_of(4) {
        header.push('\0');
    }
    out.append(&Rope::from(header.into_bytes()));
    out.append(content);
    pad(out);
}

fn pad(rope: &mut Rope) {
    rope.push(Piece::Zeros(rope.len().next_multiple_of(4) - rope.len()));
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::uki::tests::with_uki;
    use super::*;

    fn check(sections: &[(&str, &[u8])], initrd: Option<&'static [u8]>, expected: &Expect) {
        let behind = with_uki(sections, 0, |uki| {
            let initrd = initrd.map(|bytes| Rope::from(bytes.to_vec()));
            Extra::of(uki).unwrap().behind(initrd.as_ref())
        });
        let told = match behind.unwrap() {
            Some(rope) => rope.to_vec().unwrap().escape_ascii().to_string(),
            None => "no initrd".to_owned(),
        };
        expected.assert_eq(&told.replace("070701", "\n070701"));
    }

    #[test]
    fn an_archive_is_as_the_stub_makes_it() {
        let sections: &[(&str, &[u8])] = &[(".linux", b"kernel"), (".osrel", b"ID=x\n")];
        check(
            sections,
            Some(b"initrd"),
            &expect![[r#"
            initrd\x00\x00
            070701000000010000416d0000000000000000000000010000000000000000000000000000000000000000000000000000000700000000.extra\x00\x00\x00\x00
            07070100000002000081240000000000000000000000010000000000000005000000000000000000000000000000000000001200000000.extra/os-release\x00ID=x\n\x00\x00\x00
            07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000b00000000TRAILER!!!\x00\x00\x00\x00"#]],
        );
        check(
            sections,
            None,
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
        let told = with_uki(sections, 0, |uki| {
            let text = |file: &File| {
                let content = String::from_utf8(file.content.to_vec().unwrap()).unwrap();
                format!("{} {} {content}\n", file.section, file.path)
            };
            Extra::of(uki)
                .unwrap()
                .files
                .iter()
                .map(text)
                .collect::<String>()
        });
        let expected = expect![[r#"
            .pcrsig .extra/tpm2-pcr-signature.json sig
            .pcrpkey .extra/tpm2-pcr-public-key.pem key
            .osrel .extra/os-release os
            .profile .extra/profile ID=main
        "#]];
        expected.assert_eq(&told.unwrap());
    }

    #[test]
    fn nothing_comes_behind_where_there_is_nothing() {
        check(&[(".linux", b"kernel")], Some(b"odd"), &expect!["odd"]);
        check(&[(".linux", b"kernel")], None, &expect!["no initrd"]);
        check(&[(".osrel", b"ID=x\n")], None, &expect!["no initrd"]);
    }
}
