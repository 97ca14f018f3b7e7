//! The one value that can run.

use std::ops::Deref;
use std::sync::Arc;

use crate::code::Code;
use crate::guest::helper::Helper;
use crate::{Parser, Program};

/// A parser that passed [`Parser::verify`]; only such a one can run.
#[derive(Clone, Debug)]
pub struct VerifiedParser {
    verified: Arc<Verified>,
}

#[derive(Debug)]
struct Verified {
    parser: Parser,
    codes: Vec<Code>,
    /// The functions that its programs may call; calls carry places in it.
    helpers: &'static [Helper],
}

impl Deref for VerifiedParser {
    type Target = Parser;

    fn deref(&self) -> &Parser {
        &self.verified.parser
    }
}

impl VerifiedParser {
    /// Makes one of what the verifier found right: a code for each program.
    pub(crate) fn new(parser: Parser, codes: Vec<Code>, helpers: &'static [Helper]) -> Self {
        let verified = Arc::new(Verified {
            parser,
            codes,
            helpers,
        });
        Self { verified }
    }

    /// Returns program number `program` and its code, ready to run.
    pub(super) fn program(&self, program: usize) -> Option<(&Program, &Code)> {
        let Verified { parser, codes, .. } = &*self.verified;
        parser.programs.get(program).zip(codes.get(program))
    }

    /// Returns the helpers that its programs may call.
    pub(super) fn helpers(&self) -> &'static [Helper] {
        self.verified.helpers
    }
}
