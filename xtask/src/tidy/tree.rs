//! The tree that rules apply to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Tool;

/// A violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// The file, from the root of the checkout.
    pub(super) file: String,
    /// The fault, and the remedy.
    pub(super) what: String,
}

impl Finding {
    pub(super) fn new(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            what: what.into(),
        }
    }
}

/// The tree that rules are applied to.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// All files that are tracked or could be, from the root.
    pub(super) files: Vec<String>,
}

impl Tree {
    pub(super) fn open(root: &Path) -> Result<Self> {
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
    pub(super) fn ending<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.files
            .iter()
            .map(String::as_str)
            .filter(|file| endings.iter().any(|ending| file.ends_with(ending)))
    }

    pub(super) fn bytes(&self, file: &str) -> Result<Vec<u8>> {
        fs::read(self.root.join(file)).with_context(|| format!("cannot read {file}"))
    }

    pub(super) fn text(&self, file: &str) -> Result<String> {
        String::from_utf8(self.bytes(file)?).with_context(|| format!("{file} is not UTF-8"))
    }
}

pub(super) fn from_root(tree: &Tree, path: &str) -> String {
    let root = tree.root.to_string_lossy();
    path.strip_prefix(&*root)
        .unwrap_or(path)
        .trim_start_matches('/')
        .to_owned()
}
