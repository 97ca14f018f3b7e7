//! Loading plain BPF objects, as clang writes them: ELF64 little-endian for
//! machine `EM_BPF`, with types in `.BTF` and records about instructions in
//! `.BTF.ext`.
//!
//! The answers are those of libbpf's loader for tracing programs: maps come
//! from `.maps` and the data sections, programs from sections named after what
//! they attach to, functions from `.text`. What a patched kernel would not load
//! is refused here too.
//!
//! An object is untrusted: nothing in it makes this module panic, and its time
//! and memory are bounded by the object's length and the limits below.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod elf;
mod externs;
mod functions;
mod link;
mod map_definition;
mod maps;
mod records;
mod relocate;
mod target;

use elf::Elf;
pub(crate) use elf::{MAX_SECTIONS, check_ident};
use externs::Externs;
use functions::Functions;
pub(crate) use functions::list;
use link::Linker;
pub(crate) use map_definition::Definition;
use maps::Maps;
use records::Lines;
use relocate::Relocations;

use crate::bounds::{at_most, before_nul, wide};
use crate::btf::Btf;
use crate::btf::ext::BtfExt;
use crate::{Interface, LoadError, Parser, skeleton};

/// The most bytes of an object.
pub const MAX_OBJECT_BYTES: usize = 16 << 20;
/// The most maps of an object, data sections included.
pub const MAX_MAPS: usize = 64;
/// The most programs of an object.
pub const MAX_PROGRAMS: usize = 32;
/// The most instruction slots of all programs of an object, linked.
pub const MAX_INSNS: usize = 1_000_000;
/// The most functions one program may reach (Linux `BPF_MAX_SUBPROGS`).
pub const MAX_FUNCTIONS: usize = 256;
/// The most kfuncs an object may name (Linux `MAX_KFUNC_DESCS`).
pub const MAX_KFUNCS: usize = 256;
/// The most CO-RE relocations of an object.
pub const MAX_CORE_RELOS: usize = 1 << 16;
/// The most externs an object may declare.
pub const MAX_EXTERNS: usize = 1 << 16;

impl Parser {
    /// Loads a plain BPF object, or a light skeleton (see [`skeleton`]), for a
    /// host.
    ///
    /// ```
    /// use ukexec_bpf::btf::TypesBuilder;
    /// use ukexec_bpf::{HookDecl, Interface, KfuncDecl, Parser};
    ///
    /// let mut types = TypesBuilder::new();
    /// let boolean = types.boolean();
    /// let char = types.char();
    /// let int = types.int("int", 4, true);
    /// let bytes = types.pointer(char);
    /// let members = [("kdump", boolean), ("image", bytes), ("image_sz", int)];
    /// types.structure("kexec_context", &members);
    /// let hook = |name| HookDecl { name, args: 1 };
    /// let interface = Interface {
    ///     types: types.build(),
    ///     hooks: ["bpf_handle_pefile", "bpf_post_handle_pefile", "ukexec_match_image"]
    ///         .map(hook)
    ///         .to_vec(),
    ///     kfuncs: vec![KfuncDecl { name: "bpf_copy_to_kernel", args: 3 }],
    /// };
    /// let object = std::fs::read("testdata/objects/parser-19-v3.bpf.o")?;
    /// let parser = Parser::load(&object, &interface)?;
    /// assert_eq!(parser.programs[0].hook, "bpf_handle_pefile");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what in the object cannot be loaded and why.
    pub fn load(object: &[u8], interface: &Interface) -> Result<Self, LoadError> {
        let mut problems = Problems::default();
        let loaded = Self::load_noting(object, interface, &mut problems);
        match problems.list.into_iter().next() {
            Some(first) => Err(first),
            None => loaded,
        }
    }

    /// Like [`Parser::load`], for an author: goes on behind what is refused and
    /// says all that it finds, up to a limit.
    ///
    /// # Errors
    ///
    /// At least one [`LoadError`]; the first is that of [`Parser::load`].
    pub fn load_or_explain(object: &[u8], interface: &Interface) -> Result<Self, Vec<LoadError>> {
        let mut problems = Problems::default();
        match Self::load_noting(object, interface, &mut problems) {
            Ok(parser) if problems.is_empty() => Ok(parser),
            Ok(_partly) => Err(problems.list),
            Err(last) => {
                problems.list.push(last);
                Err(problems.list)
            }
        }
    }

    /// Loads what can be loaded; it is of no use where there are `problems`.
    fn load_noting(
        object: &[u8],
        interface: &Interface,
        problems: &mut Problems,
    ) -> Result<Self, LoadError> {
        check_count("bytes of the object", object.len(), MAX_OBJECT_BYTES)?;
        if skeleton::is_skeleton(object) {
            return skeleton::load(object, interface);
        }
        let elf = Elf::parse(object)?;
        let functions = Functions::find(&elf)?;
        let programs = functions.programs(&elf, interface, problems)?;
        let types = Types::read(&elf)?;
        let maps = Maps::read(&elf, types.btf.as_ref())?;
        let parts = Parts {
            interface,
            externs: Externs::read(types.btf.as_ref())?,
            lines: Lines::new(&elf, &types),
            relocations: Relocations::read(&elf)?,
            elf: &elf,
            types: &types,
            functions: &functions,
            maps: &maps,
        };
        let mut linker = Linker::new(&parts, problems);
        let programs = programs.iter().map(|program| linker.link(program));
        let programs = programs.collect::<Result<_, _>>()?;
        let kfuncs = linker.into_kfuncs();
        drop(parts);
        Ok(Self {
            license: license(&elf),
            maps: maps.into_maps(),
            programs,
            kfuncs,
        })
    }
}

/// Why an object is refused, in the order found.
#[derive(Debug, Default)]
struct Problems {
    list: Vec<LoadError>,
}

impl Problems {
    /// Notes a problem behind which loading can go on; with too many of them it
    /// is an error that ends it.
    fn note(&mut self, problem: LoadError) -> Result<(), LoadError> {
        if self.list.len() >= MAX_PROBLEMS {
            return Err(problem);
        }
        self.list.push(problem);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// All that linking looks at.
#[derive(Debug)]
struct Parts<'a> {
    interface: &'a Interface,
    elf: &'a Elf<'a>,
    types: &'a Types,
    functions: &'a Functions<'a>,
    maps: &'a Maps,
    externs: Externs<'a>,
    lines: Lines<'a>,
    relocations: Relocations,
}

/// An object's type information.
#[derive(Debug, Default)]
struct Types {
    btf: Option<Btf>,
    ext: BtfExt,
}

impl Types {
    fn read(elf: &Elf<'_>) -> Result<Self, LoadError> {
        let Some((_, section)) = elf.section(".BTF") else {
            return Ok(Self::default());
        };
        let btf = Btf::parse(section.data).map_err(|source| LoadError::Btf {
            section: ".BTF",
            source,
        })?;
        let ext = match elf.section(".BTF.ext") {
            None => BtfExt::default(),
            Some((_, section)) => BtfExt::parse(section.data).map_err(|source| LoadError::Btf {
                section: ".BTF.ext",
                source,
            })?,
        };
        let relos = ext.relos.iter().map(|table| table.records.len()).sum();
        check_count("CO-RE relocations", relos, MAX_CORE_RELOS)?;
        Ok(Self {
            btf: Some(btf),
            ext,
        })
    }
}

fn license(elf: &Elf<'_>) -> String {
    let license = elf.section("license");
    license.map_or_else(String::new, |(_, section)| {
        let text = before_nul(at_most(section.data, MAX_LICENSE));
        String::from_utf8_lossy(text).into_owned()
    })
}

/// The most bytes of a licence (Linux keeps 128).
pub(crate) const MAX_LICENSE: usize = 128;

/// The most problems that are noted before loading ends.
const MAX_PROBLEMS: usize = 32;

/// Checks a count against its cap.
fn check_count(what: &'static str, found: usize, limit: usize) -> Result<(), LoadError> {
    if found <= limit {
        return Ok(());
    }
    let [found, limit] = [found, limit].map(wide);
    Err(LoadError::TooMany { what, found, limit })
}
