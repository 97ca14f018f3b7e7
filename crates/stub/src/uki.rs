//! The sections of a unified kernel image as systemd-stub finds them: those of
//! the base, and in their places those of the profile that is booted.
//!
//! Spec: UAPI group, "Unified Kernel Image (UKI)"; systemd-stub(7).

use std::io;

use ukexec_pe::{ByteRanges, PeImage, ReadAt, Section};

use crate::StubError;
use crate::profile;

/// The section that a profile begins with.
const PROFILE: &str = ".profile";

/// A section may have so many bytes more in memory, all zeros, than in the file.
const ZEROS_MAX: u64 = 16 << 20;

/// The stub's version is looked for in so many bytes.
const MAGIC_LIMIT: u32 = 256;

/// An os-release file of more bytes is not looked at.
const OS_RELEASE_LIMIT: u32 = 64 << 10;

/// An image with sections, of which one profile counts.
#[derive(Debug)]
pub struct Uki<'a, R> {
    image: R,
    pe: &'a PeImage,
    /// The number of the profile.
    profile: u32,
    /// The sections of the profile.
    own: &'a [Section],
    /// Those in front of the first profile, which are everybody's.
    base: &'a [Section],
}

impl<'a, R: ReadAt> Uki<'a, R> {
    /// Returns the image whose headers `pe` are, with profile number `profile`.
    ///
    /// # Errors
    ///
    /// There is no such profile. The first one needs no section of its own.
    pub fn new(image: R, pe: &'a PeImage, profile: u32) -> Result<Self, StubError> {
        let mut parts = pe
            .sections()
            .chunk_by(|_, next| *next.name() != PROFILE)
            .peekable();
        let is_base = |part: &&[Section]| part.first().is_some_and(|it| *it.name() != PROFILE);
        let base = parts.next_if(is_base).unwrap_or_default();
        let own = match parts.zip(0..).find(|(_, number)| *number == profile) {
            Some((own, _)) => own,
            None if profile == 0 => &[],
            None => return Err(StubError::no_profile(profile, profiles(pe).count())),
        };
        Ok(Self {
            image,
            pe,
            profile,
            own,
            base,
        })
    }

    /// Returns the image with the profile that `selector` asks for: a number, or an
    /// ID. `None` if it is no EFI application with such a profile and a kernel in
    /// it.
    ///
    /// # Errors
    ///
    /// What the image's medium says.
    pub fn select(image: R, pe: &'a PeImage, selector: &[u8]) -> Result<Option<Self>, StubError> {
        let Some(number) = profile::find(&image, pe, selector)? else {
            return Ok(None);
        };
        let uki = Self::new(image, pe, number)?;
        let has_kernel = uki
            .find(".linux")
            .is_some_and(|it| !it.content().is_empty());
        Ok((pe.is_efi_application() && has_kernel).then_some(uki))
    }

    /// Returns all of the image's bytes.
    pub fn image(&self) -> &R {
        &self.image
    }

    /// Returns the headers.
    pub fn pe(&self) -> &PeImage {
        self.pe
    }

    /// Returns the number of the profile.
    pub fn profile(&self) -> u32 {
        self.profile
    }

    /// Returns the section `name` as it is in memory, if there is one that is
    /// not empty: the first of the profile, else the first of the base.
    ///
    /// # Errors
    ///
    /// It has so many zeros behind its content that nobody means them.
    pub fn section(&self, name: &str) -> Result<Option<SectionBytes<'_, R>>, StubError> {
        let Some(section) = self.find(name) else {
            return Ok(None);
        };
        let bytes = SectionBytes::new(&self.image, section);
        let zeros = bytes.ranges().padding;
        if zeros > ZEROS_MAX {
            return Err(StubError::zeros(name, ZEROS_MAX, zeros));
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Returns the entry of section `name` that counts.
    fn find(&self, name: &str) -> Option<&'a Section> {
        let first = |part: &'a [Section]| part.iter().find(|section| *section.name() == name);
        match first(self.own) {
            // It takes the base's away.
            Some(own) if own.virtual_size() == 0 => None,
            Some(own) => Some(own),
            None => first(self.base),
        }
    }

    /// Returns the version of systemd-stub that the image says it begins with.
    pub fn stub_version(&self) -> Option<u32> {
        // As in `#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####`.
        let magic = self.section(".sdmagic").ok()??.front(MAGIC_LIMIT).ok()?;
        let magic = String::from_utf8_lossy(&magic);
        let (_, version) = magic.split_once("LoaderInfo: systemd-stub ")?;
        let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    }

    /// Returns the name of the operating system as the image's `.osrel` section
    /// has it (os-release(5)), if it can be read.
    pub fn os_name(&self) -> Option<String> {
        let release = self.section(".osrel").ok()??;
        if release.size() > OS_RELEASE_LIMIT {
            return None;
        }
        let bytes = release.front(OS_RELEASE_LIMIT).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
                Some(value.trim_matches(['"', '\'']).to_owned())
            })
        };
        field("PRETTY_NAME")
            .or_else(|| field("NAME"))
            .or_else(|| field("ID"))
    }
}

/// Returns the sections that profiles begin with, in order.
pub(crate) fn profiles(pe: &PeImage) -> impl Iterator<Item = &Section> {
    let sections = pe.sections().iter();
    sections.filter(|section| *section.name() == PROFILE)
}

/// The bytes of a section as they are in memory: those of the file, and zeros
/// behind them where `VirtualSize` is more.
#[derive(Debug)]
pub struct SectionBytes<'a, R> {
    image: &'a R,
    section: &'a Section,
}

impl<'a, R: ReadAt> SectionBytes<'a, R> {
    pub(crate) fn new(image: &'a R, section: &'a Section) -> Self {
        Self { image, section }
    }

    /// Returns how many bytes there are.
    pub fn size(&self) -> u32 {
        match self.section.virtual_size() {
            // It says nothing.
            0 => self.section.size_of_raw_data(),
            size => size,
        }
    }

    /// Returns which bytes of the image they are.
    pub fn ranges(&self) -> ByteRanges {
        let content = self.section.content();
        let len = content.end.saturating_sub(content.start);
        ByteRanges {
            padding: self.len().saturating_sub(len),
            ..ByteRanges::from(content)
        }
    }

    /// Returns the bytes in front, at most `max`.
    pub(crate) fn front(&self, max: u32) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.size().min(max)).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

impl<R: ReadAt> ReadAt for SectionBytes<'_, R> {
    fn len(&self) -> u64 {
        self.size().into()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let content = self.section.content();
        let past_end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let len = u64::try_from(buf.len()).map_err(io::Error::other)?;
        let end = offset.checked_add(len).ok_or_else(past_end)?;
        if end > self.len() {
            return Err(past_end());
        }
        let at = content.start.saturating_add(offset).min(content.end);
        let in_file = usize::try_from(content.end.saturating_sub(at).min(len));
        let (bytes, zeros) = buf.split_at_mut(in_file.map_err(io::Error::other)?);
        zeros.fill(0);
        self.image.read_at(at, bytes)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::{image, with_uki};

    const PROFILES: &[(&str, &[u8])] = &[
        (".linux", b"kernel"),
        (".cmdline", b"of the base"),
        (".cmdline", b"never used"),
        (".uname", b"6.1"),
        (".profile", b"ID=main\nTITLE=Main"),
        (".profile", b"TITLE=Second\nID=\"two\" "),
        (".cmdline", b"of two"),
        (".profile", b"ID=empty"),
        (".cmdline", b""),
    ];

    fn check(profile: u32, expected: Expect) {
        let told = with_uki(PROFILES, profile, |uki| {
            let text = |name| match uki.section(name).unwrap() {
                Some(bytes) => String::from_utf8(bytes.front(u32::MAX).unwrap()).unwrap(),
                None => "-".to_owned(),
            };
            let sections = [".linux", ".cmdline", ".uname", ".profile"].map(text);
            format!("{}: {}", uki.profile(), sections.join(", "))
        });
        expected.assert_eq(&told.unwrap_or_else(|error| error.to_string()));
    }

    #[test]
    fn a_profiles_sections_replace_those_of_the_base() {
        check(
            0,
            expect![[r#"
            0: kernel, of the base, 6.1, ID=main
            TITLE=Main"#]],
        );
        check(
            1,
            expect![[r#"
            1: kernel, of two, 6.1, TITLE=Second
            ID="two" "#]],
        );
        check(2, expect!["2: kernel, -, 6.1, ID=empty"]);
        check(3, expect!["the image has no profile 3, it has 3"]);
    }

    #[test]
    fn an_image_without_profiles_has_the_first() {
        let sections: &[(&str, &[u8])] = &[(".linux", b"kernel")];
        with_uki(sections, 0, |uki| assert_eq!(uki.profile(), 0)).unwrap();
        with_uki(sections, 1, |_| ()).unwrap_err();
    }

    #[test]
    fn the_stub_tells_its_version() {
        let version = |magic: &str| {
            let sections: &[(&str, &[u8])] = &[(".sdmagic", magic.as_bytes())];
            with_uki(sections, 0, |uki| uki.stub_version()).unwrap()
        };
        let debian = "#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####\0";
        assert_eq!(version(debian), Some(257));
        assert_eq!(
            version("#### LoaderInfo: systemd-stub 259~rc1 ####"),
            Some(259)
        );
        assert_eq!(version("#### LoaderInfo: systemd-boot 257 ####"), None);
    }

    #[test]
    fn the_operating_system_has_a_name() {
        let name = |release: &str| {
            let sections: &[(&str, &[u8])] = &[(".osrel", release.as_bytes())];
            with_uki(sections, 0, |uki| uki.os_name()).unwrap()
        };
        let all = "ID=x\n NAME='Name'\nPRETTY_NAME=\"Name 1 (\u{e4})\"\n";
        assert_eq!(name(all).as_deref(), Some("Name 1 (\u{e4})"));
        assert_eq!(name("ID=x\nNAME=Name").as_deref(), Some("Name"));
        assert_eq!(name("ID=x").as_deref(), Some("x"));
        assert_eq!(name("VERSION=1"), None);
        let longest = "ID=x\n".to_owned() + &"#".repeat((64 << 10) - 5);
        assert_eq!(name(&longest).as_deref(), Some("x"));
        assert_eq!(name(&(longest + "#")), None);
    }

    /// Shows section `.linux` of an image with these sizes of it in the section
    /// table.
    fn check_size(virtual_size: u32, size_of_raw_data: u32, expected: Expect) {
        let mut image = image(&[(".linux", &[b'x'; 0x200])]);
        let entry = 0x40 + 24 + 240;
        image[entry + 8..entry + 12].copy_from_slice(&virtual_size.to_le_bytes());
        image[entry + 16..entry + 20].copy_from_slice(&size_of_raw_data.to_le_bytes());
        let pe = PeImage::parse(&image).unwrap();
        let uki = Uki::new(&image, &pe, 0).unwrap();
        let text = match uki.section(".linux") {
            Ok(Some(bytes)) => {
                let all = bytes.front(u32::MAX).unwrap();
                let count = all.iter().take_while(|byte| **byte == b'x').count();
                assert!(all[count..].iter().all(|byte| *byte == 0));
                let mut buf = vec![1; all.len() - 1];
                bytes.read_at(1, &mut buf).unwrap();
                assert_eq!(buf, all[1..]);
                bytes.read_at(all.len() as u64, &mut []).unwrap();
                for at in [2, all.len() as u64, u64::MAX] {
                    let error = bytes.read_at(at, &mut buf).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                }
                format!("{count} of {} bytes: {:x?}", all.len(), bytes.ranges())
            }
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn a_section_is_as_long_as_in_memory() {
        check_size(
            0x102,
            0x200,
            expect!["258 of 258 bytes: ByteRanges { ranges: [1000..1102], padding: 0 }"],
        );
        check_size(
            0x210,
            0x200,
            expect!["512 of 528 bytes: ByteRanges { ranges: [1000..1200], padding: 10 }"],
        );
        check_size(
            0x210,
            0,
            expect!["0 of 528 bytes: ByteRanges { ranges: [0..0], padding: 210 }"],
        );
        check_size(
            0,
            0x200,
            expect!["512 of 512 bytes: ByteRanges { ranges: [1000..1200], padding: 0 }"],
        );
        check_size(0, 0, expect!["none"]);
        check_size(
            0x200 + (16 << 20),
            0x200,
            expect!["512 of 16777728 bytes: ByteRanges { ranges: [1000..1200], padding: 1000000 }"],
        );
        check_size(
            0x201 + (16 << 20),
            0x200,
            expect![
                "section .linux: expected at most 16777216 zeros behind its content, found 16777217"
            ],
        );
        check_size(
            u32::MAX,
            0x200,
            expect![
                "section .linux: expected at most 16777216 zeros behind its content, found 4294966783"
            ],
        );
    }
}
