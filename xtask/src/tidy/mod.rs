//! `cargo xtask tidy`: the rules of this tree that no other tool knows.
//!
//! Every finding names a file and says what to do about it.

mod crates;
mod dependencies;
mod links;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::command::Tool;
use crate::{docs, workspace};

/// What breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, from the root of the checkout.
    file: String,
    /// What is wrong, and what to do.
    what: String,
}

impl Finding {
    fn new(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            what: what.into(),
        }
    }
}

/// The tree that rules are applied to.
struct Tree {
    root: PathBuf,
    /// All files that are tracked or could be, from the root.
    files: Vec<String>,
}

/// Applies every rule.
///
/// # Errors
///
/// A rule is broken, or the tree cannot be read.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::open(&workspace::root())?;
    let metadata = metadata(&tree.root)?;
    let mut findings = Vec::new();
    findings.extend(crates::check(&tree, &metadata)?);
    let fuzz = self::metadata(&tree.root.join("fuzz"))?;
    findings.extend(dependencies::check(&tree, &[metadata, fuzz].concat())?);
    findings.extend(links::check(&tree)?);
    findings.extend(text::check(&tree)?);
    findings.sort();
    findings.dedup();
    if let Err(stale) = docs::run(true) {
        findings.push(Finding::new("docs", format!("{stale:#}")));
    }
    for note in text::long_files(&tree)? {
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

impl Tree {
    fn open(root: &Path) -> Result<Self> {
        let listed = Tool::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .dir(root)
            .text()?;
        let mut files: Vec<String> = listed
            .split_terminator('\0')
            .filter(|file| root.join(file).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        Ok(Self {
            root: root.to_path_buf(),
            files,
        })
    }

    /// The files whose names end with one of `endings`.
    fn ending<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.files
            .iter()
            .map(String::as_str)
            .filter(|file| endings.iter().any(|ending| file.ends_with(ending)))
    }

    fn bytes(&self, file: &str) -> Result<Vec<u8>> {
        fs::read(self.root.join(file)).with_context(|| format!("cannot read {file}"))
    }

    fn text(&self, file: &str) -> Result<String> {
        String::from_utf8(self.bytes(file)?).with_context(|| format!("{file} is not UTF-8"))
    }
}

/// What cargo knows about the own packages of the workspace at `root`.
fn metadata(root: &Path) -> Result<Vec<Value>> {
    let text = Tool::new("cargo")
        .args(["metadata", "--format-version=1", "--no-deps"])
        .dir(root)
        .text()?;
    let mut metadata: Value = serde_json::from_str(&text).context("`cargo metadata`")?;
    match metadata.get_mut("packages").map(Value::take) {
        Some(Value::Array(packages)) => Ok(packages),
        _ => Err(anyhow!("`cargo metadata` lists no packages")),
    }
}

/// The text of a field of a package, or nothing.
fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The entries of a field of a package, or none.
fn entries<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
