//! Arrows between the files of a crate: a file leads to the one that defines an item it names.
//!
//! Declaring a module and exporting a name again lead nowhere. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{End, Modules, Package};

/// From a file to another, below the folder of the sources, and the names that lead there.
pub(super) type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

pub(super) fn arrows(package: &Package) -> Arrows {
    let mut arrows = Arrows::new();
    let mut add = |from: &str, to: &str, name: &str| {
        let short = |file: &str| {
            let src = format!("{}/src/", package.folder);
            file.strip_prefix(&src).unwrap_or(file).to_owned()
        };
        if from != to {
            let names = arrows.entry((short(from), short(to))).or_default();
            names.insert(name.to_owned());
        }
    };
    for modules in &package.targets {
        named(modules, &mut add);
        called(modules, &mut add);
    }
    arrows
}

/// Adds the arrows of paths.
fn named(modules: &Modules, add: &mut impl FnMut(&str, &str, &str)) {
    for (number, module) in modules.iter() {
        let used = module.paths.used.iter().map(|path| (path, false));
        let imports = module.paths.imports.iter();
        let imports = imports
            .filter(|import| !import.exported)
            .map(|import| (&import.path, import.name.is_none()));
        for (path, all) in used.chain(imports) {
            for end in modules.resolve(number, path) {
                match end {
                    End::Item {
                        module: to, name, ..
                    } => add(&module.file, modules.file(to), &name),
                    End::Module(to) if all => add(&module.file, modules.file(to), "*"),
                    End::Module(_) => {}
                }
            }
        }
    }
}

/// Adds the arrows of macros that are called without a path: of those that the file does not
/// define itself.
fn called(modules: &Modules, add: &mut impl FnMut(&str, &str, &str)) {
    for (_, module) in modules.iter() {
        for call in &module.paths.calls {
            let definers: BTreeSet<&str> = modules
                .iter()
                .filter(|(_, other)| other.paths.macros.contains(call))
                .map(|(_, other)| other.file.as_str())
                .collect();
            if !definers.contains(module.file.as_str()) {
                definers
                    .into_iter()
                    .for_each(|file| add(&module.file, file, call));
            }
        }
    }
}

pub(super) fn join(words: &BTreeSet<String>) -> String {
    words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    use expect_test::{Expect, expect};

    fn check(files: &[(&str, &str)], expected: &Expect) {
        let lines = arrows(&Package::of(files).unwrap())
            .iter()
            .map(|((from, to), names)| format!("{from} -> {to}: {}\n", join(names)))
            .collect::<String>();
        expected.assert_eq(&lines);
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_its_end() {
        check(
            &[
                (
                    "lib.rs",
                    "mod a; mod b; pub use a::One; pub use b::Two as Zwei;",
                ),
                ("a.rs", "use crate::Zwei; pub struct One(Zwei);"),
                (
                    "b.rs",
                    "pub struct Two; fn f() -> crate::One { super::a::One }",
                ),
            ],
            &expect![[r#"
                a.rs -> b.rs: Two
                b.rs -> a.rs: One
            "#]],
        );
    }

    #[test]
    fn declaring_and_exporting_lead_nowhere_and_using_does() {
        check(
            &[
                ("lib.rs", "pub mod a; pub(crate) use a::One; pub use a::*;"),
                ("a.rs", "pub struct One;"),
            ],
            &expect![""],
        );
        check(
            &[
                ("lib.rs", "mod a; pub use a::One; fn f(_: One) {}"),
                ("a.rs", "pub struct One;"),
            ],
            &expect![[r#"
                lib.rs -> a.rs: One
            "#]],
        );
    }

    #[test]
    fn a_module_leads_nowhere_and_its_items_do() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c; pub use c::c;"),
                (
                    "a.rs",
                    "use crate::{b, c}; const N: u8 = b::N; fn f() { c::c::<u8>() }",
                ),
                ("b.rs", "pub const N: u8 = 1; use crate::c;"),
                ("c.rs", "pub mod d; pub fn c<T>() { d::e() }"),
                (
                    "c/d.rs",
                    "pub fn e() { self::f(); super::super::b::N; } fn f() {}",
                ),
            ],
            &expect![[r#"
                a.rs -> b.rs: N
                a.rs -> c.rs: c
                b.rs -> c.rs: c
                c.rs -> c/d.rs: e
                c/d.rs -> b.rs: N
            "#]],
        );
    }

    #[test]
    fn all_of_a_module_leads_to_it_and_to_the_items_used() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "use crate::b::*; fn f() { g() }"),
                ("b.rs", "pub use crate::c::*;"),
                ("c.rs", "pub fn g() {}"),
            ],
            &expect![[r#"
                a.rs -> b.rs: *
                a.rs -> c.rs: g
            "#]],
        );
    }

    #[test]
    fn a_name_from_a_macro_or_another_crate_is_where_it_is_asked_for() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use other::Thing;"),
                ("a.rs", "table! { EPERM }"),
                (
                    "b.rs",
                    "use crate::a::EPERM; use crate::Thing; use std::a::B; ::a::B!();",
                ),
            ],
            &expect![[r#"
                b.rs -> a.rs: EPERM
                b.rs -> lib.rs: Thing
            "#]],
        );
    }

    #[test]
    fn a_macro_leads_to_where_it_is_defined() {
        check(
            &[
                (
                    "lib.rs",
                    "macro_rules! one { () => { $crate::b::N } } mod a; mod b;",
                ),
                (
                    "a.rs",
                    "macro_rules! own { () => {} } fn f() { one!(); own!(); vec![one!()] }",
                ),
                (
                    "b.rs",
                    "pub const N: u8 = 1; fn f() { macro_rules! own { () => {} } own!() }",
                ),
            ],
            &expect![[r#"
                a.rs -> lib.rs: one
                lib.rs -> b.rs: N
            "#]],
        );
    }

    #[test]
    fn tests_do_not_count() {
        check(
            &[
                ("lib.rs", "mod a; mod b; #[cfg(test)] mod testing;"),
                (
                    "a.rs",
                    "use crate::b::N; #[cfg(test)] use crate::testing::M;",
                ),
                (
                    "b.rs",
                    "pub const N: u8 = 1; #[cfg(test)] mod tests { use crate::a::f; }",
                ),
            ],
            &expect![[r#"
                a.rs -> b.rs: N
            "#]],
        );
    }
}
