//! Circles: files of one crate that lead to each other, so that none can be read, moved or
//! changed alone.
//!
//! A file leads to the one that defines what it names. Declaring a module and exporting a name
//! again lead nowhere. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{End, Modules, Package};
use super::tree::Finding;

/// How many files may form a circle.
const MOST: usize = 3;
/// The crates that have larger circles: files of the largest, and of all of them. These are today's
/// sizes, so that no circle grows; a line goes with its crate's last circle of more than [`MOST`].
const LARGER: [(&str, usize, usize); 1] = [("bpf", 20, 37)];

/// From a file to another, and the names that lead there.
type Arrows = BTreeMap<(String, String), BTreeSet<String>>;
type Circle = BTreeSet<String>;

/// The circles with too many files.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .flat_map(|package| too_large(package, bounds(&package.name)))
        .collect()
}

/// The circles with more files than the largest may have; all of them, if they have too many
/// together.
fn too_large(package: &Package, (largest, all): (usize, usize)) -> Vec<Finding> {
    let arrows = arrows(package);
    let mut circles = circles(&arrows);
    circles.retain(|circle| circle.len() > MOST);
    if circles.iter().map(Circle::len).sum::<usize>() <= all {
        circles.retain(|circle| circle.len() > largest);
    }
    circles
        .iter()
        .map(|circle| Finding::new(&package.folder, explain(circle, &arrows)))
        .collect()
}

/// The largest circle of each crate.
pub(super) fn notes(packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .map(|package| {
            let (most, _) = bounds(&package.name);
            let what = match circles(&arrows(package)).first() {
                Some(circle) => {
                    let len = circle.len();
                    format!("its largest circle has {len} files, {most} at most")
                }
                None => "no circle of files".to_owned(),
            };
            Finding::new(&package.folder, what)
        })
        .collect()
}

/// How many files the largest circle of a crate may have, and all that are larger than [`MOST`].
fn bounds(name: &str) -> (usize, usize) {
    LARGER
        .iter()
        .find(|(crate_name, _, _)| *crate_name == name)
        .map_or((MOST, 0), |(_, largest, all)| (*largest, *all))
}

fn arrows(package: &Package) -> Arrows {
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

/// The circles of two files and more, the largest first.
fn circles(arrows: &Arrows) -> Vec<Circle> {
    let files: BTreeSet<&String> = arrows.keys().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&String, Circle> = files
        .into_iter()
        .map(|file| (file, reached(arrows, file)))
        .collect();
    let circle = |(file, others): (&&String, &Circle)| -> Circle {
        let back = |other: &&String| {
            reached
                .get(other)
                .is_some_and(|others| others.contains(*file))
        };
        others.iter().filter(back).cloned().collect()
    };
    let circles: BTreeSet<Circle> = reached.iter().map(circle).collect();
    let mut circles: Vec<Circle> = circles.into_iter().filter(|one| one.len() > 1).collect();
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    circles
}

/// The files that arrows lead to from `file`, itself only if one leads back.
fn reached(arrows: &Arrows, file: &String) -> Circle {
    let mut reached = Circle::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for (_, to) in arrows.keys().filter(|(from, _)| from == file) {
            if reached.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    reached
}

/// Names the files of a circle and its arrows, those first that leave the least of it if they go.
fn explain(circle: &Circle, arrows: &Arrows) -> String {
    let mut inside = arrows.clone();
    inside.retain(|(from, to), _| circle.contains(from) && circle.contains(to));
    let mut lines: Vec<(usize, usize, String)> = inside
        .iter()
        .map(|(arrow, names)| {
            let mut others = inside.clone();
            others.remove(arrow);
            let left = circles(&others).first().map_or(0, Circle::len);
            let (from, to) = arrow;
            let line = format!("\n  {left} without {from} -> {to}: {}", join(names));
            (left, names.len(), line)
        })
        .collect();
    lines.sort();
    let lines: String = lines.into_iter().map(|(_, _, line)| line).collect();
    format!(
        "a circle of {} files, {MOST} at most: {}. Move what two of them share to a file that \
         needs neither. Files that are left in the largest circle without each arrow:{lines}",
        circle.len(),
        join(circle),
    )
}

fn join(words: &BTreeSet<String>) -> String {
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

    /// Compares the arrows between files of a crate, and its circles.
    fn check(files: &[(&str, &str)], expected: &Expect) {
        let arrows = arrows(&Package::of(files).unwrap());
        let lines = arrows
            .iter()
            .map(|((from, to), names)| format!("{from} -> {to}: {}\n", join(names)));
        let circles = circles(&arrows);
        let circles = circles
            .iter()
            .map(|circle| format!("circle: {}\n", join(circle)));
        expected.assert_eq(&lines.chain(circles).collect::<String>());
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
                circle: a.rs, b.rs
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
                circle: b.rs, c.rs, c/d.rs
            "#]],
        );
    }

    #[test]
    fn all_of_a_module_leads_to_it_and_to_what_is_used() {
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
    fn what_comes_from_a_macro_or_another_crate_is_where_it_is_asked_for() {
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

    #[test]
    fn circles_are_apart_and_the_largest_is_first() {
        let arrows = ["ab", "ba", "bc", "cd", "de", "ec", "ea2", "xx"];
        let arrow = |arrow: &str| {
            let (from, to) = arrow.split_at(1);
            ((from.to_owned(), to.to_owned()), Circle::new())
        };
        let arrows: Arrows = arrows.into_iter().map(arrow).collect();
        let circles: Vec<String> = circles(&arrows).iter().map(join).collect();
        assert_eq!(circles, ["c, d, e", "a, b"]);
    }

    #[test]
    fn a_circle_is_explained_by_its_arrows() {
        let package = Package::of(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::{M, N}; pub const A: u8 = 1;"),
            (
                "b.rs",
                "use crate::c::C; pub const M: u8 = 1; pub const N: u8 = 1;",
            ),
            ("c.rs", "use crate::d::D; pub const C: u8 = crate::b::M;"),
            ("d.rs", "use crate::a::A; pub const D: u8 = 1;"),
        ]);
        let packages = [package.unwrap()];
        let findings = super::check(&packages);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].file, "crates/x");
        expect![[r#"
            a circle of 4 files, 3 at most: a.rs, b.rs, c.rs, d.rs. Move what two of them share to a file that needs neither. Files that are left in the largest circle without each arrow:
              0 without b.rs -> c.rs: C
              2 without c.rs -> d.rs: D
              2 without d.rs -> a.rs: A
              2 without a.rs -> b.rs: M, N
              4 without c.rs -> b.rs: M"#]].assert_eq(&findings[0].what);
        expect!["its largest circle has 4 files, 3 at most"].assert_eq(&notes(&packages)[0].what);
    }

    #[test]
    fn larger_circles_do_not_grow() {
        let circle = |name: &str, len: usize| {
            let modules: String = (0..len).map(|at| format!("mod {name}{at}; ")).collect();
            let file = |at| {
                let text = format!("pub fn f() {{ crate::{name}{}::f() }}", (at + 1) % len);
                (format!("{name}{at}.rs"), text)
            };
            (modules, (0..len).map(file).collect::<Vec<_>>())
        };
        let found = |sizes: &[(&str, usize)]| -> Vec<usize> {
            let circles = sizes.iter().map(|&(name, len)| circle(name, len));
            let (modules, files): (Vec<_>, Vec<_>) = circles.unzip();
            let (root, files) = (modules.concat(), files.concat());
            let files = files
                .iter()
                .map(|(file, text)| (file.as_str(), text.as_str()));
            let files: Vec<_> = files.chain([("lib.rs", root.as_str())]).collect();
            let findings = too_large(&Package::of(&files).unwrap(), (6, 10));
            let arrows = findings
                .iter()
                .map(|finding| finding.what.lines().count() - 1);
            arrows.collect()
        };
        assert_eq!(found(&[("a", 6), ("b", 4), ("c", 3)]), [0; 0]);
        assert_eq!(found(&[("a", 7)]), [7]);
        assert_eq!(found(&[("a", 6), ("b", 5), ("c", 3)]), [6, 5]);
    }

    #[test]
    fn three_files_may_be_a_circle() {
        let package = Package::of(&[
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B; pub const A: u8 = 1;"),
            ("b.rs", "use crate::c::C; pub const B: u8 = 1;"),
            ("c.rs", "use crate::a::A; pub const C: u8 = 1;"),
            ("d.rs", "use crate::a::A; pub const D: u8 = 1;"),
        ]);
        assert_eq!(super::check(&[package.unwrap()]), []);
    }
}
