//! Real firmware with Secure Boot as a judge of images: OVMF in QEMU, and a program on it that
//! follows orders.
//!
//! The machine starts without keys. The program switches to custom mode, in which variables need
//! no signature, and sets the platform key, with which Secure Boot is on at once. So one boot is
//! enough for any number of key lists, and the program itself needs no signature.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::command::Tool;
use crate::forge::image::Image;
use crate::forge::list::guid;
use crate::materials;
use crate::qemu::{self, Serial};
use crate::stand::Stand;
use crate::workspace;

const GLOBAL: [u8; 16] = guid(0x8be4_df61, 0x93ca, 0x11d2, 0xaa0d_00e0_9803_2b8c);
const IMAGE_SECURITY: [u8; 16] = guid(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3bc_dad0_0e67_656f);
const CUSTOM_MODE: [u8; 16] = guid(0xc076_ec0c, 0x7028, 0x4399, 0xa072_71ee_5c44_8b9f);
/// The variables of systemd's boot loader.
const LOADER: [u8; 16] = guid(0x4a67_b082, 0x0a4c, 0x41cf, 0xb6c7_440b_29bb_8c4f);
const PKCS7: [u8; 16] = guid(0x4aaf_d29d, 0x68df, 0x49ee, 0x8aa9_347d_3756_65a7);

/// Kinds of orders, as `judge.c` has them.
const LOAD_IMAGE: u32 = 1;
const SET_VARIABLE: u32 = 2;
/// Non-volatile, for boot services.
const BOOT_ONLY: u32 = 3;
/// Non-volatile, for everybody.
const FOR_ALL: u32 = 7;
/// Non-volatile, for everybody, with a time in front of what is signed.
const AUTHENTICATED: u32 = 0x27;

/// In front of each answer.
const TAG: &str = "judge: ";
const SUCCESS: u64 = 0;
const ERROR: u64 = 1 << 63;
const NOT_FOUND: u64 = ERROR | 14;
const ACCESS_DENIED: u64 = ERROR | 15;
const SECURITY_VIOLATION: u64 = ERROR | 26;
const UNSUPPORTED: u64 = ERROR | 3;
const LOAD_ERROR: u64 = ERROR | 1;

/// An emulated machine needs seconds; the rest is for slow, busy hosts.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(300);

/// The way firmware treats an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It loads it.
    Loaded,
    /// It lets its signature pass and cannot load it.
    Unloadable,
    /// It refuses it before it looks how to load it.
    Refused,
}

/// The orders of one boot.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    bytes: Vec<u8>,
    /// The kind of each order.
    expected: Vec<Kind>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Image,
    Variable,
}

impl Orders {
    /// Orders that switch Secure Boot on, with `platform` as the list of the platform's key.
    pub(crate) fn new(platform: &[u8]) -> Self {
        let mut orders = Self::default();
        orders.variable(&CUSTOM_MODE, BOOT_ONLY, "CustomMode", &[1]);
        let key = authenticated(platform);
        orders.variable(&GLOBAL, AUTHENTICATED, "PK", &key);
        orders
    }

    /// Orders to set `db` or `dbx`; no lists delete it.
    pub(crate) fn lists(&mut self, name: &str, lists: &[u8]) {
        let value = authenticated(lists);
        self.variable(&IMAGE_SECURITY, AUTHENTICATED, name, &value);
    }

    /// Orders to set a variable of systemd's boot loader to a text.
    pub(crate) fn boot_loader(&mut self, name: &str, text: &str) {
        self.variable(&LOADER, FOR_ALL, name, &utf16(text));
    }

    /// Orders to judge an image.
    pub(crate) fn image(&mut self, image: &[u8]) {
        self.order(Kind::Image, LOAD_IMAGE, image);
    }

    fn variable(&mut self, vendor: &[u8], attributes: u32, name: &str, value: &[u8]) {
        let name = utf16(name);
        let numbers = [attributes, name.len() as u32].map(u32::to_le_bytes);
        let order = [vendor, &numbers.concat(), &name, value].concat();
        self.order(Kind::Variable, SET_VARIABLE, &order);
    }

    fn order(&mut self, kind: Kind, number: u32, content: &[u8]) {
        let header = [number, content.len() as u32, 0, 0].map(u32::to_le_bytes);
        self.bytes.extend(header.concat());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        self.expected.push(kind);
    }

    /// Boots the firmware, which follows the orders, and returns an answer for each image.
    ///
    /// # Errors
    ///
    /// Something cannot be fetched or made, or the firmware does not answer each order.
    pub(crate) fn follow(&self, stand: &Stand) -> Result<Vec<Answer>> {
        let orders = stand.file("orders", &self.bytes)?;
        let machine = machine(stand)?
            .args(["-m", "256", "-fw_cfg"])
            .arg(format!("name=opt/ukexec/orders,file={}", orders.display()))
            .arg("-kernel")
            .arg(judge(stand)?);
        let serial = qemu::run(machine, TIME_LIMIT, None)?;
        self.read(&serial)
    }

    fn read(&self, serial: &Serial) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        let mut lines = serial.values(TAG);
        for (index, kind) in self.expected.iter().enumerate() {
            let line = lines.next().with_context(|| unanswered(index, serial))?;
            let (number, status) = line
                .split_once(' ')
                .ok_or_else(|| anyhow!("no answer: {line:?}"))?;
            let number = u64::from_str_radix(number, 16)?;
            ensure!(
                number == index as u64,
                "order {index}: the answer is {line:?}"
            );
            let status = u64::from_str_radix(status, 16)?;
            match (kind, status) {
                // A list may have nothing to delete.
                (Kind::Variable, SUCCESS | NOT_FOUND) => {}
                (Kind::Image, SUCCESS) => answers.push(Answer::Loaded),
                (Kind::Image, UNSUPPORTED | LOAD_ERROR) => answers.push(Answer::Unloadable),
                (Kind::Image, ACCESS_DENIED | SECURITY_VIOLATION) => answers.push(Answer::Refused),
                _ => bail!("order {index} ({kind:?}): EFI status {status:#x}"),
            }
        }
        ensure!(
            lines.next() == Some("end"),
            unanswered(self.expected.len(), serial)
        );
        Ok(answers)
    }
}

/// A text with a NUL, as UEFI has it.
fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

fn unanswered(index: usize, serial: &Serial) -> String {
    format!("no answer to order {index}:\n{}", serial.quoted())
}

/// Puts what custom mode does not check in front of `lists`: a time, and an empty signature.
fn authenticated(lists: &[u8]) -> Vec<u8> {
    // 2024-01-01; WIN_CERTIFICATE_UEFI_GUID of 24 bytes, revision 2.0.
    let time = [0xe8, 7, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let certificate = [24, 0, 0, 0, 0, 2, 0xf1, 0x0e];
    [&time, &certificate[..], &PKCS7, lists].concat()
}

/// A machine with the firmware, which keeps its variables in the stand's folder from one boot to the next.
///
/// # Errors
///
/// The firmware cannot be fetched or copied.
pub(crate) fn machine(stand: &Stand) -> Result<Tool> {
    let firmware = materials::firmware()?;
    let variables = stand.path("variables.fd");
    if !variables.exists() {
        fs::copy(&firmware.variables, &variables)?;
    }
    let flash = |unit: u32, options: &str, file: &Path| {
        format!(
            "if=pflash,format=raw,unit={unit},{options}file={}",
            file.display()
        )
    };
    // The firmware keeps its variables from anything but itself by system management mode.
    Ok(Tool::new("qemu-system-x86_64")
        .args(["-machine", "q35,smm=on,accel=tcg"])
        .args(["-nodefaults", "-display", "none"])
        .args(["-serial", "stdio", "-no-reboot"])
        .args(["-global", "driver=cfi.pflash01,property=secure,value=on"])
        .args(["-drive", &flash(0, "readonly=on,", &firmware.code)])
        .args(["-drive", &flash(1, "", &variables)]))
}

/// Compiles the program that follows orders.
fn judge(stand: &Stand) -> Result<PathBuf> {
    const BASE: &str = "0x1000";
    let (elf, binary) = (stand.path("judge.elf"), stand.path("judge.bin"));
    Tool::new("gcc")
        .args(["-O2", "-Wall", "-Wextra", "-ffreestanding"])
        .args(["-fpie", "-fno-stack-protector", "-fcf-protection=none"])
        .args(["-fno-asynchronous-unwind-tables", "-mno-red-zone"])
        .args(["-mgeneral-regs-only", "-nostdlib", "-static"])
        .arg("-fno-tree-loop-distribute-patterns")
        .arg(format!("-Wl,-N,--build-id=none,-Ttext={BASE},-e,efi_main"))
        .arg("-o")
        .arg(&elf)
        .arg(workspace::root().join("xtask/firmware/judge.c"))
        .run()?;
    Tool::new("objcopy")
        .args(["-O", "binary"])
        .arg(&elf)
        .arg(&binary)
        .run()?;
    let header = fs::read(&elf)?;
    let entry = header.get(24..28).context("no ELF file")?;
    let entry = u32::from_le_bytes(entry.try_into()?);
    let mut code = fs::read(&binary)?;
    // QEMU refuses kernels that are shorter than the oldest kernels' first part.
    code.resize(code.len().max(0x1000), 0);
    let program = Image::program(&code, entry)?;
    stand.file("judge.efi", program.0)
}
