//! The layouts that `kexec_load` gets, for the device trees of real boards.

use anyhow::{Result, ensure};

use crate::command::Tool;
use crate::materials::device_trees;
use crate::stand::Stand;
use crate::workspace;

use super::Named;

pub(super) const CASES: &[Named] = &[Named::new("layout/boards", boards)];

/// The test is one of the crate itself, which cargo runs only where it is named.
fn boards(_stand: &Stand) -> Result<()> {
    let printed = Tool::new("cargo")
        .args(["test", "--workspace", "--all-features", "--test", "boards"])
        .args(["--", "--show-output"])
        .env("UKEXEC_DEVICE_TREES", device_trees()?)
        .dir(workspace::root())
        .text()?;
    ensure!(printed.contains("1 passed"), "no test ran: {printed}");
    let summary = printed.lines().find(|it| it.ends_with(" boards"));
    println!("layout: {}", summary.unwrap_or_default());
    Ok(())
}
