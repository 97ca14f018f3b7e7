//! Damaged and hostile images. Each is refused with exit code 1, a message that names the image,
//! quickly, and without a file left behind: see [`Stand::refuses`].

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::command::said;
use crate::materials::{Stub, Target, boot_loader, kernel, stub};
use crate::stand::{Stand, check_words, text_at};
use crate::zboot::{Compression, Generation, Machine, Made, Zboot};

use super::edited::Edited;
use super::{Named, noise, read, stock_kernel};

/// Zeros that a bomb unpacks to, and the limit that stops it.
const BOMB_LEN: u64 = 96 << 20;
const BOMB_OPTIONS: &[&str] = &["--max-output", "64M"];
const BOMB_MEMORY_LIMIT: u64 = 160 << 20;
/// Stages that an image may have by default.
const STAGES: usize = 8;

pub(super) const CASES: &[Named] = &[
    Named::new("hostile/no-images", no_images),
    Named::new("hostile/programs-that-are-no-kernels", other_programs),
    Named::new("hostile/uki-truncated", uki_truncated),
    Named::new("hostile/uki-header-lies", uki_header_lies),
    Named::new("hostile/zboot-truncated", zboot_truncated),
    Named::new("hostile/zboot-lies", zboot_lies),
    Named::new("hostile/zboot-damaged-payload", damaged_payloads),
    Named::new("hostile/zboot-unknown-compression", unknown_compression),
    Named::new("hostile/zboot-of-no-kernel", zboot_of_no_kernel),
    Named::new("hostile/bombs", bombs),
    Named::new("hostile/too-many-layers", too_many_layers),
    Named::new("hostile/output-folder-in-use", output_in_use),
];

fn no_images(stand: &Stand) -> Result<()> {
    for (name, bytes) in [
        ("empty.efi", &b""[..]),
        ("one-byte.efi", b"M"),
        ("two-bytes.efi", b"MZ"),
        ("text.efi", b"#!/bin/sh\necho this is no image\n"),
        ("zeros.efi", &[0; 70_000]),
        ("noise.efi", &noise(70_000)),
    ] {
        let image = stand.file(name, bytes)?;
        stand
            .refuses(&image, &[], &[name])
            .with_context(|| name.to_owned())?;
    }
    stand.refuses(&stand.path("absent.efi"), &[], &["absent.efi"])?;
    let folder = stand.path("folder.efi");
    std::fs::create_dir(&folder)?;
    stand.refuses(&folder, &[], &["folder.efi"])
}

fn other_programs(stand: &Stand) -> Result<()> {
    stand.refuses(&boot_loader(Target::X86_64)?, &[], &["boot loader"])?;
    let bare = stub(Target::X86_64, Stub::V257)?;
    stand.refuses(&bare, &[], &["linuxx64.efi.stub"])?;
    // A terse executable: `VZ`, machine, sections, subsystem.
    let mut terse = b"VZ\x64\x86\x02\x0a".to_vec();
    terse.resize(4096, 0);
    stand.refuses(&stand.file("terse.efi", terse)?, &[], &["terse executable"])
}

fn uki_truncated(stand: &Stand) -> Result<()> {
    let whole = Edited::uki(stand)?;
    let headers = whole.u32_at(0x3c)?;
    let mut cuts = vec![0, 1, 2, 0x3b, 0x3f, headers, headers + 3];
    cuts.extend([
        whole.coff()? + 19,
        whole.optional()?,
        whole.optional()? + 67,
    ]);
    for header in whole.sections()? {
        let (virtual_size, start) = (whole.u32_at(header + 8)?, whole.u32_at(header + 20)?);
        let content = virtual_size.min(whole.u32_at(header + 16)?);
        cuts.extend([header, header + 39, start, start + content - 1]);
    }
    for cut in cuts {
        let image = stand.file("cut.efi", whole.cut(cut).0)?;
        stand
            .refuses(&image, &[], &["cut.efi"])
            .with_context(|| format!("cut at byte {cut:#x}"))?;
    }
    Ok(())
}

fn uki_header_lies(stand: &Stand) -> Result<()> {
    let whole = Edited::uki(stand)?;
    let (coff, optional) = (whole.coff()?, whole.optional()?);
    let (linux, initrd) = (whole.section(".linux")?, whole.section(".initrd")?);
    let huge = u32::MAX.to_le_bytes();
    let near_huge = 0xffff_fff0_u32.to_le_bytes();
    let lies: &[(&str, usize, &[u8])] = &[
        ("e_lfanew past the end", 0x3c, &huge),
        ("e_lfanew that wraps", 0x3c, &near_huge),
        ("e_lfanew into the DOS header", 0x3c, &[0; 4]),
        ("no PE signature", coff - 4, b"NE\0\0"),
        ("65535 sections", coff + 2, &[0xff; 2]),
        ("no sections", coff + 2, &[0; 2]),
        ("no optional header", coff + 16, &[0; 2]),
        ("an optional header past the end", coff + 16, &[0xff; 2]),
        ("not PE32+", optional, &[0x0b, 0x01]),
        ("not an EFI application", optional + 68, &[2, 0]),
        (".linux starts past the end", linux + 20, &huge),
        (".linux offset and size wrap", linux + 20, &near_huge),
        (".initrd starts past the end", initrd + 20, &huge),
    ];
    for (lie, at, bytes) in lies {
        let image = stand.file("lie.efi", whole.with(*at, bytes)?.0)?;
        stand
            .refuses(&image, &[], &["lie.efi"])
            .with_context(|| (*lie).to_owned())?;
    }
    // Both sizes of a section lie: one alone is outvoted by the other.
    let sizes = whole.with(linux + 8, &huge)?.with(linux + 16, &huge)?;
    stand.refuses(&stand.file("lie.efi", sizes.0)?, &[], &["lie.efi"])?;
    // A kernel of 0 bytes.
    let none = whole.with(linux + 8, &[0; 4])?.with(linux + 16, &[0; 4])?;
    stand.refuses(&stand.file("lie.efi", none.0)?, &[], &["lie.efi"])
}

const GZIP: Zboot = Zboot {
    machine: Machine::ARM64,
    compression: Compression::Gzip,
    generation: Generation::V6_1,
};

fn zboot_truncated(stand: &Stand) -> Result<()> {
    let made = GZIP.make(&kernel(Target::Arm64)?)?;
    let end = made.payload_at + made.payload_len;
    let whole = Edited(made.image);
    for cut in [
        4,
        0x0b,
        0x20,
        0x3f,
        0x100,
        0x147,
        0xfff,
        made.payload_at - 1,
        made.payload_at,
        made.payload_at + 1,
        end / 2,
        end - 9,
        end - 1,
    ] {
        let image = stand.file("cut.efi", whole.cut(cut).0)?;
        stand
            .refuses(&image, &[], &["cut.efi"])
            .with_context(|| format!("cut at byte {cut:#x}"))?;
    }
    Ok(())
}

fn zboot_lies(stand: &Stand) -> Result<()> {
    let made = GZIP.make(&kernel(Target::Arm64)?)?;
    let len = u32::try_from(made.image.len())?;
    let (at, size) = (
        u32::try_from(made.payload_at)?,
        u32::try_from(made.payload_len)?,
    );
    let whole = Edited(made.image);
    let lies: &[(&str, u32, u32)] = &[
        ("offset past the end", len, size),
        ("the largest offset", u32::MAX, size),
        ("offset and size wrap", 0xffff_fff0, 0x20),
        ("offset 0", 0, size),
        ("offset into the code", 0x1000, size),
        ("size past the end", at, len),
        ("the largest size", at, u32::MAX),
        ("a negative size", at, 0x8000_0000),
        ("size 0", at, 0),
        ("half the size", at, size / 2),
    ];
    for (lie, offset, size) in lies {
        let fields = [offset.to_le_bytes(), size.to_le_bytes()].concat();
        let image = stand.file("lie.efi", whole.with(8, &fields)?.0)?;
        stand
            .refuses(&image, &[], &["lie.efi", "zboot"])
            .with_context(|| (*lie).to_owned())?;
    }
    Ok(())
}

/// Formats with a checksum never let a changed byte pass.
fn damaged_payloads(stand: &Stand) -> Result<()> {
    let kernel = kernel(Target::Arm64)?;
    for compression in [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Xz,
        Compression::Lzo,
    ] {
        let zboot = Zboot {
            compression,
            ..GZIP
        };
        let made = zboot.make(&kernel)?;
        let middle = made.payload_at + made.payload_len / 2;
        let whole = Edited(made.image);
        let byte = whole.0.get(middle).copied().unwrap_or_default();
        let image = stand.file("damaged.efi", whole.with(middle, &[byte ^ 0x10])?.0)?;
        stand
            .refuses(&image, &[], &["damaged.efi", "zboot"])
            .with_context(|| compression.name().to_owned())?;
    }
    Ok(())
}

fn unknown_compression(stand: &Stand) -> Result<()> {
    let made = GZIP.wrap(noise(1 << 20), &noise(100_000))?;
    let whole = Edited(made.image).with(0x18, b"brotli\0")?;
    let image = stand.file("unknown.efi", whole.0)?;
    stand.refuses(&image, &[], &["unknown.efi", "compress"])
}

/// An image that unpacks well and holds no kernel: `unfold` says so, `load` refuses.
fn zboot_of_no_kernel(stand: &Stand) -> Result<()> {
    let bytes = noise(100_000);
    let made = compressed(stand, GZIP, &stand.file("noise", &bytes)?, bytes)?;
    let image = stand.file("odd.efi", &made.image)?;
    let message = stand.fails(&[&"load", &image, &"--dry-run"])?;
    check_words(&message, &["odd.efi", "not a kernel"])?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(&made.kernel, None, None)?;
    check_words(
        text_at(&parts.report, "/kernel/not_a_kernel")?,
        &["not a kernel"],
    )
}

/// A zboot file around the compressed file `input`, which is not kept between runs.
fn compressed(stand: &Stand, zboot: Zboot, input: &Path, content: Vec<u8>) -> Result<Made> {
    let payload = stand.path("payload");
    zboot.compression.tool().into_file(input, &payload)?;
    zboot.wrap(content, &read(&payload)?)
}

fn bombs(stand: &Stand) -> Result<()> {
    let zeros = stand.path("zeros");
    File::create(&zeros)?.set_len(BOMB_LEN)?;
    for compression in [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Xz,
        Compression::Lzma,
        Compression::Lzo,
        Compression::Lz4,
    ] {
        let zboot = Zboot {
            compression,
            ..GZIP
        };
        let made = compressed(stand, zboot, &zeros, Vec::new())?;
        for bytes in [made.image, read(&stand.path("payload"))?] {
            let image = stand.file("bomb.efi", bytes)?;
            defused(stand, &image).with_context(|| compression.name().to_owned())?;
        }
    }
    Ok(())
}

fn defused(stand: &Stand, image: &Path) -> Result<()> {
    stand.refuses(image, BOMB_OPTIONS, &["bomb.efi", "limit"])?;
    let (output, usage) = stand.measure(&[&"inspect", &image, &"--max-output", &"64M"])?;
    ensure!(
        output.status.code() == Some(1),
        "expected exit code 1, found {}: {}",
        output.status,
        said(&output)
    );
    if usage.peak_memory > BOMB_MEMORY_LIMIT {
        bail!("it held {} MiB of memory", usage.peak_memory >> 20);
    }
    Ok(())
}

/// Packing a zboot file into a zboot file goes on until the budget of stages is spent.
fn too_many_layers(stand: &Stand) -> Result<()> {
    let mut made = GZIP.make(&kernel(Target::Arm64)?)?;
    let innermost = made.kernel.clone();
    // The inner payload does not shrink any more: the fastest compressor will do.
    let zboot = Zboot {
        compression: Compression::Lz4,
        ..GZIP
    };
    for _ in 0..STAGES {
        let input = stand.file("layer", &made.image)?;
        made = compressed(stand, zboot, &input, made.image)?;
    }
    let image = stand.file("deep.efi", &made.image)?;
    stand.refuses(&image, &[], &["deep.efi", "stage"])?;
    let allowed = (STAGES + 1).to_string();
    let parts = stand.unfold(&image, &["--max-stages", &allowed])?;
    parts.expect(&innermost, None, None)?;
    parts.expect_parsers(&[("zboot", "built-in"); STAGES + 1])
}

/// A folder that holds something is not written to; an empty one is.
fn output_in_use(stand: &Stand) -> Result<()> {
    let (image, _) = stock_kernel(Target::X86_64)?;
    let dir = stand.path("in-use");
    std::fs::create_dir(&dir)?;
    stand.file("in-use/mine", "mine")?;
    stand.fails(&[&"unfold", &image, &"-o", &dir])?;
    let left: Vec<_> = std::fs::read_dir(&dir)?.collect();
    ensure!(left.len() == 1, "the folder was written to: {left:?}");
    std::fs::remove_file(stand.path("in-use/mine"))?;
    stand.ukexec(&[&"unfold", &image, &"-o", &dir])?;
    ensure!(dir.join("kernel").is_file(), "no kernel in an empty folder");
    Ok(())
}
