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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Map, Program};
    use expect_test::expect;

    fn parser(code: &[(u8, u8, u8, i16, i32)], map_entries: u32) -> Parser {
        let mut map = Map::of_data("values".to_owned(), 8, None, false);
        map.max_entries = map_entries;
        Parser {
            license: String::new(),
            maps: vec![map],
            programs: vec![Program::of_code(code)],
            kfuncs: Vec::new(),
        }
    }

    #[test]
    fn reports_every_instruction_and_map() {
        let code = [
            (0xb7, 10, 0, 0, 1),
            (0x18, 1, 5, 0, 3),
            (0, 0, 0, 0, 0),
            (0x85, 0, 0, 0, 25),
            (0x05, 0, 0, 90, 0),
            (0xff, 0, 0, 0, 0),
            (0xb7, 0, 0, 0, 0),
        ];
        let parser = parser(&code, 0);
        let all = parser.verify_or_explain().unwrap_err();
        let lines = all.iter().map(|problem| format!("{problem}\n"));
        expect![[r#"
            map values: max_entries must be 1 or more, found 0
            program main, insn 0: r10, the frame pointer, is read-only
            program main, insn 5: opcode 0xff is no instruction of RFC 9669
            program main, insn 6: control falls off the end of the function here; its last insn must be exit or a jump
            program main, insn 4: jump to insn 95, outside of this function (insns 0 to 6)
            program main, insn 1: map 3 does not exist; the parser has 1
            program main, insn 3: helper 25 (bpf_perf_event_output) is not offered by this loader: nobody listens: print with bpf_printk instead
        "#]]
        .assert_eq(&lines.collect::<String>());
        assert_eq!(parser.verify().unwrap_err().to_string(), all[0].to_string());
    }

    #[test]
    fn accepts_what_there_is_nothing_wrong_with() {
        let parser = parser(&[(0xb7, 0, 0, 0, 1), (0x95, 0, 0, 0, 0)], 1);
        assert!(parser.verify_or_explain().is_ok());
        assert!(parser.verify().is_ok());
    }
}
