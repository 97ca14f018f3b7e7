//! Runs all programs of a parser, whatever it is.

use ukexec_bpf::memory::Memory;
use ukexec_bpf::{BpfError, Vm};
use ukexec_bpf::{Host, Meter, Parser, Rope};

/// The budget of a parser here.
const BUDGET: Meter = Meter {
    insns: 20_000,
    memory: 1 << 20,
    log_lines: 10,
};

/// Verifies `parser` and runs its programs on a context that is an image; all
/// memory must come back.
pub(crate) fn run(parser: Parser) {
    let Ok(parser) = parser.verify() else {
        return;
    };
    let mut meter = BUDGET;
    let Ok(mut vm) = Vm::new(&parser, &mut meter) else {
        return;
    };
    let image = Rope::from(vec![0x4d; 8192]);
    let image = vm.memory().add_rope("image", image);
    let image = image.expect("it is small");
    for program in 0..parser.programs.len() {
        if let Err(error) = vm.run(program, &[image, image], &mut Nothing, &mut meter) {
            // Messages are made from what the object says.
            let _ = error.to_string();
        }
    }
    vm.finish(&mut meter);
    assert_eq!(meter.memory, BUDGET.memory);
    assert!(meter.insns <= BUDGET.insns && meter.log_lines <= BUDGET.log_lines);
}

/// A host whose kfuncs all read what they are given, and fail.
struct Nothing;

impl Host for Nothing {
    fn call(
        &mut self,
        _: u32,
        [addr, len, ..]: [u64; 5],
        memory: &mut Memory,
        _: &mut Meter,
    ) -> Result<u64, BpfError> {
        match memory.excerpt(addr, len) {
            Err(error) if !error.is_bad_address() => Err(error),
            _ => Ok(0),
        }
    }

    fn log(&mut self, line: &str) {
        assert!(!line.contains(['\n', '\x1b']));
    }
}
