//! Runs one program in both evaluators and compares all that can be seen.

use std::sync::OnceLock;

use ukexec_bpf::memory::Memory;
use ukexec_bpf::{
    AttachKind, Host, Insn, Meter, Parser, Program, Rope, SourceLines, VerifiedParser,
};
use ukexec_bpf::{BpfError, Vm};

use crate::generate::{Generated, IMAGE, MEMORY, generate};
use crate::naive::{Ending, Layout, Naive};

/// Instructions that a program may take.
const LIMIT: u64 = 4000;

/// Makes a program out of `bytes`, runs it in both evaluators, and panics where
/// they differ. Returns how it ended, or nothing if it is refused.
pub(crate) fn compare(bytes: &[u8]) -> Option<Ending> {
    static ADDRESSES: OnceLock<Addresses> = OnceLock::new();
    let addresses = ADDRESSES.get_or_init(Addresses::find);
    let generated = generate(bytes, addresses.memory);
    let parser = parser(&generated).verify().ok()?;
    let mine = interpret(&parser, LIMIT);
    let (ending, memory) = evaluate(&generated, addresses);
    match (&ending, &mine.result) {
        (Ending::Unmodelled, _) => {}
        // Memory costs instructions that the other evaluator does not count.
        (_, Err(error)) if error.to_string().ends_with("budget is used up") => {}
        (Ending::TooLong, _) => {}
        (Ending::Returned(r0), Ok(same)) => {
            assert_eq!(r0, same, "r0 of {}", listing(&generated));
            assert_eq!(memory, mine.memory, "memory of {}", listing(&generated));
        }
        (Ending::Faulted(slot), Err(error)) => {
            let place = error.place().expect("a run fails somewhere").slot;
            assert_eq!(*slot, place, "{error}: {}", listing(&generated));
            assert_eq!(memory, mine.memory, "memory of {}", listing(&generated));
        }
        (ending, result) => panic!("{ending:?}, but {result:?}: {}", listing(&generated)),
    }
    Some(ending)
}

/// The state that a run in the interpreter left.
struct Mine {
    result: Result<u64, BpfError>,
    memory: Vec<u8>,
}

fn interpret(parser: &VerifiedParser, limit: u64) -> Mine {
    let mut meter = Meter {
        insns: limit,
        ..Meter::default()
    };
    let mut vm = Vm::new(parser, &mut meter).expect("no maps, no fault");
    let (memory, image) = equip(&mut vm);
    let registers = [memory, MEMORY, image, IMAGE, 5];
    let result = vm.call(0, registers, &mut Silent, &mut meter);
    let mut bytes = vec![0; MEMORY as usize];
    let read = vm.memory().read(memory, &mut bytes);
    read.expect("the memory is there");
    vm.finish(&mut meter);
    Mine {
        result,
        memory: bytes,
    }
}

/// Adds what programs see; both have the same addresses in every [`Vm`].
fn equip(vm: &mut Vm) -> (u64, u64) {
    let memory = vm.memory().add_bytes("memory", start(), true);
    let image = vm.memory().add_rope("image", Rope::from(image()));
    (
        memory.expect("in the budget"),
        image.expect("in the address space"),
    )
}

fn evaluate(generated: &Generated, addresses: &Addresses) -> (Ending, Vec<u8>) {
    let Addresses {
        memory,
        image: start_of_image,
        layout,
    } = *addresses;
    let mut naive = Naive::new(&generated.code, &generated.functions, layout);
    let image = image();
    naive.add(memory, &start());
    naive.show(start_of_image, &image);
    let registers = [memory, MEMORY, start_of_image, IMAGE, 5];
    let ending = naive.run(registers, LIMIT);
    (ending, naive.bytes(memory, MEMORY))
}

/// The content of the memory at first.
fn start() -> Vec<u8> {
    (0..MEMORY).map(|index| (index * 37) as u8).collect()
}

fn image() -> Vec<u8> {
    (0..IMAGE).map(|index| (index * 73 + 1) as u8).collect()
}

/// Where the interpreter has what, found by asking it.
#[derive(Clone, Copy)]
struct Addresses {
    memory: u64,
    image: u64,
    layout: Layout,
}

impl Addresses {
    fn find() -> Self {
        let mut meter = Meter::default();
        let exit = op(0x95, 0, 0, 0);
        let parser = parser(&Generated {
            code: vec![exit],
            functions: vec![0],
        });
        let parser = parser.verify().expect("it is only an exit");
        let mut vm = Vm::new(&parser, &mut meter).expect("no maps, no fault");
        let (memory, image) = equip(&mut vm);
        let stacks = std::array::from_fn(|depth| {
            // Each function but the last calls the next; the last returns r10.
            let (mut code, mut functions) = (Vec::new(), Vec::new());
            for _ in 0..depth {
                functions.push(code.len() as u32);
                code.extend([op(0x85, 0, 1, 1), exit]);
            }
            functions.push(code.len() as u32);
            code.extend([op(0xbf, 0, 10, 0), exit]);
            answer(code, functions) - 512
        });
        let address = vec![op(0x18, 0, 4, 2), op(0, 0, 0, 0), exit, exit];
        let functions = answer(address, vec![0, 3]) - 3;
        Self {
            memory,
            image,
            layout: Layout { stacks, functions },
        }
    }
}

/// Returns what a program that is right returns.
fn answer(code: Vec<Insn>, functions: Vec<u32>) -> u64 {
    let parser = parser(&Generated { code, functions }).verify();
    let mine = interpret(&parser.expect("it is right"), LIMIT);
    mine.result.expect("it does nothing that could fail")
}

fn op(code: u8, dst: u8, src: u8, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src,
        off: 0,
        imm,
    }
}

fn parser(generated: &Generated) -> Parser {
    let program = Program {
        name: "generated".to_owned(),
        section: "fentry.s/hook".to_owned(),
        attach: AttachKind::Fentry,
        hook: "hook".to_owned(),
        code: generated.code.clone(),
        functions: generated
            .functions
            .iter()
            .map(|&start| (start, format!("insn_{start}")))
            .collect(),
        lines: SourceLines::default(),
        poisoned: Vec::new(),
        relocated: Vec::new(),
    };
    Parser {
        license: String::new(),
        maps: Vec::new(),
        programs: vec![program],
        kfuncs: Vec::new(),
        types: 0,
        warnings: Vec::new(),
    }
}

/// The program for a person who looks for the difference.
fn listing(generated: &Generated) -> String {
    let lines = generated.code.iter().enumerate().map(|(slot, insn)| {
        let Insn {
            code,
            dst,
            src,
            off,
            imm,
        } = insn;
        format!("\n{slot:4}: {code:02x} r{dst} r{src} {off:+} {imm:#x}")
    });
    lines.collect()
}

/// A host that nothing is asked of.
struct Silent;

impl Host for Silent {
    fn call(
        &mut self,
        _: u32,
        _: [u64; 5],
        _: &mut Memory,
        _: &mut Meter,
    ) -> Result<u64, BpfError> {
        Ok(0)
    }

    fn log(&mut self, _: &str) {}
}
