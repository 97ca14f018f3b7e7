//! What a kernel found when it was started, as `listing_initrd` prints it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::guest::TAG;
use crate::qemu::Serial;

/// Files of the initrd that lists itself, and of the kernel's own.
const COMMON: [&str; 10] = [
    "/", "/bin", "/dev", "/init", "/proc", "/root", "/run", "/sys", "/tmp", "/etc",
];
/// SHA-256 of no bytes.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const MODE_BITS: u32 = 0o7777;
const KIND_BITS: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;

/// A kernel's command line, its initrd, and the machine's registers and tables.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) cmdline: String,
    /// The digest of the initrd; that of no bytes where the kernel did not keep it.
    pub(super) initrd: String,
    /// By the number of each, in lower case; without those that the machine lacks.
    pub(super) registers: BTreeMap<u32, String>,
    /// SMBIOS structures.
    pub(super) smbios: Vec<u8>,
    /// The secret that the stub made for this boot, if it made one.
    pub(super) secret: Vec<u8>,
    /// By path.
    pub(super) files: BTreeMap<String, Unpacked>,
}

/// A file of the unpacked initrd.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// With the bits that say which kind of file it is.
    mode: u32,
    size: u64,
    digest: String,
    text: String,
}

impl Seen {
    pub(super) fn read(serial: &Serial) -> Result<Self> {
        let value = |name: &str| serial.value(&format!("{TAG}{name}="));
        let mut files: BTreeMap<String, Unpacked> = BTreeMap::new();
        for line in serial.values(&format!("{TAG}file=")) {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().with_context(|| format!("no file: {line:?}"));
            let (mode, size, path) = (word()?, word()?, word()?);
            let mode = u32::from_str_radix(mode, 16)?;
            let file = files.entry(path.to_owned()).or_default();
            file.mode = mode;
            // A folder's size is the file system's affair.
            file.size = if file.is_folder() { 0 } else { size.parse()? };
        }
        for line in serial.values(&format!("{TAG}sum=")) {
            let (digest, path) = line.split_once("  ").context("no digest")?;
            files.entry(path.to_owned()).or_default().digest = digest.to_owned();
        }
        for line in serial.values(&format!("{TAG}text=")) {
            let (path, text) = line.split_once(' ').unwrap_or((line, ""));
            files.entry(path.to_owned()).or_default().text = text.to_owned();
        }
        let mut registers = BTreeMap::new();
        for number in [11, 12, 13] {
            let digits = value(&format!("pcr{number}"))?.to_lowercase();
            if !digits.is_empty() {
                registers.insert(number, digits);
            }
        }
        let digest = value("initrd")?.split(' ').next().unwrap_or_default();
        Ok(Self {
            cmdline: value("cmdline")?.to_owned(),
            initrd: digest.to_owned(),
            registers,
            smbios: bytes(value("smbios")?)?,
            secret: bytes(value("secret")?)?,
            files,
        })
    }

    /// Returns a page for people: the command line, each file that is in no initrd of the tests, and the
    /// registers that something was measured into.
    pub(super) fn page(&self) -> String {
        let mut page = format!("{}\n", self.cmdline);
        for (path, file) in &self.files {
            let is_common = COMMON.iter().any(|it| {
                let rest = path.strip_prefix(it);
                rest.is_some_and(|rest| rest.is_empty() || *it != "/" && rest.starts_with('/'))
            });
            if is_common {
                continue;
            }
            let mode = file.mode & MODE_BITS;
            let end = if file.is_folder() { "/" } else { " " };
            let line = format!("{mode:3o} {path}{end}{}", file.text);
            // Writing to a String cannot fail.
            let _ = writeln!(page, "{}", line.trim_end());
        }
        for (number, value) in &self.registers {
            if value.chars().any(|digit| digit != '0') {
                let _ = writeln!(page, "PCR {number}");
            }
        }
        page
    }

    /// Checks the page for people, and that the rest is there.
    pub(super) fn expect(&self, expected: &str) -> Result<()> {
        let found = self.page();
        ensure!(found == expected, "expected:\n{expected}\nfound:\n{found}");
        ensure!(!self.smbios.is_empty(), "the machine has no SMBIOS tables");
        ensure!(self.initrd != EMPTY, "the kernel did not keep its initrd");
        Ok(())
    }
}

impl Unpacked {
    const fn is_folder(&self) -> bool {
        self.mode & KIND_BITS == FOLDER
    }
}

fn bytes(digits: &str) -> Result<Vec<u8>> {
    let pair = |at: usize| digits.get(at..at + 2).context("half a byte");
    (0..digits.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(pair(at)?, 16)?))
        .collect()
}
