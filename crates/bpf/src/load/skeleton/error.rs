//! Why a light skeleton is refused.

use super::call_error::{BpfErrno, CallError};
use crate::RunError;
use crate::VerifyError;

/// Why a light skeleton is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SkeletonError {
    /// A field of the ELF file lies.
    #[error("{part}, {field}: expected {expected}, found {found}")]
    Field {
        /// What the field belongs to.
        part: String,
        /// The field, in the words of the ELF specification.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: u64,
    },
    /// The file is not one with one symbol table.
    #[error("the object has {found} symbol tables (sh_type 2), and one is needed")]
    SymbolTables {
        /// How many it has.
        found: usize,
    },
    /// One of the arrays is missing.
    #[error(
        "the object, for machine {machine}, defines no symbol {symbol}; expected an object for \
         BPF (247: clang --target=bpf) or a light skeleton, which has opts_data and opts_insn"
    )]
    NoSymbol {
        /// Its name.
        symbol: &'static str,
        /// `e_machine`.
        machine: u16,
    },
    /// One of the arrays is there more than once.
    #[error("the object defines symbol {symbol} more than once")]
    Twice {
        /// Its name.
        symbol: &'static str,
    },
    /// The loader program cannot run.
    #[error("the skeleton's loader is refused: {0}")]
    Verify(VerifyError),
    /// The loader program ended early.
    #[error("the skeleton's loader stopped: {0}")]
    Run(RunError),
    /// The loader program says that it failed.
    #[error(
        "the skeleton's loader failed: {error} ({}){}",
        .error.errno(),
        .error.offered().map_or_else(String::new, |offered| format!("; offered: {offered}"))
    )]
    Refused {
        /// The call that failed last.
        error: Box<CallError>,
    },
    /// The loader program says that it failed, and no call of it did.
    #[error("the skeleton's loader failed, though no call of it did ({errno})")]
    Failed {
        /// What it returned.
        errno: BpfErrno,
    },
    /// The loader program compares the hash of its data with one that it
    /// carries, and they differ.
    #[error(
        "the skeleton's loader failed: opts_data is not what opts_insn was made for, its SHA-256 \
         is another ({errno})"
    )]
    Hash {
        /// What it returned.
        errno: BpfErrno,
    },
    /// The loader program is content, and there is nothing to run.
    #[error("the skeleton's loader left no program")]
    NoPrograms,
}
