//! Crates: the edges between them, and what each of their roots must say.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::tree::{Finding, Tree, from_root};
use crate::metadata::{entries, field, is_shipped, short};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// The one crate that may hold unsafe code.
const MAY_BE_UNSAFE: &str = "kexec";
const FORBID: &str = "#![forbid(unsafe_code)]";
const INHERIT_LINTS: &str = "[lints]\nworkspace = true";

/// Which crates each crate may depend on, by folder name.
type Edges = BTreeMap<String, Vec<String>>;

pub(super) fn check(tree: &Tree, packages: &[Value]) -> Result<Vec<Finding>> {
    let drawn = drawn_edges(&tree.text(ARCHITECTURE)?)
        .with_context(|| format!("{ARCHITECTURE} draws no edges between crates"))?;
    let mut findings = Vec::new();
    for package in packages {
        let manifest = from_root(tree, field(package, "manifest_path"));
        let name = short(field(package, "name"));
        findings.extend(undrawn(&drawn, &manifest, name, package));
        findings.extend(roots(tree, name, package)?);
        if !tree.text(&manifest)?.contains(INHERIT_LINTS) {
            findings.push(Finding::new(
                manifest,
                "does not take over the workspace's lints: add `[lints]` and `workspace = true`",
            ));
        }
    }
    Ok(findings)
}

/// Edges that are drawn and that no manifest has.
pub(super) fn notes(tree: &Tree, packages: &[Value]) -> Result<Vec<Finding>> {
    let drawn = drawn_edges(&tree.text(ARCHITECTURE)?)?;
    Ok(unused(&drawn, packages))
}

/// Reads the sentence ``Edges: `a -> b, c`; `d -> e`.``
fn drawn_edges(architecture: &str) -> Result<Edges> {
    let sentence = architecture
        .split_once("Edges: ")
        .map(|(_, rest)| rest.split("\n\n").next().unwrap_or(rest))
        .unwrap_or_default()
        .replace('\n', " ");
    let edges: Edges = sentence
        .split('`')
        .filter_map(|quoted| quoted.split_once(" -> "))
        .map(|(from, to)| {
            let to = to.split(',').map(|name| name.trim().to_owned());
            (from.trim().to_owned(), to.collect())
        })
        .collect();
    ensure!(!edges.is_empty(), "no sentence \"Edges: `a -> b, c`; …\"");
    Ok(edges)
}

/// Dependencies inside the workspace, of whatever kind, that are not drawn.
fn undrawn(drawn: &Edges, manifest: &str, name: &str, package: &Value) -> Vec<Finding> {
    edges(package)
        .filter(|to| {
            !drawn
                .get(name)
                .is_some_and(|drawn| drawn.iter().any(|one| one == to))
        })
        .map(|to| {
            Finding::new(
                manifest,
                format!(
                    "the edge {name} -> {to} is not drawn in {ARCHITECTURE}: do without it, or \
                     draw it there and say why"
                ),
            )
        })
        .collect()
}

fn unused(drawn: &Edges, packages: &[Value]) -> Vec<Finding> {
    let is_used = |from: &str, to: &str| {
        packages.iter().any(|package| {
            short(field(package, "name")) == from && edges(package).any(|one| one == to)
        })
    };
    drawn
        .iter()
        .flat_map(|(from, drawn)| drawn.iter().map(move |to| (from, to)))
        .filter(|(from, to)| !is_used(from, to))
        .map(|(from, to)| {
            Finding::new(
                ARCHITECTURE,
                format!("draws the edge {from} -> {to}, which no manifest has"),
            )
        })
        .collect()
}

/// The crates of the workspace that a package depends on.
fn edges(package: &Value) -> impl Iterator<Item = &str> {
    entries(package, "dependencies")
        .iter()
        .filter(|dependency| dependency.get("path").is_some())
        .map(|dependency| short(field(dependency, "name")))
}

/// The root file of each library and program forbids unsafe code. Tests and benches have the
/// workspace's lint, which denies it.
fn roots(tree: &Tree, name: &str, package: &Value) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if name == MAY_BE_UNSAFE {
        return Ok(findings);
    }
    for target in entries(package, "targets")
        .iter()
        .filter(|target| is_shipped(target))
    {
        let root = from_root(tree, field(target, "src_path"));
        if !tree.text(&root)?.contains(FORBID) {
            findings.push(Finding::new(
                root,
                format!("the root of a crate other than {MAY_BE_UNSAFE}: add `{FORBID}`"),
            ));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DRAWN: &str =
        "Text.\n\nEdges: `cli -> pe, bpf`; `boot\n-> pe`. Nothing else.\n\n`x -> y`";

    fn check(from: &str, to: &str) -> usize {
        let package = json!({ "dependencies": [
            { "name": to, "path": "/somewhere" },
            { "name": "anyhow" },
        ]});
        let drawn = drawn_edges(DRAWN).unwrap();
        undrawn(&drawn, "Cargo.toml", from, &package).len()
    }

    #[test]
    fn drawn_edges_pass() {
        assert_eq!(check("cli", "ukexec-bpf"), 0);
        assert_eq!(check("boot", "ukexec-pe"), 0);
    }

    #[test]
    fn other_edges_are_found() {
        assert_eq!(check("boot", "ukexec-bpf"), 1);
        assert_eq!(check("pe", "ukexec-boot"), 1);
        assert_eq!(check("x", "y"), 1); // behind the paragraph
    }

    #[test]
    fn edges_that_nothing_uses_are_found() {
        let package = json!({ "name": "ukexec", "dependencies": [
            { "name": "ukexec-pe", "path": "/somewhere" },
            { "name": "bpf" },
        ]});
        let unused = unused(&drawn_edges(DRAWN).unwrap(), &[package]);
        let unused: Vec<&str> = unused.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(
            unused,
            [
                "draws the edge boot -> pe, which no manifest has",
                "draws the edge cli -> bpf, which no manifest has",
            ]
        );
    }

    #[test]
    fn a_page_without_edges_is_an_error() {
        assert!(drawn_edges("nothing here").is_err());
    }
}
