//! Loops of ten million instructions, beside the interpreter of `rbpf` (goal: at least as fast, with all checks), and
//! arming a parser: loading, verifying and equipping it, beside the start of a program that does nothing.
//!
//! Prints a line for each pair, `NAME OURS PEER`, in nanoseconds. The program is an argument.

#![expect(
    clippy::print_stdout,
    reason = "its output is read by `cargo xtask bench`"
)]

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ukexec_bpf::btf::TypesBuilder;
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{
    AttachKind, HookDecl, Host, Insn, Interface, KfuncDecl, Meter, Parser, Program, SourceLines,
    VerifiedParser,
};
use ukexec_bpf::{BpfError, Vm};

/// Pairs of each row.
const PAIRS: usize = 15;
/// Instructions of a loop.
const INSNS: u64 = 10_000_000;
/// Bytes that r1 points to.
const MEMORY: usize = 64;
/// Instructions in front of a loop and behind it.
const OUTSIDE: u64 = 3;
/// Arming is short: so many count as one, and as many starts.
const AT_ONCE: u32 = 20;

fn main() {
    loops();
    // `cargo bench` passes `--bench` too.
    if let Some(program) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) {
        arming(&program);
    }
}

fn loops() {
    for (name, code) in [
        ("arithmetic", arithmetic as fn(i32) -> Vec<Insn>),
        ("memory", memory),
        ("calls", calls),
        ("stacked-calls", stacked_calls),
    ] {
        let one = code(1).len() as u64;
        let rounds = i32::try_from(INSNS / (one - OUTSIDE)).expect("a small number");
        let code = code(rounds);
        let bytes: Vec<u8> = code.iter().flat_map(|insn| insn.to_le_bytes()).collect();
        let theirs = rbpf::EbpfVmRaw::new(Some(&bytes)).expect("a sound program");
        let expected = theirs.execute_program(&mut [1; MEMORY]).expect("no fault");
        let parser = parser(code).verify().expect("a sound program");
        assert_eq!(run(&parser), expected);
        pairs(
            name,
            || _ = black_box(run(&parser)),
            || _ = black_box(theirs.execute_program(&mut [1; MEMORY])),
        );
    }
}

fn arming(program: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interface = interface();
    for (name, path) in [
        ("arm-object-zboot", "../unfold/parsers/zboot.bpf.o"),
        ("arm-object-uki", "../unfold/parsers/uki.match.bpf.o"),
        ("arm-skeleton-zboot", "testdata/skeletons/zboot.o"),
        ("arm-skeleton-uki", "testdata/skeletons/uki.match.o"),
    ] {
        let object = std::fs::read(root.join(path)).expect("it is committed");
        let arm = || {
            let parser = Parser::load(black_box(&object), &interface).expect("a sound object");
            let parser = parser.verify().expect("a sound parser");
            drop(Vm::new(&parser, &mut Meter::default()).expect("in the budget"));
        };
        let start = || {
            let status = Command::new(program).status().expect("it starts");
            assert!(status.success(), "{program} failed");
        };
        pairs(
            name,
            || (0..AT_ONCE).for_each(|_| arm()),
            || (0..AT_ONCE).for_each(|_| start()),
        );
    }
}

/// Runs both by turns; the first pair does not count.
fn pairs(name: &str, ours: impl Fn(), peer: impl Fn()) {
    let time = |run: &dyn Fn()| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos()
    };
    for at in 0..=PAIRS {
        let (ours, peer) = (time(&ours), time(&peer));
        if at > 0 {
            println!("{name} {ours} {peer}");
        }
    }
}

fn run(parser: &VerifiedParser) -> u64 {
    let mut meter = Meter::default();
    let mut vm = Vm::new(parser, &mut meter).expect("no maps");
    let memory = vm.memory().add_bytes("memory", vec![1; MEMORY], true);
    let registers = [memory.expect("in the budget"), MEMORY as u64, 0, 0, 0];
    let result = vm.call(0, registers, &mut Silent, &mut meter);
    result.expect("in the budget")
}

/// A hash of the round's number.
fn arithmetic(rounds: i32) -> Vec<Insn> {
    looped(
        rounds,
        &[
            op(0x27, 0, 0, 0, 31), // r0 *= 31
            op(0x0f, 0, 6, 0, 0),  // r0 += r6
            op(0xbf, 2, 0, 0, 0),  // r2 = r0
            op(0x77, 2, 0, 0, 13), // r2 >>= 13
            op(0xaf, 0, 2, 0, 0),  // r0 ^= r2
            op(0x54, 2, 0, 0, 7),  // w2 &= 7
            op(0x55, 2, 0, 0, 3),  // if r2 != 3 goto +0
        ],
    )
}

/// Reads of what a parser is given, and the stack.
fn memory(rounds: i32) -> Vec<Insn> {
    looped(
        rounds,
        &[
            op(0xbf, 2, 6, 0, 0),   // r2 = r6
            op(0x57, 2, 0, 0, 31),  // r2 &= 31
            op(0x0f, 2, 1, 0, 0),   // r2 += r1
            op(0x71, 3, 2, 1, 0),   // r3 = *(u8 *)(r2 + 1)
            op(0x61, 4, 2, 4, 0),   // r4 = *(u32 *)(r2 + 4)
            op(0x0f, 0, 3, 0, 0),   // r0 += r3
            op(0x0f, 0, 4, 0, 0),   // r0 += r4
            op(0x7b, 10, 0, -8, 0), // *(u64 *)(r10 - 8) = r0
            op(0x79, 0, 10, -8, 0), // r0 = *(u64 *)(r10 - 8)
        ],
    )
}

/// Calls of a function behind the loop.
fn calls(rounds: i32) -> Vec<Insn> {
    calling(
        rounds,
        &[
            op(0xbf, 0, 1, 0, 0), // r0 = r1
            op(0x0f, 0, 2, 0, 0), // r0 += r2
        ],
    )
}

/// As [`calls`], of a function that has something on its stack.
fn stacked_calls(rounds: i32) -> Vec<Insn> {
    calling(
        rounds,
        &[
            op(0x7b, 10, 1, -8, 0), // *(u64 *)(r10 - 8) = r1
            op(0x79, 0, 10, -8, 0), // r0 = *(u64 *)(r10 - 8)
            op(0x0f, 0, 2, 0, 0),   // r0 += r2
        ],
    )
}

/// Calls a function with `body` `rounds` times, its result being its argument.
fn calling(rounds: i32, body: &[Insn]) -> Vec<Insn> {
    let mut code = looped(
        rounds,
        &[
            op(0xbf, 1, 0, 0, 0), // r1 = r0
            op(0xbf, 2, 6, 0, 0), // r2 = r6
            op(0x85, 0, 1, 0, 3), // call the function behind the loop
        ],
    );
    code.extend(body);
    code.push(op(0x95, 0, 0, 0, 0));
    code
}

/// Does `body` `rounds` times; r6 counts down.
fn looped(rounds: i32, body: &[Insn]) -> Vec<Insn> {
    let back = -i16::try_from(body.len() + 2).expect("a short body");
    let mut code = vec![op(0xb7, 0, 0, 0, 0), op(0xb7, 6, 0, 0, rounds)];
    code.extend(body);
    code.push(op(0x07, 6, 0, 0, -1)); // r6 -= 1
    code.push(op(0x55, 6, 0, back, 0)); // if r6 != 0 goto the body
    code.push(op(0x95, 0, 0, 0, 0));
    code
}

fn op(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src,
        off,
        imm,
    }
}

fn parser(code: Vec<Insn>) -> Parser {
    // The called function stands behind the first exit.
    let end = code.iter().position(|insn| insn.code == 0x95);
    let behind = end.map_or(0, |end| end + 1);
    let mut functions = vec![(0, "loop".to_owned())];
    if behind < code.len() {
        functions.push((u32::try_from(behind).expect("short"), "called".to_owned()));
    }
    let program = Program {
        name: "loop".to_owned(),
        section: "fentry.s/hook".to_owned(),
        attach: AttachKind::Fentry,
        hook: "hook".to_owned(),
        code,
        functions,
        lines: SourceLines::default(),
        poisoned: Vec::new(),
        relocated: Vec::new(),
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

/// The kfuncs that the objects bind to.
fn interface() -> Interface {
    let mut types = TypesBuilder::new();
    let (boolean, char) = (types.boolean(), types.char());
    let int = types.int("int", 4, true);
    let bytes = types.pointer(char);
    let members = [
        ("kdump", boolean),
        ("image", bytes),
        ("image_sz", int),
        ("initrd", bytes),
        ("initrd_sz", int),
        ("cmdline", bytes),
        ("cmdline_sz", int),
    ];
    types.structure("kexec_context", &members);
    let hooks = [
        "bpf_handle_pefile",
        "bpf_post_handle_pefile",
        "ukexec_match_image",
    ];
    let kfuncs = [
        ("bpf_copy_to_kernel", 3),
        ("bpf_decompress", 2),
        ("bpf_mem_range_result_put", 1),
    ];
    Interface {
        types: vec![types.build().into()],
        choose: Interface::only,
        hooks: hooks.map(|name| HookDecl { name, args: 1 }).to_vec(),
        kfuncs: kfuncs.map(|(name, args)| KfuncDecl { name, args }).to_vec(),
    }
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
