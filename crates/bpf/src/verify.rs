//! The structural verifier: what can be seen to be wrong without running.

use std::ops::Deref;
use std::sync::Arc;

use crate::Parser;
use crate::place::Place;

/// Why a parser is refused before it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An instruction.
    #[error("{place}: {reason}")]
    Insn {
        /// Which.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A map.
    #[error("map {name}: {reason}")]
    Map {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A parser that passed [`Parser::verify`]; only such a one can run.
#[derive(Clone, Debug)]
pub struct VerifiedParser {
    parser: Arc<Parser>,
}

impl Deref for VerifiedParser {
    type Target = Parser;

    fn deref(&self) -> &Parser {
        &self.parser
    }
}

impl Parser {
    /// Checks what can be checked without running: encodings, jumps, calls,
    /// maps, and how deep functions call each other.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] for the first instruction or map that is refused.
    pub fn verify(self) -> Result<VerifiedParser, VerifyError> {
        unimplemented!()
    }
}
