//! The words of files: how sources open, and names that belong to one machine alone.

use std::env;

use anyhow::Result;

use super::tree::{Finding, Tree};

/// Sources with more lines than this are worth a second look.
const LONG: usize = 700;
const LICENCE: &str = "SPDX-License-Identifier:";

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = openings(tree)?;
    let names = machine_names(tree);
    for file in &tree.files {
        let bytes = tree.bytes(file)?;
        findings.extend(
            names
                .iter()
                .filter(|name| holds_path(&bytes, name.as_bytes()))
                .map(|name| {
                    Finding::new(
                        file.clone(),
                        format!("holds {name}, a path of one machine: take it out"),
                    )
                }),
        );
    }
    Ok(findings)
}

/// Sources that may hold more than one subject. Not a rule, so not a finding.
pub(super) fn long_files(tree: &Tree) -> Result<Vec<Finding>> {
    let mut notes = Vec::new();
    for file in tree.ending(&[".rs", ".c", ".h"]) {
        let lines = tree.text(file)?.lines().count();
        if lines > LONG {
            notes.push(Finding::new(
                file,
                format!("{lines} lines: does it hold one subject only?"),
            ));
        }
    }
    Ok(notes)
}

/// Rust sources open with what they are about, C sources with their licence.
fn openings(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in tree.ending(&[".rs"]) {
        if !tree.text(file)?.starts_with("//! ") {
            findings.push(Finding::new(
                file,
                "does not open with `//!`: say in a sentence what it is about",
            ));
        }
    }
    for file in tree.ending(&[".c", ".h"]) {
        let text = tree.text(file)?;
        if !text.lines().next().unwrap_or_default().contains(LICENCE) {
            findings.push(Finding::new(
                file,
                format!("does not open with a line that holds `{LICENCE}`"),
            ));
        }
    }
    Ok(findings)
}

/// Paths that no file of the tree may hold: homes, work folders, and wherever this checkout lies.
fn machine_names(tree: &Tree) -> Vec<String> {
    let mut names: Vec<String> = ["home", "root", "Users", "work", "farm"]
        .iter()
        .map(|dir| format!("/{dir}/"))
        .collect();
    names.push(tree.root.to_string_lossy().into_owned());
    names.extend(env::var("HOME").ok());
    // The names of the root folder and of what lies right in it mean nothing in particular.
    names.retain(|name| name.trim_end_matches('/').matches('/').count() > 1 || name.ends_with('/'));
    names
}

/// Whether `bytes` hold the absolute path `path`: not as the end of a longer one.
fn holds_path(bytes: &[u8], path: &[u8]) -> bool {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-$}*".contains(byte);
    bytes
        .windows(path.len())
        .enumerate()
        .filter(|(_, window)| *window == path)
        .any(|(at, _)| {
            !at.checked_sub(1)
                .and_then(|before| bytes.get(before))
                .is_some_and(inside)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_where_it_starts() {
        assert!(holds_path(b"see /there/x", b"/there/"));
        assert!(holds_path(b"\0/there/x.c\0", b"/there/"));
        assert!(!holds_path(b"usr/there/x", b"/there/"));
        assert!(!holds_path(b"${DIR}/there/x", b"/there/"));
        assert!(!holds_path(b"/there", b"/there/"));
    }
}
