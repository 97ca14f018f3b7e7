//! Every crate that is used has its line in `docs/dependencies.md`, and no other has one.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::tree::{Finding, Tree};
use crate::metadata::{entries, field};

const PAGE: &str = "docs/dependencies.md";

pub(super) fn check(tree: &Tree, packages: &[Value]) -> Result<Vec<Finding>> {
    Ok(compare(&used(packages), &described(&tree.text(PAGE)?)))
}

/// The crates that the workspace's own packages name as dependencies.
fn used(packages: &[Value]) -> BTreeSet<String> {
    packages
        .iter()
        .flat_map(|package| entries(package, "dependencies"))
        .filter(|dependency| dependency.get("path").is_none())
        .map(|dependency| field(dependency, "name").to_owned())
        .collect()
}

/// The names in backquotes in the first cells of the page's tables.
fn described(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split(" |").next())
        .flat_map(|cell| cell.split('`'))
        .filter(|name| !name.is_empty() && !name.starts_with(','))
        .map(str::to_owned)
        .collect()
}

fn compare(used: &BTreeSet<String>, described: &BTreeSet<String>) -> Vec<Finding> {
    let missing = used.difference(described).map(|name| {
        format!(
            "does not mention `{name}`: add a line with what it is for, why this one, and what \
             else was looked at"
        )
    });
    let stale = described
        .difference(used)
        .map(|name| format!("describes `{name}`, which nothing uses: take the line out"));
    missing
        .chain(stale)
        .map(|what| Finding::new(PAGE, what))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "| crate | for |\n|---|---|\n| `a`, `b` | the `x` of it |\n| `c` | more |\n";

    fn check(used: &[&str]) -> Vec<String> {
        let used = used.iter().map(|&name| name.to_owned()).collect();
        compare(&used, &described(PAGE))
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn a_page_that_fits_is_fine() {
        assert_eq!(check(&["a", "b", "c"]), [""; 0]);
    }

    #[test]
    fn missing_and_stale_lines_are_found() {
        let found = check(&["a", "b", "d"]);
        assert!(found[0].contains("does not mention `d`"), "{found:?}");
        assert!(found[1].contains("describes `c`"), "{found:?}");
    }
}
