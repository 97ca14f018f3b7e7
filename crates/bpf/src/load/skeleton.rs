//! Loading light skeletons, as `bpftool gen skeleton -L` makes them: an object
//! file for any machine with two arrays, `opts_insn` and `opts_data`. The first
//! is a BPF *loader program*; run on the second, it makes maps and loads
//! programs through `bpf(2)`.
//!
//! Here it runs in this crate's interpreter, and its system calls go to an
//! emulated kernel that takes down what it is told. What comes out is the same
//! [`Parser`] that a plain object gives: the CO-RE relocations, which a loader
//! program leaves to the kernel, are applied, descriptors and type ids have
//! become indices.
//!
//! A loader program is untrusted: it sees its blob and nothing else, and its
//! instructions, calls, memory and all that it may make are capped, and with
//! that its descriptors. What it forgets to close is dropped.
//!
//! Spec: libbpf's `gen_loader.c` and `skel_internal.h`, from 1.1 on.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod arrays;
mod attr;
mod call_error;
mod error;
mod kernel;
mod maps;
mod programs;
mod rewrite;

use bytes::Bytes;
use object::elf::EM_BPF;
use sha2::{Digest, Sha256};

use self::arrays::Arrays;
pub use self::call_error::{BpfErrno, CallError};
pub use self::error::SkeletonError;
use self::kernel::Kernel;
use crate::bounds::small;
use crate::guest::helpers::LOADER_HELPERS;
use crate::insn::{LDDW, lddw};
use crate::place::Place;
use crate::{
    AttachKind, Insn, Interface, LoadError, Map, MapKind, Meter, Parser, Program, VerifiedParser,
};
use crate::{Fault, RunError, Vm};

/// The most instructions that a loader program may run, beside what its calls
/// move.
pub const MAX_LOADER_INSNS: u64 = 4_000_000;
/// The most bytes that a loader program may hold, its blob included.
pub const MAX_LOADER_BYTES: u64 = 64 << 20;
/// The most calls of the kernel that a loader program may make.
pub const MAX_CALLS: u32 = 4096;
/// The most times that a loader program may load types; libbpf's do once.
pub const MAX_TYPES_LOADED: usize = 4;
/// The most bytes of the first values of all maps.
pub const MAX_INITIAL_BYTES: u64 = 16 << 20;
/// The most bytes of records about instructions, of all programs.
pub const MAX_RECORD_BYTES: u64 = 16 << 20;

/// Bytes of the context that a loader program works on: room for a header of
/// 24, 64 maps of 16 and 32 programs of 4. All zeros ask for what the blob says.
const CONTEXT: usize = 4096;
/// What the loader program is called in messages.
const LOADER: &str = "loader";

/// Returns whether an object is a light skeleton rather than a plain BPF
/// object: it is for another machine, or defines both arrays.
#[must_use]
pub fn is_skeleton(object: &[u8]) -> bool {
    const E_MACHINE: usize = 18;
    let Some(machine) = object
        .strip_prefix(b"\x7fELF")
        .and_then(|_| object.get(E_MACHINE..)?.first_chunk())
    else {
        return false;
    };
    u16::from_le_bytes(*machine) != EM_BPF.0 || arrays::has_arrays(object)
}

/// Loads a light skeleton for a host.
pub(crate) fn load(object: &[u8], interface: &Interface) -> Result<Parser, LoadError> {
    let Arrays { data, insns } = Arrays::find(object)?;
    let code = insns.iter().copied().map(Insn::from_le_bytes);
    let code = code.collect::<Vec<_>>();
    // Only signed skeletons look at the hash of their data.
    let hashed = code
        .iter()
        .any(|insn| (insn.code, insn.src) == (LDDW, lddw::MAP));
    let hash = hashed.then(|| Sha256::digest(data).to_vec());
    let loader = loader(code, data)
        .verify_with(LOADER_HELPERS)
        .map_err(SkeletonError::Verify)?;
    let mut kernel = Kernel::new(interface);
    let r0 = run(&loader, hash, &mut kernel).map_err(SkeletonError::Run)?;
    check_result(r0, hashed, &mut kernel)?;
    let programs = kernel.kept();
    if programs.is_empty() {
        return Err(SkeletonError::NoPrograms.into());
    }
    Ok(Parser {
        license: kernel.license,
        maps: kernel.maps.into_iter().map(|made| made.map).collect(),
        programs,
        kfuncs: kernel.kfuncs,
    })
}

/// Returns the loader program as a parser of its own, whose one map holds the
/// blob.
fn loader(code: Vec<Insn>, data: &[u8]) -> Parser {
    let blob = Map {
        name: "opts_data".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: small(data.len()),
        max_entries: 1,
        initial: Some(Bytes::copy_from_slice(data)),
        read_only: false,
    };
    let program = Program {
        name: LOADER.to_owned(),
        section: "syscall".to_owned(),
        attach: AttachKind::Fentry,
        hook: LOADER.to_owned(),
        code,
        functions: vec![(0, LOADER.to_owned())],
        lines: Vec::new(),
        poisoned: Vec::new(),
        relocated: Vec::new(),
    };
    Parser {
        license: String::new(),
        maps: vec![blob],
        programs: vec![program],
        kfuncs: Vec::new(),
    }
}

/// Runs the loader program and returns its r0.
fn run(
    loader: &VerifiedParser,
    hash: Option<Vec<u8>>,
    kernel: &mut Kernel<'_>,
) -> Result<u64, RunError> {
    let mut meter = Meter {
        insns: MAX_LOADER_INSNS,
        memory: MAX_LOADER_BYTES,
        log_lines: 100,
    };
    let arm = |meter: &mut Meter| -> Result<(Vm, u64), Fault> {
        let mut vm = Vm::new(loader, meter)?;
        if let Some(hash) = hash {
            vm.show_map(0, hash);
        }
        let context = vec![0; CONTEXT];
        let context = vm.memory().add_bytes("context", context, true)?;
        Ok((vm, context))
    };
    let (mut vm, context) = arm(&mut meter).map_err(|fault| {
        let place = loader
            .programs
            .first()
            .map(|program| Place::new(program, 0));
        RunError {
            place: Box::new(place.unwrap_or_else(|| Place::in_program(LOADER, 0))),
            fault,
        }
    })?;
    vm.call(0, [context, 0, 0, 0, 0], kernel, &mut meter)
}

/// Says why the loader program failed, if it did: an `int` below 0.
fn check_result(r0: u64, hashed: bool, kernel: &mut Kernel<'_>) -> Result<(), SkeletonError> {
    let [a, b, c, d, ..] = r0.to_le_bytes();
    let result = i32::from_le_bytes([a, b, c, d]);
    if result >= 0 {
        return Ok(());
    }
    let errno = BpfErrno(result.unsigned_abs());
    match kernel.refused.take() {
        Some(error) if error.errno() == errno => Err(SkeletonError::Refused {
            error: Box::new(error),
        }),
        None if hashed && errno == BpfErrno::EINVAL => Err(SkeletonError::Hash { errno }),
        _ => Err(SkeletonError::Failed { errno }),
    }
}
