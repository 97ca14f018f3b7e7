//! SBAT: the generation of each component of an image, and the oldest that may
//! still run.
//!
//! An image names its generations in its section `.sbat`; shim keeps the levels
//! in the variable `SbatLevelRT`. Both are comma-separated lines. An image without
//! the section is not asked for one: shim asks only what it starts itself, not
//! what it verifies for a boot loader, as kernels are.
//!
//! Time is in proportion to the section, times the logarithm of the level.
//!
//! Spec: shim, `SBAT.md`.

use alloc::{collections::BTreeMap, format, string::String, string::ToString, vec::Vec};

use ukexec_pe::{PeImage, ReadAt};

use crate::SignatureError;
use crate::error::{too_many, unexpected};
use crate::read::read_limited;

/// Checks the section `.sbat` of an image, if it has one, against the `level`
/// of the machine, if it has one. No image has more than one such section.
///
/// # Errors
///
/// [`SignatureError`] for an image that the level revokes, for a second section,
/// which shim refuses as well, and for one of more than 64 KiB.
pub(crate) fn check_sbat(
    pe: &PeImage,
    image: &(impl ReadAt + ?Sized),
    level: Option<&SbatLevel>,
) -> Result<(), SignatureError> {
    let mut sections = pe.sections().iter().filter(|one| *one.name() == *".sbat");
    let Some(section) = sections.next() else {
        return Ok(());
    };
    if sections.next().is_some() {
        return Err(too_many("sections .sbat", 1));
    }
    let Some(level) = level else {
        return Ok(());
    };
    let bytes = read_limited(image, section.content(), "section .sbat", MAX_SBAT_LEN)?;
    check_components(&bytes, level)
}

/// The longest section `.sbat` that is read, in bytes. Those in use have less
/// than one thousand.
const MAX_SBAT_LEN: usize = 64 * 1024;

/// Compares the components in a section `.sbat` with `level`: each must have
/// its generation or a later one. A line that is none of the format is refused
/// as well, as shim does; an empty section passes.
fn check_components(section: &[u8], level: &SbatLevel) -> Result<(), SignatureError> {
    for (number, line) in lines(section) {
        let fields = line.split(is_comma).take(FIELDS);
        let fields: Vec<_> = fields.filter(|field| !field.is_empty()).collect();
        // The last four are for people: vendor, package, version and address.
        let [component, generation, _, _, _, _] = fields[..] else {
            return Err(SignatureError::new(format!(
                "SBAT: line {number} of section .sbat is not a component, its generation and four \
                 more fields with commas between, so that it cannot be compared with what is \
                 revoked"
            )));
        };
        if let Some(minimum) = level.minimum(component)
            && leading_number(generation) < minimum
        {
            let date = level.date.as_ref();
            return Err(SignatureError::new(format!(
                "SBAT revokes the image: its component {:?} has generation {}, and this machine \
                 asks for {minimum} or later{}: a newer build of the image is needed",
                text(component),
                text(generation),
                date.map_or_else(String::new, |date| format!(" (level of {date})"))
            )));
        }
    }
    Ok(())
}

/// The oldest generations that may still run, as `SbatLevelRT` holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SbatLevel {
    minimums: BTreeMap<Vec<u8>, u64>,
    pub(crate) date: Option<String>,
}

impl SbatLevel {
    /// Parses the text of a level: on each line a component and its oldest
    /// generation; behind the component `sbat` also the date of the level.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if a line has no generation.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let mut level = Self::default();
        for (number, line) in lines(bytes) {
            let mut fields = line.split(is_comma);
            let (component, generation) = (fields.next(), fields.next());
            let has_number = |generation: &&[u8]| generation.iter().any(u8::is_ascii_digit);
            let (Some(component), Some(generation)) = (
                component.filter(|component| !component.is_empty()),
                generation.filter(has_number),
            ) else {
                let field = format_args!("line {number} of the SBAT level");
                let found = format!("{:?}", text(line));
                return Err(unexpected(field, "a component and its generation", found));
            };
            if component == b"sbat" {
                level.date = fields.next().map(text);
            }
            let minimum = level.minimums.entry(component.to_vec()).or_default();
            *minimum = leading_number(generation).max(*minimum);
        }
        Ok(level)
    }

    /// Returns the oldest generation of `component` that may still run.
    fn minimum(&self, component: &[u8]) -> Option<u64> {
        self.minimums.get(component).copied()
    }
}

/// Returns the lines that are not empty, with their numbers, up to the first
/// NUL and without a byte order mark.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes); // or there is none
    let text = text.split(|byte| *byte == 0).take(1);
    let lines = text.flat_map(|text| text.split(|byte| *byte == b'\n'));
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)); // or there is none
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

/// Returns the number that `field` starts with, or zero: what C's `atoi` makes
/// of it, which is shim's rule. More than fits is the most that fits.
fn leading_number(field: &[u8]) -> u64 {
    let digits = field.trim_ascii_start();
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| {
        let digit = u64::from(digit.saturating_sub(b'0'));
        number.saturating_mul(10).saturating_add(digit)
    })
}

/// Returns `bytes` as text that does no harm on a terminal, and ends.
fn text(bytes: &[u8]) -> String {
    let shown = bytes.get(..MOST_SHOWN).unwrap_or(bytes); // or it is shorter
    shown.escape_ascii().to_string()
}

/// How many fields a line of `.sbat` has at least, none of them empty.
const FIELDS: usize = 6;

/// More of a field is not quoted, bytes.
const MOST_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use ukexec_pe::{EditOptions, attach};

    const LEVEL: &[u8] = b"sbat,1,2024010900\nshim,4\ngrub,3\ngrub.debian,4\n";

    const SECTION: &str = "sbat,1,SBAT Version,sbat,1,https://example.org/SBAT.md\n\
                           grub,3,Example,grub,2.06,https://example.org/grub\n";

    fn check(section: impl AsRef<[u8]>, expected: Expect) {
        let level = SbatLevel::parse(LEVEL).unwrap();
        let said = match check_components(section.as_ref(), &level) {
            Ok(()) => "good".to_owned(),
            Err(revocation) => revocation.to_string(),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn takes_what_is_new_enough_or_not_named() {
        check(SECTION, expect!["good"]);
        check(SECTION.replace("grub,3", "grub,4"), expect!["good"]);
        check(SECTION.replace("grub,3", "linux,0"), expect!["good"]);
        check("", expect!["good"]);
        check("\0\0\0", expect!["good"]);
    }

    #[test]
    fn refuses_an_old_generation() {
        check(
            SECTION.replace("grub,3", "grub,2"),
            expect![[
                r#"SBAT revokes the image: its component "grub" has generation 2, and this machine asks for 3 or later (level of 2024010900): a newer build of the image is needed"#
            ]],
        );
    }

    #[test]
    fn takes_for_zero_what_is_no_number() {
        check(
            SECTION.replace("grub,3", "grub,x\x1b3"),
            expect![[
                r#"SBAT revokes the image: its component "grub" has generation x\x1b3, and this machine asks for 3 or later (level of 2024010900): a newer build of the image is needed"#
            ]],
        );
        check(
            SECTION.replace("grub,3", "grub,-3"),
            expect![[
                r#"SBAT revokes the image: its component "grub" has generation -3, and this machine asks for 3 or later (level of 2024010900): a newer build of the image is needed"#
            ]],
        );
        check(SECTION.replace("grub,3", "grub, 3rd"), expect!["good"]);
        let huge = format!("grub,{}", "9".repeat(1000));
        check(SECTION.replace("grub,3", &huge), expect!["good"]);
    }

    #[test]
    fn refuses_lines_with_fields_missing() {
        check(
            format!("{SECTION}\r\n\nshim,4,Example\n"),
            expect![
                "SBAT: line 5 of section .sbat is not a component, its generation and four more fields with commas between, so that it cannot be compared with what is revoked"
            ],
        );
        check(
            "shim,4,Example,,15,https://example.org\n",
            expect![
                "SBAT: line 1 of section .sbat is not a component, its generation and four more fields with commas between, so that it cannot be compared with what is revoked"
            ],
        );
    }

    #[test]
    fn reads_around_byte_order_marks_ends_of_lines_and_padding() {
        let windows = SECTION.replace('\n', "\r\n").replace("grub,3", "grub,9");
        check(format!("\u{feff}{windows}\0\0grub,1"), expect!["good"]);
        check(
            format!("{SECTION}, and,more,than,six,fields,is,fine"),
            expect![[
                r#"SBAT: line 3 of section .sbat is not a component, its generation and four more fields with commas between, so that it cannot be compared with what is revoked"#
            ]],
        );
        check("shim,4,a,b,c,d,e,f", expect!["good"]);
    }

    #[test]
    fn a_level_that_names_a_component_twice_asks_for_the_later() {
        let level = SbatLevel::parse(b"grub,3\ngrub,2\n").unwrap();
        assert_eq!(level.minimum(b"grub"), Some(3));
        assert_eq!(level.date, None);
    }

    #[test]
    fn a_level_without_a_generation_is_refused() {
        let error = SbatLevel::parse(b"sbat,1,2024010900\nshim\n").unwrap_err();
        expect![[
            r#"line 2 of the SBAT level: expected a component and its generation, found "shim""#
        ]]
        .assert_eq(&error.to_string());
    }

    /// A UKI with these sections `.sbat`, checked against the level.
    fn check_image(sections: &[&[u8]], level: Option<&SbatLevel>, expected: Expect) {
        let mut image = include_bytes!("../testdata/trust/uki.efi").to_vec();
        for content in sections {
            let options = EditOptions::default();
            image = attach(&image, ".sbax", content, options).unwrap();
            let name = image.windows(5).position(|name| name == b".sbax").unwrap();
            image[name + 4] = b't';
        }
        let pe = PeImage::parse(&image[..]).unwrap();
        let said = match check_sbat(&pe, &image[..], level) {
            Ok(()) => "good".to_owned(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn an_image_has_one_section() {
        let (section, level) = (SECTION.as_bytes(), SbatLevel::parse(LEVEL).unwrap());
        let old = SECTION.replace("grub,3", "grub,2");
        check_image(&[], Some(&level), expect!["good"]);
        check_image(&[section], Some(&level), expect!["good"]);
        check_image(&[old.as_bytes()], None, expect!["good"]);
        check_image(
            &[old.as_bytes()],
            Some(&level),
            expect![[
                r#"SBAT revokes the image: its component "grub" has generation 2, and this machine asks for 3 or later (level of 2024010900): a newer build of the image is needed"#
            ]],
        );
        check_image(
            &[section, old.as_bytes()],
            Some(&level),
            expect!["sections .sbat: expected at most 1, found more"],
        );
        check_image(
            &[section, section],
            None,
            expect!["sections .sbat: expected at most 1, found more"],
        );
    }

    #[test]
    fn a_section_ends_somewhere() {
        let level = SbatLevel::parse(LEVEL).unwrap();
        let mut section = SECTION.as_bytes().to_vec();
        section.resize(MAX_SBAT_LEN, b'\n');
        check_image(&[&section], Some(&level), expect!["good"]);
        section.push(b'\n');
        check_image(
            &[&section],
            Some(&level),
            expect!["section .sbat: expected at most 65536 bytes, found 65537"],
        );
        check_image(&[&section], None, expect!["good"]);
    }

    proptest! {
        #[test]
        fn no_section_and_no_level_panics(section: Vec<u8>, level: Vec<u8>) {
            if let Ok(level) = SbatLevel::parse(&level) {
                let _checked = check_components(&section, &level);
            }
        }

        #[test]
        fn is_revoked_exactly_below_the_level(generation: u16, minimum: u16) {
            let level = SbatLevel::parse(format!("systemd,{minimum}\n").as_bytes()).unwrap();
            let section = format!("systemd,{generation},a,b,c,d\n");
            let checked = check_components(section.as_bytes(), &level);
            prop_assert_eq!(checked.is_err(), generation < minimum);
        }
    }
}
