//! Linking: a program's entry and every function it reaches, one behind the
//! other.

use std::collections::{HashMap, HashSet};

use super::elf::Symbol;
use super::functions::{ProgramDecl, list};
use super::records::BySection;
use super::relocate::Body;
use super::{MAX_FUNCTIONS, MAX_INSNS, MAX_KFUNCS, Parts, Problems, check_count};
use crate::bounds::{size, small};
use crate::btf::ext::CoreRelo;
use crate::btf::{Texts, essential_name};
use crate::load::core_relo::Relocator;
use crate::load::error::KfuncProblem;
use crate::{Insn, Kfunc, LoadError, Poisoned, Program, Relocated};

/// Links the programs of one object.
#[derive(Debug)]
pub(super) struct Linker<'p> {
    pub(super) parts: &'p Parts<'p>,
    pub(super) relos: Option<BySection<CoreRelo>>,
    pub(super) relocator: Option<Relocator<'p>>,
    /// Functions that some program reaches, relocated.
    bodies: HashMap<usize, Body>,
    kfuncs: Vec<Kfunc>,
    kfunc_indices: HashMap<Kfunc, usize>,
    /// Indices of kfuncs by symbol.
    bound: HashMap<u32, u32>,
    texts: Texts,
    /// Why the object is refused, as far as it is known.
    pub(super) problems: &'p mut Problems,
    /// Slots linked so far.
    linked: usize,
}

impl<'p> Linker<'p> {
    pub(super) fn new(parts: &'p Parts<'p>, problems: &'p mut Problems) -> Self {
        let btf = parts.types.btf.as_ref();
        Self {
            parts,
            relos: btf.map(|btf| BySection::new(parts.elf, btf, &parts.types.ext.relos)),
            relocator: btf.map(|btf| Relocator::new(btf, &parts.interface.types)),
            bodies: HashMap::new(),
            kfuncs: Vec::new(),
            kfunc_indices: HashMap::new(),
            bound: HashMap::new(),
            texts: Texts::default(),
            problems,
            linked: 0,
        }
    }

    /// Returns the kfuncs that the linked programs name.
    pub(super) fn into_kfuncs(self) -> Vec<Kfunc> {
        self.kfuncs
    }

    /// Links one program.
    pub(super) fn link(&mut self, decl: &ProgramDecl) -> Result<Program, LoadError> {
        let layout = self.lay_out(decl)?;
        let mut program = Program {
            name: decl.name.clone(),
            section: decl.section.clone(),
            attach: decl.attach,
            hook: decl.hook.clone(),
            code: Vec::new(),
            functions: Vec::new(),
            lines: Vec::new(),
            relocated: Vec::new(),
            poisoned: Vec::new(),
        };
        for &index in &layout.order {
            self.append(&mut program, &layout, index);
        }
        Ok(program)
    }

    /// Finds the functions that a program reaches and gives each its place.
    fn lay_out(&mut self, decl: &ProgramDecl) -> Result<Layout, LoadError> {
        let mut layout = Layout {
            order: vec![decl.entry],
            starts: HashMap::new(),
        };
        let mut seen = HashSet::from([decl.entry]);
        let mut start = 0_usize;
        let mut next = 0;
        while let Some(&index) = layout.order.get(next) {
            next = next.saturating_add(1);
            check_count("functions of a program", next, MAX_FUNCTIONS)?;
            let Some(function) = self.parts.functions.get(index) else {
                continue;
            };
            let len = function.code.len();
            self.linked = self.linked.saturating_add(len);
            check_count("instructions of all programs", self.linked, MAX_INSNS)?;
            layout.starts.insert(index, start);
            start = start.saturating_add(len);
            if !self.bodies.contains_key(&index) {
                let body = self.relocate(*function, &decl.name)?;
                self.bodies.insert(index, body);
            }
            let body = self.bodies.get(&index);
            for reference in body.iter().flat_map(|body| &body.references) {
                if seen.insert(reference.function) {
                    layout.order.push(reference.function);
                }
            }
        }
        Ok(layout)
    }

    /// Appends one function.
    fn append(&mut self, program: &mut Program, layout: &Layout, index: usize) {
        let (Some(body), Some(function)) =
            (self.bodies.get(&index), self.parts.functions.get(index))
        else {
            return;
        };
        let start = program.code.len();
        let base = small(start);
        program.functions.push((base, function.name()));
        program
            .lines
            .extend(self.parts.lines.of(function, base, &mut self.texts));
        program.code.extend_from_slice(&body.code);
        for reference in &body.references {
            let slot = start.saturating_add(reference.slot);
            // `lay_out` has given each function that is named its place.
            let target = layout.starts.get(&reference.function);
            if let (Some(insn), Some(&target)) = (program.code.get_mut(slot), target) {
                point(insn, slot, target);
            }
        }
        let relocated = body.relocated.iter().map(|(slot, field)| Relocated {
            slot: small(start.saturating_add(*slot)),
            field: field.clone(),
        });
        program.relocated.extend(relocated);
        let poisoned = body.poisoned.iter().map(|(slot, reason)| Poisoned {
            slot: small(start.saturating_add(*slot)),
            reason: reason.clone(),
        });
        program.poisoned.extend(poisoned);
    }

    /// Returns the index of the kfunc that a symbol declares with so many
    /// arguments; on failure its name and why.
    pub(super) fn bind_kfunc(
        &mut self,
        index: u32,
        symbol: &Symbol<'_>,
        args: usize,
    ) -> Result<u32, (String, KfuncProblem)> {
        if let Some(&kfunc) = self.bound.get(&index) {
            return Ok(kfunc);
        }
        let name = String::from_utf8_lossy(essential_name(symbol.raw_name)).into_owned();
        let host = match self.find_kfunc(&name, args) {
            Ok(host) => Some(host),
            Err(_missing) if symbol.is_weak => None,
            Err(problem) => return Err((name, problem)),
        };
        let kfunc = Kfunc { name, host };
        let known = self.kfunc_indices.get(&kfunc).copied();
        let found = known.unwrap_or(self.kfuncs.len());
        if known.is_none() {
            if found >= MAX_KFUNCS {
                return Err((kfunc.name, KfuncProblem::TooMany { limit: MAX_KFUNCS }));
            }
            self.kfunc_indices.insert(kfunc.clone(), found);
            self.kfuncs.push(kfunc);
        }
        let found = small(found);
        self.bound.insert(index, found);
        Ok(found)
    }

    fn find_kfunc(&self, name: &str, declared: usize) -> Result<u32, KfuncProblem> {
        let interface = self.parts.interface;
        let Some(host) = interface.kfunc(name) else {
            if let Some(reason) = crate::guest::helpers::why_no_kfunc(name) {
                return Err(KfuncProblem::Refused { reason });
            }
            let offered = list(interface.kfuncs.iter().map(|kfunc| kfunc.name));
            return Err(KfuncProblem::Missing { offered });
        };
        let own = interface.kfuncs.get(size(host));
        let offered = own.map_or(declared, |kfunc| usize::from(kfunc.args));
        if offered != declared {
            return Err(KfuncProblem::Arguments { declared, offered });
        }
        Ok(host)
    }
}

/// Where the functions of one program lie.
#[derive(Debug)]
struct Layout {
    order: Vec<usize>,
    /// First slots by function.
    starts: HashMap<usize, usize>,
}

/// Makes the instruction at `slot` lead to `target`. [`MAX_INSNS`] keeps the
/// distance small.
fn point(insn: &mut Insn, slot: usize, target: usize) {
    let distance = small(target).wrapping_sub(small(slot)).wrapping_sub(1);
    insn.imm = distance.cast_signed();
}
