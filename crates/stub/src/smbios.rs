//! The structures with which firmware describes a machine: the text for the command line
//! that systemd-stub looks for there, and the names of the machine.
//!
//! Bytes may be anything: no input makes this module panic, and each look at a structure
//! takes time in proportion to the length of the table.
//!
//! Spec: DMTF DSP0134, "System Management BIOS Reference Specification"; systemd-stub(7),
//! "SMBIOS Type 11 Strings". As the stub does, only the first structure of a type counts.

use crate::cmdline::{mangled, ucs2};

/// The SMBIOS structures of a machine, without the entry point: the bytes of
/// `/sys/firmware/dmi/tables/DMI`.
#[derive(Clone, Copy, Debug)]
pub struct Smbios<'a> {
    table: &'a [u8],
}

/// The structure behind the last one.
const END_OF_TABLE: u8 = 127;

/// The system: its maker and its names.
pub(crate) const SYSTEM: Structure = Structure(1, 27);
/// The board.
pub(crate) const BASEBOARD: Structure = Structure(2, 8);
/// Texts for anybody.
const OEM_STRINGS: Structure = Structure(11, 5);

/// A type of structures, and the shortest length of their formatted area that the stub
/// accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Structure(u8, usize);

/// The stub's text for the command line follows this.
const STUB_EXTRA: &[u8] = b"io.systemd.stub.kernel-cmdline-extra=";
/// That of systemd-boot follows this.
const BOOT_EXTRA: &[u8] = b"io.systemd.boot.kernel-cmdline-extra=";

impl<'a> Smbios<'a> {
    /// Returns the structures in `table`.
    #[must_use]
    pub fn new(table: &'a [u8]) -> Self {
        Self { table }
    }

    /// Returns the text that the machine adds to the command line, mangled; an empty one
    /// stands for none.
    #[must_use]
    pub fn cmdline(&self) -> String {
        mangled(&self.text(STUB_EXTRA))
    }

    /// Returns the text that systemd-boot adds to the options of an entry `linux`, as it is;
    /// an empty one stands for none.
    #[must_use]
    pub fn boot_options(&self) -> String {
        self.text(BOOT_EXTRA)
    }

    /// Returns what follows `name` in the first text for anybody that begins with it.
    fn text(&self, name: &[u8]) -> String {
        let strings = self.first(OEM_STRINGS).map(|(_, behind)| strings(behind));
        let text = strings.and_then(|mut all| all.find_map(|it| it.strip_prefix(name)));
        ucs2(text.unwrap_or_default())
    }

    /// Returns the string whose number is at `offset` of the first structure of this type.
    pub(crate) fn string(&self, structure: Structure, offset: usize) -> Option<&'a [u8]> {
        let (formatted, behind) = self.first(structure)?;
        let number = usize::from(*formatted.get(offset)?);
        strings(behind).nth(number.checked_sub(1)?)
    }

    /// Returns the formatted area of the first structure of this type, and all that
    /// follows: its strings first.
    fn first(&self, Structure(wanted, shortest): Structure) -> Option<(&'a [u8], &'a [u8])> {
        let mut left = self.table;
        loop {
            let [kind, len, ..] = left else { return None };
            let (formatted, behind) = left.split_at_checked(usize::from(*len))?;
            if *kind == END_OF_TABLE || formatted.len() < HEADER_LEN {
                return None;
            }
            if *kind == wanted {
                return (formatted.len() >= shortest).then_some((formatted, behind));
            }
            // Two NULs end the strings, also where there are none.
            let end = behind.windows(2).position(|pair| pair == [0, 0])?;
            left = behind.get(end.checked_add(2)?..)?;
        }
    }
}

/// Type, length and handle.
const HEADER_LEN: usize = 4;

/// Returns the strings that `bytes` begin with: each ends with a NUL, and the last one is
/// followed by an empty one.
fn strings(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = bytes.iter().rposition(|byte| *byte == 0);
    let ended = ended.and_then(|end| bytes.get(..end)).unwrap_or_default();
    let strings = ended.split(|byte| *byte == 0);
    strings.take_while(|string| !string.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::smbios_structure as structure;

    fn cmdline(structures: &[Vec<u8>]) -> String {
        Smbios::new(&structures.concat()).cmdline()
    }

    fn oem(strings: &[&str]) -> Vec<u8> {
        structure(11, &[strings.len() as u8], strings)
    }

    const EXTRA: &str = "io.systemd.stub.kernel-cmdline-extra=quiet\tro ";

    #[test]
    fn the_first_text_of_the_first_structure_counts() {
        let system = structure(1, &[0; 23], &[]);
        let text = oem(&["other", EXTRA, "io.systemd.stub.kernel-cmdline-extra=no"]);
        assert_eq!(cmdline(&[system.clone(), text.clone()]), "quiet ro");
        assert_eq!(
            cmdline(&[structure(4, b"x", &["a", "b"]), text.clone()]),
            "quiet ro"
        );
        for without in [
            vec![],
            vec![system.clone()],
            vec![oem(&["other"]), text.clone()],
            vec![oem(&[]), text.clone()],
            vec![structure(11, &[], &[EXTRA])],
            vec![structure(END_OF_TABLE, &[], &[]), text.clone()],
            vec![oem(&["x", "", EXTRA])],
            vec![oem(&[&EXTRA.to_uppercase()])],
            vec![text[..20].to_vec()],
            vec![oem(&["io.systemd.stub.kernel-cmdline-extra= "])],
        ] {
            assert_eq!(cmdline(&without), "", "{without:?}");
        }
        // A text that nothing ends is none, and one that a NUL ends is one.
        let one = oem(&[EXTRA]);
        assert_eq!(cmdline(&[one[..one.len() - 2].to_vec()]), "");
        assert_eq!(cmdline(&[one[..one.len() - 1].to_vec()]), "quiet ro");
    }

    #[test]
    fn options_of_the_boot_loader_stay_as_they_are() {
        let (one, two) = (
            "io.systemd.boot.kernel-cmdline-extra= a\t",
            "io.systemd.boot.x=1",
        );
        let table = [oem(&[two, EXTRA, one]), oem(&[two])].concat();
        assert_eq!(Smbios::new(&table).boot_options(), " a\t");
        assert_eq!(Smbios::new(&oem(&[EXTRA])).boot_options(), "");
    }

    #[test]
    fn a_string_has_a_number() {
        let mut formatted = [0; 23];
        formatted[..4].copy_from_slice(&[2, 1, 0, 3]);
        let table = structure(1, &formatted, &["one", "two"]);
        let smbios = Smbios::new(&table);
        let string = |offset| smbios.string(SYSTEM, offset);
        assert_eq!(string(4), Some(&b"two"[..]));
        assert_eq!(string(5), Some(&b"one"[..]));
        for none in [6, 7, 27, usize::MAX] {
            assert_eq!(string(none), None);
        }
        let short = structure(1, &formatted[1..], &["one", "two"]);
        assert_eq!(Smbios::new(&short).string(SYSTEM, 4), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_structures(
            bytes: Vec<u8>,
            near in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 4, 5, 11, 27, b'x']), 0..200),
        ) {
            for table in [&bytes, &near] {
                let smbios = Smbios::new(table);
                prop_assert!(smbios.cmdline().len() <= table.len());
                for offset in 0..32 {
                    let _any = smbios.string(SYSTEM, offset);
                    let _any = smbios.string(BASEBOARD, offset);
                }
            }
        }
    }
}
