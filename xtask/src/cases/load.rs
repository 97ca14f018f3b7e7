//! The costs of loading: memory and bytes moved, on an image with a large initrd. No clocks here.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use crate::command::{said, takes_image};
use crate::materials::{OS_RELEASE, Stub, Target, addon_stub, stub};
use crate::pki::{Kind, Signer};
use crate::stand::{Stand, document, number_at, text_at};
use crate::uki::{Section, Ukify, objcopy};

use super::edited::Edited;
use super::{Named, noise, read, stock_kernel};

const INITRD_LEN: usize = 200 << 20;
const HUGE_INITRD_LEN: u64 = 1_100_000_000;
const MEMORY_LIMIT: u64 = 40 << 20;
/// The archives behind the initrd are small.
const BEHIND_LIMIT: u64 = 4096;
/// Headers and the like may pass through the program.
const THROUGH_USER_LIMIT: u64 = 1 << 20;

pub(super) const CASES: &[Named] = &[
    Named::new("load/dry-run-moves-each-byte-once", dry_run),
    Named::new("load/what-comes-behind-the-initrd-moves-alone", extra),
    Named::new("load/what-lies-beside-the-image-moves-alone", beside),
    Named::new("load/initrd-of-more-than-1-gib", huge),
    Named::new("load/a-signature-costs-one-digest", signed),
];

fn dry_run(stand: &Stand) -> Result<()> {
    let report = load(stand, &[])?;
    let descriptor = text_at(&report, "/load/initrd/descriptor")?;
    ensure!(descriptor == "as it lies", "the initrd was {descriptor}");
    same_length(&report).context("the parts of the report")
}

/// The files that systemd finds below `/.extra/` are put behind the initrd, which does not move.
fn extra(stand: &Stand) -> Result<()> {
    let os_release = stand.file("osrel", OS_RELEASE)?;
    let signatures = stand.file("pcrsig", "{\"sha256\":[]}\n")?;
    let report = load(stand, &[(".osrel", &os_release), (".pcrsig", &signatures)])?;
    same_length(&report).context("the parts of the report")?;
    let descriptor = text_at(&report, "/load/initrd/descriptor")?;
    ensure!(descriptor == "grown", "the initrd was {descriptor}");
    // Each is an archive: headers of 110 bytes with names for the folder, the file and the end,
    // and all of it filled up to multiples of 4.
    let archive = |path: &str, file: &str| {
        let header = |name: &str| (110 + name.len() + 1).next_multiple_of(4);
        let content = std::fs::read(stand.path(file)).map_or(0, |bytes| bytes.len());
        let names = header(".extra") + header(path) + header("TRAILER!!!");
        (names + content.next_multiple_of(4)) as u64
    };
    let behind =
        archive(".extra/tpm2-pcr-signature.json", "pcrsig") + archive(".extra/os-release", "osrel");
    let size = number_at(&report, "/load/initrd/size")?;
    let expected = INITRD_LEN as u64 + behind;
    ensure!(
        size == expected,
        "it has {size} bytes instead of {expected}"
    );
    let moved = number_at(&report, "/load/bytes_moved/in_kernel")?;
    let image = stand.path("uki.efi").metadata()?.len();
    ensure!(
        moved > image && moved <= image + behind,
        "the kernel moved {moved} bytes for an image of {image} and {behind} bytes behind"
    );
    let path = text_at(&report, "/extra/0/path")?;
    ensure!(
        path == "/.extra/tpm2-pcr-signature.json",
        "{path} is the first file"
    );
    let warnings = report.pointer("/warnings").map(ToString::to_string);
    let warnings = warnings.unwrap_or_default();
    ensure!(warnings.contains("PCR 11"), "it does not warn: {warnings}");
    // `unfold` writes what the image holds, also where that is taken over before.
    let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let signed = owner.sign(&stand.path("uki.efi"), &[], &stand.path("signed.efi"))?;
    let trust = format!("--trust={}", owner.certificate().display());
    let parts = stand.unfold(&signed, &["--verify=require", &trust])?;
    let initrd = parts.path("initrd").metadata()?.len();
    ensure!(
        initrd == INITRD_LEN as u64,
        "the part has {initrd} bytes instead of {INITRD_LEN}"
    );
    Ok(())
}

/// Companions are copied once, and once more into the archives in front of the initrd and behind it. The initrd does not move.
fn beside(stand: &Stand) -> Result<()> {
    let os_release = stand.file("osrel", OS_RELEASE)?;
    let alone = load(stand, &[(".osrel", &os_release)])?;
    let folder = stand.path("uki.efi.extra.d");
    fs::create_dir(&folder)?;
    for (name, len) in [
        ("a.cred", 1001),
        ("tools.raw", 3 << 20),
        ("b.confext.raw", 0),
    ] {
        fs::write(folder.join(name), noise(len))?;
    }
    let archive = stand.file("archive", noise(1 << 20))?;
    for (name, option) in [("early", "--microcode"), ("late", "--initrd")] {
        Ukify::on(&addon_stub(Target::X86_64)?)?
            .file(option, &archive)
            .build(&folder.join(format!("{name}.addon.efi")))?;
    }
    let files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.metadata()?.len()));
    let companions: u64 = files.sum::<Result<u64>>()?;
    let with = dry_run_of(stand, &stand.path("uki.efi"))?;
    let grown = |field: &str| -> Result<u64> {
        let [with, alone] = [&with, &alone].map(|report| number_at(report, field));
        Ok(with?.saturating_sub(alone?))
    };
    let archives = grown("/load/initrd/size")?;
    ensure!(
        archives > companions - (1 << 20),
        "the initrd grew by {archives} bytes for {companions} of companions"
    );
    let moved = grown("/load/bytes_moved/in_kernel")? + grown("/load/bytes_moved/through_user")?;
    ensure!(
        moved <= companions + archives,
        "{moved} bytes more were moved for {companions} of companions and {archives} of archives"
    );
    Ok(())
}

/// No record of a ring buffer holds such an initrd. The file is sparse; the snapshot is not.
fn huge(stand: &Stand) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let initrd = stand.file("initrd", noise(512))?;
    let small = stand.path("small.efi");
    let sections = [(".linux", kernel.as_path()), (".initrd", &initrd)];
    let sections = sections.map(|(name, file)| Section { name, file });
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &small)?;
    let edited = Edited(read(&small)?);
    let header = edited.section(".initrd")?;
    let start = u64::try_from(edited.u32_at(header + 20)?)?;
    let len = u32::try_from(HUGE_INITRD_LEN)?.to_le_bytes();
    let edited = edited.with(header + 8, &len)?.with(header + 16, &len)?;
    let image = stand.file("huge.efi", edited.0)?;
    let size = start + HUGE_INITRD_LEN;
    File::options().write(true).open(&image)?.set_len(size)?;
    let (output, usage) = stand.measure(&[&"load", &image, &"--dry-run", &"--json"])?;
    ensure!(takes_image(&output), "it failed: {}", said(&output));
    ensure!(
        usage.peak_memory < MEMORY_LIMIT,
        "it held {} MiB of memory",
        usage.peak_memory >> 20
    );
    let report = document(&String::from_utf8_lossy(&output.stdout))?;
    let found = number_at(&report, "/load/initrd/size")?;
    ensure!(found == HUGE_INITRD_LEN, "the initrd has {found} bytes");
    let descriptor = text_at(&report, "/load/initrd/descriptor")?;
    ensure!(descriptor == "as it lies", "the initrd was {descriptor}");
    let moved = number_at(&report, "/load/bytes_moved/in_kernel")?;
    ensure!(moved == size, "{moved} bytes were moved of {size}");
    Ok(())
}

/// To know whether a signature is one of an image takes one digest of it: its bytes go through
/// the program once, where those of an unsigned image do not, and nothing inside is hashed again.
fn signed(stand: &Stand) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let image = stand.path("uki.efi");
    let initrd = stand.file("initrd", "070701")?;
    let sections = [(".linux", kernel.as_path()), (".initrd", &initrd)];
    let sections = sections.map(|(name, file)| Section { name, file });
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &image)?;
    let [owner, other] = ["owner", "other"].map(|name| Signer::new(stand, name, Kind::Rsa2048));
    let (owner, other) = (owner?, other?);
    let once = owner.sign(&image, &[], &stand.path("once.efi"))?;
    let twice = other.sign(&once, &[], &stand.path("twice.efi"))?;
    let none = stand.path("no-variables");
    fs::create_dir(&none)?;
    let none = format!("--efivars={}", none.display());
    for image in [&once, &twice] {
        let args = [
            &"load" as &dyn AsRef<OsStr>,
            image,
            &"--dry-run",
            &"--json",
            &"--verify=auto",
            &none,
        ];
        let (output, _) = stand.measure(&args)?;
        ensure!(takes_image(&output), "it failed: {}", said(&output));
        let report = document(&String::from_utf8_lossy(&output.stdout))?;
        let layers = report["signatures"].as_array().context("no signatures")?;
        let digests = layers
            .iter()
            .map(|layer| layer["digests"].as_object().map_or(0, Map::len));
        let digests: Vec<usize> = digests.collect();
        ensure!(digests == [1, 0], "digests of each layer: {digests:?}");
        let hashed = number_at(&report, "/load/bytes_moved/through_user")?;
        let size = image.metadata()?.len();
        ensure!(
            hashed == size,
            "{hashed} bytes went through the program of an image of {size}"
        );
    }
    Ok(())
}

/// Loads an image with a large initrd, and `more` sections, as far as a dry run goes.
fn load(stand: &Stand, more: &[(&str, &Path)]) -> Result<Value> {
    let (kernel, kernel_bytes) = stock_kernel(Target::X86_64)?;
    let initrd = stand.file("initrd", noise(INITRD_LEN))?;
    let cmdline = stand.file("cmdline", "console=ttyS0 big")?;
    let image = stand.path("uki.efi");
    let section = |name, file| Section { name, file };
    let mut sections = vec![
        section(".cmdline", cmdline.as_path()),
        section(".initrd", &initrd),
        section(".linux", &kernel),
    ];
    sections.extend(more.iter().map(|&(name, file)| section(name, file)));
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &image)?;
    let report = dry_run_of(stand, &image)?;
    let moved = number_at(&report, "/load/bytes_moved/in_kernel")?;
    let size = image.metadata()?.len();
    ensure!(
        moved <= size + BEHIND_LIMIT && moved > (kernel_bytes.len() + INITRD_LEN) as u64,
        "the kernel moved {moved} bytes of an image of {size}"
    );
    let through_user = number_at(&report, "/load/bytes_moved/through_user")?;
    ensure!(
        through_user < THROUGH_USER_LIMIT,
        "{through_user} bytes went through the program"
    );
    let descriptor = text_at(&report, "/load/kernel/descriptor")?;
    ensure!(descriptor == "as it lies", "the kernel was {descriptor}");
    Ok(report)
}

fn dry_run_of(stand: &Stand, image: &Path) -> Result<Value> {
    let (output, usage) = stand.measure(&[&"load", &image, &"--dry-run", &"--json"])?;
    ensure!(takes_image(&output), "it failed: {}", said(&output));
    ensure!(
        usage.peak_memory < MEMORY_LIMIT,
        "it held {} MiB of memory",
        usage.peak_memory >> 20
    );
    document(&String::from_utf8_lossy(&output.stdout))
}

/// The kernel receives the command line with its NUL.
fn same_length(report: &Value) -> Result<()> {
    let cmdline_len = number_at(report, "/load/cmdline_len")?;
    ensure!(cmdline_len == 18, "cmdline_len is {cmdline_len}");
    let initrd = number_at(report, "/initrd/size")?;
    ensure!(initrd == INITRD_LEN as u64, "the initrd has {initrd} bytes");
    Ok(())
}
