//! Loading plain BPF objects, as clang writes them: ELF64 little-endian for
//! machine `EM_BPF`, with types in `.BTF` and records about instructions in
//! `.BTF.ext`.
//!
//! The answers are those of libbpf's loader for tracing programs: maps come
//! from `.maps` and the data sections, programs from sections named after what
//! they attach to, functions from `.text`. This module
//! refuses an object that a patched kernel would not load.
//!
//! An object is untrusted: nothing in it makes this module panic, and its time
//! and memory are bounded by the object's length and [`limits`](super::limits).

mod elf;
mod externs;
mod functions;
mod link;
mod maps;
mod parts;
mod records;
mod relocate;
mod target;

use self::elf::Elf;
use self::externs::externs;
use self::functions::Functions;
use self::link::Linker;
use self::maps::Maps;
use self::parts::{Parts, Types};
use self::records::{Lines, relocations};
use super::limits::MAX_LICENSE;
use super::offered::Bound;
use super::problems::Problems;
use crate::bounds::{at_most, before_nul};
use crate::{BpfError, Interface, Parser};

/// Checks the ELF file of an object, and nothing of its programs.
pub(super) fn check_form(object: &[u8]) -> Result<(), BpfError> {
    Elf::parse(object).map(drop)
}

/// Loads an object for a host, with the programs on `hook` alone if there is one, noting
/// `problems`.
pub(super) fn load(
    object: &[u8],
    interface: &Interface,
    hook: Option<&str>,
    problems: &mut Problems,
) -> Result<Parser, BpfError> {
    let elf = Elf::parse(object)?;
    let functions = Functions::find(&elf)?;
    let programs = functions.programs(&elf, interface, problems)?;
    let types = Types::read(&elf)?;
    let mut bound = Bound::default();
    let mut host_types = interface.types.first().map(|types| &**types);
    for decl in &programs {
        let hook = &decl.program.hook;
        host_types = Some(bound.bind(interface, hook, types.btf.as_ref())?);
    }
    let maps = Maps::read(&elf, types.btf.as_ref())?;
    let mut warnings = Vec::new();
    let parts = Parts {
        interface,
        host_types,
        externs: externs(types.btf.as_ref())?,
        lines: Lines::new(&elf, &types),
        relocations: relocations(&elf, &mut warnings)?,
        elf: &elf,
        types: &types,
        functions: &functions,
        maps: &maps,
    };
    let mut linker = Linker::new(&parts, problems);
    let programs = programs.into_iter();
    let programs = programs.filter(|decl| hook.is_none_or(|hook| decl.program.hook == hook));
    let programs = programs.map(|program| linker.link(program));
    let programs = programs.collect::<Result<_, _>>()?;
    let kfuncs = linker.kfuncs.list;
    drop(parts);
    Ok(Parser {
        license: license(&elf),
        maps: maps.maps,
        programs,
        kfuncs,
        types: bound.types.unwrap_or_default(),
        warnings,
    })
}

fn license(elf: &Elf<'_>) -> String {
    let license = elf.section("license");
    license.map_or_else(String::new, |(_, section)| {
        let text = before_nul(at_most(section.data, MAX_LICENSE));
        String::from_utf8_lossy(text).into_owned()
    })
}
