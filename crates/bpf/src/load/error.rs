//! Why an object is refused.

use crate::load::core_relo::CoreReloError;
use crate::load::skeleton::SkeletonError;
use crate::{BpfError, Place};

/// Why an object is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The ELF header is not that of a BPF object.
    #[error("ELF header, {field} at byte {at:#x}: expected {expected}, found {found}")]
    Header {
        /// The field, in the words of the ELF specification.
        field: &'static str,
        /// Where it lies.
        at: usize,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A table of the ELF file cannot be read.
    #[error("the ELF file's {part} cannot be read")]
    Elf {
        /// Which part.
        part: String,
        /// What the reader says.
        source: object::read::Error,
    },
    /// A section lies outside the file.
    #[error(
        "section {section}: bytes {offset:#x} to {offset:#x}+{size:#x} pass the end of the object, which has {len:#x}"
    )]
    SectionRange {
        /// Its name.
        section: String,
        /// `sh_offset`.
        offset: u64,
        /// `sh_size`.
        size: u64,
        /// The object's length.
        len: u64,
    },
    /// Two sections share bytes of the file.
    #[error("sections {first} and {second} overlap at byte {at:#x}")]
    SectionOverlap {
        /// The one that begins first.
        first: String,
        /// The other.
        second: String,
        /// Where the other begins.
        at: u64,
    },
    /// A section is not what this loader takes.
    #[error("section {section} {problem}")]
    Section {
        /// Its name.
        section: String,
        /// What is wrong with it and what to do.
        problem: &'static str,
    },
    /// The object is not one BPF object with one symbol table.
    #[error("the object has {found} symbol tables, and one is needed")]
    SymbolTables {
        /// How many it has.
        found: usize,
    },
    /// A symbol lies.
    #[error("symbol {symbol} (value {value:#x}, size {size:#x}) {problem}")]
    Symbol {
        /// Its name.
        symbol: String,
        /// `st_value`.
        value: u64,
        /// `st_size`.
        size: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two functions share instructions.
    #[error("functions {first} and {second} of section {section} overlap")]
    FunctionOverlap {
        /// The section's name.
        section: String,
        /// The one that begins first.
        first: String,
        /// The other.
        second: String,
    },
    /// More of something than this loader takes.
    #[error("{what}: {found}, at most {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many are taken.
        limit: u64,
    },
    /// The object has no type information.
    #[error("{needed_by} needs the section .BTF, which the object lacks: compile with -g")]
    MissingBtf {
        /// What needs it.
        needed_by: String,
    },
    /// The type information is damaged.
    #[error("section {section}")]
    Btf {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// What is wrong with it.
        source: BpfError,
    },
    /// A map's definition is not one this loader takes.
    #[error("map {map}: {problem}")]
    Map {
        /// Its name.
        map: String,
        /// What is wrong with it.
        problem: MapProblem,
    },
    /// A program's section says how to attach it, and nothing offers that.
    #[error(
        "section {section}, function {function}: programs of this kind are not offered; offered: {offered}"
    )]
    ProgramKind {
        /// The section's name.
        section: String,
        /// The first function in it.
        function: String,
        /// The kinds that are.
        offered: &'static str,
    },
    /// A program attaches to a hook that the host lacks.
    #[error(
        "program {program} (section {section}): hook {hook} is not offered by this loader; offered: {offered}"
    )]
    Hook {
        /// The program's name.
        program: String,
        /// Its section.
        section: String,
        /// The hook.
        hook: String,
        /// The hooks that are, with commas between them.
        offered: String,
    },
    /// A program that is not global.
    #[error(
        "section {section}, function {function}: a program must be a global function, this one is static"
    )]
    StaticProgram {
        /// The section's name.
        section: String,
        /// The function's.
        function: String,
    },
    /// There is nothing to run.
    #[error("the object holds no program; programs are functions in sections named {offered}")]
    NoPrograms {
        /// The kinds of sections.
        offered: &'static str,
    },
    /// A program needs a kfunc that the host lacks.
    #[error("{place}: kfunc {kfunc} {problem}")]
    Kfunc {
        /// Where it is used.
        place: Box<Place>,
        /// Its name, without a flavour.
        kfunc: String,
        /// What is wrong with it.
        problem: KfuncProblem,
    },
    /// A relocation that this loader cannot apply.
    #[error("{place}: {problem}")]
    Relocation {
        /// Which instruction it is about.
        place: Box<Place>,
        /// What is wrong with it.
        problem: RelocationProblem,
    },
    /// A CO-RE record that cannot be applied.
    #[error("{place}")]
    CoreRelo {
        /// Which instruction it is about.
        place: Box<Place>,
        /// What is wrong with it.
        source: CoreReloError,
    },
    /// A light skeleton that cannot be loaded.
    #[error(transparent)]
    Skeleton(#[from] SkeletonError),
}

/// What is wrong with a map's definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapProblem {
    /// The variable is not a struct in the manner of libbpf.
    #[error("its definition is not a struct of __uint(), __type() and __ulong() members")]
    Shape,
    /// It is static.
    #[error("a map must be a global variable, this one is static")]
    Static,
    /// It passes the end of `.maps`.
    #[error("its definition passes the end of section .maps")]
    Outside,
    /// A member of the definition that this loader does not know.
    #[error("{field} is not offered")]
    Field {
        /// Its name.
        field: String,
    },
    /// A member of the definition has no meaning.
    #[error("{field} is not written as __uint() or __type() write it")]
    FieldShape {
        /// Its name.
        field: String,
    },
    /// A member has a value that makes no sense.
    #[error("{field} is {found}, and must be {expected}")]
    Value {
        /// Its name.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What it must be.
        expected: &'static str,
    },
    /// The definition says no type.
    #[error("its type is not given")]
    NoType,
    /// A type of map that this loader does not offer.
    #[error(
        "maps of type {kind} ({number}) are not offered; offered: hash (1), array (2), \
         percpu_hash (5), percpu_array (6), lru_hash (9), lru_percpu_hash (10), queue (22), \
         stack (23), ringbuf (27)"
    )]
    Type {
        /// The type's name.
        kind: &'static str,
        /// Its number.
        number: u32,
    },
    /// The map wants flags that this loader does not offer.
    #[error("map_flags {flags:#x} are not offered for this type")]
    Flags {
        /// Those that are not.
        flags: u32,
    },
}

/// Why a kfunc cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KfuncProblem {
    /// The host has none of the name.
    #[error("is not offered by this loader; offered: {offered}")]
    Missing {
        /// Those it has, with commas between them.
        offered: String,
    },
    /// Linux has it, but this loader does not offer it.
    #[error("is a kfunc of Linux that this loader does not offer: {reason}")]
    Refused {
        /// Why not.
        reason: &'static str,
    },
    /// There are more of them than this loader takes.
    #[error("is one kfunc too many, at most {limit} are taken")]
    TooMany {
        /// How many are taken.
        limit: usize,
    },
    /// The host's takes another number of arguments.
    #[error("is declared to take {declared} argument(s), and this loader's takes {offered}")]
    Arguments {
        /// Those of the declaration.
        declared: usize,
        /// Those of the host's.
        offered: usize,
    },
}

/// Why a relocation cannot be applied. Symbols are told by name, those of
/// sections as `section .rodata`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelocationProblem {
    /// Of a type that code does not have.
    #[error("relocation type {kind} has no place in code")]
    Type {
        /// Its number.
        kind: u32,
    },
    /// Its symbol is not there.
    #[error("the relocation names symbol {index}, and there are {count}")]
    NoSuchSymbol {
        /// Its index.
        index: u32,
        /// How many there are.
        count: usize,
    },
    /// It is about no instruction.
    #[error("a relocation is about byte {offset:#x}, where no instruction begins")]
    Misplaced {
        /// The byte, from the section's start.
        offset: u64,
    },
    /// Two relocations of one instruction.
    #[error("two relocations are about this instruction")]
    Twice,
    /// Its instruction is no instruction of the kind.
    #[error("the relocation against {symbol} needs {expected}, found opcode {code:#04x}")]
    Instruction {
        /// The symbol.
        symbol: String,
        /// What is needed.
        expected: &'static str,
        /// What is there.
        code: u8,
    },
    /// It leads to no function's start.
    #[error(
        "the call or address leads to insn {target} of section {section}, where no function begins"
    )]
    NoFunction {
        /// The section.
        section: String,
        /// The slot in it.
        target: i64,
    },
    /// It leads to no map.
    #[error("the relocation leads to byte {offset:#x} of section .maps, where no map begins")]
    NoMap {
        /// The byte.
        offset: i64,
    },
    /// It leads outside a data section.
    #[error("{symbol} leads to byte {offset:#x} of section {section}, which has {size:#x}")]
    OutsideData {
        /// The symbol.
        symbol: String,
        /// The section.
        section: String,
        /// The byte.
        offset: i64,
        /// The section's size.
        size: u32,
    },
    /// Its symbol lies in a section that is neither code, maps nor data.
    #[error("{symbol} lies in section {section}, which is neither code, maps nor data")]
    Section {
        /// The symbol.
        symbol: String,
        /// The section.
        section: String,
    },
    /// Its symbol is not defined, nor declared as a kfunc.
    #[error("{symbol} is neither defined nor declared as a kfunc (extern ... __ksym)")]
    Undefined {
        /// The symbol.
        symbol: String,
    },
    /// Its symbol is a variable of the kernel.
    #[error(
        "{symbol} is a kernel variable, which parsers cannot see; declare it __weak to test for it"
    )]
    Variable {
        /// The symbol.
        symbol: String,
    },
    /// Its symbol is a setting of the kernel.
    #[error(
        "{symbol} is a __kconfig variable, and the kernel's configuration is not offered to parsers"
    )]
    Kconfig {
        /// The symbol.
        symbol: String,
    },
    /// An instruction already carries what only a loader may write.
    #[error("the instruction (opcode {code:#04x}) has pseudo source {src} without a relocation")]
    PseudoSource {
        /// Its opcode.
        code: u8,
        /// Its source.
        src: u8,
    },
}
