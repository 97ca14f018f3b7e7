//! The calls of a parser: what they are charged, and the licence that Linux wants
//! for them.

use serde::Serialize;
use ukexec_bpf::{Insn, Parser, insn};

use super::helpers::{Function, functions};

/// The functions that a parser calls, and how many of its instructions do.
pub(super) struct Calls(Vec<(Function, usize)>);

/// Calls that are charged beside their instructions, by their work.
#[derive(Serialize)]
pub(super) struct Charge {
    functions: Vec<&'static str>,
    /// The instructions that call one of them.
    calls: usize,
    price: String,
}

impl Calls {
    /// Finds the calls in all programs of `parser`.
    pub(super) fn of(parser: &Parser) -> Self {
        let code = parser.programs.iter().flat_map(|program| &program.code);
        let all: Vec<&Insn> = code.filter(|insn| insn.code == insn::CALL).collect();
        let called = functions().into_iter().map(|function| {
            let calls = all.iter().filter(|insn| calls(parser, insn, &function));
            let count = calls.count();
            (function, count)
        });
        Self(called.filter(|(_, calls)| *calls > 0).collect())
    }

    /// Returns the helpers, by number.
    pub(super) fn helpers(&self) -> impl Iterator<Item = &Function> {
        let called = self.0.iter().map(|(function, _)| function);
        called.filter(|function| function.number.is_some())
    }

    /// Returns what is charged, each price once.
    pub(super) fn charges(&self) -> Vec<Charge> {
        let mut charges: Vec<Charge> = Vec::new();
        for (function, calls) in &self.0 {
            let Some(price) = &function.price else {
                continue;
            };
            match charges.iter_mut().find(|charge| charge.price == *price) {
                Some(charge) => {
                    charge.functions.push(function.name);
                    charge.calls += calls;
                }
                None => charges.push(Charge {
                    functions: vec![function.name],
                    calls: *calls,
                    price: price.clone(),
                }),
            }
        }
        charges
    }

    /// Returns that Linux would refuse the calls under the licence of `parser`, if it would.
    pub(super) fn licence_warning(&self, parser: &Parser) -> Option<String> {
        if parser.is_gpl_compatible() {
            return None;
        }
        let called = self.0.iter().map(|(function, _)| function);
        let refused: Vec<&Function> = called.filter(|function| function.gpl_only).collect();
        let (helpers, kfuncs): (Vec<&Function>, Vec<&Function>) = refused
            .iter()
            .partition(|function| function.number.is_some());
        let mut names: Vec<&str> = helpers.iter().map(|helper| helper.name).collect();
        names.extend((!kfuncs.is_empty()).then_some("kfuncs"));
        let (last, others) = names.split_last()?;
        let names = match others {
            [] => (*last).to_owned(),
            others => format!("{} and {last}", others.join(", ")),
        };
        let (found, advice) = match parser.license.as_str() {
            "" => ("no licence".to_owned(), "declare"),
            licence => (format!("licence {licence:?}"), "use"),
        };
        Some(format!(
            "{found}: Linux refuses calls of {names}; {advice} one that the GPL allows, such as \
             \"Dual BSD/GPL\", in section license"
        ))
    }
}

/// Returns whether `insn`, a call, is one of `function`.
fn calls(parser: &Parser, insn: &Insn, function: &Function) -> bool {
    if insn.src == insn::call::HELPER {
        return function.number == Some(insn.imm);
    }
    let kfunc = usize::try_from(insn.imm).ok();
    let kfunc = kfunc.and_then(|index| parser.kfuncs.get(index));
    insn.src == insn::call::KFUNC && kfunc.is_some_and(|kfunc| kfunc.name == function.name)
}

impl Charge {
    /// Returns the charge for people.
    pub(super) fn text(&self) -> String {
        let Self {
            functions,
            calls,
            price,
        } = self;
        let calls = match calls {
            1 => "1 call".to_owned(),
            calls => format!("{calls} calls"),
        };
        format!("{} ({calls}): {price}", functions.join(", "))
    }
}
