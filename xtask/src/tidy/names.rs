//! No two public types of the workspace share a name: one word for each idea.

use std::collections::BTreeMap;

use super::modules::Package;
use super::tree::Finding;

/// Types that share a name.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    public_types(packages)
        .into_iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| {
            Finding::new(
                files.join(", "),
                format!(
                    "more than one public type is called {name}: name each by what it alone is"
                ),
            )
        })
        .collect()
}

fn public_types(packages: &[Package]) -> BTreeMap<String, Vec<String>> {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        for modules in &package.targets {
            for (name, file) in modules.public_types() {
                types
                    .entry(name.to_owned())
                    .or_default()
                    .push(file.to_owned());
            }
        }
    }
    types
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
                crates/x/src/lib.rs, crates/x/src/b.rs: more than one public type is called One: name each by what it alone is
                crates/x/src/a.rs, crates/x/src/b.rs: more than one public type is called Three: name each by what it alone is
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
                crates/x/src/lib.rs, crates/x/src/lib.rs: more than one public type is called Two: name each by what it alone is
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
}
