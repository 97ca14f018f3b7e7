//! Wings: folders of one crate in an order, so that a reader of one needs to know only those
//! to its right.
//!
//! A file of a wing may use its own wing, the wings to the right, and the files that lie in no wing.
//! Those files use no wing, but for the crate's root, which exports names.

use super::arrows::{arrows, join};
use super::modules::{Modules, Package};
use super::tree::Finding;

/// The wings of each crate that has some, from left to right.
const WINGS: [(&str, &[&str]); 1] = [("bpf", &["load", "verify", "run", "guest"])];
const ROOT: &str = "lib.rs";

/// The arrows that run from right to left, or from a shared file into a wing, and the wings that
/// are no more.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let wings = |package: &Package| WINGS.iter().find(|(name, _)| *name == package.name);
    packages
        .iter()
        .filter_map(|package| Some((package, wings(package)?.1)))
        .flat_map(|(package, wings)| [wrong(package, wings), absent(package, wings)].concat())
        .collect()
}

fn wrong(package: &Package, wings: &[&str]) -> Vec<Finding> {
    let place = |file: &str| wings.iter().position(|wing| is_in(file, wing));
    let is_wrong = |from: &str, to: &str| match (place(from), place(to)) {
        (_, None) => false,
        (Some(from), Some(to)) => from > to,
        (None, Some(_)) => from != ROOT,
    };
    arrows(package)
        .into_iter()
        .filter(|((from, to), _)| is_wrong(from, to))
        .map(|((from, to), names)| {
            Finding::new(
                format!("{}/src/{from}", package.folder),
                format!(
                    "uses {} of {to}, against the order of the wings ({}): move the item to the \
                     right, or to a file beside the wings that both may use",
                    join(&names),
                    wings.join(", "),
                ),
            )
        })
        .collect()
}

/// A wing without a file checks nothing.
fn absent(package: &Package, wings: &[&str]) -> Vec<Finding> {
    let has = |wing: &str| {
        let src = format!("{}/src/", package.folder);
        let mut modules = package.targets.iter().flat_map(Modules::iter);
        modules.any(|(_, module)| {
            let file = module.file.strip_prefix(&src);
            file.is_some_and(|file| is_in(file, wing))
        })
    };
    wings
        .iter()
        .filter(|wing| !has(wing))
        .map(|wing| {
            let what = format!("has no wing {wing}: name its wings in {}", file!());
            Finding::new(&package.folder, what)
        })
        .collect()
}

/// Whether a file is the wing's own, `wing.rs`, or lies in its folder.
fn is_in(file: &str, wing: &str) -> bool {
    file.strip_prefix(wing)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    use expect_test::{Expect, expect};

    /// Compares the faults of a crate with the wings `one` and `two`, in which two files differ from
    /// a good state.
    fn check(changed: &[(&str, &str)], expected: &Expect) {
        let mut files = [
            (
                "lib.rs",
                "mod one; mod two; mod onerous; pub use one::a::A; fn f(_: A) {}",
            ),
            ("one.rs", "pub mod a; use crate::two::b::B;"),
            (
                "one/a.rs",
                "pub struct A; use crate::{one, onerous::S, two::b::B};",
            ),
            ("two.rs", "pub mod b;"),
            ("two/b.rs", "pub struct B(crate::onerous::S);"),
            ("onerous.rs", "pub struct S;"),
        ];
        for (file, text) in changed {
            let one = files.iter_mut().find(|(name, _)| name == file);
            one.unwrap().1 = text;
        }
        let package = Package::of(&files).unwrap();
        let wings = ["one", "two"];
        let lines: String = [wrong(&package, &wings), absent(&package, &wings)]
            .concat()
            .iter()
            .map(|finding| format!("{}: {}\n", finding.file, finding.what))
            .collect();
        expected.assert_eq(&lines);
    }

    #[test]
    fn arrows_to_the_right_and_to_shared_files_are_right() {
        check(&[], &expect![""]);
    }

    #[test]
    fn an_arrow_to_the_left_is_found_whatever_its_path() {
        check(
            &[("two/b.rs", "pub struct B(crate::A);")],
            &expect![[r#"
            crates/x/src/two/b.rs: uses A of one/a.rs, against the order of the wings (one, two): move the item to the right, or to a file beside the wings that both may use
        "#]],
        );
        check(
            &[(
                "two/b.rs",
                "pub struct B; use super::super::one::a;  fn f(_: a::A) {}",
            )],
            &expect![[r#"
                crates/x/src/two/b.rs: uses A of one/a.rs, against the order of the wings (one, two): move the item to the right, or to a file beside the wings that both may use
            "#]],
        );
    }

    #[test]
    fn a_shared_file_uses_no_wing() {
        check(
            &[("onerous.rs", "pub struct S; use crate::two::b::*;")],
            &expect![[r#"
                crates/x/src/onerous.rs: uses * of two/b.rs, against the order of the wings (one, two): move the item to the right, or to a file beside the wings that both may use
            "#]],
        );
    }

    #[test]
    fn tests_may_use_every_wing() {
        check(
            &[(
                "two.rs",
                "pub mod b; #[cfg(test)] mod tests { use crate::one::a::A; }",
            )],
            &expect![""],
        );
    }

    #[test]
    fn a_wing_has_a_file() {
        check(
            &[
                ("lib.rs", "mod one; mod onerous;"),
                ("one.rs", "pub mod a;"),
                ("one/a.rs", ""),
            ],
            &expect![[r#"
                crates/x: has no wing two: name its wings in xtask/src/tidy/wings.rs
            "#]],
        );
    }
}
