//! The memory and the firmware that the next kernel gets, as the running one shows them: the
//! facts that `kexec_file_load(2)` knows by itself, and that a caller of `kexec_load(2)` brings.
//!
//! Files are read below a root, so that a folder can stand in for the machine, each up to a
//! limit. A missing file is no error; one that root alone may read is, and one with other
//! text than Linux writes. Nothing is made of the values here.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{KexecError, failed_at, shown_path};

/// The facts of a machine that the places of segments depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySources {
    /// `/proc/iomem`: the ranges of physical memory, and who uses them. To others than root
    /// Linux shows zeros for addresses.
    pub iomem: Option<String>,
    /// `/sys/firmware/fdt`: the device tree that the running kernel was given.
    pub device_tree: Option<Vec<u8>>,
    /// `/sys/firmware/memmap`: the memory as the firmware described it on x86, and the type of
    /// each range, such as `System RAM`.
    pub memmap: Vec<(Range<u64>, String)>,
    /// `/sys/kernel/boot_params/data`: the structure that an x86 kernel was given.
    pub boot_params: Option<Vec<u8>>,
    /// `/sys/firmware/efi`, where UEFI booted the running kernel.
    pub efi: Option<EfiSources>,
    /// `/sys/kernel/vmcoreinfo`: where the note about the running kernel lies.
    pub vmcoreinfo: Option<Range<u64>>,
    /// `/sys/devices/system/cpu/cpu*/crash_notes`: where the notes of the processors lie, in
    /// the order of their numbers.
    pub crash_notes: Vec<Range<u64>>,
}

/// The tables of the firmware, as far as Linux names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EfiSources {
    /// `systab`: lines such as `ACPI20=0x7f77e014`.
    pub tables: Option<String>,
    /// `fw_vendor`: the address of the vendor's name.
    pub fw_vendor: Option<u64>,
    /// `runtime`: the address of the runtime services.
    pub runtime: Option<u64>,
    /// `config_table`: the address of the configuration table.
    pub config_table: Option<u64>,
    /// `runtime-map`: type, physical and virtual address, pages and attribute of each range of
    /// the runtime services.
    pub runtime_map: Vec<[u64; 5]>,
}

impl MemorySources {
    /// Reads them below `root`, which is `/` but for tests.
    ///
    /// # Errors
    ///
    /// A file that there is cannot be read, is longer than Linux makes it, or has other text.
    pub fn read(root: &Path) -> Result<Self, KexecError> {
        let below = |path: &str| Source(root.join(path));
        let efi = below("sys/firmware/efi");
        Ok(Self {
            iomem: below("proc/iomem").text(IOMEM_MAX)?,
            device_tree: below("sys/firmware/fdt").bytes(DEVICE_TREE_MAX)?,
            memmap: below("sys/firmware/memmap").numbered("", |entry| {
                let (start, last) = (entry.join("start"), entry.join("end"));
                let end = last.needed_hex()?.checked_add(1);
                let end = end.ok_or_else(|| last.wrong("it is the last byte of all"))?;
                Ok((start.needed_hex()?..end, entry.join("type").needed()?))
            })?,
            boot_params: below("sys/kernel/boot_params/data").bytes(BOOT_PARAMS_MAX)?,
            efi: efi.0.is_dir().then(|| EfiSources::read(&efi)).transpose()?,
            vmcoreinfo: below("sys/kernel/vmcoreinfo").note()?,
            crash_notes: below("sys/devices/system/cpu")
                .numbered("cpu", Source::crash_note)?
                .into_iter()
                .flatten()
                .collect(),
        })
    }
}

impl EfiSources {
    fn read(folder: &Source) -> Result<Self, KexecError> {
        Ok(Self {
            tables: folder.join("systab").text(SMALL_MAX)?,
            fw_vendor: folder.join("fw_vendor").hex()?,
            runtime: folder.join("runtime").hex()?,
            config_table: folder.join("config_table").hex()?,
            runtime_map: folder.join("runtime-map").numbered("", |entry| {
                let [kind, physical, virt, pages, attribute] =
                    ["type", "phys_addr", "virt_addr", "num_pages", "attribute"]
                        .map(|name| entry.join(name).needed_hex());
                Ok([kind?, physical?, virt?, pages?, attribute?])
            })?,
        })
    }
}

/// A file or folder of the kernel's.
#[derive(Debug)]
struct Source(PathBuf);

impl Source {
    fn join(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    /// Returns the bytes, of which there are `max` at most.
    fn bytes(&self, max: u64) -> Result<Option<Vec<u8>>, KexecError> {
        let file = match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed_at(&self.0, "opening it"))?,
        };
        // Such files do not know their lengths.
        let mut bytes = Vec::new();
        let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(failed_at(&self.0, "reading it"))?;
        if bytes.len() as u64 > max {
            return Err(self.wrong(&format!("it is longer than {max} bytes")));
        }
        Ok(Some(bytes))
    }

    fn text(&self, max: u64) -> Result<Option<String>, KexecError> {
        let Some(bytes) = self.bytes(max)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes);
        text.map(Some)
            .map_err(|cause| self.caused("it is no UTF-8 text", cause))
    }

    /// Returns the one line of the file.
    fn line(&self) -> Result<Option<String>, KexecError> {
        let text = self.text(SMALL_MAX)?;
        Ok(text.map(|text| text.trim().to_owned()))
    }

    fn needed(&self) -> Result<String, KexecError> {
        self.line()?.ok_or_else(|| self.wrong("it is missing"))
    }

    fn hex(&self) -> Result<Option<u64>, KexecError> {
        self.line()?.map(|line| self.hex_of(&line)).transpose()
    }

    fn needed_hex(&self) -> Result<u64, KexecError> {
        self.hex_of(&self.needed()?)
    }

    fn hex_of(&self, text: &str) -> Result<u64, KexecError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, 16)
            .map_err(|cause| self.caused(&format!("{text:?} is no hexadecimal number"), cause))
    }

    /// Reads an address and a length.
    fn note(&self) -> Result<Option<Range<u64>>, KexecError> {
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let Some((start, len)) = line.split_once(' ') else {
            return Err(self.wrong("it has no address and length"));
        };
        self.range(self.hex_of(start)?, self.hex_of(len)?).map(Some)
    }

    /// Reads the address and the length that a processor's folder has.
    fn crash_note(&self) -> Result<Option<Range<u64>>, KexecError> {
        let address = self.join("crash_notes");
        let Some(start) = address.hex()? else {
            return Ok(None);
        };
        let size = self.join("crash_notes_size");
        let text = size.needed()?;
        let len = text.parse();
        let len =
            len.map_err(|cause| size.caused(&format!("{text:?} is no decimal number"), cause))?;
        address.range(start, len).map(Some)
    }

    fn range(&self, start: u64, len: u64) -> Result<Range<u64>, KexecError> {
        let end = start.checked_add(len);
        let end = end.ok_or_else(|| self.wrong("it passes the end of all memory"))?;
        Ok(start..end)
    }

    /// Reads each entry of a folder whose name is `prefix` and a number, in their order.
    fn numbered<T>(
        &self,
        prefix: &str,
        read: impl Fn(&Self) -> Result<T, KexecError>,
    ) -> Result<Vec<T>, KexecError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(failed_at(&self.0, "listing it"))?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed_at(&self.0, "listing it"))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        if numbers.len() > ENTRIES_MAX {
            return Err(self.wrong(&format!("it has more than {ENTRIES_MAX} entries")));
        }
        numbers.sort_unstable();
        let entries = numbers.iter().map(|it| self.join(&format!("{prefix}{it}")));
        entries.map(|entry| read(&entry)).collect()
    }

    fn caused(&self, text: &str, cause: impl Error + Send + Sync + 'static) -> KexecError {
        KexecError::caused(format!("{}: {text}", shown_path(&self.0)), cause)
    }

    fn wrong(&self, text: &str) -> KexecError {
        KexecError::new(format!("{}: {text}", shown_path(&self.0)))
    }
}

/// Machines with a thousand devices write a tenth of it.
const IOMEM_MAX: u64 = 4 << 20;
/// Linux, arch/arm64/include/asm/boot.h, `MAX_FDT_SIZE`.
const DEVICE_TREE_MAX: u64 = 2 << 20;
/// A page.
const BOOT_PARAMS_MAX: u64 = 4096;
/// Files of sysfs are a page, of at most 64 KiB.
const SMALL_MAX: u64 = 64 << 10;
/// Linux has up to 8192 processors.
const ENTRIES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// A machine with all that there can be.
    const WHOLE: &[(&str, &[u8])] = &[
        ("proc/iomem", b"40000000-bfffffff : System RAM\n"),
        ("sys/firmware/fdt", b"\xd0\x0d\xfe\xed"),
        ("sys/firmware/memmap/10/start", b"0x100000\n"),
        ("sys/firmware/memmap/10/end", b"0x7ffdffff\n"),
        ("sys/firmware/memmap/10/type", b"System RAM\n"),
        ("sys/firmware/memmap/2/start", b"0x0\n"),
        ("sys/firmware/memmap/2/end", b"0x9fbff\n"),
        ("sys/firmware/memmap/2/type", b"Reserved\n"),
        ("sys/kernel/boot_params/data", b"\0\x01"),
        ("sys/firmware/efi/systab", b"ACPI20=0x7f77e014\n"),
        ("sys/firmware/efi/fw_vendor", b"0x7f9f8f98\n"),
        ("sys/firmware/efi/runtime", b"0xfffffffeff9edb98\n"),
        ("sys/firmware/efi/config_table", b"0x7f9ecb98\n"),
        ("sys/firmware/efi/runtime-map/0/type", b"0x5\n"),
        ("sys/firmware/efi/runtime-map/0/phys_addr", b"0x7f8ed000\n"),
        (
            "sys/firmware/efi/runtime-map/0/virt_addr",
            b"0xfffffffeffeed000\n",
        ),
        ("sys/firmware/efi/runtime-map/0/num_pages", b"0x100\n"),
        (
            "sys/firmware/efi/runtime-map/0/attribute",
            b"0x800000000000000f\n",
        ),
        ("sys/kernel/vmcoreinfo", b"0x00000000420a3000 1024\n"),
        ("sys/devices/system/cpu/cpu10/crash_notes", b"7fb0a400\n"),
        ("sys/devices/system/cpu/cpu10/crash_notes_size", b"376\n"),
        ("sys/devices/system/cpu/cpu9/crash_notes", b"7fa0a400\n"),
        ("sys/devices/system/cpu/cpu9/crash_notes_size", b"376\n"),
        ("sys/devices/system/cpu/cpu11/online", b"0\n"),
        ("sys/devices/system/cpu/cpufreq/x", b""),
    ];

    /// Reads a machine with these files.
    fn read(files: &[(&str, &[u8])]) -> Result<MemorySources, String> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let shown = root.path().display().to_string();
        MemorySources::read(root.path()).map_err(|error| error.to_string().replace(&shown, "ROOT"))
    }

    /// Reads the whole machine after a file got other content.
    fn check(path: &str, content: &[u8], expected: &Expect) {
        let others = WHOLE.iter().filter(|(other, _)| *other != path).copied();
        let files: Vec<_> = others.chain([(path, content)]).collect();
        expected.assert_eq(&read(&files).unwrap_err());
    }

    #[test]
    fn reads_a_whole_machine() {
        expect![[r#"
            MemorySources {
                iomem: Some(
                    "40000000-bfffffff : System RAM\n",
                ),
                device_tree: Some(
                    [
                        0xd0,
                        0xd,
                        0xfe,
                        0xed,
                    ],
                ),
                memmap: [
                    (
                        0x0..0x9fc00,
                        "Reserved",
                    ),
                    (
                        0x100000..0x7ffe0000,
                        "System RAM",
                    ),
                ],
                boot_params: Some(
                    [
                        0x0,
                        0x1,
                    ],
                ),
                efi: Some(
                    EfiSources {
                        tables: Some(
                            "ACPI20=0x7f77e014\n",
                        ),
                        fw_vendor: Some(
                            0x7f9f8f98,
                        ),
                        runtime: Some(
                            0xfffffffeff9edb98,
                        ),
                        config_table: Some(
                            0x7f9ecb98,
                        ),
                        runtime_map: [
                            [
                                0x5,
                                0x7f8ed000,
                                0xfffffffeffeed000,
                                0x100,
                                0x800000000000000f,
                            ],
                        ],
                    },
                ),
                vmcoreinfo: Some(
                    0x420a3000..0x420a4024,
                ),
                crash_notes: [
                    0x7fa0a400..0x7fa0a578,
                    0x7fb0a400..0x7fb0a578,
                ],
            }"#]]
        .assert_eq(&format!("{:#x?}", read(WHOLE).unwrap()));
    }

    #[test]
    fn knows_nothing_without_files() {
        assert_eq!(read(&[]), Ok(MemorySources::default()));
    }

    #[test]
    fn refuses_other_text_than_linux_writes() {
        check(
            "sys/firmware/memmap/2/start",
            b"zero\n",
            &expect![[r#"ROOT/sys/firmware/memmap/2/start: "zero" is no hexadecimal number"#]],
        );
        check(
            "sys/firmware/efi/runtime",
            b"\xff\n",
            &expect!["ROOT/sys/firmware/efi/runtime: it is no UTF-8 text"],
        );
        check(
            "sys/kernel/vmcoreinfo",
            b"420a3000\n",
            &expect!["ROOT/sys/kernel/vmcoreinfo: it has no address and length"],
        );
        check(
            "sys/devices/system/cpu/cpu9/crash_notes_size",
            b"0x10\n",
            &expect![[
                r#"ROOT/sys/devices/system/cpu/cpu9/crash_notes_size: "0x10" is no decimal number"#
            ]],
        );
        check(
            "sys/kernel/vmcoreinfo",
            b"ffffffffffffffff 1\n",
            &expect!["ROOT/sys/kernel/vmcoreinfo: it passes the end of all memory"],
        );
        check(
            "sys/firmware/memmap/2/end",
            b"0xffffffffffffffff\n",
            &expect!["ROOT/sys/firmware/memmap/2/end: it is the last byte of all"],
        );
        check(
            "sys/firmware/memmap/3/start",
            b"0x0\n",
            &expect!["ROOT/sys/firmware/memmap/3/end: it is missing"],
        );
    }

    #[test]
    fn refuses_more_than_linux_writes() {
        check(
            "sys/kernel/boot_params/data",
            &[0; 4097],
            &expect!["ROOT/sys/kernel/boot_params/data: it is longer than 4096 bytes"],
        );
        check(
            "sys/firmware/fdt",
            &vec![0; (2 << 20) + 1],
            &expect!["ROOT/sys/firmware/fdt: it is longer than 2097152 bytes"],
        );
        check(
            "sys/firmware/efi/systab",
            &[b' '; 65537],
            &expect!["ROOT/sys/firmware/efi/systab: it is longer than 65536 bytes"],
        );
    }
}
