//! Bare compressed kernels, as distributions and the kernel's own build install them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::command::Tool;
use crate::initramfs::Initramfs;
use crate::materials::{Stub, Target, kernel, stub};
use crate::pki::{Kind, Signer};
use crate::stand::{Stand, check_words, text_at};
use crate::uki::{Section, objcopy};
use crate::zboot::{Compression, Generation, Machine, Zboot};

use super::{Named, noise, read};

pub(super) const CASES: &[Named] = &[
    Named::new("stream/every-compression", every_compression),
    Named::new("stream/bzip2", bzip2),
    Named::new("stream/in-a-signed-uki", in_a_uki),
    Named::new("stream/signed-like-a-module", signed),
    Named::new("stream/of-an-initrd", of_an_initrd),
    Named::new("stream/cut-or-damaged", damaged),
];

const REQUIRE: &str = "--verify=require";

/// Debian's arm64 kernel as its build compresses it, with the size behind it where the build
/// appends one, and what it was.
fn stream(stand: &Stand, compression: Compression) -> Result<(PathBuf, Vec<u8>)> {
    let zboot = Zboot {
        machine: Machine::ARM64,
        compression,
        generation: Generation::V6_1,
    };
    let made = zboot.make(&kernel(Target::Arm64)?)?;
    let size = if compression.appends_size() { 4 } else { 0 };
    let end = made.payload_at + made.payload_len + size;
    let payload = made.image.get(made.payload_at..end);
    let name = format!("Image.{}", compression.name());
    let path = stand.file(&name, payload.context("a zboot file without its payload")?)?;
    Ok((path, made.kernel))
}

fn every_compression(stand: &Stand) -> Result<()> {
    for compression in [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Xz,
        Compression::XzArm64,
        Compression::Lzma,
        Compression::Lzo,
        Compression::Lz4,
    ] {
        let check = || {
            let (image, kernel) = stream(stand, compression)?;
            let parts = stand.unfold(&image, &[])?;
            parts.expect(&kernel, None, None)?;
            parts.expect_parsers(&[("stream", "built-in")])
        };
        check().with_context(|| compression.name())?;
    }
    Ok(())
}

fn bzip2(stand: &Stand) -> Result<()> {
    let bytes = noise(1 << 20);
    let image = stand.path("noise.bz2");
    Tool::new("bzip2")
        .args(["-9", "-c"])
        .into_file(&stand.file("noise", &bytes)?, &image)?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&bytes, None, None)?;
    parts.expect_parsers(&[("stream", "built-in")])
}

/// A file inside a verified image needs no signature of its own.
fn in_a_uki(stand: &Stand) -> Result<()> {
    let (image, kernel) = stream(stand, Compression::Gzip)?;
    let cmdline = stand.file("cmdline", "console=ttyS0")?;
    let sections = [(".cmdline", cmdline.as_path()), (".linux", &image)];
    let sections = sections.map(|(name, file)| Section { name, file });
    let uki = stand.path("uki.efi");
    // ukify would unpack the kernel itself.
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &uki)?;
    let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let uki = owner.sign(&uki, &[], &stand.path("signed.efi"))?;
    let trust = format!("--trust={}", owner.certificate().display());
    let parts = stand.unfold(&uki, &[&trust, REQUIRE])?;
    parts.expect(&kernel, None, Some("console=ttyS0"))?;
    parts.expect_parsers(&[("uki", "built-in"), ("stream", "built-in")])
}

/// Nothing is unpacked before a verdict, so that it is the stream that is signed. LZ4 has no end
/// but that of the file, which the signature is no part of.
fn signed(stand: &Stand) -> Result<()> {
    let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let trust = format!("--trust={}", owner.certificate().display());
    for compression in [Compression::Gzip, Compression::Lz4] {
        let (image, kernel) = stream(stand, compression)?;
        stand.refuses(&image, &[&trust, REQUIRE], &["unsigned", "required"])?;
        let signed = owner.append(&image, &stand.path("Image.signed"))?;
        for options in [&[trust.as_str(), REQUIRE][..], &[]] {
            let parts = stand.unfold(&signed, options)?;
            parts.expect(&kernel, None, None)?;
        }
        let mut bytes = read(&signed)?;
        *bytes.get_mut(0x1000).context("a short stream")? ^= 1;
        let damaged = stand.file("Image.damaged", bytes)?;
        stand.refuses(&damaged, &[&trust, REQUIRE], &["bad signature"])?;
    }
    Ok(())
}

/// An initrd in a kernel's place is named as one, although it unpacks.
fn of_an_initrd(stand: &Stand) -> Result<()> {
    let archive = stand.file("initrd.cpio", Initramfs::default().finish())?;
    let image = stand.path("initrd.img");
    Tool::new("gzip").arg("-c").into_file(&archive, &image)?;
    let message = stand.fails(&[&"load", &image, &"--dry-run"])?;
    check_words(&message, &["initrd.img", "cpio archive", "--initrd"])?;
    let report = stand.unfold(&image, &[])?.report;
    let told = text_at(&report, "/kernel/not_a_kernel")?;
    ensure!(told.contains("cpio archive"), "it tells {told:?}");
    Ok(())
}

/// A format that checks its data never lets less or other bytes pass.
fn damaged(stand: &Stand) -> Result<()> {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Xz] {
        let (image, _) = stream(stand, compression)?;
        let whole = read(&image)?;
        let half = whole.get(..whole.len() / 2).unwrap_or_default();
        let mut other = whole.clone();
        *other.get_mut(whole.len() / 2).context("a short stream")? ^= 0x10;
        for bytes in [half, whole.get(..20).unwrap_or_default(), &other] {
            let image = stand.file("Image.broken", bytes)?;
            stand
                .refuses(&image, &[], &["Image.broken", "stream"])
                .with_context(|| compression.name())?;
        }
    }
    Ok(())
}
