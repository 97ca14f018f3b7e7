//! Loading light skeletons, as `bpftool gen skeleton -L` makes them: an object
//! file for any machine with two arrays, `opts_insn` and `opts_data`. The first
//! is a BPF *loader program*; run on the second, it makes maps and loads
//! programs through `bpf(2)`.
//!
//! Here it runs in this crate's interpreter, and its system calls go to an
//! emulated kernel that records them. The result is the same [`Parser`] that a
//! plain object gives: the CO-RE relocations, which a loader program leaves to
//! the kernel, are applied. Descriptors and type ids have become indices.
//!
//! A loader program is untrusted: it sees its blob and nothing else, and its
//! instructions, calls, memory and all that it may make are capped, and with
//! that its descriptors. A descriptor that it forgets to close is dropped.
//!
//! Spec: libbpf's `gen_loader.c` and `skel_internal.h`, from 1.1 on.

mod arrays;
mod attr;
mod call_error;
mod kernel;
mod maps;
mod programs;
mod rewrite;

use bytes::Bytes;
use object::elf::{ELFMAG, EM_BPF};
use sha2::{Digest, Sha256};

use self::arrays::Arrays;
use self::call_error::errno_text;
use self::kernel::Kernel;
use super::limits::{MAX_LOADER_BYTES, MAX_LOADER_INSNS};
use crate::bounds::small;
use crate::guest::errno;
use crate::guest::helpers::LOADER_HELPERS;
use crate::insn::{LDDW, lddw};
use crate::place::Place;
use crate::{AttachKind, Insn, Interface, Map, Meter, Parser, Program, VerifiedParser};
use crate::{BpfError, Vm};

/// Bytes of the context that a loader program works on: room for a header of
/// 24, 64 maps of 16 and 32 programs of 4. All zeros ask for what the blob says.
const CONTEXT: usize = 4096;
/// The loader program's name in messages.
const LOADER: &str = "loader";

/// Returns whether an object is a light skeleton rather than a plain BPF
/// object: it is for another machine, or defines both arrays.
#[must_use]
pub fn is_skeleton(object: &[u8]) -> bool {
    const E_MACHINE: usize = 18;
    let machine = object.get(E_MACHINE..).and_then(<[u8]>::first_chunk);
    let for_others = |machine: &[u8; 2]| u16::from_le_bytes(*machine) != EM_BPF.0;
    object.starts_with(&ELFMAG)
        && machine.is_some_and(|machine| for_others(machine) || arrays::has_arrays(object))
}

/// Checks that a light skeleton has its arrays, and nothing in them.
pub(super) fn check_form(object: &[u8]) -> Result<(), BpfError> {
    Arrays::find(object).map(drop)
}

pub(crate) fn load(object: &[u8], interface: &Interface) -> Result<Parser, BpfError> {
    let Arrays { data, insns } = Arrays::find(object)?;
    let code = insns.iter().copied().map(Insn::from_le_bytes);
    let code = code.collect::<Vec<_>>();
    // Only signed skeletons look at the hash of their data.
    let is_map = |insn: &Insn| (insn.code, insn.src) == (LDDW, lddw::MAP);
    let hashed = code.iter().any(is_map);
    let hash = hashed.then(|| Sha256::digest(data).to_vec());
    let loader = loader(code, data)
        .verify_with(LOADER_HELPERS)
        .map_err(|error| BpfError::new("the skeleton's loader is refused").because(error))?;
    let mut kernel = Kernel::new(interface);
    let r0 = run(&loader, hash, &mut kernel)
        .map_err(|error| BpfError::new("the skeleton's loader stopped").because(error))?;
    check_result(r0, hashed, &mut kernel)?;
    let programs = kernel.kept();
    if programs.is_empty() {
        return Err(BpfError::new("the skeleton's loader left no program"));
    }
    Ok(Parser {
        license: kernel.license,
        maps: kernel.maps.into_iter().map(|made| made.map).collect(),
        programs,
        kfuncs: kernel.kfuncs.list,
        types: kernel.bound.types.unwrap_or_default(),
        warnings: Vec::new(),
    })
}

/// Returns the loader program as a parser of its own, whose one map holds the
/// blob.
fn loader(code: Vec<Insn>, data: &[u8]) -> Parser {
    let blob = Bytes::copy_from_slice(data);
    let blob = Map::of_data("opts_data".to_owned(), small(data.len()), Some(blob), false);
    let name = || LOADER.to_owned();
    let mut program = Program::new(name(), "syscall".to_owned(), AttachKind::Fentry, name());
    program.code = code;
    program.functions = vec![(0, name())];
    Parser {
        license: String::new(),
        maps: vec![blob],
        programs: vec![program],
        kfuncs: Vec::new(),
        types: 0,
        warnings: Vec::new(),
    }
}

fn run(
    loader: &VerifiedParser,
    hash: Option<Vec<u8>>,
    kernel: &mut Kernel<'_>,
) -> Result<u64, BpfError> {
    let mut meter = Meter {
        insns: MAX_LOADER_INSNS,
        memory: MAX_LOADER_BYTES,
        log_lines: 100,
    };
    let arm = |meter: &mut Meter| -> Result<(Vm, u64), BpfError> {
        let mut vm = Vm::new(loader, meter)?;
        if let Some(hash) = hash {
            vm.show_map(0, hash);
        }
        let context = vec![0; CONTEXT];
        let context = vm.memory().add_bytes("context", context, true)?;
        Ok((vm, context))
    };
    let (mut vm, context) =
        arm(&mut meter).map_err(|error| error.at(Place::in_program(LOADER, 0)))?;
    vm.call(0, [context, 0, 0, 0, 0], kernel, &mut meter)
}

/// Refuses a loader program that failed: its result is an `int` below 0.
fn check_result(r0: u64, hashed: bool, kernel: &mut Kernel<'_>) -> Result<(), BpfError> {
    let [a, b, c, d, ..] = r0.to_le_bytes();
    let result = i32::from_le_bytes([a, b, c, d]);
    if result >= 0 {
        return Ok(());
    }
    let errno = i64::from(result).cast_unsigned();
    let name = errno_text(errno);
    let why = match kernel.refused.take() {
        Some(call) if call.errno == errno => {
            format!(": {} ({name}){}", call.text, call.advice)
        }
        None if hashed && errno == errno::EINVAL => format!(
            ": opts_data is not what opts_insn was made for, its SHA-256 is another ({name})"
        ),
        _ => format!(", though no call of it did ({name})"),
    };
    Err(BpfError::new(format!("the skeleton's loader failed{why}")))
}
