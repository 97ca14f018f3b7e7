//! Debian's own kdump, with an image as its capture kernel.

use std::fs;

use anyhow::{Result, ensure};

use crate::debian;
use crate::stand::Stand;

use super::Named;

pub(super) const CASES: &[Named] = &[
    Named::new("kdump/call-in-bookworm", |stand| call(stand, "bookworm")),
    Named::new("kdump/call-in-trixie", |stand| call(stand, "trixie")),
];

/// The settings for an image that brings its initrd.
const SETTINGS: &str = "USE_KDUMP=1\nKDUMP_KERNEL=/uki.efi\nKDUMP_INITRD=\nKDUMP_CMDLINE=one\n\
                        KDUMP_CMDLINE_APPEND=two\n";

/// `kdump-config` hands the image over as it is, and names no initrd.
fn call(stand: &Stand, suite: &str) -> Result<()> {
    let root = stand.path("root");
    debian::copy(&debian::root(suite, debian::SERVER)?, &root)?;
    fs::write(root.join("etc/default/kdump-tools"), SETTINGS)?;
    fs::write(root.join("uki.efi"), "MZ")?;
    let said = debian::inside(&root)
        .args(["kdump-config", "test"])
        .text()?;
    let expected = "/sbin/kexec -p --command-line=\"one two\" /uki.efi";
    ensure!(
        said.lines().any(|line| line.trim() == expected),
        "expected the line {expected:?}, found:\n{said}"
    );
    Ok(())
}
