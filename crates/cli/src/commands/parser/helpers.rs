//! `ukexec parser helpers`: what a parser may call, as the page that
//! `docs/helpers.md` is.

use std::fmt::Write as _;

use ukexec_bpf::{HELPERS, KFUNCS, REFUSED, Refused};

use crate::console;

const HEAD: &str = "\
# What a parser may call

<!-- Made from the tables in the sources: `cargo xtask docs` writes this page, `cargo xtask tidy` compares it. -->

A helper is called by its number in Linux, a kfunc by its name. Each does what Linux's function of the same name does as far as
a parser can tell; the last column says where it differs. What Linux's verifier would have refused (a wrong kind of map, memory that is
too small) ends the run with an error that names the instruction. `ukexec parser check` tells which of them a parser calls.
";

const REFUSALS: &str = "
## Not offered

Linux has these and ukexec does not offer them; a parser that calls one is refused before it runs. Helpers have their number
behind the name.

| why not | helpers and kfuncs |
|---|---|
";

/// Prints the page.
pub(crate) fn helpers() -> anyhow::Result<()> {
    console::out(&page())
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let abi = ukexec_unfold::KFUNCS.iter();
    let abi = abi.map(|it| row(it.name, it.prototype, it.rule));
    let others = KFUNCS.iter();
    let others = others.map(|it| row(it.name, it.prototype, it.rule));
    for (title, rows) in [
        ("Kfuncs of the parser ABI", Vec::from_iter(abi)),
        ("Other kfuncs", Vec::from_iter(others)),
    ] {
        let head = "| name | prototype | here |\n|---|---|---|";
        let _infallible = writeln!(page, "\n## {title}\n\n{head}\n{}", rows.join("\n"));
    }
    page.push_str("\n## Helpers\n\n| number | name | prototype | here |\n|---|---|---|---|\n");
    for helper in HELPERS {
        let row = row(helper.name, helper.prototype, helper.rule);
        let _infallible = writeln!(page, "| {} {row}", helper.number);
    }
    page.push_str(REFUSALS);
    for group in REFUSED.chunk_by(|one, next| one.reason == next.reason) {
        refusal(&mut page, group);
    }
    page
}

/// Adds the row of functions that are refused for one reason.
fn refusal(page: &mut String, group: &[Refused]) {
    let names: Vec<String> = group
        .iter()
        .map(|refused| match refused.number {
            0 => format!("`{}`", refused.name),
            number => format!("`{}` ({number})", refused.name),
        })
        .collect();
    let reason = group.first().map_or("", |refused| refused.reason);
    let _infallible = writeln!(page, "| {reason} | {} |", names.join(", "));
}

fn row(name: &str, prototype: &str, rule: &str) -> String {
    format!("| `{name}` | `{prototype}` | {rule} |")
}
