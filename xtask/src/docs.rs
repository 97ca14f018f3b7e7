//! Pages that are made from the sources: written, or compared with what is committed.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::command::Tool;
use crate::workspace;

/// The page, and the command whose output it is.
const HELPERS: (&str, &[&str]) = ("docs/helpers.md", &["parser", "helpers"]);

/// The line below the title.
const ORIGIN: &str = "<!-- Made from the tables in the sources: `cargo xtask docs` writes this page, `cargo xtask tidy` compares it. -->";

/// Writes the pages; with `check`, compares them.
///
/// # Errors
///
/// `ukexec` does not build or run; with `check`, a page is not what the sources make of it.
pub(crate) fn run(check: bool) -> Result<()> {
    let (page, command) = HELPERS;
    let root = workspace::root();
    let made = Tool::new("cargo")
        .args(["run", "--quiet", "--package", "ukexec", "--"])
        .args(command)
        .dir(&root)
        .text()?;
    let (title, text) = made.split_once('\n').context("the page has no title")?;
    let made = format!("{title}\n\n{ORIGIN}\n{text}");
    let path = root.join(page);
    if check {
        let committed = fs::read_to_string(&path).unwrap_or_default();
        ensure!(
            committed == made,
            "{page} is not what the sources make of it: run `cargo xtask docs` and commit it"
        );
        return Ok(());
    }
    fs::write(&path, made).with_context(|| format!("cannot write {page}"))?;
    println!("wrote {page}");
    Ok(())
}
