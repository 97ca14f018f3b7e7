//! The archives that systemd-stub adds to the initrd, so that systemd in the initrd
//! finds files below `/.extra/`; and how the stub joins the parts of an initrd.
//!
//! Spec: systemd-stub(7), "Companion Files" and "Initrd Resources"; Linux's
//! `driver-api/early-userspace/buffer-format.rst` (the format "newc").

use crate::{CompanionKind, StubError};

/// A kind of archive: the folder of its files, and their permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// In the initrd.
    folder: &'static str,
    folder_mode: u32,
    file_mode: u32,
    pcr: Option<u32>,
}

/// Bytes of an archive, or of an initrd. `C` stands for the content of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivePart<C> {
    /// These.
    Bytes(Vec<u8>),
    /// All of this.
    Content(C),
}

/// An archive with its kind.
pub type PackedArchive<C> = (Archive, Vec<ArchivePart<C>>);

impl Archive {
    /// Encrypted credentials beside the image.
    pub const CREDENTIALS: Self = Self::new(".extra/credentials", 0o500, 0o400, Some(12));
    /// Encrypted credentials for all images.
    pub const GLOBAL_CREDENTIALS: Self =
        Self::new(".extra/global_credentials", 0o500, 0o400, Some(12));
    /// System extensions beside the image.
    pub const SYSEXT: Self = Self::new(".extra/sysext", 0o555, 0o444, Some(13));
    /// System extensions for all images.
    pub const GLOBAL_SYSEXT: Self = Self::new(".extra/global_sysext", 0o555, 0o444, Some(13));
    /// Configuration extensions beside the image.
    pub const CONFEXT: Self = Self::new(".extra/confext", 0o555, 0o444, Some(12));
    /// Configuration extensions for all images.
    pub const GLOBAL_CONFEXT: Self = Self::new(".extra/global_confext", 0o555, 0o444, Some(12));
    /// One section of the image.
    pub const SECTION: Self = Self::new(".extra", 0o555, 0o444, None);
    /// The boot secret, a file `boot-secret`.
    pub const BOOT_SECRET: Self = Self::new(".extra", 0o555, 0o400, None);
    /// Trusted credentials, files `NAME.cred`. systemd-vmspawn makes this archive; the
    /// stub does not.
    pub const SYSTEM_CREDENTIALS: Self = Self::new(".extra/system_credentials", 0o500, 0o400, None);

    const fn new(folder: &'static str, folder_mode: u32, file_mode: u32, pcr: Option<u32>) -> Self {
        Self {
            folder,
            folder_mode,
            file_mode,
            pcr,
        }
    }

    /// Returns the folder of the files, as a path from the root of the initrd without
    /// a `/` in front.
    #[must_use]
    pub fn folder(&self) -> &'static str {
        self.folder
    }

    /// Returns the register that the stub measures the archive into, if any.
    #[must_use]
    pub fn pcr(&self) -> Option<u32> {
        self.pcr
    }

    /// Returns the archive of `files`, each with its name, its length in bytes and its
    /// content; without files, nothing.
    ///
    /// # Errors
    ///
    /// A file is longer than the format can say.
    pub fn pack<N: AsRef<str>, C>(
        &self,
        files: impl IntoIterator<Item = (N, u64, C)>,
    ) -> Result<Vec<ArchivePart<C>>, StubError> {
        let mut archive = Writer::new();
        for (name, size, content) in files {
            if archive.is_empty() {
                self.folders(&mut archive);
            }
            self.file(&mut archive, name.as_ref(), size, content)?;
        }
        Ok(archive.finish())
    }

    fn file<C>(
        &self,
        archive: &mut Writer<C>,
        name: &str,
        size: u64,
        content: C,
    ) -> Result<(), StubError> {
        let path = format!("{}/{name}", self.folder);
        let size = u32::try_from(size).map_err(|_out_of_range| {
            StubError::new(format!(
                "{path}: expected at most {} bytes in an archive, found {size}",
                u32::MAX
            ))
        })?;
        archive.entry(S_IFREG | self.file_mode, &path, size);
        archive.content(size, content);
        Ok(())
    }

    /// Adds the folder. Those around it come first, and everybody may read them.
    fn folders<C>(&self, archive: &mut Writer<C>) {
        for (slash, _) in self.folder.match_indices('/') {
            let (above, _) = self.folder.split_at(slash);
            archive.entry(S_IFDIR | 0o555, above, 0);
        }
        archive.entry(S_IFDIR | self.folder_mode, self.folder, 0);
    }
}

/// The archives of the extra files of a boot entry, in their order.
const ENTRY_ARCHIVES: [(CompanionKind, Archive); 3] = [
    (CompanionKind::Credential, Archive::CREDENTIALS),
    (CompanionKind::Sysext, Archive::SYSEXT),
    (CompanionKind::Confext, Archive::CONFEXT),
];

/// Returns the archives that systemd-boot makes of the extra `files` of a boot entry, each
/// with its kind, its name, its length in bytes and its content, in the entry's order. As
/// there, the folders stand in front of each file, and files and folders of all archives are
/// numbered together, in the entry's order.
///
/// Spec: Boot Loader Specification, "Type #1 Boot Loader Entry Keys", `extra`; systemd's
/// `src/boot/boot.c`.
///
/// # Errors
///
/// A file is longer than the format can say.
pub fn pack_entry_files<N: AsRef<str>, C>(
    files: impl IntoIterator<Item = (CompanionKind, N, u64, C)>,
) -> Result<Vec<PackedArchive<C>>, StubError> {
    let mut archives = ENTRY_ARCHIVES.map(|(kind, archive)| (kind, archive, Writer::new()));
    let mut inode = 0;
    for (kind, name, size, content) in files {
        let of_kind = archives.iter_mut().find(|(it, ..)| *it == kind);
        if let Some((_, archive, writer)) = of_kind {
            writer.inode = inode;
            archive.folders(writer);
            archive.file(writer, name.as_ref(), size, content)?;
            inode = writer.inode;
        }
    }
    let archives = archives.into_iter().filter(|(.., it)| !it.is_empty());
    let finished = archives.map(|(_, archive, writer)| (archive, writer.finish()));
    Ok(finished.collect())
}

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;

/// The last entry: links are 1, and the length of the name has a capital `B`.
const TRAILER: &[u8; 124] = b"070701\
    00000000000000000000000000000000000000010000000000000000\
    000000000000000000000000000000000000000B00000000TRAILER!!!\0\0\0\0";

/// An archive that begins at a multiple of 4, as far as it is written.
struct Writer<C> {
    parts: Vec<ArchivePart<C>>,
    /// Bytes behind the last content.
    bytes: Vec<u8>,
    /// The number of the last entry.
    inode: u32,
}

impl<C> Writer<C> {
    fn new() -> Self {
        Self {
            parts: Vec::new(),
            bytes: Vec::new(),
            inode: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.bytes.is_empty()
    }

    fn entry(&mut self, mode: u32, path: &str, size: u32) {
        self.inode = self.inode.saturating_add(1);
        // Owner, group, links, time; length; four numbers of devices.
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0];
        let mut header = String::from("070701");
        header.extend(fields.map(|field| format!("{field:08x}")));
        let name = format!("{path}\0");
        // The name's length, and no checksum.
        header.push_str(&format!("{:08x}{:08x}{name}", name.len(), 0));
        while !header.len().is_multiple_of(4) {
            header.push('\0');
        }
        self.bytes.extend(header.as_bytes());
    }

    fn content(&mut self, size: u32, content: C) {
        if size == 0 {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.parts.push(ArchivePart::Bytes(bytes));
        self.parts.push(ArchivePart::Content(content));
        self.bytes.extend(padding(size.into()));
    }

    fn finish(mut self) -> Vec<ArchivePart<C>> {
        if !self.is_empty() {
            self.bytes.extend(TRAILER);
            self.parts.push(ArchivePart::Bytes(self.bytes));
        }
        self.parts
    }
}

/// Joins the parts of an initrd, each with its length in bytes, as systemd-stub does:
/// it skips empty parts, and of several it pads each to a multiple of 4, the last too.
#[must_use]
pub fn join_initrds<C>(parts: impl IntoIterator<Item = (u64, C)>) -> Vec<ArchivePart<C>> {
    let mut parts: Vec<(u64, C)> = parts.into_iter().filter(|(len, _)| *len > 0).collect();
    if parts.len() == 1 {
        let only = parts
            .pop()
            .map(|(_, content)| ArchivePart::Content(content));
        return only.into_iter().collect();
    }
    let padded = parts.into_iter().flat_map(|(len, content)| {
        let zeros: Vec<u8> = padding(len).collect();
        let zeros = (!zeros.is_empty()).then_some(ArchivePart::Bytes(zeros));
        [ArchivePart::Content(content)].into_iter().chain(zeros)
    });
    padded.collect()
}

/// Returns the zeros up to a multiple of 4 behind `len` bytes.
fn padding(len: u64) -> impl Iterator<Item = u8> {
    (0..len.wrapping_neg() % 4).map(|_| 0)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// Returns the bytes of an archive.
    fn bytes(parts: Vec<ArchivePart<&[u8]>>) -> Vec<u8> {
        let bytes = |part: ArchivePart<&[u8]>| match part {
            ArchivePart::Bytes(bytes) => bytes,
            ArchivePart::Content(content) => content.to_vec(),
        };
        parts.into_iter().flat_map(bytes).collect()
    }

    fn packed<'a>(archive: Archive, files: &[(&str, &'a [u8])]) -> Vec<ArchivePart<&'a [u8]>> {
        let files = files.iter().map(|(name, it)| (name, it.len() as u64, *it));
        archive.pack(files).unwrap()
    }

    fn check(archive: Archive, files: &[(&str, &[u8])], expected: &Expect) {
        let shown = bytes(packed(archive, files)).escape_ascii().to_string();
        expected.assert_eq(&shown.replace("070701", "\n070701"));
    }

    #[test]
    fn an_archive_is_as_the_stub_makes_it() {
        check(
            Archive::SECTION,
            &[("os-release", b"ID=x\n")],
            &expect![[r#"

                070701000000010000416d0000000000000000000000010000000000000000000000000000000000000000000000000000000700000000.extra\x00\x00\x00\x00
                07070100000002000081240000000000000000000000010000000000000005000000000000000000000000000000000000001200000000.extra/os-release\x00ID=x\n\x00\x00\x00
                07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000B00000000TRAILER!!!\x00\x00\x00\x00"#]],
        );
        check(
            Archive::CREDENTIALS,
            &[("A.cred", b"one"), ("empty.CRED", b""), ("b.cred", b"four")],
            &expect![[r#"

                070701000000010000416d0000000000000000000000010000000000000000000000000000000000000000000000000000000700000000.extra\x00\x00\x00\x00
                07070100000002000041400000000000000000000000010000000000000000000000000000000000000000000000000000001300000000.extra/credentials\x00\x00\x00\x00
                07070100000003000081000000000000000000000000010000000000000003000000000000000000000000000000000000001a00000000.extra/credentials/A.cred\x00one\x00
                07070100000004000081000000000000000000000000010000000000000000000000000000000000000000000000000000001e00000000.extra/credentials/empty.CRED\x00
                07070100000005000081000000000000000000000000010000000000000004000000000000000000000000000000000000001a00000000.extra/credentials/b.cred\x00four
                07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000B00000000TRAILER!!!\x00\x00\x00\x00"#]],
        );
    }

    #[test]
    fn files_of_an_entry_have_their_folders_in_front_of_each() {
        use CompanionKind::{Confext, Credential, Sysext};
        let files = [
            (Confext, "c", 1, &b"c"[..]),
            (Credential, "b", 1, b"b"),
            (Credential, "a", 1, b"a"),
            (Sysext, "s", 1, b"s"),
        ];
        let shown = |files: &[(CompanionKind, &str, u64, &'static [u8])]| {
            let archives = pack_entry_files(files.iter().copied()).unwrap();
            let entries = archives.into_iter().map(|(archive, parts)| {
                let text = String::from_utf8(bytes(parts)).unwrap();
                let entries = text.split("070701").skip(1).map(|entry| {
                    let name = entry[104..].split('\0').next().unwrap();
                    format!(" {}:{name}", u32::from_str_radix(&entry[..8], 16).unwrap())
                });
                format!("{:?}{}\n", archive.pcr(), entries.collect::<String>())
            });
            entries.collect::<String>()
        };
        expect![[r#"
            Some(12) 4:.extra 5:.extra/credentials 6:.extra/credentials/b 7:.extra 8:.extra/credentials 9:.extra/credentials/a 0:TRAILER!!!
            Some(13) 10:.extra 11:.extra/sysext 12:.extra/sysext/s 0:TRAILER!!!
            Some(12) 1:.extra 2:.extra/confext 3:.extra/confext/c 0:TRAILER!!!
        "#]]
        .assert_eq(&shown(&files));
        expect![[r#"
            Some(12) 1:.extra 2:.extra/confext 3:.extra/confext/c 0:TRAILER!!!
        "#]]
        .assert_eq(&shown(&files[..1]));
        assert_eq!(shown(&[]), "");
    }

    /// Each kind of archive: the modes of its folders and of its file, and its PCR.
    #[test]
    fn folders_have_modes_and_registers() {
        let archives = [
            Archive::CREDENTIALS,
            Archive::GLOBAL_CREDENTIALS,
            Archive::SYSEXT,
            Archive::GLOBAL_SYSEXT,
            Archive::CONFEXT,
            Archive::GLOBAL_CONFEXT,
            Archive::SECTION,
            Archive::BOOT_SECRET,
            Archive::SYSTEM_CREDENTIALS,
        ];
        let mut shown = String::new();
        for archive in archives {
            let bytes = bytes(packed(archive, &[("f", b"x")]));
            let text = String::from_utf8(bytes).unwrap();
            let entries = text.split("070701").skip(1).map(|entry| {
                let mode = u32::from_str_radix(&entry[8..16], 16).unwrap();
                let name = entry[104..].split('\0').next().unwrap();
                format!("{name} {mode:o}, ")
            });
            let entries: String = entries.collect();
            shown += &format!("{entries}{:?}\n", archive.pcr());
        }
        expect![[r#"
            .extra 40555, .extra/credentials 40500, .extra/credentials/f 100400, TRAILER!!! 0, Some(12)
            .extra 40555, .extra/global_credentials 40500, .extra/global_credentials/f 100400, TRAILER!!! 0, Some(12)
            .extra 40555, .extra/sysext 40555, .extra/sysext/f 100444, TRAILER!!! 0, Some(13)
            .extra 40555, .extra/global_sysext 40555, .extra/global_sysext/f 100444, TRAILER!!! 0, Some(13)
            .extra 40555, .extra/confext 40555, .extra/confext/f 100444, TRAILER!!! 0, Some(12)
            .extra 40555, .extra/global_confext 40555, .extra/global_confext/f 100444, TRAILER!!! 0, Some(12)
            .extra 40555, .extra/f 100444, TRAILER!!! 0, None
            .extra 40555, .extra/f 100400, TRAILER!!! 0, None
            .extra 40555, .extra/system_credentials 40500, .extra/system_credentials/f 100400, TRAILER!!! 0, None
        "#]].assert_eq(&shown);
    }

    #[test]
    fn without_a_file_there_is_no_archive() {
        assert_eq!(packed(Archive::SYSEXT, &[]), []);
    }

    #[test]
    fn the_format_has_a_longest_file() {
        let pack = |size| Archive::SYSEXT.pack([("a.raw", size, ())]);
        assert!(pack(0xffff_ffff).is_ok());
        let error = pack(0x1_0000_0000).unwrap_err();
        expect![
            ".extra/sysext/a.raw: expected at most 4294967295 bytes in an archive, found 4294967296"
        ]
        .assert_eq(&error.to_string());
    }

    #[test]
    fn several_parts_are_padded_and_one_is_not() {
        let joined = |parts: &[&'static [u8]]| {
            let parts = parts.iter().map(|part| (part.len() as u64, *part));
            bytes(join_initrds(parts)).escape_ascii().to_string()
        };
        assert_eq!(joined(&[]), "");
        assert_eq!(joined(&[b"", b"odd", b""]), "odd");
        assert_eq!(
            joined(&[b"odd", b"even", b"x"]),
            r"odd\x00evenx\x00\x00\x00"
        );
    }

    proptest! {
        #[test]
        fn archives_and_parts_end_at_a_multiple_of_4(
            names in prop::collection::vec("[a-z]{1,9}", 0..5),
            content in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let files: Vec<_> = names.iter().map(|name| (name.as_str(), content.as_slice())).collect();
            prop_assert!(bytes(packed(Archive::SYSEXT, &files)).len().is_multiple_of(4));
            let parts = [(content.len() as u64, content.as_slice()), (1, b"x")];
            let joined = bytes(join_initrds(parts));
            prop_assert!(content.is_empty() || joined.len().is_multiple_of(4));
            prop_assert!(joined.starts_with(&content));
        }
    }
}
