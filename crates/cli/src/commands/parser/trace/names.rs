//! Names of instructions and of calls.

use std::collections::HashMap;
use std::rc::Rc;

use ukexec_bpf::disasm::{disassemble, parameters};
use ukexec_bpf::trace::Callee;
use ukexec_bpf::{Interface, KFUNCS, Parser, Place};

use super::event::Facts;

/// The facts about instructions, which are looked up once each.
pub(super) struct Names {
    parser: Rc<Parser>,
    /// Each instruction and the field it is about, by program and slot.
    insns: Vec<HashMap<u32, (String, Option<String>)>>,
    facts: HashMap<(usize, u32), Rc<Facts>>,
}

impl Names {
    pub(super) fn new(parser: Rc<Parser>) -> Self {
        let insns = parser.programs.iter().map(|program| {
            let lines = disassemble(&parser, program).into_iter();
            lines
                .map(|line| (line.slot, (line.text, line.note)))
                .collect()
        });
        Self {
            insns: insns.collect(),
            facts: HashMap::new(),
            parser,
        }
    }

    pub(super) fn facts(&mut self, program: usize, slot: u32) -> Rc<Facts> {
        let Self {
            parser,
            insns,
            facts,
        } = self;
        let known = facts.entry((program, slot)).or_insert_with(|| {
            let insn = insns.get(program).and_then(|insns| insns.get(&slot));
            let (text, note) = insn.cloned().unwrap_or_default();
            Rc::new(Facts {
                place: place(parser, program, slot),
                slot,
                text,
                note,
            })
        });
        Rc::clone(known)
    }
}

/// Returns where slot `slot` of program number `program` is.
pub(crate) fn place(parser: &Parser, program: usize, slot: u32) -> Option<Place> {
    Some(Place::new(parser.programs.get(program)?, slot))
}

/// Returns the names of the parameters of a helper or kfunc.
pub(crate) fn parameters_of(callee: Callee<'_>) -> Vec<String> {
    match callee {
        Callee::Helper { prototype, .. } => parameters(prototype),
        Callee::Kfunc(kfunc) => kfunc
            .host
            .and_then(prototype)
            .map_or_else(Vec::new, parameters),
    }
}

/// Returns the prototype of a kfunc, by the number that the interface gives it.
fn prototype(host: u32) -> Option<&'static str> {
    if let Some(own) = host.checked_sub(Interface::BUILT_IN) {
        let own = KFUNCS.get(usize::try_from(own).ok()?)?;
        return Some(own.prototype);
    }
    let kfunc = ukexec_unfold::KFUNCS.get(usize::try_from(host).ok()?)?;
    Some(kfunc.prototype)
}
