//! `cargo xtask tidy`: the rules of this tree that no other tool knows.
//!
//! Every finding names a file and says what to do about it.

mod arrows;
mod circles;
mod crates;
mod dependencies;
mod links;
mod modules;
mod names;
mod paths;
mod text;
mod tree;
mod wings;

use anyhow::{Result, bail};

use crate::{docs, metadata, workspace};

use self::modules::Package;
use self::tree::{Finding, Tree};

/// Applies every rule.
///
/// # Errors
///
/// A rule is broken, or the tree cannot be read.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::open(&workspace::root())?;
    let described = metadata::packages(&tree.root)?;
    let read = |package| Package::read(&tree, package);
    let packages: Vec<Package> = described.iter().map(read).collect::<Result<_>>()?;
    let mut notes = text::long_files(&tree)?;
    notes.extend(crates::notes(&tree, &described)?);
    notes.extend(circles::notes(&packages));
    let mut findings = crates::check(&tree, &described)?;
    findings.extend(circles::check(&packages));
    findings.extend(wings::check(&packages));
    findings.extend(names::check(&packages));
    let fuzz = metadata::packages(&tree.root.join("fuzz"))?;
    findings.extend(dependencies::check(&tree, &[described, fuzz].concat())?);
    findings.extend(links::check(&tree)?);
    findings.extend(text::check(&tree)?);
    findings.sort();
    findings.dedup();
    if let Err(stale) = docs::run(true) {
        findings.push(Finding::new("docs", format!("{stale:#}")));
    }
    for note in notes {
        println!("note: {}: {}", note.file, note.what);
    }
    if findings.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.file, finding.what))
        .collect();
    bail!("the tree is not tidy:\n{}", list.join("\n"));
}
