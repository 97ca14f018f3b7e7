//! EFI zboot files of every compression, alone and inside a UKI.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::materials::{Stub, Target, kernel, stub};
use crate::stand::Stand;
use crate::uki::Ukify;
use crate::zboot::{Compression, Generation, Machine, Made, Zboot};

use super::{Named, noise};

pub(super) const CASES: &[Named] = &[
    Named::new("zboot/zstd-of-6.12", |stand| {
        alone(stand, Compression::Zstd, Generation::V6_12)
    }),
    Named::new("zboot/zstd22-of-6.1", |stand| {
        alone(stand, Compression::Zstd, Generation::V6_1)
    }),
    Named::new("zboot/xzkern-of-6.1", |stand| {
        alone(stand, Compression::Xz, Generation::V6_1)
    }),
    Named::new("zboot/xzkern-with-arm64-filter", |stand| {
        alone(stand, Compression::XzArm64, Generation::V6_1)
    }),
    Named::new("zboot/lzma-of-6.1", |stand| {
        alone(stand, Compression::Lzma, Generation::V6_1)
    }),
    Named::new("zboot/lzo-of-6.1", |stand| {
        alone(stand, Compression::Lzo, Generation::V6_1)
    }),
    Named::new("zboot/lz4-of-6.1", |stand| {
        alone(stand, Compression::Lz4, Generation::V6_1)
    }),
    Named::new("zboot/gzip-of-6.1", |stand| {
        alone(stand, Compression::Gzip, Generation::V6_1)
    }),
    Named::new("zboot/gzip-of-6.12", |stand| {
        alone(stand, Compression::Gzip, Generation::V6_12)
    }),
    Named::new("zboot/in-a-uki-arm64", in_a_uki_arm64),
    Named::new("zboot/in-a-uki-riscv64", in_a_uki_riscv64),
    Named::new("zboot/given-parser", given_parser),
];

fn alone(stand: &Stand, compression: Compression, generation: Generation) -> Result<()> {
    let zboot = Zboot {
        machine: Machine::ARM64,
        compression,
        generation,
    };
    let made = zboot.make(&kernel(Target::Arm64)?)?;
    let image = stand.file("vmlinuz.efi", &made.image)?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&made.kernel, None, None)?;
    parts.expect_parsers(&[("zboot", "built-in")])
}

/// A UKI whose kernel is a zboot file: where it lies, and what it holds.
pub(super) struct Nested {
    pub(super) image: PathBuf,
    pub(super) kernel: Vec<u8>,
}

/// Makes a UKI with `ukify` around a zboot file around Debian's kernel, with a device tree if there is one.
pub(super) fn nested(
    stand: &Stand,
    target: Target,
    zboot: Zboot,
    initrd: &Path,
    cmdline: &str,
    tree: Option<&Path>,
) -> Result<Nested> {
    let Made { image, kernel, .. } = zboot.make(&kernel(target)?)?;
    let mut ukify = Ukify::on(&stub(target, Stub::V257)?)?;
    if let Some(tree) = tree {
        ukify = ukify.file("--devicetree", tree);
    }
    let image = ukify
        .linux(&stand.file("vmlinuz.efi", image)?, "6.12.0")
        .file("--initrd", initrd)
        .text("--cmdline", cmdline)
        .text("--efi-arch", target.efi_name())
        .build(&stand.path("uki.efi"))?;
    Ok(Nested { image, kernel })
}

fn in_a_uki(stand: &Stand, target: Target, zboot: Zboot) -> Result<()> {
    let initrd = noise(50_001);
    let initrd_path = stand.file("initrd", &initrd)?;
    let nested = nested(
        stand,
        target,
        zboot,
        &initrd_path,
        "console=ttyS0 nested",
        None,
    )?;
    let parts = stand.unfold(&nested.image, &[])?;
    parts.expect(&nested.kernel, Some(&initrd), Some("console=ttyS0 nested"))?;
    parts.expect_parsers(&[("uki", "built-in"), ("zboot", "built-in")])
}

/// The zboot file that the arm64 cases and boots share.
pub(super) const ARM64: Zboot = Zboot {
    machine: Machine::ARM64,
    compression: Compression::Zstd,
    generation: Generation::V6_12,
};

fn in_a_uki_arm64(stand: &Stand) -> Result<()> {
    in_a_uki(stand, Target::Arm64, ARM64)
}

/// The zboot file that the riscv64 cases and boots share.
pub(super) const RISCV64: Zboot = Zboot {
    machine: Machine::RISCV64,
    compression: Compression::Gzip,
    generation: Generation::V6_12,
};

fn in_a_uki_riscv64(stand: &Stand) -> Result<()> {
    in_a_uki(stand, Target::Riscv64, RISCV64)
}

/// `--parser` names the parser of the outermost image; the one it holds finds its own.
fn given_parser(stand: &Stand) -> Result<()> {
    let initrd = stand.file("initrd", "initrd")?;
    let nested = nested(stand, Target::Arm64, ARM64, &initrd, "nested", None)?;
    let parser = super::parser_object("uki")?;
    let parts = stand.unfold(&nested.image, &["--parser", &parser.to_string_lossy()])?;
    parts.expect(&nested.kernel, Some(b"initrd"), Some("nested"))?;
    parts.expect_parsers(&[("uki", "given"), ("zboot", "built-in")])
}
