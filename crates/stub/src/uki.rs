//! The sections of a unified kernel image as systemd-stub finds them: those of
//! the base, and in their places those of the profile that is booted.
//!
//! Spec: UAPI group, "Unified Kernel Image (UKI)"; systemd-stub(7).

use ukexec_pe::{PeImage, ReadAt, Section};

use crate::StubError;
use crate::os_release::{OS_ID, OsRelease};
use crate::profile::{self, is_profile, profiles};
use crate::section::SectionBytes;

/// A section may have so many bytes more in memory, all zeros, than in the file.
const ZEROS_MAX: u64 = 16 << 20;

/// Sections of lanzaboote's thin images, which hold paths and hashes in place of
/// kernel and initrd.
const THIN: [&str; 2] = [".linuxh", ".initrdh"];

/// The resources that a UKI packs for its stub: all sections of the specification
/// but `.sbat`, which every loader has; and the image's own parser.
const RESOURCES: [&str; 16] = [
    ".linux", ".initrd", ".cmdline", ".osrel", ".uname", ".ucode", ".splash", ".dtb", ".dtbauto",
    ".hwids", ".efifw", ".pcrsig", ".pcrpkey", ".profile", ".sbom", ".bpf",
];

/// Returns whether a section of this name is a resource of a UKI, and no part of
/// the program in front of it.
#[must_use]
pub fn is_resource(name: &str) -> bool {
    RESOURCES.contains(&name)
}

/// Returns whether an image may have several sections of this name, which all count.
#[must_use]
pub fn may_repeat(name: &str) -> bool {
    matches!(name, ".profile" | ".dtbauto" | ".efifw")
}

/// Returns the resources that `pe` has more than once in its base, or in one profile,
/// though the first alone counts.
#[must_use]
pub fn repeated_resources(pe: &PeImage) -> Vec<&'static str> {
    let parts = || pe.sections().chunk_by(|_, next| !is_profile(next));
    let is_repeated = |name: &&str| {
        let count = |part: &[Section]| part.iter().filter(|it| *it.name() == **name).count();
        !may_repeat(name) && parts().any(|part| count(part) > 1)
    };
    RESOURCES.into_iter().filter(is_repeated).collect()
}

/// The stub's version is looked for in so many bytes.
const MAGIC_LIMIT: u32 = 256;

/// A release of a kernel is looked for in so many.
const UNAME_LIMIT: u32 = 256;

/// An os-release file of more bytes is not looked at.
const OS_RELEASE_LIMIT: u32 = 64 << 10;

/// An image with sections, of which one profile counts.
#[derive(Debug)]
pub struct Uki<'a, R> {
    pub(crate) image: R,
    pub(crate) pe: &'a PeImage,
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
        let base = Self::base(image, pe);
        let own = pe.sections().get(base.base.len()..).unwrap_or_default();
        let mut own = own.chunk_by(|_, next| !is_profile(next)).zip(0..);
        let own = match own.find(|(_, number)| *number == profile) {
            Some((own, _)) => own,
            None if profile == 0 => &[],
            None => {
                let count = profiles(pe).count();
                let text = format!("the image has no profile {profile}, it has {count}");
                return Err(StubError::new(text));
            }
        };
        Ok(Self {
            profile,
            own,
            ..base
        })
    }

    /// Returns the image whose headers `pe` are, with the sections in front of its
    /// first profile alone.
    pub(crate) fn base(image: R, pe: &'a PeImage) -> Self {
        let mut parts = pe.sections().split(is_profile);
        // `split` always yields a first part.
        Self::of_sections(image, pe, parts.next().unwrap_or_default())
    }

    /// Returns the image whose headers `pe` are, with these of its sections.
    pub(crate) fn of_sections(image: R, pe: &'a PeImage, sections: &'a [Section]) -> Self {
        Self {
            image,
            pe,
            profile: 0,
            own: &[],
            base: sections,
        }
    }

    /// Returns the image with the profile that `selector` asks for: a number, or an
    /// ID. `None` if it is no EFI application with such a profile and a kernel in
    /// it, or a thin image, as for the built-in parser.
    ///
    /// # Errors
    ///
    /// Errors of the image's medium.
    pub fn select(image: R, pe: &'a PeImage, selector: &[u8]) -> Result<Option<Self>, StubError> {
        let Some(number) = profile::find(&image, pe, selector)? else {
            return Ok(None);
        };
        let uki = Self::new(image, pe, number)?;
        let has_kernel = uki
            .find(".linux")
            .is_some_and(|it| !it.content().is_empty());
        let is_thin = THIN.iter().any(|name| pe.section(name).is_some());
        Ok((pe.is_efi_application() && has_kernel && !is_thin).then_some(uki))
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
    pub(crate) fn section(&self, name: &str) -> Result<Option<SectionBytes<'_, R>>, StubError> {
        let bytes = self.find(name).map(|section| self.bytes(section));
        Ok(bytes.transpose()?.flatten())
    }

    /// Returns the bytes of `section`, if it is not empty.
    pub(crate) fn bytes<'s>(
        &'s self,
        section: &'s Section,
    ) -> Result<Option<SectionBytes<'s, R>>, StubError> {
        let bytes = SectionBytes::new(&self.image, section);
        let zeros = bytes.ranges().padding;
        if zeros > ZEROS_MAX {
            return Err(StubError::new(format!(
                "section {}: expected at most {ZEROS_MAX} zeros behind its content, found {zeros}",
                section.name()
            )));
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Returns the sections of the profile, then those of the base.
    pub(crate) fn parts(&self) -> [&'a [Section]; 2] {
        [self.own, self.base]
    }

    /// Returns whether there is a section `name` that counts.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.section(name).is_ok_and(|it| it.is_some())
    }

    /// Returns whether the profile has a section `name` of its own.
    #[must_use]
    pub fn has_own(&self, name: &str) -> bool {
        self.own.iter().any(|section| *section.name() == name)
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
    pub(crate) fn stub_version(&self) -> Option<u32> {
        let (name, version) = self.program()?;
        let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
        (name == "systemd-stub").then(|| digits.parse().ok())?
    }

    /// Returns the name that the program in front of the image gives itself, such as
    /// `systemd-stub`, and its version.
    #[must_use]
    pub fn program(&self) -> Option<(String, String)> {
        // As in `#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####`.
        let magic = self.text(".sdmagic", MAGIC_LIMIT)?;
        let (_, info) = magic.split_once("LoaderInfo: ")?;
        let (name, version) = info.split_once(' ')?;
        let version = version.trim_end_matches(['#', ' ']);
        Some((name.to_owned(), version.to_owned()))
    }

    /// Returns the release of the kernel that the image names in `.uname`.
    #[must_use]
    pub fn kernel_release(&self) -> Option<String> {
        self.text(".uname", UNAME_LIMIT)
            .filter(|text| !text.is_empty())
    }

    /// Returns the text in front of a section, at most `limit` bytes, up to a NUL.
    fn text(&self, name: &str, limit: u32) -> Option<String> {
        let bytes = self.section(name).ok()??.front(limit).ok()?;
        Some(profile::shown(&bytes))
    }

    /// Returns the name of the operating system, from the image's `.osrel` section
    /// (os-release(5)), if it can be read.
    pub fn os_name(&self) -> Option<String> {
        self.os_release()?.first(&["PRETTY_NAME", "NAME", "ID"])
    }

    /// Returns the identity of the operating system, as [`os_id`](crate::os_id) does.
    pub fn os_id(&self) -> Option<String> {
        self.os_release()?.first(&OS_ID)
    }

    /// Returns the description of the operating system, from the image's `.osrel`
    /// section, if it can be read.
    pub fn os_release(&self) -> Option<OsRelease> {
        let release = self.section(".osrel").ok()??;
        if release.size() > OS_RELEASE_LIMIT {
            return None;
        }
        Some(OsRelease::parse(&release.front(OS_RELEASE_LIMIT).ok()?))
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
        let shown = with_uki(PROFILES, profile, |uki| {
            let text = |name| match uki.section(name).unwrap() {
                Some(bytes) => String::from_utf8(bytes.front(u32::MAX).unwrap()).unwrap(),
                None => "-".to_owned(),
            };
            let sections = [".linux", ".cmdline", ".uname", ".profile"].map(text);
            format!("{}: {}", uki.profile(), sections.join(", "))
        });
        expected.assert_eq(&shown.unwrap_or_else(|error| error.to_string()));
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

    /// Whatever the file has of it.
    #[test]
    fn a_profiles_section_without_memory_masks_the_bases() {
        let mut image = image(&[
            (".cmdline", b"of the base"),
            (".profile", b"ID=main"),
            (".cmdline", b"of the profile"),
        ]);
        let find = |image: &Vec<u8>| {
            let pe = PeImage::parse(image).unwrap();
            Uki::new(image, &pe, 0).unwrap().cmdline().unwrap()
        };
        assert_eq!(find(&image), "of the profile");
        let virtual_size = 0x40 + 24 + 240 + 2 * 40 + 8;
        image[virtual_size..virtual_size + 4].fill(0);
        assert_eq!(find(&image), "");
    }

    #[test]
    fn a_resource_that_is_there_twice_is_named() {
        let repeated = |sections: &[(&str, &[u8])]| {
            let pe = PeImage::parse(&image(sections)).unwrap();
            repeated_resources(&pe)
        };
        assert_eq!(repeated(PROFILES), [".cmdline"]);
        let [own, tree] = [".cmdline", ".dtbauto"].map(|name| (name, &b"x"[..]));
        let profile = (".profile", &b"ID=a"[..]);
        assert_eq!(repeated(&[own, profile, own, tree, tree]), [""; 0]);
        assert_eq!(repeated(&[own, profile, own, own]), [".cmdline"]);
    }

    #[test]
    fn an_image_without_profiles_has_the_first() {
        let sections: &[(&str, &[u8])] = &[(".linux", b"kernel")];
        with_uki(sections, 0, |uki| assert_eq!(uki.profile(), 0)).unwrap();
        with_uki(sections, 1, |_| ()).unwrap_err();
    }

    #[test]
    fn the_program_and_the_kernel_have_names() {
        let magic = b"#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####\0";
        let named: &[(&str, &[u8])] = &[(".sdmagic", magic), (".uname", b"6.1.0-56-amd64\n\0x")];
        let names = |sections| with_uki(sections, 0, |uki| (uki.program(), uki.kernel_release()));
        let program = ("systemd-stub".to_owned(), "257.13-1~deb13u1".to_owned());
        let release = "6.1.0-56-amd64".to_owned();
        assert_eq!(names(named).unwrap(), (Some(program), Some(release)));
        let nameless: &[(&str, &[u8])] = &[(".sdmagic", b"LoaderInfo: x"), (".uname", b"\0")];
        assert_eq!(names(nameless).unwrap(), (None, None));
        assert!(is_resource(".linux") && !is_resource(".text") && !is_resource(".sbat"));
    }

    #[test]
    fn the_stub_says_its_version() {
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
        let id = with_uki(&[(".osrel", b"ID=x\n")], 0, |uki| uki.os_id());
        assert_eq!(id.unwrap().as_deref(), Some("x"));
        let longest = "ID=x\n".to_owned() + &"#".repeat((64 << 10) - 5);
        assert_eq!(name(&longest).as_deref(), Some("x"));
        assert_eq!(name(&(longest + "#")), None);
    }

    #[test]
    fn a_selector_finds_profiles_with_a_kernel_alone() {
        let found_with = |subsystem: u8, name: &str, selector: &str| {
            let more: &[(&str, &[u8])] = &[(".profile", b"ID=none"), (".linux", b""), (name, b"x")];
            let mut image = image(&[PROFILES, more].concat());
            image[0x58 + 68] = subsystem;
            let pe = PeImage::parse(&image).unwrap();
            let uki = Uki::select(&image, &pe, selector.as_bytes()).unwrap();
            uki.map(|uki| uki.profile())
        };
        let found = |subsystem, selector| found_with(subsystem, ".x", selector);
        assert_eq!(found(10, "two"), Some(1));
        assert_eq!(found(10, "none"), None);
        // Firmware starts no other.
        assert_eq!(found(11, "two"), None);
        for thin in THIN {
            assert_eq!(found_with(10, thin, "two"), None);
        }
    }
}
