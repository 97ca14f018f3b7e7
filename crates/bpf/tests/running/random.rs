//! Random code: it is refused, or it ends within its budget, the same way each
//! time. It never panics.

use proptest::prelude::*;
use ukexec_bpf::Vm;
use ukexec_bpf::{HELPERS, Insn, Interface, MapKind, Meter, Parser, Rope};

use crate::rig::{TestHost, kfunc, map, parser};

/// Any bits at all.
fn noise() -> impl Strategy<Value = Insn> {
    any::<[u8; 8]>().prop_map(Insn::from_le_bytes)
}

/// Instructions of valid shape, with jumps that stay near, and memory accesses
/// that often hit.
fn plausible() -> impl Strategy<Value = Vec<Insn>> {
    let insn = |code, dst, src, off, imm| {
        vec![Insn {
            code,
            dst,
            src,
            off,
            imm,
        }]
    };
    let register = || 0..10_u8;
    let base = || prop_oneof![Just(10_u8), 6..10_u8];
    let imm = || {
        prop_oneof![
            -3..70_i32,
            any::<i32>(),
            Just(i32::MIN),
            Just(i32::MAX),
            Just(4096)
        ]
    };
    let stack = || -64..8_i16;
    let numbers: Vec<i32> = HELPERS.iter().map(|helper| helper.number).collect();
    prop_oneof![
        8 => (0..14_u8, any::<bool>(), register(), register(), imm()).prop_map(
            move |(op, wide, dst, src, imm)| {
                let class = if wide { 7 } else { 4 };
                match op {
                    8 => insn(0x80 | class, dst, 0, 0, 0),
                    13 => insn(0xdc, dst, 0, 0, 32),
                    _ if imm & 1 == 0 => insn(op << 4 | class, dst, 0, 0, imm),
                    _ => insn(op << 4 | 8 | class, dst, src, 0, 0),
                }
            }
        ),
        4 => (0..4_u8, register(), base(), stack()).prop_map(
            move |(size, dst, base, off)| insn(0x61 | size << 3, dst, base, off, 0)
        ),
        4 => (0..4_u8, base(), register(), stack()).prop_map(
            move |(size, base, src, off)| insn(0x63 | size << 3, base, src, off, 0)
        ),
        1 => (base(), register(), stack(), 0..4_usize).prop_map(move |(base, src, off, op)| {
            insn(0xdb, base, src, off, [0x00, 0x41, 0xe1, 0xf1][op])
        }),
        3 => (1..14_u8, register(), register(), -6..7_i16, imm()).prop_map(
            move |(op, dst, src, off, imm)| match op {
                8 | 9 => insn(0x05, 0, 0, off, 0),
                _ if imm & 1 == 0 => insn(op << 4 | 5, dst, 0, off, imm),
                _ => insn(op << 4 | 0x0e, dst, src, off, 0),
            }
        ),
        3 => proptest::sample::select(numbers).prop_map(move |number| insn(0x85, 0, 0, 0, number)),
        1 => (0..4_i32).prop_map(move |kfunc| insn(0x85, 0, 2, 0, kfunc)),
        2 => (register(), 0..4_i32, any::<bool>()).prop_map(|(dst, map, value)| {
            let src = if value { 6 } else { 5 };
            vec![Insn { code: 0x18, dst, src, off: 0, imm: map }, Insn::default()]
        }),
        3 => (register(), 1..10_u8, imm()).prop_map(|(dst, from, imm)| {
            // A pointer into the stack or to what another register points to.
            vec![
                Insn { code: 0xbf, dst, src: if imm & 1 == 0 { 10 } else { from }, off: 0, imm: 0 },
                Insn { code: 0x07, dst, src: 0, off: 0, imm: imm % 64 },
            ]
        }),
    ]
}

fn code() -> impl Strategy<Value = Vec<Insn>> {
    let pieces = proptest::collection::vec(
        prop_oneof![60 => plausible(), 1 => noise().prop_map(|insn| vec![insn])],
        1..60,
    );
    pieces.prop_map(|pieces| {
        let exit = Insn {
            code: 0x95,
            ..Insn::default()
        };
        pieces.into_iter().flatten().chain([exit]).collect()
    })
}

fn equipped(code: Vec<Insn>) -> Parser {
    let mut parser = parser("exit");
    parser.programs[0].code = code;
    parser.maps = vec![
        map("ring", MapKind::RingBuffer, [0, 0, 1 << 20]),
        map("array", MapKind::Array, [4, 100, 7]),
        map("hash", MapKind::Hash, [4, 16, 50]),
    ];
    parser.kfuncs = vec![
        kfunc("bpf_iter_num_new", Some(Interface::BUILT_IN)),
        kfunc("bpf_iter_num_next", Some(Interface::BUILT_IN + 1)),
        kfunc("bpf_weak", None),
        kfunc("bpf_host", Some(0)),
    ];
    parser
}

/// Runs the code once and returns all that a host can see of it.
fn outcome(parser: &ukexec_bpf::VerifiedParser) -> (String, Vec<String>, Meter) {
    let mut meter = Meter {
        insns: 20_000,
        memory: 1 << 20,
        log_lines: 20,
    };
    let mut vm = Vm::new(parser, &mut meter).unwrap();
    let image = vm
        .memory()
        .add_rope("image", Rope::from(vec![0x5a; 10_000]))
        .unwrap();
    let mut host = TestHost::new();
    host.kfunc = Box::new(
        |_, [addr, ..], memory, _| match memory.excerpt(addr, 1000) {
            Ok(excerpt) => Ok(excerpt.rope.len() + excerpt.copied),
            Err(error) if error.is_bad_address() => Ok(0),
            Err(error) => Err(error),
        },
    );
    let result = vm.call(0, [image, image + 5000, 300, 16, 1], &mut host, &mut meter);
    vm.finish(&mut meter);
    assert!(meter.insns <= 20_000);
    assert_eq!(meter.memory, 1 << 20);
    let lines = std::mem::take(&mut host.lines);
    assert!(lines.len() <= 21);
    (
        result.map_or_else(|error| error.to_string(), |r0| r0.to_string()),
        lines,
        meter,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn plausible_code_ends_the_same_way_twice(code in code()) {
        if let Ok(parser) = equipped(code).verify() {
            prop_assert_eq!(outcome(&parser), outcome(&parser));
        }
    }

    #[test]
    fn noise_is_refused_or_runs(code in proptest::collection::vec(noise(), 0..8)) {
        if let Ok(parser) = equipped(code).verify() {
            outcome(&parser);
        }
    }
}

#[test]
fn most_plausible_code_is_accepted_and_some_of_it_goes_far() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut accepted = 0;
    let mut finished = 0;
    for _ in 0..500 {
        let code = code().new_tree(&mut runner).unwrap().current();
        if let Ok(parser) = equipped(code).verify() {
            accepted += 1;
            finished += usize::from(outcome(&parser).0.parse::<u64>().is_ok());
        }
    }
    assert!(
        accepted > 100 && finished > 2,
        "{accepted} accepted, {finished} finished"
    );
}
