//! Signed kernels and signed images: what `sbsign` adds, and where a signed kernel ends.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::Tool;
use crate::materials::{Stub, Target, stub};
use crate::stand::Stand;
use crate::uki::{Section, objcopy};

use super::{Named, read, stock_kernel};

/// Zeros behind the kernel, as some builders of images leave them. Not part of the kernel.
const PADDING: usize = 317;
const CMDLINE: &str = "console=ttyS0 signed";

pub(super) const CASES: &[Named] = &[
    Named::new("signed/kernel-of-debian-is-cut-at-its-end", debians_kernel),
    Named::new("signed/kernel-of-sbsign-is-cut-at-its-end", own_kernel),
    Named::new("signed/image-unfolds-as-unsigned", image),
];

/// Signs `image` with a key made for the occasion.
pub(super) fn sbsign(stand: &Stand, image: &Path, out: &Path) -> Result<()> {
    let (key, certificate) = (stand.path("key.pem"), stand.path("certificate.pem"));
    if !key.exists() {
        Tool::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256"])
            .args(["-days", "3650", "-subj", "/CN=ukexec test key"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .run()?;
    }
    Tool::new("sbsign")
        .arg("--key")
        .arg(key)
        .arg("--cert")
        .arg(certificate)
        .arg("--output")
        .arg(out)
        .arg(image)
        .run()
}

/// The signatures of an image that `sbverify` lists.
pub(super) fn sbverify_list(image: &Path) -> Result<String> {
    Tool::new("sbverify").arg("--list").arg(image).text()
}

/// Makes an image around the file `kernel`.
fn uki(stand: &Stand, kernel: &Path) -> Result<PathBuf> {
    let cmdline = stand.file("cmdline", CMDLINE)?;
    let image = stand.path("uki.efi");
    objcopy(
        &stub(Target::X86_64, Stub::V252)?,
        &[
            Section {
                name: ".cmdline",
                file: &cmdline,
            },
            Section {
                name: ".linux",
                file: kernel,
            },
        ],
        &image,
    )?;
    Ok(image)
}

/// The kernel comes out as it was signed, without the zeros behind it.
fn check_cut(stand: &Stand, kernel: &[u8]) -> Result<()> {
    let padded = [kernel, &[0; PADDING]].concat();
    let image = uki(stand, &stand.file("padded", padded)?)?;
    let parts = stand.unfold(&image, &[])?;
    parts.expect(kernel, None, Some(CMDLINE))?;
    sbverify_list(&parts.path("kernel")).map(drop)
}

fn debians_kernel(stand: &Stand) -> Result<()> {
    let (_, kernel) = stock_kernel(Target::X86_64)?;
    check_cut(stand, &kernel)
}

fn own_kernel(stand: &Stand) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let signed = stand.path("signed");
    sbsign(stand, &kernel, &signed)?;
    check_cut(stand, &read(&signed)?)
}

fn image(stand: &Stand) -> Result<()> {
    let (path, kernel) = stock_kernel(Target::X86_64)?;
    let unsigned = uki(stand, &path)?;
    let signed = stand.path("signed.efi");
    sbsign(stand, &unsigned, &signed)?;
    let parts = stand.unfold(&signed, &[])?;
    parts.expect(&kernel, None, Some(CMDLINE))
}
