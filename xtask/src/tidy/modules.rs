//! The modules of a crate, read from its sources, and the items that paths in them lead to.
//!
//! A path is followed as the compiler does: through `use` items and re-exports to the module
//! that defines the item. Two things are left out, since both need types: who may see a name, and
//! what a trait or an enum brings in.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use syn::visit::Visit as _;
use syn::{Expr, ExprLit, Item, ItemMod, Lit, Meta, Visibility};

use super::paths::{Path, Paths, is_test, name, only_for_tests};
use super::tree::{Tree, from_root};
use crate::metadata::{entries, field, is_shipped, short};

/// Sources by their paths.
pub(super) type Sources = BTreeMap<String, String>;

/// A package of the workspace.
#[derive(Debug)]
pub(super) struct Package {
    /// As [`short`] returns it.
    pub(super) name: String,
    pub(super) folder: String,
    /// Its library and programs.
    pub(super) targets: Vec<Modules>,
}

/// The modules of one library or program that are not for tests alone. The first is its root.
#[derive(Debug, Default)]
pub(super) struct Modules(Vec<Module>);

#[derive(Debug)]
pub(super) struct Module {
    pub(super) file: String,
    parent: usize,
    declared: Vec<(String, Declared)>,
    pub(super) paths: Paths,
}

/// A name that a module declares other than by `use`.
#[derive(Clone, Copy, Debug)]
enum Declared {
    Module(usize),
    /// A type that is `pub`.
    PublicType,
    Item,
}

/// The end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Module(usize),
    Item {
        /// The module that defines it.
        module: usize,
        name: String,
        public_type: bool,
    },
}

/// Imports that are being followed: module and number.
type Trail = Vec<(usize, usize)>;

impl Package {
    /// Reads a package out of what cargo says about it.
    ///
    /// # Errors
    ///
    /// As for [`Modules::read`].
    pub(super) fn read(tree: &Tree, package: &Value) -> Result<Self> {
        let manifest = from_root(tree, field(package, "manifest_path"));
        let folder = split(&manifest).0.to_owned();
        let mut sources = Sources::new();
        for file in tree.ending(&[".rs"]) {
            if file.starts_with(&format!("{folder}/")) {
                sources.insert(file.to_owned(), tree.text(file)?);
            }
        }
        let targets = entries(package, "targets")
            .iter()
            .filter(|target| is_shipped(target));
        Ok(Self {
            name: short(field(package, "name")).to_owned(),
            targets: targets
                .map(|target| Modules::read(&sources, &from_root(tree, field(target, "src_path"))))
                .collect::<Result<_>>()?,
            folder,
        })
    }
}

impl Modules {
    /// Reads the modules below the file `root`.
    ///
    /// # Errors
    ///
    /// A file is missing, or it is no Rust.
    pub(super) fn read(sources: &Sources, root: &str) -> Result<Self> {
        let mut modules = Self::default();
        let (folder, _) = split(root);
        modules.add_file(sources, root, folder, 0)?;
        Ok(modules)
    }

    /// Adds the module in `file`, whose own modules have their files in `folder`.
    fn add_file(
        &mut self,
        sources: &Sources,
        file: &str,
        folder: &str,
        parent: usize,
    ) -> Result<Option<usize>> {
        let text = sources
            .get(file)
            .with_context(|| format!("there is no {file}"))?;
        let parsed = syn::parse_file(text).with_context(|| format!("{file} is no Rust"))?;
        if only_for_tests(&parsed.attrs) {
            return Ok(None);
        }
        self.add(sources, file, folder, parent, &parsed.items)
            .map(Some)
    }

    fn add(
        &mut self,
        sources: &Sources,
        file: &str,
        folder: &str,
        parent: usize,
        items: &[Item],
    ) -> Result<usize> {
        let number = self.0.len();
        self.0.push(Module {
            file: file.to_owned(),
            parent,
            declared: Vec::new(),
            paths: Paths::default(),
        });
        for item in items.iter().filter(|item| !is_test(item)) {
            let declared = match item {
                Item::Mod(item) => self
                    .add_child(sources, file, folder, number, item)?
                    .map(|child| (name(&item.ident), Declared::Module(child))),
                other => declaration(other),
            };
            let module = self.0.get_mut(number).context("a module that was added")?;
            module.declared.extend(declared);
            if !matches!(item, Item::Mod(_)) {
                module.paths.visit_item(item);
            }
        }
        Ok(number)
    }

    fn add_child(
        &mut self,
        sources: &Sources,
        file: &str,
        folder: &str,
        parent: usize,
        item: &ItemMod,
    ) -> Result<Option<usize>> {
        let name = name(&item.ident);
        let below = format!("{folder}/{name}");
        if let Some((_, items)) = &item.content {
            return self.add(sources, file, &below, parent, items).map(Some);
        }
        if let Some(path) = given_path(item) {
            let child = format!("{}/{path}", split(file).0);
            return self.add_file(sources, &child, split(&child).0, parent);
        }
        let child = [format!("{below}.rs"), format!("{below}/mod.rs")]
            .into_iter()
            .find(|child| sources.contains_key(child))
            .ok_or_else(|| anyhow!("{file}: `mod {name}` has no file in {folder}"))?;
        self.add_file(sources, &child, &below, parent)
    }
}

impl Modules {
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Module)> {
        self.0.iter().enumerate()
    }

    /// The names and files of the types that are `pub`, and the names that `pub use` adds.
    pub(super) fn public_types(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().flat_map(move |(number, module)| {
            let own = module.declared.iter().filter_map(|(name, declared)| {
                matches!(declared, Declared::PublicType).then_some(name.as_str())
            });
            let renamed = module.paths.imports.iter().filter_map(move |import| {
                let name = import.name.as_ref()?;
                let is_new = import.public && import.path.last() != Some(name);
                let mut ends = self.resolve(number, &import.path).into_iter();
                (is_new && ends.any(|end| end.is_public_type())).then_some(name.as_str())
            });
            own.chain(renamed).map(|name| (name, module.file.as_str()))
        })
    }

    pub(super) fn file(&self, module: usize) -> &str {
        self.0.get(module).map_or("", |module| &module.file)
    }

    /// The ends of `path` in the module `from`: nothing outside of the crate, and more than one
    /// thing where a type and a function share a name.
    pub(super) fn resolve(&self, from: usize, path: &Path) -> Vec<End> {
        self.follow(from, path, &mut Trail::new())
    }

    fn follow(&self, from: usize, path: &[String], trail: &mut Trail) -> Vec<End> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        let mut ends = match first.as_str() {
            "crate" => vec![End::Module(0)],
            "self" => vec![End::Module(from)],
            "super" => self.parent(from),
            other => self.named(from, other, trail),
        };
        for segment in rest {
            if ends.iter().any(|end| matches!(end, End::Module(_))) {
                // Functions of the same name have no members.
                ends.retain(|end| matches!(end, End::Module(_)));
            }
            ends = ends
                .into_iter()
                .flat_map(|end| match end {
                    End::Module(module) if segment == "super" => self.parent(module),
                    End::Module(module) => self.member(module, segment, trail),
                    End::Item { .. } => vec![end],
                })
                .collect();
        }
        ends
    }

    fn parent(&self, module: usize) -> Vec<End> {
        let parent = self.0.get(module).map(|module| End::Module(module.parent));
        parent.into_iter().collect()
    }

    /// The ends of `module::name`. A name from elsewhere, out of another crate or a
    /// macro, counts as its own.
    fn member(&self, module: usize, name: &str, trail: &mut Trail) -> Vec<End> {
        let mut ends = self.named(module, name, trail);
        if ends.is_empty() {
            ends.push(End::item(module, name, false));
        }
        ends
    }

    /// The ends of the bare `name` in a module. Names that it declares or imports one by one hide
    /// those that it imports with a `*`.
    fn named(&self, number: usize, name: &str, trail: &mut Trail) -> Vec<End> {
        let Some(module) = self.0.get(number) else {
            return Vec::new();
        };
        let declared = module.declared.iter().filter(|(one, _)| one == name);
        let mut ends: Vec<End> = declared
            .map(|(_, declared)| match declared {
                Declared::Module(child) => End::Module(*child),
                Declared::PublicType => End::item(number, name, true),
                Declared::Item => End::item(number, name, false),
            })
            .collect();
        let mut known = !ends.is_empty();
        for wanted in [Some(name), None] {
            if wanted.is_none() && known {
                break;
            }
            for (at, import) in module.paths.imports.iter().enumerate() {
                if import.name.as_deref() != wanted {
                    continue;
                }
                known = true;
                if trail.contains(&(number, at)) {
                    continue;
                }
                trail.push((number, at));
                for end in self.follow(number, &import.path, trail) {
                    match (wanted, end) {
                        (Some(_), end) => ends.push(end),
                        (None, End::Module(module)) => {
                            ends.extend(self.named(module, name, trail));
                        }
                        (None, End::Item { .. }) => {}
                    }
                }
                trail.pop();
            }
        }
        ends
    }
}

impl End {
    fn is_public_type(&self) -> bool {
        matches!(
            self,
            Self::Item {
                public_type: true,
                ..
            }
        )
    }

    fn item(module: usize, name: &str, public_type: bool) -> Self {
        Self::Item {
            module,
            name: name.to_owned(),
            public_type,
        }
    }
}

/// Folder and name of a file.
fn split(file: &str) -> (&str, &str) {
    file.rsplit_once('/').unwrap_or((".", file))
}

/// The file that a `#[path = "…"]` gives to a module.
fn given_path(item: &ItemMod) -> Option<String> {
    item.attrs
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(path),
                    ..
                }) => Some(path.value()),
                _ => None,
            },
            _ => None,
        })
}

/// The name that an item other than a module declares.
fn declaration(item: &Item) -> Option<(String, Declared)> {
    let a_type = |visibility: &Visibility| match visibility {
        Visibility::Public(_) => Declared::PublicType,
        _ => Declared::Item,
    };
    let (ident, declared) = match item {
        Item::Enum(item) => (&item.ident, a_type(&item.vis)),
        Item::Struct(item) => (&item.ident, a_type(&item.vis)),
        Item::Trait(item) => (&item.ident, a_type(&item.vis)),
        Item::TraitAlias(item) => (&item.ident, a_type(&item.vis)),
        Item::Type(item) => (&item.ident, a_type(&item.vis)),
        Item::Union(item) => (&item.ident, a_type(&item.vis)),
        Item::Const(item) => (&item.ident, Declared::Item),
        Item::Fn(item) => (&item.sig.ident, Declared::Item),
        Item::Macro(item) => (item.ident.as_ref()?, Declared::Item),
        Item::Static(item) => (&item.ident, Declared::Item),
        _ => return None,
    };
    Some((name(ident), declared))
}

#[cfg(test)]
impl Package {
    /// A package `x` with a library of these files.
    pub(super) fn of(files: &[(&str, &str)]) -> Result<Self> {
        let sources = files
            .iter()
            .map(|(file, text)| (format!("crates/x/src/{file}"), (*text).to_owned()))
            .collect();
        Ok(Self {
            name: "x".to_owned(),
            folder: "crates/x".to_owned(),
            targets: vec![Modules::read(&sources, "crates/x/src/lib.rs")?],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a path in the crate's root leads: files and names.
    fn check(path: &str, files: &[(&str, &str)], expected: &[&str]) {
        let package = Package::of(files).unwrap();
        let modules = &package.targets[0];
        let path: Path = path.split("::").map(str::to_owned).collect();
        let ends = modules.resolve(0, &path);
        let ends: Vec<String> = ends
            .iter()
            .map(|end| match end {
                End::Module(module) => modules.file(*module).to_owned(),
                End::Item { module, name, .. } => format!("{}: {name}", modules.file(*module)),
            })
            .map(|end| end.replace("crates/x/src/", ""))
            .collect();
        assert_eq!(ends, expected);
    }

    #[test]
    fn files_are_found_where_the_compiler_looks() {
        let files = [
            (
                "lib.rs",
                "mod a; mod b { mod c; } mod r#type; #[path = \"else/where.rs\"] mod d;",
            ),
            ("a/mod.rs", "mod e;"),
            ("a/e.rs", ""),
            ("b/c.rs", ""),
            ("type.rs", ""),
            ("else/where.rs", "mod f;"),
            ("else/f.rs", "#![cfg(feature = \"x\")]"),
        ];
        check("a", &files, &["a/mod.rs"]);
        check("a::e", &files, &["a/e.rs"]);
        check("b", &files, &["lib.rs"]);
        check("b::c", &files, &["b/c.rs"]);
        check("type", &files, &["type.rs"]);
        check("d::f", &files, &["else/f.rs"]);
        check("crate::d::f::super::super::a", &files, &["a/mod.rs"]);
    }

    #[test]
    fn a_module_and_a_function_may_share_a_name() {
        let files = [
            ("lib.rs", "mod a; pub use a::a;"),
            ("a.rs", "pub fn a() {} pub struct B;"),
        ];
        check("a", &files, &["a.rs", "a.rs: a"]);
        check("a::B::new", &files, &["a.rs: B"]);
    }

    #[test]
    fn imports_that_lead_to_each_other_end() {
        let files = [
            ("lib.rs", "mod a; mod b; use a::*;"),
            ("a.rs", "pub use super::b::*;"),
            ("b.rs", "pub use super::a::*; pub enum One { Two }"),
        ];
        check("One::Two", &files, &["b.rs: One"]);
        check("Nothing", &files, &[]);
    }

    #[test]
    fn a_name_of_its_own_hides_those_of_an_import_of_all() {
        let files = [
            ("lib.rs", "mod a; mod b; use a::*; use b::One;"),
            ("a.rs", "pub struct One;"),
            ("b.rs", "pub struct One;"),
        ];
        check("One", &files, &["b.rs: One"]);
    }

    #[test]
    fn a_module_without_a_file_is_an_error() {
        let error = Package::of(&[("lib.rs", "mod a;")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "crates/x/src/lib.rs: `mod a` has no file in crates/x/src"
        );
        let error = Package::of(&[("lib.rs", "mod a { fn }")]).unwrap_err();
        assert_eq!(error.to_string(), "crates/x/src/lib.rs is no Rust");
    }
}
