//! Functions and programs: which symbols are code, and what their sections'
//! names say about attaching.

use std::collections::HashMap;

use super::elf::{Elf, Section, Symbol, SymbolPlace};
use crate::bounds::{at_most, rest, size, wide};
use crate::error::check_count;
use crate::load::limits::MAX_PROGRAMS;
use crate::load::offered;
use crate::load::problems::Problems;
use crate::{AttachKind, BpfError, Interface, Program, did_you_mean};

/// Bytes of an instruction slot.
pub(super) const SLOT: u64 = 8;
/// The kinds of programs this loader offers, for messages.
const OFFERED: &str = "fentry/HOOK, fentry.s/HOOK, fmod_ret/HOOK, fmod_ret.s/HOOK";

/// The functions of an object, ordered by section and place.
#[derive(Debug)]
pub(super) struct Functions<'a> {
    pub(super) all: Vec<Function<'a>>,
    /// Indices by section and first slot.
    by_start: HashMap<(usize, u64), usize>,
}

/// A function: a span of a code section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function<'a> {
    symbol: Symbol<'a>,
    pub(super) section: usize,
    /// The first slot in the section.
    pub(super) start: u64,
    pub(super) code: &'a [[u8; 8]],
}

impl Function<'_> {
    /// Returns the name. It is kept as it lies in the object: many functions
    /// may share the tail of one long name.
    pub(super) fn name(&self) -> String {
        self.symbol.name().into_owned()
    }

    /// Returns the slot behind the last one.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(wide(self.code.len()))
    }

    /// Returns those of `all` whose offsets, which ascend, lie in it.
    pub(super) fn among<'t, T>(&self, all: &'t [T], offset: impl Fn(&T) -> u64) -> &'t [T] {
        let before = |slot: u64| all.partition_point(|one| offset(one) < slot.saturating_mul(SLOT));
        rest(at_most(all, before(self.end())), before(self.start))
    }
}

/// A program to be linked.
#[derive(Debug)]
pub(super) struct ProgramDecl {
    /// The program, without code.
    pub(super) program: Program,
    /// Its entry, an index into [`Functions`].
    pub(super) entry: usize,
}

impl<'a> Functions<'a> {
    pub(super) fn find(elf: &Elf<'a>) -> Result<Self, BpfError> {
        let uneven = |one: &&Section<'_>| one.executable && !one.size.is_multiple_of(SLOT);
        if let Some(section) = elf.sections.iter().find(uneven) {
            return Err(section.error("holds code, and its size is no multiple of 8"));
        }
        let mut all = Vec::new();
        for symbol in elf.symbols.iter().filter(|symbol| symbol.is_function) {
            let SymbolPlace::Section(index) = symbol.place else {
                continue;
            };
            let section = elf.sections.get(index).filter(|section| section.executable);
            let Some(section) = section else {
                return Err(lie(symbol, "is a function outside the sections with code"));
            };
            all.push(function(symbol, index, section)?);
        }
        all.sort_by_key(|function: &Function<'_>| (function.section, function.start));
        check_overlaps(elf, &all)?;
        let start = |function: &Function<'_>| (function.section, function.start);
        let by_start = all.iter().map(start).zip(0..).collect();
        Ok(Self { all, by_start })
    }

    /// Returns the index of the function that begins at a slot of a section.
    pub(super) fn starting_at(&self, section: usize, slot: i64) -> Option<usize> {
        let start = (section, u64::try_from(slot).ok()?);
        self.by_start.get(&start).copied()
    }

    /// Finds the programs, in file order.
    pub(super) fn programs(
        &self,
        elf: &Elf<'_>,
        interface: &Interface,
        problems: &mut Problems,
    ) -> Result<Vec<ProgramDecl>, BpfError> {
        let mut programs = Vec::new();
        for (entry, function) in self.all.iter().enumerate() {
            let Some(section) = elf.sections.get(function.section) else {
                continue;
            };
            let program = program(function, &section.name, interface);
            let program = program.or_else(|problem| problems.note(problem).and(Ok(None)))?;
            let Some(program) = program else { continue };
            check_count("programs", programs.len().saturating_add(1), MAX_PROGRAMS)?;
            programs.push(ProgramDecl { program, entry });
        }
        if programs.is_empty() && problems.list.is_empty() {
            return Err(BpfError::new(format!(
                "the object holds no program; programs are functions in sections named {OFFERED}"
            )));
        }
        Ok(programs)
    }
}

fn function<'a>(
    symbol: &Symbol<'a>,
    index: usize,
    section: &Section<'a>,
) -> Result<Function<'a>, BpfError> {
    if symbol.size == 0 || !symbol.size.is_multiple_of(SLOT) || !symbol.value.is_multiple_of(SLOT) {
        return Err(lie(symbol, "is a function of no whole instructions"));
    }
    let from = rest(section.data, size(symbol.value));
    let Some(code) = from.get(..size(symbol.size)) else {
        let problem = "is a function that passes the end of its section";
        return Err(lie(symbol, problem));
    };
    let (code, _none) = code.as_chunks();
    Ok(Function {
        symbol: *symbol,
        section: index,
        start: symbol.value / SLOT,
        code,
    })
}

fn lie(symbol: &Symbol<'_>, problem: &str) -> BpfError {
    let (name, value, size) = (symbol.name(), symbol.value, symbol.size);
    BpfError::new(format!(
        "symbol {name} (value {value:#x}, size {size:#x}) {problem}"
    ))
}

/// Refuses functions that share instructions, except two names of one.
fn check_overlaps(elf: &Elf<'_>, functions: &[Function<'_>]) -> Result<(), BpfError> {
    for pair in functions.windows(2) {
        let [first, second] = pair else { continue };
        let is_alias = first.start == second.start && first.end() == second.end();
        if first.section == second.section && second.start < first.end() && !is_alias {
            let section = elf.section_name(first.section);
            let [first, second] = [first, second].map(Function::name);
            return Err(BpfError::new(format!(
                "functions {first} and {second} of section {section} overlap"
            )));
        }
    }
    Ok(())
}

/// Returns the program, without code, that a function of `section` is; `None`
/// for one that programs call, or that only an explicit request would load.
fn program(
    function: &Function<'_>,
    section: &str,
    interface: &Interface,
) -> Result<Option<Program>, BpfError> {
    if section.starts_with('?') || section == ".text" || section.starts_with(".text.") {
        return Ok(None);
    }
    let name = function.name();
    let (attach, hook) = match section.split_once('/') {
        Some(("fentry" | "fentry.s", hook)) => (AttachKind::Fentry, hook),
        Some(("fmod_ret" | "fmod_ret.s", hook)) => (AttachKind::FmodRet, hook),
        _ => {
            let meant = meant(section, interface);
            let advice = meant.map(|meant| format!("did you mean {meant}?"));
            let advice = advice.unwrap_or_else(|| format!("offered: {OFFERED}"));
            return Err(BpfError::new(format!(
                "section {section}, function {name}: programs of this kind are not offered; \
                 {advice}"
            )));
        }
    };
    if function.symbol.is_local {
        return Err(BpfError::new(format!(
            "section {section}, function {name}: a program must be a global function, this one \
             is static"
        )));
    }
    if !offered::has_hook(interface, hook) {
        let missing = offered::no_hook(interface, hook).whole();
        return Err(BpfError::new(format!(
            "program {name} (section {section}): hook {hook} {missing}"
        )));
    }
    let (section, hook) = (section.to_owned(), hook.to_owned());
    Ok(Some(Program::new(name, section, attach, hook)))
}

/// Returns the name of a section that attaches, if `section` is much like it.
fn meant(section: &str, interface: &Interface) -> Option<String> {
    let kinds = OFFERED.split(", ");
    let names = kinds.flat_map(|kind| {
        let hooks = interface.hooks.iter();
        hooks.map(|hook| kind.replace("HOOK", hook.name))
    });
    let names: Vec<String> = names.collect();
    did_you_mean(section, names.iter().map(String::as_str)).map(str::to_owned)
}
