//! The facts of an image that the menu shows and sorts by, from its headers and a few texts.
//!
//! Spec: UAPI group, "Boot Loader Specification", "Type #2"; os-release(5).

use serde::{Deserialize, Serialize};
use ukexec_pe::{PeImage, ReadAt, SectionName};
use ukexec_stub::{OsRelease, Profile, StubError, Uki};

use crate::architecture::Architecture;
use crate::text::cut;

/// So many profiles of an image are entries.
const PROFILES_MAX: usize = 256;

/// All texts of an image that are kept have at most so many bytes.
const TEXTS_MAX: usize = 64 << 10;

/// The sections of an image that describe systems and profiles have at most so many bytes
/// together.
const SECTIONS_MAX: u64 = 64 << 10;

/// The facts of a kernel or of a unified kernel image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// Bytes of the file.
    pub size: u64,
    /// Whether it has a certificate table.
    pub signed: bool,
    /// The machine type of its PE headers; none if it is no PE32+ file.
    pub machine: Option<u16>,
    /// Why it has no sound PE headers, if it begins as if it had some, or no texts that can
    /// be read.
    pub damage: Option<String>,
    /// Whether it is a unified kernel image: an EFI application with a kernel in it.
    pub is_uki: bool,
    /// The release of its kernel, from `.uname`.
    pub uname: Option<String>,
    /// Its profiles, if it is a unified kernel image; the first needs no section of its own.
    pub profiles: Vec<ProfileSummary>,
    /// About how much work its profiles are: bytes of their texts, and looks at a section.
    pub work: u64,
}

/// The facts of one profile of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileSummary {
    /// The word that asks for it.
    pub id: Option<String>,
    /// Its name for people.
    pub title: Option<String>,
    /// The operating system, by `.osrel`.
    pub os: Option<OsSummary>,
}

/// The facts of an operating system by its os-release file that a boot entry shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsSummary {
    /// `PRETTY_NAME`, or else `IMAGE_ID`, `NAME`, `ID`.
    pub title: String,
    /// `IMAGE_VERSION`, or else `VERSION`, `VERSION_ID`, `BUILD_ID`.
    pub version: Option<String>,
    /// `IMAGE_ID`, or else `ID`.
    pub sort_key: Option<String>,
}

impl ImageSummary {
    /// Returns the summary of `image`: from its headers, `.osrel`, `.profile` and `.uname`.
    /// A kernel without PE headers has only a size.
    ///
    /// # Errors
    ///
    /// In words, why the file is not listed: it is empty or cannot be read.
    pub fn read(image: &impl ReadAt) -> Result<Self, String> {
        let mut summary = Self {
            size: image.len(),
            ..Self::default()
        };
        let mut magic = [0; 2];
        if image.len() < 2 {
            return Err("it is empty".to_owned());
        }
        image
            .read_at(0, &mut magic)
            .map_err(|error| error.to_string())?;
        if magic != *b"MZ" {
            return Ok(summary);
        }
        let pe = match PeImage::parse(image) {
            Ok(pe) => pe,
            Err(error) => {
                summary.damage = Some(cut(error.to_string()));
                return Ok(summary);
            }
        };
        summary.machine = Some(pe.machine().0);
        summary.signed = pe.certificates().is_some();
        summary.is_uki = pe.is_efi_application() && pe.section(".linux").is_some();
        if summary.is_uki {
            let words = |error: StubError| error.to_string();
            let base = Uki::new(image, &pe, 0).map_err(words)?;
            summary.uname = base.kernel_release().map(cut);
            summary.work = work(&pe);
            match profiles(image, &pe) {
                Ok(profiles) => summary.profiles = profiles,
                Err(words) => summary.damage = Some(cut(words)),
            }
        }
        Ok(summary)
    }

    /// Returns whether programs of its machine type do not run on `architecture`.
    pub(crate) fn is_foreign(&self, architecture: Architecture) -> bool {
        self.machine
            .is_some_and(|machine| !architecture.runs(machine))
    }
}

/// Returns the bytes of the sections that describe systems and profiles.
fn texts_len(pe: &PeImage) -> u64 {
    let of_texts = |name: &SectionName| [".osrel", ".profile"].iter().any(|it| *name == **it);
    let texts = pe.sections().iter().filter(|it| of_texts(it.name()));
    let sizes = texts.map(|it| u64::from(it.virtual_size()));
    sizes.fold(0, u64::saturating_add)
}

/// Returns about how much work the profiles of an image are: for each, all sections are
/// looked at.
fn work(pe: &PeImage) -> u64 {
    let count = Profile::count(pe).clamp(1, PROFILES_MAX);
    let looks = count.saturating_mul(pe.sections().len());
    let looks = u64::try_from(looks).unwrap_or(u64::MAX);
    texts_len(pe).min(SECTIONS_MAX).saturating_add(looks)
}

fn profiles(image: &impl ReadAt, pe: &PeImage) -> Result<Vec<ProfileSummary>, String> {
    let len = texts_len(pe);
    if len > SECTIONS_MAX {
        return Err(format!(
            "its sections .osrel and .profile have {len} bytes together; expected at most \
             {SECTIONS_MAX}"
        ));
    }
    let count = Profile::count(pe).clamp(1, PROFILES_MAX);
    let words = |error: StubError| error.to_string();
    let mut left = TEXTS_MAX;
    // That of profiles without one of their own, which is read once.
    let mut of_base = None;
    let mut profiles = Vec::new();
    for number in (0..).take(count) {
        let uki = Uki::new(image, pe, number).map_err(words)?;
        let [id, title] = uki
            .profile_names()
            .map_err(words)?
            .map(|name| name.map(cut));
        let read = || uki.os_release().as_ref().and_then(OsSummary::new);
        let os = match uki.has_own(".osrel") {
            true => read(),
            false => of_base.get_or_insert_with(read).clone(),
        };
        let profile = ProfileSummary { id, title, os };
        left = left
            .checked_sub(profile.len())
            .ok_or_else(|| format!("its profiles have more than {TEXTS_MAX} bytes of text"))?;
        profiles.push(profile);
    }
    Ok(profiles)
}

impl ProfileSummary {
    /// Returns the bytes of all its texts.
    fn len(&self) -> usize {
        let os = self.os.iter();
        let os = os.flat_map(|os| [Some(&os.title), os.version.as_ref(), os.sort_key.as_ref()]);
        let texts = os.chain([self.id.as_ref(), self.title.as_ref()]).flatten();
        texts.map(String::len).fold(0, usize::saturating_add)
    }
}

impl OsSummary {
    /// Returns the facts of `os`, if it has a name.
    fn new(os: &OsRelease) -> Option<Self> {
        let first = |names: &[&str]| os.first(names).map(cut);
        Some(Self {
            title: first(&["PRETTY_NAME", "IMAGE_ID", "NAME", "ID"])?,
            version: first(&["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"]),
            sort_key: first(&["IMAGE_ID", "ID"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{OSREL, uki};

    fn check(image: &[u8], expected: Expect) {
        let shown = match ImageSummary::read(&image) {
            Ok(it) => {
                let machine = it
                    .machine
                    .map_or_else(|| "-".to_owned(), |it| format!("{it:x}"));
                if let Some(damage) = it.damage {
                    return expected.assert_eq(&damage);
                }
                let mut shown = format!(
                    "{} {machine} signed {} uki {} {:?}\n",
                    it.size, it.signed, it.is_uki, it.uname
                );
                for ProfileSummary { id, title, os } in it.profiles {
                    let os = os.map(|os| (os.title, os.version, os.sort_key));
                    shown += &format!("{id:?} {title:?} {os:?}\n").replace("Some", "");
                }
                shown
            }
            Err(words) => words,
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn each_profile_describes_its_system() {
        let image = uki(&[
            (".osrel", OSREL),
            (".uname", b"6.1.0\n"),
            (".profile", b"ID=main"),
            (".profile", b"TITLE=Debug\nID="),
            (".osrel", b"NAME=Other\nVERSION_ID=2\nBUILD_ID=3"),
            (".profile", b""),
            (".osrel", b"VERSION=1"),
        ]);
        check(
            &image,
            expect![[r#"
            36864 8664 signed false uki true Some("6.1.0")
            ("main") None (("Debian 13", ("13"), ("debian")))
            None ("Debug") (("Other", ("2"), None))
            None None None
        "#]],
        );
    }

    #[test]
    fn an_image_without_profiles_has_one() {
        check(
            &uki(&[]),
            expect![[r#"
            8192 8664 signed false uki true None
            None None None
        "#]],
        );
        check(
            &uki(&[(".osrel", b"ID=x\nIMAGE_ID='y'")]),
            expect![[r#"
            12288 8664 signed false uki true None
            None None (("y", None, ("y")))
        "#]],
        );
    }

    #[test]
    fn a_kernel_need_not_be_an_efi_program() {
        check(
            b"\x1f\x8b kernel",
            expect![[r#"
            9 - signed false uki false None
        "#]],
        );
        check(b"", expect!["it is empty"]);
        check(
            b"MZ",
            expect![
                "e_lfanew at 0x3c: expected 4 bytes there, found the end of the file at 0x2; is the file cut off?"
            ],
        );
        let mut lies = uki(&[(".osrel", OSREL)]);
        lies[0x40 + 24 + 240 + 20..][..4].fill(0xff);
        check(
            &lies,
            expect![
                "PointerToRawData of section 0 (.linux) at 0x15c: expected an end by 0x3000, found 0x100000005; is the file cut off?"
            ],
        );
    }

    #[test]
    fn texts_have_an_end() {
        let long = format!("ID={}", "é".repeat(200));
        let summary = ImageSummary::read(&uki(&[(".osrel", long.as_bytes())])).unwrap();
        assert_eq!(summary.profiles[0].os.as_ref().unwrap().title.len(), 256);
        let base = (".osrel", long.as_bytes());
        let profiles = vec![(".profile", b"".as_slice()); 200];
        check(
            &uki(&[&[base][..], &profiles].concat()),
            expect!["its profiles have more than 65536 bytes of text"],
        );
        check(
            &uki(&vec![(".osrel", &[b'#'; 32 << 10][..]); 9]),
            expect![
                "its sections .osrel and .profile have 294912 bytes together; expected at most 65536"
            ],
        );
        let many = uki(&[
            &[(".osrel", OSREL)][..],
            &vec![(".profile", b"".as_slice()); 300],
        ]
        .concat());
        assert_eq!(ImageSummary::read(&many).unwrap().profiles.len(), 256);
    }

    proptest! {
        #[test]
        fn no_image_is_too_much(
            at in 0_usize..0x2000,
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut image = uki(&[(".osrel", OSREL), (".profile", b"ID=x")]);
            for (byte, new) in image.iter_mut().skip(at).zip(bytes) {
                *byte = new;
            }
            let _ = ImageSummary::read(&image);
        }
    }
}
