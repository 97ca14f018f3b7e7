//! Sections: their names, and which bytes of the file are their content.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write as _};
use core::ops::Range;

use crate::PeError;

/// The name of a section: 8 bytes, filled up with NULs. A name of 8 bytes has
/// no NUL at all.
///
/// Names of object files that point into a string table (`/4`) are not looked
/// up: images are not supposed to have them.
#[derive(Clone, Copy)]
pub struct SectionName([u8; 8]);

impl SectionName {
    /// Returns the name of a section, unless `name` is empty, longer than 8 bytes or
    /// holds a NUL.
    pub(crate) fn new(name: &str) -> Result<Self, PeError> {
        let refuse = |reason| PeError::new(format!("section name {name:?}: {reason}"));
        if name.is_empty() {
            return Err(refuse("it is empty"));
        }
        if name.contains('\0') {
            return Err(refuse("it holds a NUL"));
        }
        let mut bytes = [0; 8];
        bytes
            .get_mut(..name.len())
            .ok_or_else(|| refuse("a PE section name has at most 8 bytes"))?
            .copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }

    /// Takes the 8 bytes of a section table entry.
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Returns all 8 bytes, NULs included.
    pub(crate) const fn padded(&self) -> &[u8; 8] {
        &self.0
    }

    /// Returns the bytes before the first NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // `split` always yields a first part.
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// Bytes behind the first NUL make no difference.
impl PartialEq for SectionName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SectionName {}

impl PartialEq<str> for SectionName {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for SectionName {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// Writes the name with everything but printable ASCII escaped, so that it is
/// safe to show on a terminal: characters as `\u{1b}`, bytes of none as `\xff`.
impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::new();
        for chunk in self.as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    // It begins every escape.
                    '\\' => shown.push_str("\\\\"),
                    ' '..='~' => shown.push(c),
                    _ => shown.extend(c.escape_unicode()),
                }
            }
            for byte in chunk.invalid() {
                write!(shown, "\\x{byte:02x}")?;
            }
        }
        f.pad(&shown)
    }
}

impl fmt::Debug for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SectionName(\"{self}\")")
    }
}

/// An entry of the section table whose content was found to lie in the file.
///
/// Spec: PE format, "Section Table (Section Headers)".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub(crate) index: u16,
    pub(crate) name: SectionName,
    /// Address in memory, relative to the image.
    pub(crate) rva: u32,
    pub(crate) virtual_size: u32,
    pub(crate) pointer_to_raw_data: u32,
    pub(crate) size_of_raw_data: u32,
    pub(crate) pointer_to_relocations: u32,
    pub(crate) pointer_to_linenumbers: u32,
    pub(crate) characteristics: u32,
}

impl Section {
    /// Returns the position in the section table, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        usize::from(self.index)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &SectionName {
        &self.name
    }

    /// Returns the file range of the content: as much as lies both in the file
    /// and in memory. Further bytes of the file are padding, and further
    /// bytes of memory are zeros. A `VirtualSize` of 0, which some builds of
    /// objcopy write, says nothing; then all raw data is content.
    ///
    /// The range lies inside the file; an empty one is `0..0`.
    #[must_use]
    pub fn content(&self) -> Range<u64> {
        let len = match self.virtual_size {
            0 => self.size_of_raw_data,
            size => size.min(self.size_of_raw_data),
        };
        self.file_range(len)
    }

    /// Returns `VirtualAddress`: where the section lies in memory, relative to the
    /// image.
    #[must_use]
    pub fn address(&self) -> u32 {
        self.rva
    }

    /// Returns `Characteristics` as it is in the table.
    #[must_use]
    pub fn characteristics(&self) -> u32 {
        self.characteristics
    }

    /// Returns what a program may do with the section in memory, as `ls` writes
    /// it: `r-x`.
    #[must_use]
    pub fn permissions(&self) -> String {
        let flags = [(MEM_READ, 'r'), (MEM_WRITE, 'w'), (MEM_EXECUTE, 'x')];
        let may = |(flag, letter)| match self.characteristics & flag {
            0 => '-',
            _ => letter,
        };
        flags.into_iter().map(may).collect()
    }

    /// Returns `VirtualSize`: how many bytes the section has in memory.
    #[must_use]
    pub fn virtual_size(&self) -> u32 {
        self.virtual_size
    }

    /// Returns `PointerToRawData`, a file offset, as it is in the table.
    #[must_use]
    pub fn pointer_to_raw_data(&self) -> u32 {
        self.pointer_to_raw_data
    }

    /// Returns `SizeOfRawData` as it is in the table: the content and its
    /// padding. Padding may pass the end of the file.
    #[must_use]
    pub fn size_of_raw_data(&self) -> u32 {
        self.size_of_raw_data
    }

    pub(crate) fn is_initialized_data(&self) -> bool {
        self.characteristics & CNT_INITIALIZED_DATA != 0
    }

    /// Returns the file range of the raw data, which may pass the end of the
    /// file; `0..0` where there is none.
    pub(crate) fn raw_data(&self) -> Range<u64> {
        self.file_range(self.size_of_raw_data)
    }

    /// Returns the addresses that the section takes in memory.
    pub(crate) fn addresses(&self) -> Range<u64> {
        let start = u64::from(self.rva);
        let size = match self.virtual_size {
            0 => self.size_of_raw_data,
            size => size,
        };
        start..start.saturating_add(size.into())
    }

    fn file_range(&self, len: u32) -> Range<u64> {
        if len == 0 {
            return 0..0;
        }
        let start = u64::from(self.pointer_to_raw_data);
        start..start.saturating_add(u64::from(len))
    }
}

/// Flags of a section.
///
/// Spec: PE format, "Section Flags".
pub(crate) const CNT_INITIALIZED_DATA: u32 = 0x0000_0040;
const MEM_EXECUTE: u32 = 0x2000_0000;
pub(crate) const MEM_READ: u32 = 0x4000_0000;
const MEM_WRITE: u32 = 0x8000_0000;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(name: &str, expected: &Expect) {
        let text = match SectionName::new(name) {
            Ok(name) => format!("{name} {:?}", name.padded()),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn names_have_one_to_eight_bytes() {
        check(".bpf", &expect![".bpf [46, 98, 112, 102, 0, 0, 0, 0]"]);
        check(
            ".cmdline",
            &expect![".cmdline [46, 99, 109, 100, 108, 105, 110, 101]"],
        );
        check("", &expect![[r#"section name "": it is empty"#]]);
        check(
            ".cmdlines",
            &expect![[r#"section name ".cmdlines": a PE section name has at most 8 bytes"#]],
        );
        check("a\0b", &expect![[r#"section name "a\0b": it holds a NUL"#]]);
    }

    #[test]
    fn names_compare_without_a_nul() {
        let name = SectionName::from_bytes(*b".cmdline");
        assert_eq!(name, ".cmdline");
        assert_ne!(name, ".cmdlin");
        assert_ne!(name, ".cmdline\0");
        assert_eq!(SectionName::from_bytes(*b".bpf\0xyz"), ".bpf");
        assert_eq!(
            SectionName::from_bytes(*b".bpf\0xyz"),
            SectionName::new(".bpf").unwrap()
        );
    }

    #[test]
    fn names_show_escaped() {
        let name = SectionName::from_bytes(*b"\x1b[\xe2\x80\xae\xff\"\\");
        assert_eq!(name.to_string(), r#"\u{1b}[\u{202e}\xff"\\"#);
    }

    fn section(virtual_size: u32, size_of_raw_data: u32, characteristics: u32) -> Section {
        Section {
            index: 0,
            name: SectionName::from_bytes(*b".linux\0\0"),
            rva: 0x1000,
            virtual_size,
            pointer_to_raw_data: 0x400,
            size_of_raw_data,
            pointer_to_relocations: 0,
            pointer_to_linenumbers: 0,
            characteristics,
        }
    }

    #[test]
    fn permissions_are_three_letters() {
        for (characteristics, expected) in [
            (0x6000_0020, "r-x"),
            (0xc000_0040, "rw-"),
            (0x4000_0040, "r--"),
            (0xe000_0000, "rwx"),
            (0x1fff_ffff, "---"),
        ] {
            assert_eq!(section(0, 0, characteristics).permissions(), expected);
        }
    }

    #[test]
    fn content_is_the_smaller_size() {
        let section =
            |virtual_size, size_of_raw_data| section(virtual_size, size_of_raw_data, 0).content();
        assert_eq!(section(5, 0x200), 0x400..0x405);
        assert_eq!(section(0x300, 0x200), 0x400..0x600);
        assert_eq!(section(0, 0x200), 0x400..0x600);
        assert_eq!(section(5, 0), 0..0);
    }
}
