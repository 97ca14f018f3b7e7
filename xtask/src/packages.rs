//! Whether each crate can be published: its package holds every file that it is compiled from, and
//! cargo can make the package without a network.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::Tool;
use crate::metadata::{self, field};
use crate::workspace;

/// The macros that compile another file into a crate.
const INCLUDES: [&str; 3] = ["include_bytes!(", "include_str!(", "include!("];

/// Lists the package of each crate that may be published, checks what its sources include, and
/// makes all packages.
///
/// # Errors
///
/// A source includes a file that is not in its package, or cargo cannot make the packages.
pub(crate) fn check() -> Result<()> {
    let packages = metadata::packages(&workspace::root())?;
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| may_be_published(package)) {
        findings.extend(outside(package)?);
    }
    if !findings.is_empty() {
        bail!("files that packages lack:\n{}", findings.join("\n"));
    }
    package()
        .args(["--workspace", "--no-verify", "--quiet"])
        .run()
}

/// `publish = false` is an empty list of registries; without the key there is none.
fn may_be_published(package: &Value) -> bool {
    package.get("publish").is_none_or(Value::is_null)
}

/// The includes of a package that name no file of it.
fn outside(package: &Value) -> Result<Vec<String>> {
    let name = field(package, "name");
    let (folder, _) = field(package, "manifest_path")
        .rsplit_once('/')
        .context("a manifest lies in a folder")?;
    let list = self::package().args(["--list", "-p", name]).text()?;
    let files: BTreeSet<&str> = list.lines().collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let path = format!("{folder}/{file}");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let missing = includes(&text)
            .filter(|included| !beside(file, included).is_some_and(|one| files.contains(&*one)));
        findings.extend(missing.map(|included| {
            format!("{name}: {file} includes {included:?}: copy the file into the package")
        }));
    }
    Ok(findings)
}

/// The arguments of the macros that include a file.
fn includes(text: &str) -> impl Iterator<Item = &str> {
    INCLUDES
        .iter()
        .flat_map(|include| text.split(include).skip(1))
        .filter_map(|rest| rest.split(')').next())
        .map(|argument| argument.trim().trim_end_matches(',').trim_matches('"'))
}

/// The path that `file` names `path`, from the folder of the package; none outside of it.
fn beside(file: &str, path: &str) -> Option<String> {
    let mut folders: Vec<&str> = file.split('/').collect();
    folders.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(folders.pop()?),
            part => folders.push(part),
        }
    }
    Some(folders.join("/"))
}

/// `cargo package`, of the files as they are now, without a look at a registry.
fn package() -> Tool {
    Tool::new("cargo")
        .args(["package", "--offline", "--allow-dirty", "--no-metadata"])
        .dir(workspace::root())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_found_wherever_they_stand() {
        let text =
            "const A: &[u8] = include_bytes!(\"../a.o\");\n#![doc = include_str!(\n\"b.md\",\n)]";
        assert_eq!(includes(text).collect::<Vec<_>>(), ["../a.o", "b.md"]);
    }

    #[test]
    fn a_path_is_followed_to_the_edge_of_the_package() {
        assert_eq!(beside("src/a/b.rs", "../c.o").as_deref(), Some("src/c.o"));
        assert_eq!(beside("src/a/b.rs", "./../../c").as_deref(), Some("c"));
        assert_eq!(beside("src/a.rs", "../../c.o"), None);
    }
}
