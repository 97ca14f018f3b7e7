//! Links in Markdown files lead to files and headings that exist.

use std::path::Path;

use anyhow::Result;

use super::tree::{Finding, Tree};

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in tree.ending(&[".md"]) {
        for link in links(&tree.text(file)?) {
            if let Some(what) = broken(tree, file, &link)? {
                findings.push(Finding::new(file, what));
            }
        }
    }
    Ok(findings)
}

/// The fault of a link, or nothing. Links to other machines are not followed.
fn broken(tree: &Tree, file: &str, link: &str) -> Result<Option<String>> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(None);
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        tree.root.join(file)
    } else {
        let dir = Path::new(file).parent().unwrap_or(Path::new(""));
        tree.root.join(dir).join(path)
    };
    if !target.exists() {
        return Ok(Some(format!(
            "links to {path}, which does not exist: mend the link or write the file"
        )));
    }
    if !heading.is_empty() && target.extension().is_some_and(|e| e == "md") {
        let page = std::fs::read_to_string(&target)?;
        if !headings(&page).any(|one| one == heading) {
            return Ok(Some(format!(
                "links to the heading #{heading} of {}, which it does not have",
                target.strip_prefix(&tree.root).unwrap_or(&target).display()
            )));
        }
    }
    Ok(None)
}

/// The targets of `[text](target)` and `[name]: target`, code left out.
fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        if let Some((name, target)) = line.split_once("]: ")
            && name.starts_with('[')
        {
            links.extend(target.split_whitespace().next().map(str::to_owned));
        }
        links.extend(
            line.split("](")
                .skip(1)
                .filter_map(|rest| rest.split([')', ' ']).next())
                .map(str::to_owned),
        );
    }
    links
}

/// The lines of a page that are not inside a fenced block.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// A line without what stands in backquotes.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The headings of a page, as links name them.
fn headings(page: &str) -> impl Iterator<Item = String> {
    prose(page)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_links_of_both_forms_and_none_in_code() {
        let page = "See [a](b.md#c) and [d](e \"title\").\n[f]: g.md\n`[h](i)`\n```\n[j](k)\n```\n";
        assert_eq!(links(page), ["b.md#c", "e", "g.md"]);
    }

    #[test]
    fn headings_become_anchors() {
        let page = "# Which parser runs?\n\n```\n# comment\n```\n## `--json`\n";
        let found: Vec<String> = headings(page).collect();
        assert_eq!(found, ["which-parser-runs", "--json"]);
    }
}
