//! Parsers put into images: the image stays one, and unfolds with that very parser.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::command::Tool;
use crate::materials::{Stub, Target, kernel, stub};
use crate::parsers;
use crate::stand::{Stand, check_words, same_bytes};
use crate::uki::{Ukify, ukify_inspect};

use super::signed::{sbsign, sbverify_list};
use super::zboot::ARM64;
use super::{Named, parser_object, read, stock_kernel};

/// Where a zboot file's header says its payload lies.
const PAYLOAD_OFFSET_AT: usize = 8;

pub(super) const CASES: &[Named] = &[
    Named::new("attach/zboot", zboot),
    Named::new("attach/uki", uki),
    Named::new("attach/then-detach-gives-the-image-back", detach),
    Named::new("attach/signed-image-is-refused", signed),
    Named::new("attach/embedded-parser-can-be-ignored", ignored),
    Named::new("attach/no-room-in-a-bare-kernel", no_room),
    Named::new("attach/parser-that-fails-is-refused", fails),
];

fn attach(stand: &Stand, image: &Path, parser: &str) -> Result<PathBuf> {
    let out = stand.path("out.efi");
    stand.ukexec(&[&"attach", &image, &parser_object(parser)?, &"-o", &out])?;
    Ok(out)
}

/// The image is read by other programs, and says that it holds a `.bpf` section.
fn check_readable(image: &Path, objdump: &str) -> Result<()> {
    let sections = Tool::new(objdump).arg("-h").arg(image).text()?;
    ensure!(sections.contains(".bpf"), "no .bpf in:\n{sections}");
    ukify_inspect(image)?;
    // An image without signatures is one that sbverify reads, and says so.
    let listed = sbverify_list(image)?;
    ensure!(!listed.contains("signature 1"), "a signature is left");
    Ok(())
}

fn zboot(stand: &Stand) -> Result<()> {
    let made = ARM64.make(&kernel(Target::Arm64)?)?;
    let image = stand.file("vmlinuz.efi", &made.image)?;
    let out = attach(stand, &image, "zboot")?;
    check_readable(&out, "aarch64-linux-gnu-objdump")?;
    let bytes = read(&out)?;
    let field = bytes.get(PAYLOAD_OFFSET_AT..PAYLOAD_OFFSET_AT + 4);
    let offset = u32::from_le_bytes(field.unwrap_or_default().try_into()?);
    let at = usize::try_from(offset)?;
    same_bytes(
        "the payload",
        bytes.get(at..at + made.payload_len).unwrap_or_default(),
        &made.image[made.payload_at..][..made.payload_len],
    )?;
    let parts = stand.unfold(&out, &[])?;
    parts.expect(&made.kernel, None, None)?;
    parts.expect_parsers(&[("", "embedded")])
}

/// Makes an image with a kernel and a command line.
fn make_uki(stand: &Stand) -> Result<(PathBuf, Vec<u8>)> {
    let (path, kernel) = stock_kernel(Target::X86_64)?;
    let image = Ukify::on(&stub(Target::X86_64, Stub::V257)?)?
        .linux(&path, "6.1.0")
        .text("--cmdline", "console=ttyS0 attached")
        .build(&stand.path("uki.efi"))?;
    Ok((image, kernel))
}

fn uki(stand: &Stand) -> Result<()> {
    let (image, kernel) = make_uki(stand)?;
    let out = attach(stand, &image, "uki")?;
    check_readable(&out, "objdump")?;
    let parts = stand.unfold(&out, &[])?;
    parts.expect(&kernel, None, Some("console=ttyS0 attached"))?;
    parts.expect_parsers(&[("", "embedded")])
}

fn detach(stand: &Stand) -> Result<()> {
    let (image, _) = make_uki(stand)?;
    let out = attach(stand, &image, "uki")?;
    let back = stand.path("back.efi");
    stand.ukexec(&[&"detach", &out, &"-o", &back])?;
    same_bytes("the image", &read(&back)?, &read(&image)?)
}

fn signed(stand: &Stand) -> Result<()> {
    let (image, kernel) = make_uki(stand)?;
    let signed = stand.path("signed.efi");
    sbsign(stand, &image, &signed)?;
    let out = stand.path("out.efi");
    let parser = parser_object("uki")?;
    let message = stand.fails(&[&"attach", &signed, &parser, &"-o", &out])?;
    ensure!(message.contains("--drop-signature"), "no advice: {message}");
    ensure!(!out.exists(), "a file was left behind");
    stand.ukexec(&[
        &"attach",
        &signed,
        &parser,
        &"-o",
        &out,
        &"--drop-signature",
    ])?;
    check_readable(&out, "objdump")?;
    let parts = stand.unfold(&out, &[])?;
    parts.expect(&kernel, None, Some("console=ttyS0 attached"))
}

fn ignored(stand: &Stand) -> Result<()> {
    let (image, kernel) = make_uki(stand)?;
    let out = attach(stand, &image, "uki")?;
    let parts = stand.unfold(&out, &["--no-embedded-parser"])?;
    parts.expect(&kernel, None, Some("console=ttyS0 attached"))?;
    parts.expect_parsers(&[("uki", "built-in")])
}

/// The layout of a bzImage is fixed: what lies behind its headers cannot move.
fn no_room(stand: &Stand) -> Result<()> {
    let (image, _) = stock_kernel(Target::X86_64)?;
    let out = stand.path("out.efi");
    let parser = parser_object("uki")?;
    stand.fails(&[&"attach", &image, &parser, &"-o", &out, &"--drop-signature"])?;
    ensure!(!out.exists(), "a file was left behind");
    Ok(())
}

/// Parsers that hand over nothing, loop, or read what they may not.
const FAILING: &[(&str, &str, &str)] = &[
    ("nothing", "", "no kernel was handed over"),
    (
        "loops",
        "for (;;) __asm__ volatile(\"\");",
        "instructions is used up",
    ),
    ("faults", "return *(volatile int *)16;", "NULL pointer"),
    (
        "again",
        "bpf_copy_to_kernel(ukexec_kernel, ctx->image, ctx->image_sz);",
        "no progress",
    ),
];

/// An image is written only where its parser works on it, or with `--force`.
fn fails(stand: &Stand) -> Result<()> {
    let (image, _) = make_uki(stand)?;
    let out = stand.path("out.efi");
    for (name, body, words) in FAILING {
        let source = format!(
            "#include <ukexec/parser.h>\nUKEXEC_LICENSE(\"GPL\");\n\
             UKEXEC_PARSE(parse_pe, ctx)\n{{\n\t(void)ctx;\n\t{body}\n\treturn 0;\n}}\n"
        );
        let source = stand.file(&format!("{name}.bpf.c"), source)?;
        let object = stand.path(&format!("{name}.bpf.o"));
        let source = source.to_string_lossy();
        parsers::compile(&source, parsers::CLANG, parsers::CPU, &[], &object)?;
        let message = stand.fails(&[&"attach", &image, &object, &"-o", &out])?;
        check_words(&message, &[words, "--force"]).with_context(|| (*name).to_owned())?;
        ensure!(!out.exists(), "{name}: a file was left behind");
        stand.ukexec(&[&"attach", &image, &object, &"-o", &out, &"--force"])?;
        stand.refuses(&out, &[], &[words])?;
        std::fs::remove_file(&out)?;
    }
    Ok(())
}
