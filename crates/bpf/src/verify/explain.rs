//! For authors: not the first reason why a parser is refused but all that one
//! look can find.

use super::Blamed;
use crate::bounds::size;
use crate::guest::helpers::HELPERS;
use crate::insn::LDDW;
use crate::{BpfError, Insn, MapKind, Parser, VerifiedParser};

const MAX_PROBLEMS: usize = 32;

/// `exit`: it needs nothing, and nothing needs to follow it.
const EXIT: Insn = Insn::from_le_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]);

impl Parser {
    /// Like [`Parser::verify`], for an author: takes what is refused out and
    /// looks at the rest again, up to a limit.
    ///
    /// # Errors
    ///
    /// At least one [`BpfError`]; the first is that of [`Parser::verify`].
    pub fn verify_or_explain(&self) -> Result<VerifiedParser, Vec<BpfError>> {
        let mut problems = Vec::new();
        let mut rest = self.clone();
        loop {
            let (blamed, problem) = match rest.check(HELPERS) {
                Ok(codes) if problems.is_empty() => {
                    return Ok(VerifiedParser::new(rest, codes, HELPERS));
                }
                Ok(_rest) => return Err(problems),
                Err(problem) => problem,
            };
            problems.push(problem);
            if !rest.take_out(blamed) || problems.len() >= MAX_PROBLEMS {
                return Err(problems);
            }
        }
    }

    fn take_out(&mut self, blamed: Blamed) -> bool {
        match blamed {
            Blamed::Insn(program, slot) => {
                let program = self.programs.get_mut(program);
                let code = program.and_then(|program| program.code.get_mut(size(slot)..));
                match code {
                    Some([insn, second, ..]) if insn.code == LDDW => {
                        (*insn, *second) = (EXIT, EXIT);
                        true
                    }
                    Some([insn, ..]) if *insn != EXIT => {
                        *insn = EXIT;
                        true
                    }
                    // It is not the instruction that is wrong.
                    _ => false,
                }
            }
            Blamed::Map(number) => {
                let Some(map) = self.maps.get_mut(number) else {
                    return false;
                };
                // A map that no instruction can be wrong about.
                map.kind = MapKind::Array;
                (map.key_size, map.value_size, map.max_entries) = (4, u32::MAX, 1);
                map.initial = None;
                true
            }
        }
    }
}
