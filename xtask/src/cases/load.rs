//! What loading costs: memory and bytes moved, on an image with a large initrd. No clocks here.

use anyhow::{Context, Result, ensure};

use crate::command::said;
use crate::materials::{Stub, Target, stub};
use crate::stand::{Stand, document, number_at, text_at};
use crate::uki::{Section, objcopy};

use super::{Named, noise, stock_kernel};

const INITRD_LEN: usize = 200 << 20;
const MEMORY_LIMIT: u64 = 40 << 20;
/// Headers and the like may pass through the program.
const THROUGH_USER_LIMIT: u64 = 1 << 20;

pub(super) const CASES: &[Named] = &[Named::new("load/dry-run-moves-each-byte-once", dry_run)];

fn dry_run(stand: &Stand) -> Result<()> {
    let (kernel, kernel_bytes) = stock_kernel(Target::X86_64)?;
    let initrd = stand.file("initrd", noise(INITRD_LEN))?;
    let cmdline = stand.file("cmdline", "console=ttyS0 big")?;
    let image = stand.path("uki.efi");
    let section = |name, file| Section { name, file };
    objcopy(
        &stub(Target::X86_64, Stub::V252)?,
        &[
            section(".cmdline", &cmdline),
            section(".initrd", &initrd),
            section(".linux", &kernel),
        ],
        &image,
    )?;
    let (output, usage) = stand.measure(&[&"load", &image, &"--dry-run", &"--json"])?;
    ensure!(output.status.success(), "it failed: {}", said(&output));
    let report = document(&String::from_utf8_lossy(&output.stdout))?;
    ensure!(
        usage.peak_memory < MEMORY_LIMIT,
        "it held {} MiB of memory",
        usage.peak_memory >> 20
    );
    let moved = number_at(&report, "/load/bytes_moved/in_kernel")?;
    let size = image.metadata()?.len();
    ensure!(
        moved <= size && moved > (kernel_bytes.len() + INITRD_LEN) as u64,
        "the kernel moved {moved} bytes of an image of {size}"
    );
    let through_user = number_at(&report, "/load/bytes_moved/through_user")?;
    ensure!(
        through_user < THROUGH_USER_LIMIT,
        "{through_user} bytes went through the program"
    );
    for part in ["kernel", "initrd"] {
        let descriptor = text_at(&report, &format!("/load/{part}/descriptor"))?;
        ensure!(descriptor == "as it lies", "the {part} was {descriptor}");
    }
    same_length(&report).context("the parts of the report")
}

/// The command line goes over with its NUL.
fn same_length(report: &serde_json::Value) -> Result<()> {
    let cmdline_len = number_at(report, "/load/cmdline_len")?;
    ensure!(cmdline_len == 18, "cmdline_len is {cmdline_len}");
    let initrd = number_at(report, "/initrd/size")?;
    ensure!(initrd == INITRD_LEN as u64, "the initrd has {initrd} bytes");
    Ok(())
}
