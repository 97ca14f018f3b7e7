//! The machine in which the tests run code.

use ukexec_bpf::memory::Memory;
use ukexec_bpf::{
    AttachKind, BpfError, Host, Insn, Kfunc, Map, MapKind, Meter, Parser, Program, SourceLine,
    SourceLines, VerifiedParser, Vm,
};

use crate::asm::assemble;

/// A parser of one program; every line of `text` that holds code is one of its
/// source lines.
pub(crate) fn parser(text: &str) -> Parser {
    let assembled = assemble(text);
    let program = Program {
        name: "main".to_owned(),
        section: "fentry.s/hook".to_owned(),
        attach: AttachKind::Fentry,
        hook: "hook".to_owned(),
        code: assembled.code,
        functions: assembled.functions,
        lines: SourceLines::default(),
        relocated: Vec::new(),
        poisoned: Vec::new(),
    };
    Parser {
        license: "GPL".to_owned(),
        maps: Vec::new(),
        programs: vec![program],
        kfuncs: Vec::new(),
        types: 0,
        warnings: Vec::new(),
    }
}

/// A parser of one program, `main`, with these instructions: opcode, destination,
/// source, offset and immediate.
pub(crate) fn code(insns: &[(u8, u8, u8, i16, i32)]) -> Parser {
    let mut parser = parser("exit");
    let insn = |&(code, dst, src, off, imm): &_| Insn {
        code,
        dst,
        src,
        off,
        imm,
    };
    parser.programs[0].code = insns.iter().map(insn).collect();
    parser
}

pub(crate) fn verify(text: &str) -> Result<VerifiedParser, BpfError> {
    parser(text).verify()
}

pub(crate) fn map(name: &str, kind: MapKind, [key, value, entries]: [u32; 3]) -> Map {
    Map {
        name: name.to_owned(),
        kind,
        key_size: key,
        value_size: value,
        max_entries: entries,
        initial: None,
        read_only: false,
    }
}

pub(crate) fn kfunc(name: &str, host: Option<u32>) -> Kfunc {
    Kfunc {
        name: name.to_owned(),
        host,
    }
}

/// Gives every slot of the program a source line of its own.
pub(crate) fn with_lines(mut parser: Parser) -> Parser {
    for program in &mut parser.programs {
        program.lines = (0..program.code.len() as u32)
            .map(|slot| SourceLine {
                slot,
                file: "test.bpf.c".to_owned(),
                line: slot + 101,
                text: format!("line of slot {slot};"),
            })
            .collect();
    }
    parser
}

/// A host that keeps what programs print; what its kfuncs do, a closure says.
pub(crate) struct TestHost<'a> {
    pub(crate) lines: Vec<String>,
    pub(crate) kfunc: KfuncBody<'a>,
}

pub(crate) type KfuncBody<'a> =
    Box<dyn FnMut(u32, [u64; 5], &mut Memory, &mut Meter) -> Result<u64, BpfError> + 'a>;

impl TestHost<'_> {
    pub(crate) fn new() -> Self {
        Self {
            lines: Vec::new(),
            kfunc: Box::new(|number, _, _, _| panic!("kfunc {number} called")),
        }
    }
}

impl Host for TestHost<'_> {
    fn call(
        &mut self,
        kfunc: u32,
        args: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, BpfError> {
        (self.kfunc)(kfunc, args, memory, meter)
    }

    fn log(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }
}

/// Runs `text` with r1 pointing to `memory` and r2 its length.
pub(crate) fn run_on(text: &str, memory: &[u8]) -> Result<u64, BpfError> {
    let parser = verify(text).unwrap();
    let mut meter = Meter::default();
    let mut vm = Vm::new(&parser, &mut meter).unwrap();
    let addr = vm
        .memory()
        .add_bytes("memory", memory.to_vec(), true)
        .unwrap();
    vm.call(
        0,
        [addr, memory.len() as u64, 0, 0, 0],
        &mut TestHost::new(),
        &mut meter,
    )
}

/// Runs `text` without arguments.
pub(crate) fn run(text: &str) -> Result<u64, BpfError> {
    run_on(text, &[])
}
