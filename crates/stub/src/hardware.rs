//! The sections of an image that are for one machine each, and which of them systemd-stub
//! chooses: device trees (`.dtbauto`) and firmware (`.efifw`).
//!
//! The stub compares the first `compatible` of the device tree that firmware gives it. Where
//! there is none, it looks its own hardware IDs (CHIDs), which are made of SMBIOS strings, up
//! in the table `.hwids`. Left out: IDs that are made of a display's EDID (types 15 to 17),
//! which Linux does not keep as firmware had it.
//!
//! Bytes may be anything: no input makes this module panic. It reads at most 4 KiB of a
//! device tree, and a table of at most 1 MiB.
//!
//! Spec: systemd's `src/boot/chid.c`, `chid.h`, `devicetree.c`, `efi-firmware.c`; Devicetree
//! Specification, "Flattened Devicetree (DTB) Format".

use std::io;

use ukexec_pe::{ByteRanges, ReadAt, Section};
use ukexec_signature::Algorithm;

use crate::cmdline::ucs2;
use crate::device_tree::{compatible, read, words};
use crate::section::SectionBytes;
use crate::smbios::{BASEBOARD, SYSTEM, Structure};
use crate::{Smbios, StubError, Uki};

/// The section that has a device tree for one machine.
pub(crate) const DTBAUTO: &str = ".dtbauto";
/// The section that has firmware for one machine.
pub(crate) const EFIFW: &str = ".efifw";

/// The names by which systemd-stub knows a machine.
#[derive(Clone, Debug, Default)]
pub struct Hardware {
    /// The first `compatible` of firmware's device tree.
    compatible: Option<Vec<u8>>,
    /// CHIDs as UEFI stores them, the most specific one first.
    chids: Vec<[u8; 16]>,
}

/// A field of SMBIOS: the offset of a string's number.
type Field = (Structure, usize);

const MANUFACTURER: Field = (SYSTEM, 4);
const PRODUCT: Field = (SYSTEM, 5);
const SKU: Field = (SYSTEM, 25);
const FAMILY: Field = (SYSTEM, 26);
const BOARD_MANUFACTURER: Field = (BASEBOARD, 4);
const BOARD_PRODUCT: Field = (BASEBOARD, 5);

/// The fields of each CHID, in the stub's order: types 3, 6, 8, 10, 4, 5, 7, 9 and 11.
const CHIDS: [&[Field]; 9] = [
    &[
        MANUFACTURER,
        FAMILY,
        PRODUCT,
        SKU,
        BOARD_MANUFACTURER,
        BOARD_PRODUCT,
    ],
    &[MANUFACTURER, SKU, BOARD_MANUFACTURER, BOARD_PRODUCT],
    &[MANUFACTURER, PRODUCT, BOARD_MANUFACTURER, BOARD_PRODUCT],
    &[MANUFACTURER, FAMILY, BOARD_MANUFACTURER, BOARD_PRODUCT],
    &[MANUFACTURER, FAMILY, PRODUCT, SKU],
    &[MANUFACTURER, FAMILY, PRODUCT],
    &[MANUFACTURER, SKU],
    &[MANUFACTURER, PRODUCT],
    &[MANUFACTURER, FAMILY],
];

/// The namespace of all CHIDs, 70ffd812-4c7f-4c7d-0000-000000000000.
const NAMESPACE: [u8; 16] = [
    0x70, 0xff, 0xd8, 0x12, 0x4c, 0x7f, 0x4c, 0x7d, 0, 0, 0, 0, 0, 0, 0, 0,
];

impl Hardware {
    /// Returns the names of a machine with these SMBIOS structures, and with this device
    /// tree of firmware's. One without a `compatible` is none: Linux makes such a tree on
    /// machines without any.
    #[must_use]
    pub fn new(smbios: Smbios<'_>, device_tree: Option<&[u8]>) -> Self {
        let tree = device_tree.and_then(|tree| compatible(tree).ok().flatten());
        Self {
            compatible: tree,
            chids: CHIDS
                .into_iter()
                .filter_map(|it| chid(smbios, it))
                .collect(),
        }
    }
}

/// Returns the CHID that is made of `fields`. A string that is missing is an empty one.
fn chid(smbios: Smbios<'_>, fields: &[Field]) -> Option<[u8; 16]> {
    let field = |(structure, offset): &Field| {
        let string = smbios.string(*structure, *offset).unwrap_or_default();
        hashed(string)
    };
    let name = fields.iter().map(field).collect::<Vec<_>>().join("&");
    let name = name.encode_utf16().flat_map(u16::to_le_bytes);
    let digest = Algorithm::Sha1.digest(&NAMESPACE.into_iter().chain(name).collect::<Vec<_>>());
    // A UUID of version 5, whose first three numbers UEFI stores in little-endian order.
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *digest else {
        return None;
    };
    let (g, i) = (g & 0x0f | 0x50, i & 0x3f | 0x80);
    Some([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

/// Returns a string without blanks around it, and without zeros in front.
fn hashed(string: &[u8]) -> String {
    let string = ucs2(string);
    let string = string.trim_start_matches(' ').trim_start_matches('0');
    string.trim_end_matches(' ').to_owned()
}

/// A kind of device in `.hwids`: the top bits of its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Tree = 1,
    Firmware = 2,
}

/// A longer table is refused.
const HWIDS_MAX: u32 = 1 << 20;

/// One part of an image has at most so many sections of a name. Programs in front of images
/// have room for 120 sections.
const CANDIDATES_MAX: usize = 256;

impl<R: ReadAt> Uki<'_, R> {
    /// Returns which bytes of the image are the device tree that the stub would install on
    /// this hardware: a `.dtbauto` that fits, else `.dtb`.
    ///
    /// # Errors
    ///
    /// A section has too many zeros behind its content, a table is too long, there are too
    /// many device trees, or the image cannot be read.
    pub fn device_tree(&self, hardware: &Hardware) -> Result<Option<ByteRanges>, StubError> {
        let tree = match self.chosen(DTBAUTO, hardware)? {
            Some(chosen) => Some(chosen),
            None => self.section(".dtb")?,
        };
        Ok(tree.map(|it| it.ranges()))
    }

    /// Returns the section `name`, one of `.dtbauto` and `.efifw`, that fits the hardware:
    /// of the profile, else of the base. A table `.hwids` counts for its own part.
    pub(crate) fn chosen(
        &self,
        name: &str,
        hardware: &Hardware,
    ) -> Result<Option<SectionBytes<'_, R>>, StubError> {
        for part in self.parts() {
            let device = match name {
                DTBAUTO => Device::Tree,
                _ => Device::Firmware,
            };
            let wanted = match (&hardware.compatible, device) {
                (Some(compatible), Device::Tree) => Some(compatible.clone()),
                // Then the stub does not look at `.hwids`.
                (Some(_), Device::Firmware) => None,
                (None, device) => self.listed(part, device, hardware)?,
            };
            let Some(wanted) = wanted else { continue };
            let candidates = part.iter().filter(|section| *section.name() == name);
            let count = candidates.clone().count();
            if count > CANDIDATES_MAX {
                return Err(StubError::new(format!(
                    "sections {name}: expected at most {CANDIDATES_MAX}, found {count}"
                )));
            }
            for candidate in candidates {
                let Some(bytes) = self.bytes(candidate)? else {
                    continue;
                };
                let fits = match device {
                    Device::Tree => compatible(&bytes)?.is_some_and(|it| it == wanted),
                    Device::Firmware => is_firmware(&bytes, &wanted)?,
                };
                if fits {
                    return Ok(Some(bytes));
                }
            }
        }
        Ok(None)
    }

    /// Returns the name of a device of this kind that the table `.hwids` of `part` has for
    /// the hardware.
    fn listed(
        &self,
        part: &[Section],
        device: Device,
        hardware: &Hardware,
    ) -> Result<Option<Vec<u8>>, StubError> {
        let table = part.iter().find(|section| *section.name() == ".hwids");
        let Some(table) = table.map(|it| self.bytes(it)).transpose()?.flatten() else {
            return Ok(None);
        };
        let size = table.size();
        if size > HWIDS_MAX {
            return Err(StubError::new(format!(
                "section .hwids: expected at most {HWIDS_MAX} bytes, found {size}"
            )));
        }
        let name = listed(&table.front(HWIDS_MAX)?, device, &hardware.chids).map(<[u8]>::to_vec);
        Ok(name)
    }
}

/// An entry of `.hwids`: descriptor, CHID, and offsets of two strings.
const ENTRY_LEN: usize = 28;

/// Returns the second string of the entry of `table` that is for a device of this kind and
/// has the first of `chids` that any has. A table with a damaged entry has none.
fn listed<'a>(table: &'a [u8], device: Device, chids: &[[u8; 16]]) -> Option<&'a [u8]> {
    let last_nul = table.iter().rposition(|byte| *byte == 0)?;
    let mut entries = Vec::new();
    // Something has to follow the last entry.
    for entry in table.split_last()?.1.chunks_exact(ENTRY_LEN) {
        let [descriptor, name, string] = [0, 20, 24].map(|at| {
            let bytes = entry.get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        });
        let (descriptor, name, string) = (descriptor?, name?, string?);
        if descriptor == 0 {
            break;
        }
        let kind = match descriptor >> 28 {
            1 => Device::Tree,
            2 => Device::Firmware,
            _ => return None,
        };
        let ends = |offset: u32| usize::try_from(offset).is_ok_and(|it| it <= last_nul);
        if !ends(name) || !ends(string) {
            return None;
        }
        if kind == device {
            entries.push((entry.get(4..20)?, string));
        }
    }
    let string = chids
        .iter()
        .find_map(|chid| entries.iter().find(|(it, _)| it == chid))
        .map(|(_, string)| *string);
    let string = usize::try_from(string.filter(|offset| *offset > 0)?).ok()?;
    table.get(string..)?.split(|byte| *byte == 0).next()
}

/// Returns whether `bytes` are firmware with the name `wanted`.
///
/// Magic, length of the header, of the name with its NUL and of the rest: 4 bytes each.
fn is_firmware(bytes: &impl ReadAt, wanted: &[u8]) -> io::Result<bool> {
    let Some(header) = read(bytes, 0)? else {
        return Ok(false);
    };
    let header: [u8; 16] = header;
    let [magic, header_len, name_len, payload_len] = words(&header, u32::from_le_bytes);
    let name = [wanted, b"\0"].concat();
    let end = [header_len, name_len, payload_len].map(u64::from);
    let end = end.into_iter().fold(0, u64::saturating_add);
    if magic != 0xfeed_dead
        || header_len < 16
        || end > bytes.len()
        || usize::try_from(name_len).ok() != Some(name.len())
    {
        return Ok(false);
    }
    let mut found = vec![0; name.len()];
    let found_at = header_len.into();
    bytes
        .read_at(found_at, &mut found)
        .map_err(io::Error::other)?;
    Ok(found == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ukexec_pe::PeImage;

    use super::*;
    use crate::device_tree::{BEGIN_NODE, NOP, PROP};
    use crate::testing::{image, smbios_structure as structure, with_uki};
    use crate::{Boot, Measurements};

    /// The SMBIOS structures of a machine.
    fn machine() -> Vec<u8> {
        let mut system = [0; 23];
        system[..2].copy_from_slice(&[1, 2]); // manufacturer, product
        let mut board = [0; 4];
        board[..2].copy_from_slice(&[1, 0]);
        let system = structure(1, &system, &["STUB", "BOX"]);
        [system, structure(2, &board, &["  00Board "])].concat()
    }

    fn hardware() -> Hardware {
        Hardware::new(Smbios::new(&machine()), None)
    }

    /// As `uuid.bytes_le` of Python has it, in hex.
    const STUB_BOX: &str = "ad6bf27741fe2c5880fed17ebbd38d54";

    fn hex(bytes: &[u8]) -> String {
        ukexec_signature::Hex(bytes).to_string()
    }

    /// The ID of type 9 is the one that a firmware boot compared; the others are of:
    ///
    /// ```python
    /// space = uuid.UUID("70ffd812-4c7f-4c7d-0000-000000000000")
    /// name = "&".join(fields).encode("utf-16le")
    /// digest = hashlib.sha1(space.bytes + name).digest()[:16]
    /// print(uuid.UUID(bytes=digest, version=5).bytes_le.hex())
    /// ```
    #[test]
    fn a_machine_has_ids() {
        let ids: Vec<String> = hardware().chids.iter().map(|id| hex(id)).collect();
        assert_eq!(ids.len(), 9);
        assert_eq!(ids[7], STUB_BOX);
        assert_eq!(ids[2], STUB_BOX_BOARD);
        assert_eq!(ids[8], STUB_NO_FAMILY);
        let unnamed = Hardware::new(Smbios::new(&[]), None);
        assert_eq!(hex(&unnamed.chids[7]), UNNAMED);
    }

    const STUB_BOX_BOARD: &str = "6fb5a7cfbf76c158b3fa42a8333fa7a0";
    const STUB_NO_FAMILY: &str = "f41456b736f45855a29ba09a39cb4993";
    const UNNAMED: &str = "17ece73426de8458b77561d25efde5bf";

    /// Returns a table `.hwids` as ukify packs it.
    fn table(devices: &[(u32, &[u8], &str)]) -> Vec<u8> {
        let (mut table, mut strings) = (Vec::new(), b"name\0".to_vec());
        let strings_at = 28 * (devices.len() as u32 + 1);
        for (kind, chid, string) in devices {
            table.extend((kind << 28 | 28).to_le_bytes());
            table.extend(*chid);
            table.extend(strings_at.to_le_bytes());
            table.extend((strings_at + strings.len() as u32).to_le_bytes());
            strings.extend(string.as_bytes());
            strings.push(0);
        }
        table.extend([0; 28]);
        table.extend(strings);
        table
    }

    #[test]
    fn a_table_has_the_most_specific_device() {
        let chids = [[1; 16], [2; 16], [3; 16]];
        let devices: &[(u32, &[u8], &str)] = &[
            (1, &[9; 16], "no"),
            (1, &[3; 16], "third"),
            (2, &[1; 16], "firmware"),
            (1, &[2; 16], "second"),
            (1, &[2; 16], "never"),
        ];
        let table = table(devices);
        let of = |table: &[u8], device| {
            let name = listed(table, device, &chids);
            name.map(|it| String::from_utf8(it.to_vec()).unwrap())
        };
        assert_eq!(of(&table, Device::Tree).as_deref(), Some("second"));
        assert_eq!(of(&table, Device::Firmware).as_deref(), Some("firmware"));
        assert_eq!(listed(&table, Device::Tree, &chids[..1]), None);
        for (at, byte) in [(3, 0x30), (28 + 23, 1), (28 + 27, 1)] {
            let mut damaged = table.clone();
            damaged[at] = byte;
            assert_eq!(of(&damaged, Device::Tree), None, "{at}");
        }
        // Nothing ends the last string.
        assert_eq!(of(&table[..table.len() - 1], Device::Tree), None);
        assert_eq!(of(&table[..28 * 2], Device::Tree), None);
    }

    /// Returns a device tree whose root has these properties.
    fn tree(properties: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut nodes, mut names) = (
            [BEGIN_NODE, 0, NOP].map(u32::to_be_bytes).concat(),
            Vec::new(),
        );
        for (name, value) in properties {
            let numbers = [PROP, value.len() as u32, names.len() as u32];
            nodes.extend(numbers.map(u32::to_be_bytes).concat());
            nodes.extend(*value);
            nodes.resize(nodes.len().next_multiple_of(4), 0);
            names.extend(name.as_bytes());
            names.push(0);
        }
        nodes.extend([2_u32, 9].map(u32::to_be_bytes).concat());
        let (nodes_len, names_len) = (nodes.len() as u32, names.len() as u32);
        let names_at = 40 + nodes_len;
        let header = [
            0xd00d_feed,
            names_at + names_len,
            40,
            names_at,
            40,
            17,
            16,
            0,
            names_len,
            nodes_len,
        ];
        [header.map(u32::to_be_bytes).concat(), nodes, names].concat()
    }

    #[test]
    fn a_device_tree_has_a_first_name() {
        let name = |tree: &[u8]| {
            let name = compatible(tree).unwrap();
            name.map(|it| it.escape_ascii().to_string())
        };
        let named = tree(&[
            ("model", b"x\0"),
            ("compatible", b"a,b\0c\0"),
            ("compatible", b"d\0"),
        ]);
        assert_eq!(name(&named).as_deref(), Some("a,b"));
        assert_eq!(
            name(&[&named[..], b"behind"].concat()).as_deref(),
            Some("a,b")
        );
        for without in [&b""[..], &named[..39], &named[..named.len() - 1]] {
            assert_eq!(name(without), None);
        }
        for properties in [
            &[("model", &b"x\0"[..])][..],
            &[("compatible", b"a")],
            &[("compatible", b"")],
        ] {
            assert_eq!(name(&tree(properties)), None);
        }
        for at in [0, 7, 11, 15, 35, 39, 40 + 7] {
            let mut damaged = named.clone();
            damaged[at] ^= 0x80;
            assert_eq!(name(&damaged), None, "{at}");
        }
    }

    fn firmware(name: &str) -> Vec<u8> {
        let numbers = [0xfeed_dead, 16, name.len() as u32 + 1, 4].map(u32::to_le_bytes);
        [&numbers.concat(), name.as_bytes(), b"\0load"].concat()
    }

    #[test]
    fn firmware_has_a_name() {
        let named = firmware("fw");
        assert!(is_firmware(&named, b"fw").unwrap());
        for other in [&b"f"[..], b"fww", b"", b"fx"] {
            assert!(!is_firmware(&named, other).unwrap());
        }
        assert!(!is_firmware(&named[..named.len() - 1].to_vec(), b"fw").unwrap());
        for (at, byte) in [(0, 0), (4, 15), (8, 4)] {
            let mut damaged = named.clone();
            damaged[at] = byte;
            assert!(!is_firmware(&damaged, b"fw").unwrap());
        }
    }

    /// Shows which sections of an image with a second profile are chosen.
    fn chosen(hardware: &Hardware, profile: u32) -> String {
        let id = hardware_id();
        let table = table(&[(1, &id, "a,box"), (2, &id, "fw")]);
        let [one, two] = ["a,other", "a,box"]
            .map(|name| tree(&[("compatible", format!("{name}\0").as_bytes())]));
        let (fw, other_fw) = (firmware("fw"), firmware("other"));
        let sections: &[(&str, &[u8])] = &[
            (".linux", b"kernel"),
            (".dtb", b"plain"),
            (".dtbauto", b"no tree"),
            (".dtbauto", &one),
            (".dtbauto", &two),
            (".efifw", &other_fw),
            (".efifw", &fw),
            (".hwids", &table),
            (".profile", b"ID=main"),
            (".profile", b"ID=other"),
            (".dtbauto", &one),
            (".dtbauto", &two),
        ];
        let image = image(sections);
        let pe = PeImage::parse(&image).unwrap();
        let uki = Uki::new(&image, &pe, profile).unwrap();
        let index = |ranges: Option<ByteRanges>| {
            let at = ranges.map(|it| it.ranges[0].start / 0x1000 - 1);
            at.map_or("-".to_owned(), |at| at.to_string())
        };
        let trees = uki.chosen(DTBAUTO, hardware).unwrap();
        let firmware = uki.chosen(EFIFW, hardware).unwrap();
        let all = [
            index(trees.map(|it| it.ranges())),
            index(firmware.map(|it| it.ranges())),
            index(uki.device_tree(hardware).unwrap()),
        ];
        all.join(" ")
    }

    fn hardware_id() -> [u8; 16] {
        hardware().chids[7]
    }

    /// `.dtbauto`, `.efifw`, and the tree that is installed, by their places.
    #[test]
    fn sections_are_for_one_machine() {
        assert_eq!(chosen(&hardware(), 0), "4 6 4");
        // A profile's device trees need a table of their own.
        assert_eq!(chosen(&hardware(), 1), "4 6 4");
        assert_eq!(chosen(&Hardware::default(), 0), "- - 1");
        let by_tree = |name: &str| {
            let tree = tree(&[("compatible", format!("{name}\0").as_bytes())]);
            Hardware::new(Smbios::new(&machine()), Some(&tree))
        };
        assert_eq!(chosen(&by_tree("a,other"), 0), "3 - 3");
        assert_eq!(chosen(&by_tree("a,box"), 1), "11 - 11");
        assert_eq!(chosen(&by_tree("a,none"), 0), "- - 1");
        let unnamed = Hardware::new(Smbios::new(&machine()), Some(&tree(&[])));
        assert_eq!(chosen(&unnamed, 0), "4 6 4");
    }

    #[test]
    fn device_trees_and_a_table_have_a_limit() {
        let own = tree(&[("compatible", b"a\0")]);
        let hardware = Hardware::new(Smbios::new(&[]), Some(&own));
        let error = |sections: &[(&str, &[u8])], hardware: &Hardware| {
            let tree = with_uki(sections, 0, |uki| uki.device_tree(hardware));
            tree.unwrap().map(|_| ()).map_err(|error| error.to_string())
        };
        let trees = vec![(DTBAUTO, &b"x"[..]); 257];
        assert_eq!(error(&trees[..256], &hardware), Ok(()));
        let expected = "sections .dtbauto: expected at most 256, found 257";
        assert_eq!(error(&trees, &hardware), Err(expected.to_owned()));
        let table = vec![0; (1 << 20) + 1];
        let unnamed = Hardware::default();
        assert_eq!(error(&[(".hwids", &table[1..])], &unnamed), Ok(()));
        let expected = "section .hwids: expected at most 1048576 bytes, found 1048577";
        assert_eq!(
            error(&[(".hwids", &table)], &unnamed),
            Err(expected.to_owned())
        );
    }

    /// The expected value is what systemd-measure says (262.1):
    ///
    /// ```sh
    /// systemd-measure calculate --linux=linux --ucode=ucode --dtb=dtb --dtbauto=dtbauto \
    ///     --hwids=hwids --efifw=efifw --phase=: --bank=sha256 --json=short
    /// ```
    #[test]
    fn a_known_machine_measures_its_own_sections() {
        let id = hardware_id();
        let table = table(&[(2, &id, "fw"), (1, &id, "a,box")]);
        let [other, own] =
            ["a,other\0", "a,box\0"].map(|name| tree(&[("compatible", name.as_bytes())]));
        let [other_fw, fw] = ["other", "fw"].map(firmware);
        let sections: &[(&str, &[u8])] = &[
            (".efifw", &other_fw),
            (".efifw", &fw),
            (".hwids", &table),
            (".dtbauto", &other),
            (".dtbauto", &own),
            (".dtb", b"plain"),
            (".ucode", b"ucode"),
            (".linux", b"kernel"),
        ];
        let hardware = hardware();
        let boot = Boot {
            hardware: Some(&hardware),
            ..Boot::<Vec<u8>>::default()
        };
        let mut measured = Measurements::default();
        let added = with_uki(sections, 0, |uki| measured.add_boot("x", uki, &boot));
        added.unwrap().unwrap();
        let value = measured.pcr11.unwrap().value;
        assert_eq!(
            hex(value.get(Algorithm::Sha256).unwrap()),
            "29e665c5c716dbfee53dbc430a0b8ecae9245f2d36c88e9b526bd18617324a16"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(
            bytes: Vec<u8>,
            at in 0_usize..120,
            byte: u8,
        ) {
            let good = [
                tree(&[("model", b"x\0"), ("compatible", b"a\0")]),
                table(&[(1, &[1; 16], "a"), (2, &[2; 16], "b")]),
                firmware("a"),
            ];
            let damaged = good.map(|mut good| {
                if let Some(it) = good.get_mut(at) {
                    *it = byte;
                }
                good
            });
            for bytes in damaged.iter().chain([&bytes]) {
                let name = compatible(bytes).unwrap();
                prop_assert!(name.is_none_or(|it| it.len() < bytes.len()));
                let _any = is_firmware(bytes, b"a").unwrap();
                for device in [Device::Tree, Device::Firmware] {
                    let name = listed(bytes, device, &[[1; 16], [2; 16]]);
                    prop_assert!(name.is_none_or(|it| it.len() < bytes.len()));
                }
                let _any = Hardware::new(Smbios::new(bytes), Some(bytes));
            }
        }
    }
}
