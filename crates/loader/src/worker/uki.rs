//! The sections of a unified kernel image as systemd-stub finds them: those of
//! the base, and in their places those of the profile that is booted.
//!
//! Spec: UAPI group, "Unified Kernel Image (UKI)"; systemd-stub(7).

use std::ops::Range;

use anyhow::{Context as _, bail};
use ukexec_bpf::{Piece, Rope};
use ukexec_pe::{PeImage, Section};
use ukexec_unfold::{Budget, Input, MemoryStore, Observer, Options, built_in_parsers, run_stage};

use super::outcome::Outcome;
use crate::protocol::Job;

/// The section that a profile begins with.
const PROFILE: &str = ".profile";

/// A section may have so many bytes more in memory, all zeros, than in the file.
const ZEROS_MAX: u64 = 16 << 20;

/// An image with sections, of which one profile counts.
#[derive(Debug)]
pub(crate) struct Uki<'a> {
    image: &'a Rope,
    pe: PeImage,
    /// The number of the profile.
    profile: u32,
    /// Which entries of the section table are the profile's.
    own: Range<usize>,
    /// Which are everybody's.
    base: Range<usize>,
}

impl<'a> Uki<'a> {
    /// Looks at the image of `outcome`, of which `job` asked for a profile;
    /// `None` if it is no PE.
    pub(crate) fn of(outcome: &'a Outcome, job: &Job) -> anyhow::Result<Option<Self>> {
        let Some(pe) = outcome.pe.clone() else {
            return Ok(None);
        };
        let said = outcome.report.stages.first().and_then(|it| it.profile);
        let profile = match (said, question(&outcome.image, job)) {
            (Some(profile), _) => profile,
            (None, Some((input, options))) => ask(&input, &options, &job.budget)?,
            (None, None) => 0,
        };
        Self::with_profile(&outcome.image, pe, profile).map(Some)
    }

    fn with_profile(image: &'a Rope, pe: PeImage, profile: u32) -> anyhow::Result<Self> {
        let sections = pe.sections();
        let starts: Vec<usize> = (0..sections.len())
            .filter(|&at| sections.get(at).is_some_and(|it| *it.name() == PROFILE))
            .collect();
        let at = usize::try_from(profile).context("a profile's number is out of reach")?;
        let end = |profile: usize| starts.get(profile).copied().unwrap_or(sections.len());
        let own = match starts.get(at) {
            Some(&start) => start..end(at.saturating_add(1)),
            // The first one needs no section of its own.
            None if profile == 0 => 0..0,
            None => bail!(
                "the image has no profile {profile}, it has {}",
                starts.len()
            ),
        };
        let base = 0..end(0);
        Ok(Self {
            image,
            profile,
            own,
            base,
            pe,
        })
    }

    /// Returns the headers.
    pub(crate) fn pe(&self) -> &PeImage {
        &self.pe
    }

    /// Returns the number of the profile.
    pub(crate) fn profile(&self) -> u32 {
        self.profile
    }

    /// Returns the section `name` as it is in memory, if there is one that is
    /// not empty: the first of the profile, else the first of the base.
    pub(crate) fn section(&self, name: &str) -> anyhow::Result<Option<Rope>> {
        let section = match (self.first(&self.own, name), self.first(&self.base, name)) {
            // It takes the base's away.
            (Some(own), _) if own.virtual_size() == 0 => return Ok(None),
            (Some(section), _) | (None, Some(section)) => section,
            (None, None) => return Ok(None),
        };
        let mut rope = self.image.slice(section.content())?;
        let zeros = u64::from(section.virtual_size()).saturating_sub(rope.len());
        if zeros > ZEROS_MAX {
            bail!(
                "section {name}: expected at most {ZEROS_MAX} zeros behind its content, found {zeros}"
            );
        }
        if zeros > 0 {
            rope.push(Piece::Zeros(zeros));
        }
        Ok((!rope.is_empty()).then_some(rope))
    }

    /// Returns the first section called `name` among `place`.
    fn first(&self, place: &Range<usize>, name: &str) -> Option<&Section> {
        let place = self.pe.sections().get(place.clone()).unwrap_or_default();
        place.iter().find(|section| *section.name() == name)
    }

    /// Returns whether some section is called `name`, in whatever profile.
    pub(crate) fn has_any(&self, name: &str) -> bool {
        self.pe.section(name).is_some()
    }

    /// Returns the version of systemd-stub that the image says it begins with.
    pub(crate) fn stub_version(&self) -> Option<u32> {
        // As in `#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####`.
        let magic = self.section(".sdmagic").ok()??;
        let magic = magic.slice(0..magic.len().min(256)).ok()?.to_vec().ok()?;
        let magic = String::from_utf8_lossy(&magic);
        let (_, version) = magic.split_once("LoaderInfo: systemd-stub ")?;
        let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    }
}

/// Returns what asks a parser for the profile of `job`, if anything does.
fn question(image: &Rope, job: &Job) -> Option<(Input, Options)> {
    let selector = job
        .cmdline
        .clone()
        .filter(|line| matches!(&line[..], [b'@', next, ..] if *next != b' '));
    if job.profile.is_none() && selector.is_none() {
        return None;
    }
    let input = Input {
        image: image.clone(),
        cmdline: selector,
        ..Input::default()
    };
    let options = Options {
        profile: job.profile.clone(),
        image_name: job.name.clone(),
        ..Options::default()
    };
    Some((input, options))
}

/// Returns the profile that was asked for, where the parser that ran does not
/// say which it is: the built-in parsers do, without anything of what they hand
/// over being used.
fn ask(input: &Input, options: &Options, budget: &Budget) -> anyhow::Result<u32> {
    // No built-in parser that knows of profiles decompresses.
    let budget = Budget {
        output: 0,
        ..budget.clone()
    };
    let mut asked = built_in_parsers().into_iter().filter_map(|parser| {
        let (mut store, mut budget) = (MemoryStore::default(), budget.clone());
        let (input, nobody) = (input.clone(), &mut Nobody);
        let stage = run_stage(input, &parser, options, &mut store, &mut budget, nobody);
        stage.ok()?.report.profile
    });
    asked.next().context(
        "the image's parser does not say which profile it took, and no built-in parser finds it",
    )
}

/// Nobody watches.
struct Nobody;

impl Observer for Nobody {}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::{Expect, expect};

    use ukexec_unfold::PeBytes;

    use super::*;

    /// Returns an x86-64 EFI application with `sections`.
    pub(crate) fn image(sections: &[(&str, &[u8])]) -> Rope {
        let table = 0x40 + 24 + 240;
        let mut image = vec![0; 0x1000];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0\x64\x86");
        put(0x46, &(sections.len() as u16).to_le_bytes());
        put(0x54, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
        put(0x58, &0x20b_u16.to_le_bytes()); // PE32+
        put(0x58 + 32, &0x1000_u32.to_le_bytes()); // SectionAlignment
        put(0x58 + 36, &0x200_u32.to_le_bytes()); // FileAlignment
        let end = 0x1000 * (1 + sections.len() as u32);
        put(0x58 + 56, &end.to_le_bytes()); // SizeOfImage
        put(0x58 + 60, &0x1000_u32.to_le_bytes()); // SizeOfHeaders
        put(0x58 + 68, &10_u16.to_le_bytes()); // an EFI application
        put(0x58 + 108, &16_u32.to_le_bytes()); // data directories
        for (index, (name, content)) in sections.iter().enumerate() {
            let (entry, rva) = (table + 40 * index, 0x1000 * (1 + index as u32));
            put(entry, name.as_bytes());
            put(entry + 8, &(content.len() as u32).to_le_bytes());
            put(entry + 12, &rva.to_le_bytes());
            let raw = content.len().next_multiple_of(0x200) as u32;
            put(entry + 16, &raw.to_le_bytes());
            put(entry + 20, &rva.to_le_bytes()); // in the file as in memory
        }
        for (index, (_, content)) in sections.iter().enumerate() {
            image.resize(0x1000 * (1 + index), 0);
            image.extend_from_slice(content);
            image.resize(image.len().next_multiple_of(0x200), 0);
        }
        Rope::from(image)
    }

    /// Looks at an image of `sections` with profile number `profile`.
    pub(crate) fn with_uki<T>(
        sections: &[(&str, &[u8])],
        profile: u32,
        job: impl FnOnce(&Uki<'_>) -> T,
    ) -> anyhow::Result<T> {
        let image = image(sections);
        let pe = PeImage::parse(&PeBytes(&image)).unwrap();
        Ok(job(&Uki::with_profile(&image, pe, profile)?))
    }

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
                Some(rope) => String::from_utf8(rope.to_vec().unwrap()).unwrap(),
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
    fn a_parser_that_does_not_say_which_profile_it_took_is_stood_in_for() {
        let asked = |profile: Option<&str>, cmdline: Option<&str>| {
            let input = Input {
                image: image(PROFILES),
                cmdline: cmdline.map(|line| line.as_bytes().to_vec()),
                ..Input::default()
            };
            let options = Options {
                profile: profile.map(str::to_owned),
                ..Options::default()
            };
            ask(&input, &options, &Budget::default()).ok()
        };
        assert_eq!(asked(Some("two"), None), Some(1));
        assert_eq!(asked(Some("2"), Some("quiet")), Some(2));
        assert_eq!(asked(None, Some("@empty")), Some(2));
        assert_eq!(asked(None, Some("@main quiet")), Some(0));
        assert_eq!(asked(Some("3"), None), None);
        assert_eq!(asked(Some("three"), None), None);
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
}
