//! Why a call of a loader program fails, and with which errno.

use std::fmt;

use crate::guest::memory::AccessError;
use crate::load::error::{KfuncProblem, MapProblem};
use crate::{BpfError, CoreReloError, Place};

/// Why a call of a skeleton's loader program failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// A command of `bpf(2)` that loaders do not need.
    #[error(
        "bpf command {command} is not offered to loaders; offered: MAP_CREATE (0), \
         MAP_UPDATE_ELEM (2), PROG_LOAD (5), BTF_LOAD (18), MAP_FREEZE (22)"
    )]
    Command {
        /// Its number.
        command: u32,
    },
    /// A field of a command or of what it points to.
    #[error("{command}, {field}: expected {expected}, found {found}")]
    Field {
        /// The command or helper.
        command: &'static str,
        /// The field, in the words of `uapi/linux/bpf.h`.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: u64,
    },
    /// Memory that a command names cannot be read or written.
    #[error("{command}, {field}: {problem}")]
    Memory {
        /// The command or helper.
        command: &'static str,
        /// The field.
        field: &'static str,
        /// Why not.
        problem: AccessError,
    },
    /// A number that is no open descriptor of the kind.
    #[error("{command}, {field}: {fd} is not the descriptor of {expected}")]
    Descriptor {
        /// The command or helper.
        command: &'static str,
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        fd: u64,
    },
    /// Something longer than this loader takes.
    #[error("{command}, {field}: {found} bytes, at most {limit} are taken")]
    TooLong {
        /// The command or helper.
        command: &'static str,
        /// The field that says where it is.
        field: &'static str,
        /// Its length.
        found: u64,
        /// How much is taken.
        limit: u64,
    },
    /// More of something than this loader takes.
    #[error("{what}: {found}, at most {limit} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there would be.
        found: u64,
        /// How many are taken.
        limit: u64,
    },
    /// The type information is damaged.
    #[error("the type information is damaged: {0}")]
    Btf(BpfError),
    /// A map that this loader does not take.
    #[error("map {map}: {problem}")]
    Map {
        /// Its name.
        map: String,
        /// What is wrong with it.
        problem: MapProblem,
    },
    /// A map that may not be written any more.
    #[error("map {map} is frozen")]
    Frozen {
        /// Its name.
        map: String,
    },
    /// A hook that the host lacks.
    #[error("hook {hook} is not offered by this loader")]
    Hook {
        /// Its name.
        hook: String,
        /// The hooks that are, with commas between them.
        offered: String,
    },
    /// A kfunc that the host lacks.
    #[error("kfunc {kfunc} is not offered by this loader")]
    Kfunc {
        /// Its name.
        kfunc: String,
        /// The kfuncs that are, with commas between them.
        offered: String,
    },
    /// A kfunc that cannot be bound.
    #[error("kfunc {kfunc} {problem}")]
    KfuncUse {
        /// Its name.
        kfunc: String,
        /// What is wrong with it.
        problem: KfuncProblem,
    },
    /// A variable or another symbol of the kernel.
    #[error("{symbol} is a symbol of the kernel, which parsers cannot see")]
    Symbol {
        /// Its name.
        symbol: String,
    },
    /// A program of a kind that this loader does not offer.
    #[error(
        "program {program} (prog_type {kind}, expected_attach_type {attach}): programs of this \
         kind are not offered; offered: {offered}"
    )]
    ProgramKind {
        /// Its name.
        program: String,
        /// `prog_type`.
        kind: u32,
        /// `expected_attach_type`.
        attach: u32,
        /// The kinds that are.
        offered: &'static str,
    },
    /// A field of a program's instruction.
    #[error("program {program}, insn {slot}: {field} is {found}, expected {expected}")]
    Insn {
        /// The program's name.
        program: String,
        /// Which instruction.
        slot: usize,
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: i64,
    },
    /// A CO-RE record that cannot be applied.
    #[error("{place}: {problem}")]
    CoreRelo {
        /// Which instruction it is about.
        place: Box<Place>,
        /// What is wrong with it.
        problem: Box<CoreReloError>,
    },
}

impl CallError {
    /// Returns what the host has in place of what was asked for, with commas.
    pub(super) fn offered(&self) -> Option<&str> {
        match self {
            Self::Hook { offered, .. } | Self::Kfunc { offered, .. } => Some(offered),
            _ => None,
        }
    }

    /// Returns the errno that the loader program gets for it.
    #[must_use]
    pub fn errno(&self) -> BpfErrno {
        match self {
            Self::Memory { .. } => BpfErrno::EFAULT,
            Self::Descriptor { .. } => BpfErrno::EBADF,
            Self::TooMany { .. } | Self::TooLong { .. } => BpfErrno::E2BIG,
            Self::Frozen { .. } => BpfErrno::EPERM,
            Self::Hook { .. }
            | Self::Kfunc { .. }
            | Self::KfuncUse {
                problem: KfuncProblem::Refused { .. },
                ..
            }
            | Self::Symbol { .. } => BpfErrno::ENOENT,
            _ => BpfErrno::EINVAL,
        }
    }
}

/// An error number that `bpf(2)` answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfErrno(pub u32);

impl BpfErrno {
    pub(super) const EPERM: Self = Self(1);
    pub(super) const ENOENT: Self = Self(2);
    pub(super) const E2BIG: Self = Self(7);
    pub(super) const EBADF: Self = Self(9);
    pub(super) const EFAULT: Self = Self(14);
    pub(super) const EINVAL: Self = Self(22);
}

impl fmt::Display for BpfErrno {
    /// Writes what the kernel returns: `-ENOENT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::EPERM => "-EPERM",
            Self::ENOENT => "-ENOENT",
            Self::E2BIG => "-E2BIG",
            Self::EBADF => "-EBADF",
            Self::EFAULT => "-EFAULT",
            Self::EINVAL => "-EINVAL",
            Self(errno) => return write!(f, "-{errno}"),
        })
    }
}
