//! Parser containers of the kernel series on real images, level by level.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::materials::{Stub, Target, kernel, stub};
use crate::parsers;
use crate::stand::{Stand, check_words, text_at};
use crate::uki::Ukify;

use super::skeletons::{HOSTS, object, skeleton};
use super::zboot::{ARM64, nested};
use super::{Named, noise, stock_kernel};

pub(super) const CASES: &[Named] = &[
    Named::new("containers/levels", levels),
    Named::new("containers/alternatives", alternatives),
    Named::new("containers/parsers-d", parsers_d),
];

/// Containers of the series: the parser of UKIs, in it that of zboot files, and both on one level.
struct Containers {
    nested: PathBuf,
    beside: PathBuf,
}

impl Containers {
    fn pack(stand: &Stand) -> Result<Self> {
        let [uki, zboot] = ["uki", "zboot"].map(|parser| slot(stand, parser));
        let (uki, zboot) = (uki?, zboot?);
        let [inner, nested, beside] =
            ["zboot.bpf", "uki.bpf", "both.bpf"].map(|name| stand.path(name));
        stand.ukexec(&[&"parser", &"pack", &zboot, &"-o", &inner])?;
        stand.ukexec(&[
            &"parser",
            &"pack",
            &uki,
            &"--nested",
            &inner,
            &"-o",
            &nested,
        ])?;
        stand.ukexec(&[&"parser", &"pack", &uki, &zboot, &"-o", &beside])?;
        Ok(Self { nested, beside })
    }
}

/// Returns a parser of v7 as a skeleton in a file of its own.
pub(super) fn slot(stand: &Stand, parser: &str) -> Result<PathBuf> {
    let plain = object(stand, parser, "clang-19", parsers::CPU, &["-DUKEXEC_ABI=7"])?;
    let made = skeleton(stand, &plain, HOSTS[0])?;
    let slot = stand.path(&format!("{parser}.slot"));
    fs::rename(made, &slot)?;
    Ok(slot)
}

fn given(container: &Path) -> String {
    format!("--parser={}", container.display())
}

/// The inner container takes the zboot file in a UKI apart, and lets a plain kernel in one be.
fn levels(stand: &Stand) -> Result<()> {
    let containers = Containers::pack(stand)?;
    let initrd = noise(50_001);
    let initrd_path = stand.file("initrd", &initrd)?;
    let zboot = nested(stand, Target::Arm64, ARM64, &initrd_path, "levels", None)?;
    let parts = stand.unfold(&zboot.image, &[&given(&containers.nested)])?;
    parts.expect(&zboot.kernel, Some(&initrd), Some("levels"))?;
    parts.expect_parsers(&[("uki.bpf", "given"), ("uki.bpf", "given")])?;
    for (layer, slot) in ["1", "nested.1"].into_iter().enumerate() {
        let found = text_at(&parts.report, &format!("/layers/{layer}/parser/slot"))?;
        ensure!(found == slot, "layer {layer}: slot {found}");
    }
    let (linux, bytes) = stock_kernel(Target::X86_64)?;
    let image = Ukify::on(&stub(Target::X86_64, Stub::V257)?)?
        .linux(&linux, "6.1.0")
        .file("--initrd", &initrd_path)
        .text("--cmdline", "levels")
        .build(&stand.path("plain.efi"))?;
    let parts = stand.unfold(&image, &[&given(&containers.nested)])?;
    parts.expect(&bytes, Some(&initrd), Some("levels"))?;
    parts.expect_parsers(&[("uki.bpf", "given")])?;
    let asked = text_at(&parts.report, "/layers/1/asked/0/parser/slot")?;
    ensure!(asked == "nested.1", "the kernel was tried by slot {asked}");
    Ok(())
}

/// The second slot takes an image apart that the first one lets be.
fn alternatives(stand: &Stand) -> Result<()> {
    let containers = Containers::pack(stand)?;
    let made = ARM64.make(&kernel(Target::Arm64)?)?;
    let image = stand.file("vmlinuz.efi", &made.image)?;
    let parts = stand.unfold(&image, &[&given(&containers.beside)])?;
    parts.expect(&made.kernel, None, None)?;
    let slot = text_at(&parts.report, "/layers/0/parser/slot")?;
    ensure!(slot == "2", "slot {slot}");
    let refused = stand.fails(&[&"inspect", &image, &given(&containers.nested)])?;
    check_words(&refused, &["lets the image be", "slot 1"])
}

/// Containers of parsers.d are tried before the parsers that come with ukexec, which take what
/// they let be.
fn parsers_d(stand: &Stand) -> Result<()> {
    let containers = Containers::pack(stand)?;
    let folder = stand.path("parsers.d");
    fs::create_dir(&folder)?;
    fs::copy(&containers.nested, folder.join("uki.bpf"))?;
    let option = format!("--parsers-dir={}", folder.display());
    let initrd = stand.file("initrd", "initrd")?;
    let zboot = nested(stand, Target::Arm64, ARM64, &initrd, "listed", None)?;
    let parts = stand.unfold(&zboot.image, &[&option])?;
    parts.expect(&zboot.kernel, Some(b"initrd"), Some("listed"))?;
    parts.expect_parsers(&[("uki.bpf", "parsers.d"), ("uki.bpf", "parsers.d")])?;
    let made = ARM64.make(&kernel(Target::Arm64)?)?;
    let image = stand.file("vmlinuz.efi", &made.image)?;
    let parts = stand.unfold(&image, &[&option])?;
    parts.expect(&made.kernel, None, None)?;
    parts.expect_parsers(&[("zboot", "built-in")])
}
