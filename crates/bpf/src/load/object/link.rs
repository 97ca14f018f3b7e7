//! Linking: a program's entry and every function it reaches, one behind the
//! other.

use std::collections::{HashMap, HashSet};

use super::elf::Symbol;
use super::functions::ProgramDecl;
use super::parts::Parts;
use super::records::BySection;
use super::relocate::Body;
use crate::bounds::small;
use crate::btf::essential_name;
use crate::btf::ext::CoreRelo;
use crate::error::check_count;
use crate::load::core_relo::Relocator;
use crate::load::limits::{MAX_FUNCTIONS, MAX_INSNS, MAX_KFUNCS};
use crate::load::offered::{self, Kfuncs};
use crate::load::problems::Problems;
use crate::source_lines::LineInfo;
use crate::{BpfError, Kfunc, Poisoned, Program, Relocated};

#[derive(Debug)]
pub(super) struct Linker<'p> {
    pub(super) parts: &'p Parts<'p>,
    pub(super) relos: BySection<CoreRelo>,
    pub(super) relocator: Option<Relocator<'p>>,
    /// Functions that some program reaches, relocated.
    bodies: HashMap<usize, Body>,
    pub(super) kfuncs: Kfuncs,
    /// Indices of kfuncs by symbol.
    bound: HashMap<u32, u32>,
    /// Why the object is refused, as far as it is known.
    pub(super) problems: &'p mut Problems,
    linked: usize,
}

impl<'p> Linker<'p> {
    pub(super) fn new(parts: &'p Parts<'p>, problems: &'p mut Problems) -> Self {
        let btf = parts.types.btf.as_ref();
        Self {
            parts,
            relos: BySection::of_tables(parts.elf, btf, &parts.types.ext.relos, |relo| {
                relo.insn_off.into()
            }),
            relocator: btf
                .zip(parts.host_types)
                .map(|(own, host)| Relocator::new(own, host)),
            bodies: HashMap::new(),
            kfuncs: Kfuncs::default(),
            bound: HashMap::new(),
            problems,
            linked: 0,
        }
    }

    pub(super) fn link(&mut self, decl: ProgramDecl) -> Result<Program, BpfError> {
        let ProgramDecl { mut program, entry } = decl;
        let layout = self.lay_out(&program.name, entry)?;
        let mut lines = Vec::new();
        for &index in &layout.order {
            self.append(&mut program, &mut lines, &layout, index);
        }
        program.lines = self.parts.lines.table(lines);
        Ok(program)
    }

    /// Finds the functions that a program reaches and gives each its place.
    fn lay_out(&mut self, program: &str, entry: usize) -> Result<Layout, BpfError> {
        let mut layout = Layout {
            order: vec![entry],
            starts: HashMap::new(),
        };
        let mut seen = HashSet::from([entry]);
        let mut start = 0_usize;
        let mut next = 0;
        while let Some(&index) = layout.order.get(next) {
            next = next.saturating_add(1);
            check_count("functions of a program", next, MAX_FUNCTIONS)?;
            let Some(function) = self.parts.functions.all.get(index) else {
                continue;
            };
            let len = function.code.len();
            self.linked = self.linked.saturating_add(len);
            check_count("instructions of all programs", self.linked, MAX_INSNS)?;
            layout.starts.insert(index, start);
            start = start.saturating_add(len);
            if !self.bodies.contains_key(&index) {
                let body = self.relocate(*function, program)?;
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

    fn append(
        &self,
        program: &mut Program,
        lines: &mut Vec<LineInfo>,
        layout: &Layout,
        index: usize,
    ) {
        let (Some(body), Some(function)) =
            (self.bodies.get(&index), self.parts.functions.all.get(index))
        else {
            return;
        };
        let start = program.code.len();
        let base = small(start);
        program.functions.push((base, function.name()));
        lines.extend(self.parts.lines.of(function, base));
        program.code.extend_from_slice(&body.code);
        for reference in &body.references {
            let slot = start.saturating_add(reference.slot);
            // `lay_out` has given each function that is named its place.
            let target = layout.starts.get(&reference.function);
            if let (Some(insn), Some(&target)) = (program.code.get_mut(slot), target) {
                // `MAX_INSNS` keeps the distance small.
                let distance = small(target).wrapping_sub(small(slot)).wrapping_sub(1);
                insn.imm = distance.cast_signed();
            }
        }
        for (slot, field) in &body.relocated {
            let (slot, field) = (small(start.saturating_add(*slot)), field.clone());
            program.relocated.push(Relocated { slot, field });
        }
        for (slot, reason) in &body.poisoned {
            let (slot, reason) = (small(start.saturating_add(*slot)), reason.clone());
            program.poisoned.push(Poisoned { slot, reason });
        }
    }

    /// Returns the index of the kfunc that a symbol declares with so many
    /// arguments.
    pub(super) fn bind_kfunc(
        &mut self,
        index: u32,
        symbol: &Symbol<'_>,
        args: usize,
    ) -> Result<u32, BpfError> {
        if let Some(&kfunc) = self.bound.get(&index) {
            return Ok(kfunc);
        }
        let name = String::from_utf8_lossy(essential_name(symbol.raw_name)).into_owned();
        let interface = self.parts.interface;
        let checked = match interface.kfunc(&name) {
            Some(host) => offered::check_args(interface, &name, host, args).and(Ok(host)),
            None => {
                let missing = offered::no_kfunc(interface, &name).whole();
                Err(BpfError::new(format!("kfunc {name} {missing}")))
            }
        };
        let host = match checked {
            Ok(host) => Some(host),
            Err(_missing) if symbol.is_weak => None,
            Err(problem) => return Err(problem),
        };
        let kfunc = Kfunc { name, host };
        let found = self.kfuncs.index(&kfunc).ok_or_else(|| {
            let name = &kfunc.name;
            BpfError::new(format!(
                "kfunc {name} is one kfunc too many, at most {MAX_KFUNCS} are taken"
            ))
        })?;
        self.bound.insert(index, found);
        Ok(found)
    }
}

#[derive(Debug)]
struct Layout {
    order: Vec<usize>,
    /// First slots by function.
    starts: HashMap<usize, usize>,
}
