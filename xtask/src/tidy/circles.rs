//! Circles: files of one crate that lead to each other, so that none can be read, moved or
//! changed alone.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows::{Arrows, arrows, join};
use super::modules::Package;
use super::tree::Finding;

/// How many files may form a circle.
const MOST: usize = 3;

type Circle = BTreeSet<String>;

/// The circles with too many files.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(too_large).collect()
}

fn too_large(package: &Package) -> Vec<Finding> {
    let arrows = arrows(package);
    circles(&arrows)
        .iter()
        .filter(|circle| circle.len() > MOST)
        .map(|circle| Finding::new(&package.folder, explain(circle, &arrows)))
        .collect()
}

/// The largest circle of each crate.
pub(super) fn notes(packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .map(|package| {
            let what = match circles(&arrows(package)).first() {
                Some(circle) => {
                    let len = circle.len();
                    format!("its largest circle has {len} files, {MOST} at most")
                }
                None => "no circle of files".to_owned(),
            };
            Finding::new(&package.folder, what)
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    use expect_test::expect;

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
    fn each_larger_circle_is_named() {
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
            let findings = too_large(&Package::of(&files).unwrap());
            let arrows = findings
                .iter()
                .map(|finding| finding.what.lines().count() - 1);
            arrows.collect()
        };
        assert_eq!(found(&[("a", 3), ("b", 2)]), [0; 0]);
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
