//! `ukexec parser helpers`: the functions and hooks of parsers, as the page that
//! `docs/helpers.md` is, as a document, or one of them.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde::Serialize;
use ukexec_bpf::{HELPERS, Helper, KFUNCS, REFUSED, Refused, did_you_mean};
use ukexec_loader::report::page::{Labelled, Page, Screen, Text};
use ukexec_loader::report::{SCHEMA, one_line};
use ukexec_unfold::{ABI, AbiHook, AbiKfunc, HOOKS};

use crate::args::ParserHelpers;
use crate::console;

/// The meaning of a name of the parser ABI, or of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Hook,
    Kfunc,
    Helper,
}

/// A hook, a kfunc or a helper, with the fields of `docs/json.md`.
#[derive(Debug, Serialize)]
pub(super) struct Function {
    pub(super) name: &'static str,
    kind: Kind,
    /// Of a helper.
    pub(super) number: Option<i32>,
    offered: bool,
    /// Why it is not offered.
    reason: Option<&'static str>,
    prototype: Option<String>,
    meaning: Option<&'static str>,
    errors: Vec<&'static str>,
    /// The charge for a call beside its instruction.
    pub(super) price: Option<String>,
    /// How it differs from Linux's, or its rules.
    rule: Option<&'static str>,
    /// Whether Linux wants a licence compatible with the GPL.
    pub(super) gpl_only: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    abi: &'static str,
    functions: &'a [Function],
}

pub(crate) fn helpers(args: &ParserHelpers) -> anyhow::Result<()> {
    let mut functions = functions();
    let one = args.name.as_deref();
    if let Some(name) = one {
        functions = vec![find(functions, name)?];
    }
    if args.json {
        let document = Document {
            schema: SCHEMA,
            abi: ABI,
            functions: &functions,
        };
        return console::json(&serde_json::to_value(document)?);
    }
    match functions.as_slice() {
        [only] if one.is_some() => console::page(&only.page()),
        // Markdown is the same on every screen.
        all => console::out(&markdown(all).print(&MARKDOWN)),
    }
}

/// Returns the one that `name` stands for, which may be without `bpf_`, or a
/// helper's number.
fn find(mut functions: Vec<Function>, name: &str) -> anyhow::Result<Function> {
    let full = format!("bpf_{name}");
    let number = name.parse().ok();
    let known = functions.iter().position(|it| {
        it.name == name || it.name == full || (it.number.is_some() && it.number == number)
    });
    if let Some(index) = known {
        return Ok(functions.swap_remove(index));
    }
    let meant = [name, &full].into_iter();
    let meant = meant.filter_map(|name| did_you_mean(name, functions.iter().map(|it| it.name)));
    let advice = match meant.take(1).next() {
        Some(meant) => format!("did you mean {meant}?"),
        None => "`ukexec parser helpers` lists all".to_owned(),
    };
    let name = one_line(name);
    Err(anyhow!(
        "{name} is no hook, kfunc or helper of parsers; {advice}"
    ))
}

/// Returns all of them: those that are offered, then those that are not.
pub(super) fn functions() -> Vec<Function> {
    let hooks = HOOKS.iter().map(Function::from);
    let abi = ukexec_unfold::KFUNCS.iter().map(Function::from);
    let own = KFUNCS.iter().chain(HELPERS).map(Function::from);
    let refused = REFUSED.iter().map(Function::from);
    hooks.chain(abi).chain(own).chain(refused).collect()
}

impl From<&AbiHook> for Function {
    fn from(hook: &AbiHook) -> Self {
        Self {
            meaning: Some(hook.meaning),
            rule: Some(hook.rule),
            ..Self::new(Kind::Hook, hook.name, hook.prototype)
        }
    }
}

impl From<&AbiKfunc> for Function {
    fn from(kfunc: &AbiKfunc) -> Self {
        Self {
            meaning: Some(kfunc.meaning),
            errors: list(kfunc.errors),
            price: Some((kfunc.price)()),
            rule: some(kfunc.rule),
            gpl_only: true,
            ..Self::new(Kind::Kfunc, kfunc.name, kfunc.prototype)
        }
    }
}

impl From<&Helper> for Function {
    fn from(helper: &Helper) -> Self {
        let kind = match helper.number {
            0 => Kind::Kfunc,
            _ => Kind::Helper,
        };
        Self {
            number: (helper.number != 0).then_some(helper.number),
            meaning: Some(helper.meaning),
            errors: list(helper.errors),
            price: Some((helper.price)()).filter(|price| !price.is_empty()),
            rule: some(helper.rule),
            gpl_only: helper.is_gpl_only(),
            ..Self::new(kind, helper.name, helper.prototype)
        }
    }
}

impl From<&Refused> for Function {
    fn from(refused: &Refused) -> Self {
        let kind = match refused.number {
            0 => Kind::Kfunc,
            _ => Kind::Helper,
        };
        Self {
            number: (refused.number != 0).then_some(refused.number),
            offered: false,
            reason: Some(refused.reason),
            prototype: None,
            ..Self::new(kind, refused.name, "")
        }
    }
}

impl Function {
    fn new(kind: Kind, name: &'static str, prototype: &str) -> Self {
        Self {
            name,
            kind,
            number: None,
            offered: true,
            reason: None,
            prototype: Some(prototype.replacen('(', &format!("{name}("), 1)),
            meaning: None,
            errors: Vec::new(),
            price: None,
            rule: None,
            gpl_only: false,
        }
    }

    /// Returns the page about it alone.
    fn page(&self) -> Page {
        let mut page = Page::default();
        let kind = match (self.kind, self.number) {
            (Kind::Helper, Some(number)) => format!("helper {number} of Linux"),
            (Kind::Helper, None) => "helper of Linux".to_owned(),
            (Kind::Kfunc, _) => "kfunc".to_owned(),
            (Kind::Hook, _) => "hook".to_owned(),
        };
        page.title(self.name, kind);
        if let Some(reason) = self.reason {
            page.row("not offered", reason);
        }
        if let Some(prototype) = &self.prototype {
            page.row("prototype", prototype.as_str());
        }
        if let Some(meaning) = self.meaning {
            page.row("meaning", meaning);
        }
        for error in &self.errors {
            page.row("error", *error);
        }
        if let Some(price) = &self.price {
            page.row("price", price.as_str());
        } else if self.offered && self.kind != Kind::Hook {
            page.row("price", "1 instruction, as any other");
        }
        if let Some(rule) = self.rule {
            page.row("here", rule);
        }
        if self.gpl_only {
            let licence = "Linux wants one that is compatible with the GPL; ukexec takes any";
            page.row("licence", licence);
        }
        page
    }

    /// Returns its name as code, with the number of a helper.
    fn code(&self) -> String {
        match self.number {
            Some(number) => format!("`{}` ({number})", self.name),
            None => format!("`{}`", self.name),
        }
    }
}

/// Returns the parts of a text; one without any has none.
fn list(text: &'static str) -> Vec<&'static str> {
    text.split("; ").filter(|part| !part.is_empty()).collect()
}

fn some(text: &'static str) -> Option<&'static str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The screen of a page of Markdown.
const MARKDOWN: Screen = Screen {
    width: 120,
    ..Screen::FILE
};

const HEAD: [&str; 3] = [
    "# The functions and hooks of parsers",
    "A parser attaches to hooks and calls helpers, by their numbers in Linux, and kfuncs, by their names. Each helper and \
     kfunc does what Linux's function of the same name does as far as a parser can tell; the lists say where one differs. \
     A call that Linux's verifier would have refused (a wrong kind of map, memory that is too small) ends the run with an \
     error that names the instruction.",
    "`ukexec parser helpers NAME` prints one of them, with its errors and its price; `ukexec parser check` lists those \
     that a parser calls.",
];

const PRICES: &str = "The budget of instructions (`--max-insns`) pays for the work of calls, too: beside the instruction of the call itself, \
     those below are charged.";

const REFUSALS: &str = "Linux has these and ukexec does not offer them. A parser that calls one is refused before it runs. Helpers have \
     their number behind the name.";

/// Returns the page of Markdown about all of them.
fn markdown(functions: &[Function]) -> Page {
    let mut page = Page::default();
    for (number, text) in HEAD.into_iter().enumerate() {
        if number > 0 {
            page.blank();
        }
        page.paragraph(0, text);
    }
    let of = |kind| {
        let offered = functions.iter().filter(|it| it.offered);
        offered.filter(move |it: &&Function| it.kind == kind)
    };
    let unnumbered = ("| prototype |", "|---|");
    let numbered = ("| number | prototype |", "|---|---|");
    for (title, kind, (head, rule)) in [
        ("Hooks", Kind::Hook, unnumbered),
        ("Kfuncs", Kind::Kfunc, unnumbered),
        ("Helpers", Kind::Helper, numbered),
    ] {
        heading(&mut page, title);
        page.paragraph(0, head);
        page.paragraph(0, rule);
        for function in of(kind) {
            let number = function.number.map(|number| format!("| {number} "));
            let prototype = function.prototype.as_deref().unwrap_or_default();
            let number = number.unwrap_or_default();
            page.paragraph(0, format!("{number}| `{prototype}` |"));
        }
        page.blank();
        of(kind).for_each(|function| item(&mut page, &meaning(function)));
    }
    heading(&mut page, "Prices");
    page.paragraph(0, PRICES);
    page.blank();
    for (price, names) in groups(functions, |it| it.price.as_deref()) {
        item(&mut page, &format!("{names}: {price}."));
    }
    heading(&mut page, "Not offered");
    page.paragraph(0, REFUSALS);
    page.blank();
    for (reason, names) in groups(functions, |it| it.reason) {
        item(&mut page, &format!("{reason}: {names}."));
    }
    page
}

fn heading(page: &mut Page, title: &str) {
    page.blank();
    page.paragraph(0, format!("## {title}"));
    page.blank();
}

/// Adds an item of a list.
fn item(page: &mut Page, text: &str) {
    page.line(Labelled {
        indent: 0,
        label: format!("- {text}").into(),
        column: 2,
        text: Text::default(),
        whole: false,
    });
}

/// Returns the meaning of a function, its errors and its rule as sentences.
fn meaning(function: &Function) -> String {
    let (name, meaning) = (function.code(), function.meaning.unwrap_or_default());
    let mut text = format!("{name} {meaning}.");
    if !function.errors.is_empty() {
        text += &format!(" {}.", function.errors.join("; "));
    }
    if let Some(rule) = function.rule {
        text += &format!(" Here: {rule}.");
    }
    text
}

/// Returns each value that `of` has with the names of those that share it, in
/// the order in which the first of them comes.
fn groups<'a>(
    functions: &'a [Function],
    of: impl Fn(&'a Function) -> Option<&'a str>,
) -> Vec<(&'a str, String)> {
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for function in functions {
        let Some(value) = of(function) else { continue };
        let index = *order.entry(value).or_insert(groups.len());
        match groups.get_mut(index) {
            Some((_, names)) => names.push(function.code()),
            None => groups.push((value, vec![function.code()])),
        }
    }
    let joined = groups.into_iter();
    joined
        .map(|(value, names)| (value, names.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_that_is_offered_says_what_it_does() {
        for function in functions().iter().filter(|it| it.offered) {
            let name = function.name;
            assert!(function.meaning.is_some_and(|it| !it.is_empty()), "{name}");
            let prototype = function.prototype.as_deref().unwrap_or_default();
            assert!(prototype.contains(&format!("{name}(")), "{prototype}");
            // Pointers have NULL, numbers an errno.
            for error in &function.errors {
                let is_error = ["-E", "NULL", "0: "].iter().any(|it| error.starts_with(it));
                assert!(is_error && error.contains(": "), "{name}: {error}");
            }
        }
    }

    #[test]
    fn no_line_of_the_page_is_longer_than_its_screen() {
        let page = markdown(&functions()).print(&MARKDOWN);
        for line in page.lines() {
            assert!(line.len() <= MARKDOWN.width, "{line}");
            // A row that wraps is none.
            assert_eq!(line.starts_with('|'), line.ends_with('|'), "{line}");
        }
    }
}
