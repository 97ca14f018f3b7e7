//! No two public types of the workspace share a name: one word for each idea.

use std::collections::BTreeMap;

use super::modules::Package;
use super::tree::Finding;

/// Names that public types share, the crates of these types, and why they may share it. A line
/// goes when its types are renamed.
const SHARED: [(&str, &[&str], &str); 2] = [
    ("Machine", &["loader", "pe"], UNDECIDED),
    ("Options", &["loader", "unfold"], UNDECIDED),
];
const UNDECIDED: &str = "named before this rule: rename all but one";

/// A public type: its crate and its file.
type Owner = (String, String);

/// Types that share a name without being allowed to.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    public_types(packages)
        .into_iter()
        .filter(|(_, owners)| owners.len() > 1)
        .filter(|(name, owners)| beyond(owners, allowed(name)))
        .map(|(name, owners)| {
            let crates: Vec<&str> = owners.iter().map(|(_, file)| file.as_str()).collect();
            Finding::new(
                crates.join(", "),
                format!(
                    "more than one public type is called {name}: name each by what it alone is; \
                     if they are one idea in two formats, list them in xtask/src/tidy/names.rs"
                ),
            )
        })
        .collect()
}

/// Lines of the table that are not needed any more.
pub(super) fn notes(packages: &[Package]) -> Vec<Finding> {
    let types = public_types(packages);
    SHARED
        .iter()
        .filter(|(name, crates, _)| types.get(*name).map_or(0, Vec::len) < crates.len())
        .map(|(name, _, _)| {
            let what = format!("fewer public types than are listed have the name {name}");
            Finding::new("xtask/src/tidy/names.rs", what)
        })
        .collect()
}

fn public_types(packages: &[Package]) -> BTreeMap<String, Vec<Owner>> {
    let mut types: BTreeMap<String, Vec<Owner>> = BTreeMap::new();
    for package in packages {
        for modules in &package.targets {
            for (name, file) in modules.public_types() {
                let owner = (package.name.clone(), file.to_owned());
                types.entry(name.to_owned()).or_default().push(owner);
            }
        }
    }
    types
}

/// Whether a crate has the name more often than the table allows.
fn beyond(owners: &[Owner], allowed: &[&str]) -> bool {
    owners.iter().any(|(owner, _)| {
        let has = owners.iter().filter(|(one, _)| one == owner).count();
        let may = allowed.iter().filter(|one| *one == owner).count();
        has > may
    })
}

fn allowed(name: &str) -> &'static [&'static str] {
    SHARED
        .iter()
        .find(|(shared, _, _)| *shared == name)
        .map_or(&[], |(_, crates, _)| *crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    use expect_test::{Expect, expect};

    fn check(files: &[(&str, &str)], expected: &Expect) {
        let findings = super::check(&[Package::of(files).unwrap()]);
        let lines = findings
            .iter()
            .map(|one| format!("{}: {}\n", one.file, one.what));
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn public_types_of_one_name_are_found() {
        check(
            &[
                (
                    "lib.rs",
                    "mod a; pub mod b; pub struct One; pub struct Two;",
                ),
                (
                    "a.rs",
                    "pub(crate) struct One; pub fn Two() {} pub union Three { a: u8 }",
                ),
                (
                    "b.rs",
                    "pub mod c { pub enum One {} } pub trait Three {} pub type Four = u8;",
                ),
            ],
            &expect![[r#"
                crates/x/src/lib.rs, crates/x/src/b.rs: more than one public type is called One: name each by what it alone is; if they are one idea in two formats, list them in xtask/src/tidy/names.rs
                crates/x/src/a.rs, crates/x/src/b.rs: more than one public type is called Three: name each by what it alone is; if they are one idea in two formats, list them in xtask/src/tidy/names.rs
            "#]],
        );
    }

    #[test]
    fn exporting_under_another_name_gives_one() {
        check(
            &[
                (
                    "lib.rs",
                    "mod a; pub use a::One; pub use a::One as Two; pub struct Two;",
                ),
                (
                    "a.rs",
                    "pub struct One; pub const X: u8 = 1; pub use self::X as One;",
                ),
            ],
            &expect![[r#"
                crates/x/src/lib.rs, crates/x/src/lib.rs: more than one public type is called Two: name each by what it alone is; if they are one idea in two formats, list them in xtask/src/tidy/names.rs
            "#]],
        );
    }

    #[test]
    fn types_of_tests_and_of_functions_are_not_public() {
        check(
            &[
                (
                    "lib.rs",
                    "mod a; pub struct One; #[cfg(test)] mod t { pub struct One; }",
                ),
                (
                    "a.rs",
                    "fn f() { pub struct One; } #[cfg(test)] pub struct One;",
                ),
            ],
            &expect![""],
        );
    }

    #[test]
    fn a_shared_name_is_for_the_crates_it_is_listed_for() {
        let owners = |crates: &[&str]| -> Vec<Owner> {
            let owner = |name: &&str| ((*name).to_owned(), String::new());
            crates.iter().map(owner).collect()
        };
        assert!(!beyond(&owners(&["a", "b"]), &["a", "b", "c"]));
        assert!(beyond(&owners(&["a", "d"]), &["a", "b", "c"]));
        assert!(beyond(&owners(&["a", "a"]), &["a", "b"]));
        assert!(!beyond(&owners(&["a", "a"]), &["a", "a"]));
    }
}
