//! Addons: PE files beside the image that add to its command line, its initrd and its
//! device tree.
//!
//! Spec: systemd-stub(7), "Companion Files"; systemd's `load_addons()`. Left out: whether
//! firmware would start the file, but for its machine and subsystem; signatures are the
//! caller's.

use ukexec_pe::{ByteRanges, PeImage, ReadAt, Subsystem};

use crate::cmdline::{mangled, ucs2};
use crate::hardware::DTBAUTO;
use crate::profile::{cut, shown};
use crate::section::SectionBytes;
use crate::{Hardware, StubError, Uki};

/// Parts that an addon adds to an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addon {
    /// Text for the command line as the stub takes it over, which
    /// [`addons_text`](crate::addons_text) joins with others.
    pub cmdline: Option<String>,
    /// Which bytes of the addon are an initrd.
    pub initrd: Option<ByteRanges>,
    /// Which are microcode.
    pub ucode: Option<ByteRanges>,
    /// Which are a device tree.
    pub device_tree: Option<ByteRanges>,
}

/// Subsystems that firmware loads.
const SUBSYSTEMS: [Subsystem; 3] = [
    Subsystem::EFI_APPLICATION,
    Subsystem::EFI_BOOT_SERVICE_DRIVER,
    Subsystem::EFI_RUNTIME_DRIVER,
];

/// A text of an addon has at most so many bytes.
const TEXT_MAX: u32 = 64 << 10;

/// So many bytes of a release are in a reason.
const RELEASE_SHOWN: usize = 40;

impl Addon {
    /// Returns the parts that the addon `image`, whose headers `pe` are, adds to `uki` on
    /// this hardware.
    ///
    /// # Errors
    ///
    /// Why the stub passes the addon over, or a section with too many zeros behind its
    /// content, or too long a text; errors of the addon's medium.
    pub fn new<R: ReadAt>(
        image: &impl ReadAt,
        pe: &PeImage,
        uki: &Uki<'_, R>,
        hardware: Option<&Hardware>,
    ) -> Result<Self, StubError> {
        check_headers(pe, uki.pe)?;
        // All sections count, also those behind a `.profile`.
        let addon = Uki::of_sections(image, pe, pe.sections());
        // Here, a `VirtualSize` of 0 does not stand for that of the file.
        let in_memory = |it: &SectionBytes<'_, _>| it.virtual_size() > 0;
        let section = |name| addon.section(name).map(|it| it.filter(in_memory));
        let ranges = |name| section(name).map(|it| it.map(|it| it.ranges()));
        let chosen = hardware.map(|hardware| addon.chosen(DTBAUTO, hardware));
        let chosen = chosen.transpose()?.flatten();
        let device_tree = match chosen {
            Some(chosen) => Some(chosen.ranges()),
            None => ranges(".dtb")?,
        };
        let cmdline = section(".cmdline")?;
        let cmdline = cmdline.map(|it| text(".cmdline", &it)).transpose()?;
        let found = Self {
            cmdline: cmdline.map(|bytes| mangled(&ucs2(&bytes))),
            initrd: ranges(".initrd")?,
            ucode: ranges(".ucode")?,
            device_tree,
        };
        if found == Self::default() {
            return Err(StubError::new(NOTHING.to_owned()));
        }
        if section(".linux")?.is_some() {
            return Err(StubError::new(A_UKI.to_owned()));
        }
        if let (Some(wanted), Some(release)) = (uki.section(UNAME)?, section(UNAME)?) {
            check_release(&text(UNAME, &wanted)?, &text(UNAME, &release)?)?;
        }
        Ok(found)
    }
}

const UNAME: &str = ".uname";

const NOTHING: &str = "expected a section .cmdline, .initrd, .ucode, .dtb or a .dtbauto for this \
                       machine, found none";
const A_UKI: &str = "expected an addon, found a kernel in it (.linux)";

/// Checks that firmware would load `addon` where it starts `image`.
fn check_headers(addon: &PeImage, image: &PeImage) -> Result<(), StubError> {
    let (expected, found) = (image.machine().0, addon.machine().0);
    if expected != found {
        return Err(StubError::new(format!(
            "Machine: expected {expected:#x}, that of the image, found {found:#x}"
        )));
    }
    let Subsystem(found) = addon.subsystem();
    match SUBSYSTEMS.contains(&addon.subsystem()) {
        true => Ok(()),
        false => Err(StubError::new(format!(
            "Subsystem: expected 10, 11 or 12 (EFI), found {found}"
        ))),
    }
}

/// Checks the release that an addon is for, all of a section, against the image's. As the
/// stub does, it takes a release that no NUL ends for the front of one.
fn check_release(image: &[u8], addon: &[u8]) -> Result<(), StubError> {
    let until_nul = |bytes: &[u8]| -> Vec<u8> {
        let bytes = bytes.iter().take_while(|byte| **byte != 0);
        bytes.copied().collect()
    };
    let (expected, found) = (until_nul(image), until_nul(addon));
    let fits = match found.len() == addon.len() {
        true => expected.starts_with(&found),
        false => expected == found,
    };
    if fits {
        return Ok(());
    }
    let [expected, found] = [&expected, &found].map(|it| cut(shown(it), RELEASE_SHOWN));
    Err(StubError::new(format!(
        "section .uname: expected {expected}, as in the image, found {found}"
    )))
}

/// Returns all of a section that holds a text.
fn text<R: ReadAt>(name: &str, section: &SectionBytes<'_, R>) -> Result<Vec<u8>, StubError> {
    let size = section.size();
    if size > TEXT_MAX {
        return Err(StubError::new(format!(
            "section {name}: expected at most {TEXT_MAX} bytes, found {size}"
        )));
    }
    Ok(section.front(TEXT_MAX)?)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{image, with_uki};

    const UKI: &[(&str, &[u8])] = &[(".linux", b"kernel"), (".uname", b"6.1.0-1\n")];

    /// Shows the addon that `sections` are, after `edit` of its bytes.
    fn added(sections: &[(&str, &[u8])], edit: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut addon = image(sections);
        edit(&mut addon);
        let pe = PeImage::parse(&addon).unwrap();
        let shown = with_uki(UKI, 0, |uki| match Addon::new(&addon, &pe, uki, None) {
            Ok(it) => {
                let ranges = [it.initrd, it.ucode, it.device_tree].map(|ranges| {
                    let range = ranges.map(|it| it.ranges[0].clone())?;
                    Some(
                        addon[range.start as usize..range.end as usize]
                            .escape_ascii()
                            .to_string(),
                    )
                });
                format!("{:?} {ranges:?}", it.cmdline)
            }
            Err(error) => error.to_string(),
        });
        shown.unwrap()
    }

    fn check(sections: &[(&str, &[u8])], expected: Expect) {
        expected.assert_eq(&added(sections, |_| ()));
    }

    #[test]
    fn an_addon_has_parts() {
        check(
            &[
                (".sbat", b"sbat"),
                (".cmdline", b" quiet\xff\n\0x"),
                (".cmdline", b"never"),
                (".initrd", b"initrd"),
                (".profile", b"ID=x"),
                (".ucode", b"ucode"),
                (".dtb", b"tree"),
                (".initrd", b"never"),
            ],
            expect![[r#"Some("quiet") [Some("initrd"), Some("ucode"), Some("tree")]"#]],
        );
        check(
            &[(".cmdline", b"\0")],
            expect![[r#"Some("") [None, None, None]"#]],
        );
    }

    #[test]
    fn some_are_passed_over() {
        let cmdline: (&str, &[u8]) = (".cmdline", b"quiet");
        check(
            &[(".sbat", b"sbat"), (".cmdline", b"")],
            expect![
                "expected a section .cmdline, .initrd, .ucode, .dtb or a .dtbauto for this machine, found none"
            ],
        );
        check(
            &[(".dtbauto", b"tree")],
            expect![
                "expected a section .cmdline, .initrd, .ucode, .dtb or a .dtbauto for this machine, found none"
            ],
        );
        check(
            &[cmdline, (".profile", b""), (".linux", b"x")],
            expect!["expected an addon, found a kernel in it (.linux)"],
        );
        check(
            &[(".linux", b"x")],
            expect![
                "expected a section .cmdline, .initrd, .ucode, .dtb or a .dtbauto for this machine, found none"
            ],
        );
        check(
            &[cmdline, (".uname", b"6.2\0")],
            expect!["section .uname: expected 6.1.0-1, as in the image, found 6.2"],
        );
        check(
            &[cmdline, (".uname", b"6.1.0-1\n\0x")],
            expect![[r#"Some("quiet") [None, None, None]"#]],
        );
        // One that nothing ends may be the front.
        check(
            &[cmdline, (".uname", b"6.1.0")],
            expect![[r#"Some("quiet") [None, None, None]"#]],
        );
        check(
            &[cmdline, (".uname", b"6.1.0\0")],
            expect!["section .uname: expected 6.1.0-1, as in the image, found 6.1.0"],
        );
        check(
            &[cmdline, (".uname", b"6.1.0-1\nx")],
            expect![[r#"
                section .uname: expected 6.1.0-1, as in the image, found 6.1.0-1
                x"#]],
        );
        check(
            &[(".cmdline", &[b'x'; 65537])],
            expect!["section .cmdline: expected at most 65536 bytes, found 65537"],
        );
    }

    #[test]
    fn headers_may_lie() {
        let cmdline: &[(&str, &[u8])] = &[(".cmdline", b"quiet")];
        let entry = 0x40 + 24 + 240;
        let shown = [
            added(cmdline, |addon| addon[0x44] = 0x4c),
            added(cmdline, |addon| addon[0x58 + 68] = 3),
            added(cmdline, |addon| addon[entry + 8..entry + 12].fill(0)),
            added(cmdline, |addon| addon[entry + 8..entry + 12].fill(0xff)),
        ];
        expect![[r#"
            Machine: expected 0x8664, that of the image, found 0x864c
            Subsystem: expected 10, 11 or 12 (EFI), found 3
            expected a section .cmdline, .initrd, .ucode, .dtb or a .dtbauto for this machine, found none
            section .cmdline: expected at most 16777216 zeros behind its content, found 4294966783"#]].assert_eq(&shown.join("\n"));
    }

    proptest! {
        #[test]
        fn any_text_is_one(content: Vec<u8>, release: Vec<u8>) {
            added(&[(".cmdline", &content), (".uname", &release)], |_| ());
        }
    }
}
