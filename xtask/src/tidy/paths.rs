//! The paths that Rust code names: in `use` items, types, expressions, patterns, attributes and
//! what macros are given. Code that only tests compile is left out, and so are comments and
//! strings, but for those in which serde expects a path.

use proc_macro2::{Ident, Literal, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Expr, ImplItem, Item, Lifetime, Meta, Stmt, Token, TraitItem, UseTree, Visibility,
};

/// The segments of a path. The first one is empty if it starts with `::`.
pub(super) type Path = Vec<String>;

/// The names in a module's code.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) used: Vec<Path>,
    pub(super) imports: Vec<Import>,
    /// Macros that are called by their bare name.
    pub(super) calls: Vec<String>,
    /// Macros that are defined.
    pub(super) macros: Vec<String>,
}

/// One name, or all, that a `use` item brings in.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) path: Path,
    /// The name it has here; nothing if the item ends with `*`.
    pub(super) name: Option<String>,
    /// It has a visibility of its own, as in `pub(crate) use`.
    pub(super) exported: bool,
    /// The visibility is `pub`.
    pub(super) public: bool,
}

/// The name of an identifier, without `r#`.
pub(super) fn name(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// Reads a path up to its first `<`. It is empty if there is none.
fn bare_path(input: ParseStream<'_>) -> syn::Result<Path> {
    let start: Option<Token![::]> = input.parse()?;
    let mut path: Path = start.map(|_| String::new()).into_iter().collect();
    while input.peek(Ident::peek_any) {
        path.push(name(&Ident::parse_any(input)?));
        if !(input.peek(Token![::]) && input.peek3(Ident::peek_any)) {
            break;
        }
        input.parse::<Token![::]>()?;
    }
    Ok(path)
}

/// The attributes of a node, whichever of its enum's variants it is.
macro_rules! attributes {
    ($node:expr, $kind:ident: $($variant:ident)*) => {
        match $node {
            $($kind::$variant(node) => node.attrs.as_slice(),)*
            _ => &[],
        }
    };
}

/// Whether an item is compiled for tests alone.
pub(super) fn is_test(item: &Item) -> bool {
    only_for_tests(
        attributes!(item, Item: Const Enum ExternCrate Fn ForeignMod Impl Macro Mod
        Static Struct Trait TraitAlias Type Union Use),
    )
}

/// Whether what has these attributes is compiled for tests alone.
pub(super) fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Meta>()
                    .is_ok_and(|condition| asks_for_test(&condition))
    })
}

/// Whether a condition of `cfg` holds in tests alone.
fn asks_for_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test");
    };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    if list.path.is_ident("all") {
        parts.iter().any(asks_for_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(asks_for_test)
    }
}

impl Paths {
    /// Adds what the tokens of a macro or an attribute name. Paths can be `in_strings` as well.
    fn tokens(&mut self, tokens: TokenStream, in_strings: bool) {
        let each = |input: ParseStream<'_>| {
            while !input.is_empty() {
                self.token(input, in_strings)?;
            }
            Ok(())
        };
        each.parse2(tokens)
            .expect("tokens are taken one by one, whatever they are");
    }

    fn token(&mut self, input: ParseStream<'_>, in_strings: bool) -> syn::Result<()> {
        if input.peek(Lifetime) {
            input.parse::<Lifetime>()?;
        } else if input.peek(Token![..]) {
            input.parse::<Token![..]>()?;
        } else if input.peek(Token![.]) || input.peek(Token![$]) && !input.peek2(Token![crate]) {
            // A field, a method, or a variable of the macro: no module declares it.
            input.parse::<TokenTree>()?;
            bare_path(input)?;
        } else if input.peek(Ident::peek_any)
            || input.peek(Token![::]) && input.peek3(Ident::peek_any)
        {
            let path = bare_path(input)?;
            if let [call] = path.as_slice()
                && input.peek(Token![!])
                && !input.peek(Token![!=])
            {
                self.calls.push(call.clone());
            }
            self.used.push(path);
        } else {
            match input.parse()? {
                TokenTree::Group(group) => self.tokens(group.stream(), in_strings),
                TokenTree::Literal(literal) if in_strings => self.string(&literal),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds the path that a string holds, if it does.
    fn string(&mut self, literal: &Literal) {
        let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
        if let Ok(path) = text.and_then(|text| text.parse()) {
            self.visit_path(&path);
        }
    }

    fn import(&mut self, tree: &UseTree, mut path: Path, visibility: &Visibility) {
        let (last, alias) = match tree {
            UseTree::Path(node) => {
                path.push(name(&node.ident));
                return self.import(&node.tree, path, visibility);
            }
            UseTree::Group(node) => {
                let each = |tree| self.import(tree, path.clone(), visibility);
                return node.items.iter().for_each(each);
            }
            UseTree::Name(node) => (Some(name(&node.ident)), None),
            UseTree::Rename(node) => (Some(name(&node.ident)), Some(name(&node.rename))),
            UseTree::Glob(_) => (None, None),
        };
        let all = last.is_none();
        path.extend(last.filter(|last| last != "self" || path.is_empty()));
        let name = alias.or_else(|| path.last().cloned());
        self.imports.push(Import {
            path,
            name: name.filter(|_| !all),
            exported: !matches!(visibility, Visibility::Inherited),
            public: matches!(visibility, Visibility::Public(_)),
        });
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, node: &'ast syn::Path) {
        let start = node.leading_colon.as_ref().map(|_| String::new());
        let segments = node.segments.iter().map(|segment| name(&segment.ident));
        self.used.push(start.into_iter().chain(segments).collect());
        visit::visit_path(self, node);
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        let start = node.leading_colon.as_ref().map(|_| String::new());
        self.import(&node.tree, start.into_iter().collect(), &node.vis);
    }

    fn visit_item_macro(&mut self, node: &'ast syn::ItemMacro) {
        self.macros.extend(node.ident.as_ref().map(name));
        visit::visit_item_macro(self, node);
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        self.calls.extend(node.path.get_ident().map(name));
        self.visit_path(&node.path);
        self.tokens(node.tokens.clone(), false);
    }

    fn visit_attribute(&mut self, node: &'ast Attribute) {
        match &node.meta {
            Meta::List(list) => self.tokens(list.tokens.clone(), list.path.is_ident("serde")),
            other => self.visit_meta(other),
        }
    }

    fn visit_item(&mut self, node: &'ast Item) {
        if !is_test(node) {
            visit::visit_item(self, node);
        }
    }

    fn visit_impl_item(&mut self, node: &'ast ImplItem) {
        if !only_for_tests(attributes!(node, ImplItem: Const Fn Type Macro)) {
            visit::visit_impl_item(self, node);
        }
    }

    fn visit_trait_item(&mut self, node: &'ast TraitItem) {
        if !only_for_tests(attributes!(node, TraitItem: Const Fn Type Macro)) {
            visit::visit_trait_item(self, node);
        }
    }

    fn visit_stmt(&mut self, node: &'ast Stmt) {
        if !only_for_tests(attributes!(node, Stmt: Local Macro)) {
            visit::visit_stmt(self, node);
        }
    }

    fn visit_expr(&mut self, node: &'ast Expr) {
        if !only_for_tests(
            attributes!(node, Expr: Array Assign Async Await Binary Block Break
            Call Cast Closure Const Continue Field ForLoop If Index Let Lit Loop Macro Match
            MethodCall Paren Path Range Reference Repeat Return Struct Try Tuple Unary Unsafe
            While),
        ) {
            visit::visit_expr(self, node);
        }
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        if !only_for_tests(&node.attrs) {
            visit::visit_arm(self, node);
        }
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        if !only_for_tests(&node.attrs) {
            visit::visit_field(self, node);
        }
    }

    fn visit_field_value(&mut self, node: &'ast syn::FieldValue) {
        if !only_for_tests(&node.attrs) {
            visit::visit_field_value(self, node);
        }
    }

    fn visit_variant(&mut self, node: &'ast syn::Variant) {
        if !only_for_tests(&node.attrs) {
            visit::visit_variant(self, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use expect_test::{Expect, expect};

    fn check(source: &str, expected: &Expect) {
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(source).unwrap());
        let used = paths.used.iter().map(|path| path.join("::"));
        let imports = paths.imports.iter().map(|import| {
            format!(
                "use {} as {}{}",
                import.path.join("::"),
                import.name.as_deref().unwrap_or("*"),
                if import.exported { ", exported" } else { "" },
            )
        });
        let lines: Vec<String> = used.chain(imports).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn use_items_are_taken_apart() {
        check(
            "use a::{self, b::C as D, e::*, self as f}; pub use ::g::H; pub(crate) use i; \
             fn f() { use j::K as _; }",
            &expect![[r#"
                use a as a
                use a::b::C as D
                use a::e as *
                use a as f
                use ::g::H as H, exported
                use i as i, exported
                use j::K as _"#]],
        );
    }

    #[test]
    fn every_path_of_the_code_counts() {
        check(
            "struct S(a::T<b::U>); impl c::V for <d::W as e::X>::Y where S: f::Z {} \
             fn f() { let g::P { .. } = h::q::<i::R>(self.j, m.k(l)); ::n::o }",
            &expect![[r#"
                a::T
                b::U
                S
                f::Z
                c::V
                d::W
                e::X::Y
                g::P
                h::q
                i::R
                self
                m
                l
                ::n::o"#]],
        );
    }

    #[test]
    fn so_does_every_path_that_macros_and_attributes_have() {
        check(
            "#[derive(a::B)] #[serde(with = \"c::d\", rename = \"e-f\")] #[doc = \"g::h\"] struct S; \
             macro_rules! i { ($j:ty) => { $crate::k($j::l, ..m::n, o.p, q::<r::S>::t, 'u) } } \
             fn f() { v![x => \"y::z\", w!(self::aa::bb), cc != dd::ee] }",
            &expect![[r#"
                a::B
                with
                c::d
                rename
                doc
                macro_rules
                ty
                crate::k
                m::n
                o
                q
                r::S
                ::t
                v
                x
                w
                self::aa::bb
                cc
                dd::ee"#]],
        );
    }

    #[test]
    fn code_for_tests_alone_is_left_out() {
        check(
            "#[cfg(test)] mod a { use b; } #[test] fn c() { d::e } #[cfg(all(unix, test))] use f; \
             #[cfg(any(test, all(test, unix)))] use g; \
             impl S { #[cfg(test)] fn h() { i::j } } trait T { #[cfg(test)] fn k() { l::m } } \
             struct U { #[cfg(test)] n: o::P } enum V { #[cfg(test)] Q(r::S) } \
             fn f() { #[cfg(test)] t::u(); #[cfg(test)] let v = w::x; #[cfg(test)] y::z!(); \
             match aa { #[cfg(test)] bb::C => {} #[cfg(not(test))] _ => {} } \
             D { #[cfg(test)] e: ff::g } }",
            &expect![[r#"
                S
                aa
                not
                test
                D"#]],
        );
        check(
            "#[cfg(not(test))] use a; #[cfg(any(test, unix))] use b; #[cfg(feature = \"test\")] use c;",
            &expect![[r#"
                use a as a
                use b as b
                use c as c"#]],
        );
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        check(
            "/// a::b\n/* c::d */ fn f() { e(\"g::h\", r#\"i::j\"#) } // k::l",
            &expect![[r#"
                doc
                e"#]],
        );
    }
}
