//! The refusals of the structural verifier, and their words.

use expect_test::{Expect, expect};
use ukexec_bpf::{Insn, MapKind, Parser};

use crate::rig::{code, kfunc, map, parser, verify, with_lines};

/// Verifies code that is refused.
#[track_caller]
fn check(text: &str, expected: Expect) {
    check_parser(parser(text), expected);
}

#[track_caller]
fn check_parser(parser: Parser, expected: Expect) {
    expected.assert_eq(&parser.verify().expect_err("accepted").to_string());
}

/// Verifies `insn; exit` for one encoded instruction.
#[track_caller]
fn check_insn(code: u8, [dst, src]: [u8; 2], off: i16, imm: i32, expected: Expect) {
    let mut parser = parser("exit");
    parser.programs[0].code.insert(
        0,
        Insn {
            code,
            dst,
            src,
            off,
            imm,
        },
    );
    check_parser(parser, expected);
}

#[test]
fn refuses_unknown_opcodes() {
    for code in 0..=u8::MAX {
        let mut parser = parser("exit\n exit\n exit");
        parser.programs[0].code[0] = Insn {
            code,
            dst: 0,
            src: 0,
            off: 0,
            imm: 0,
        };
        let known = match code & 7 {
            0 => code == 0x18,
            1 => matches!(code >> 3, 0xc..=0x12),
            2 => matches!(code >> 3, 0xc..=0xf),
            3 => matches!(code >> 3, 0xc..=0xf | 0x18 | 0x1b),
            4 => !matches!(code >> 4, 0xe | 0xf) && code != 0x8c,
            7 => !matches!(code >> 4, 0xe | 0xf) && code != 0x8f && code != 0xdf,
            5 => !matches!(code >> 4, 0xe | 0xf) && !matches!(code, 0x0d | 0x9d),
            _ => !matches!(code >> 4, 0xe | 0xf | 8 | 9) && code != 0x0e,
        };
        let verdict = parser
            .verify()
            .map(|_| ())
            .map_err(|error| error.to_string());
        let unknown = verdict
            .as_ref()
            .is_err_and(|text| text.contains("opcode") && text.contains(" is "));
        assert_eq!(unknown, !known, "{code:#04x}: {verdict:?}");
    }
}

#[test]
fn names_what_is_wrong_with_an_encoding() {
    check_insn(
        0xe5,
        [0, 0],
        0,
        0,
        expect!["main, insn 0: opcode 0xe5 is no instruction of RFC 9669"],
    );
    check_insn(
        0x30,
        [0, 0],
        0,
        4,
        expect![
            "main, insn 0: opcode 0x30 is legacy packet access (ld_abs, ld_ind), and parsers have no packet; read from the image instead"
        ],
    );
    check_insn(
        0x07,
        [1, 2],
        0,
        1,
        expect!["main, insn 0: opcode 0x07: the source must be 0, found 0x2"],
    );
    check_insn(
        0x0f,
        [1, 2],
        0,
        1,
        expect!["main, insn 0: opcode 0x0f: the immediate must be 0, found 0x1"],
    );
    check_insn(
        0x07,
        [1, 0],
        1,
        1,
        expect!["main, insn 0: opcode 0x07: the offset must be 0, found 0x1"],
    );
    check_insn(
        0x37,
        [1, 0],
        2,
        1,
        expect!["main, insn 0: opcode 0x37: the offset must be 0 or 1, found 0x2"],
    );
    check_insn(
        0xb7,
        [1, 0],
        8,
        1,
        expect!["main, insn 0: opcode 0xb7: the offset must be 0, found 0x8"],
    );
    check_insn(
        0xbc,
        [1, 2],
        32,
        0,
        expect!["main, insn 0: opcode 0xbc: the offset must be 0, 8 or 16, found 0x20"],
    );
    check_insn(
        0xd4,
        [1, 0],
        0,
        8,
        expect!["main, insn 0: opcode 0xd4: the immediate must be 16, 32 or 64, found 0x8"],
    );
    check_insn(
        0x87,
        [1, 0],
        0,
        3,
        expect!["main, insn 0: opcode 0x87: the immediate must be 0, found 0x3"],
    );
    check_insn(
        0x61,
        [1, 2],
        0,
        9,
        expect!["main, insn 0: opcode 0x61: the immediate must be 0, found 0x9"],
    );
    check_insn(
        0xdb,
        [1, 2],
        0,
        0x100,
        expect![
            "main, insn 0: opcode 0xdb: the immediate must be an atomic operation of RFC 9669, found 0x100"
        ],
    );
    check_insn(
        0x05,
        [1, 0],
        0,
        0,
        expect!["main, insn 0: opcode 0x05: the destination must be 0, found 0x1"],
    );
    check_insn(
        0x06,
        [0, 0],
        5,
        0,
        expect!["main, insn 0: opcode 0x06: the offset must be 0, found 0x5"],
    );
    check_insn(
        0x95,
        [0, 0],
        0,
        1,
        expect!["main, insn 0: opcode 0x95: the immediate must be 0, found 0x1"],
    );
    check_insn(
        0x85,
        [0, 3],
        0,
        1,
        expect![
            "main, insn 0: opcode 0x85: the source must be 0 (helper), 1 (function) or 2 (kfunc), found 0x3"
        ],
    );
    check_insn(
        0x8d,
        [0, 0],
        0,
        11,
        expect![
            "main, insn 0: opcode 0x8d: the immediate must be the number of a register, found 0xb"
        ],
    );
    check_insn(
        0x18,
        [1, 1],
        0,
        0,
        expect!["main, insn 0: opcode 0x18: the opcode of the second slot must be 0, found 0x95"],
    );
    check_insn(
        0xbf,
        [11, 0],
        0,
        0,
        expect!["main, insn 0: register r11 does not exist; r10 is the last"],
    );
    check_insn(
        0xbf,
        [0, 15],
        0,
        0,
        expect!["main, insn 0: register r15 does not exist; r10 is the last"],
    );
}

#[test]
fn refuses_writes_to_the_frame_pointer() {
    let refused = "main, insn 0: r10, the frame pointer, is read-only";
    for text in [
        "r10 = 1",
        "r10 += r1",
        "w10 = -w10",
        "r10 = (s8)r1",
        "r10 = be16 r10",
        "r10 = 5 ll",
        "r10 = *(u64 *)(r10 - 8)",
        "r10 = xchg_64(r10 - 8, r10)",
        "r10 = atomic_fetch_add((u64 *)(r10 - 8), r10)",
    ] {
        let error = verify(&format!("{text}\n exit")).expect_err(text);
        assert_eq!(error.to_string(), refused, "{text}");
    }
    for text in [
        "lock *(u64 *)(r10 - 8) += r10",
        "r0 = cmpxchg_64(r10 - 8, r0, r10)",
    ] {
        verify(&format!("{text}\n exit")).expect(text);
    }
}

#[test]
fn refuses_jumps_that_leave() {
    check(
        "goto +1\n exit",
        expect!["main, insn 0: jump to insn 2, outside of this function (insns 0 to 1)"],
    );
    check(
        "goto -2\n exit",
        expect!["main, insn 0: jump to insn -1, outside of this function (insns 0 to 1)"],
    );
    check(
        "gotol 70000\n exit",
        expect!["main, insn 0: jump to insn 70001, outside of this function (insns 0 to 1)"],
    );
    check(
        "if r1 == 0 goto +1\n r0 = 5 ll\n exit",
        expect!["main, insn 0: jump to insn 2, the second half of an lddw"],
    );
    check(
        "fn main:\n call other\n if r0 == 0 goto other\n exit\n fn other:\n exit",
        expect!["main, insn 1: jump to insn 3, outside of this function (insns 0 to 2)"],
    );
    check(
        "r0 = 0",
        expect![
            "main, insn 0: control falls off the end of the function here; its last insn must be exit or a jump"
        ],
    );
    check(
        "exit\n if r0 == 0 goto -2",
        expect![
            "main, insn 1: control falls off the end of the function here; its last insn must be exit or a jump"
        ],
    );
    check(
        "fn main:\n call other\n fn other:\n exit",
        expect![
            "main, insn 0: control falls off the end of the function here; its last insn must be exit or a jump"
        ],
    );
}

#[test]
fn refuses_cut_wide_instructions() {
    let mut cut = parser("exit\n r0 = 5 ll\n exit");
    cut.programs[0].code.truncate(2);
    check_parser(
        cut,
        expect!["main, insn 1: the second slot of this lddw is missing"],
    );
    let mut bad = parser("r0 = 5 ll\n exit");
    bad.programs[0].code[1].off = 7;
    check_parser(
        bad.clone(),
        expect!["main, insn 0: opcode 0x18: the offset of the second slot must be 0, found 0x7"],
    );
    bad.programs[0].code[1] = Insn {
        code: 0x95,
        ..Insn::default()
    };
    check_parser(
        bad,
        expect!["main, insn 0: opcode 0x18: the opcode of the second slot must be 0, found 0x95"],
    );
    // The second slot may not begin another function either.
    let mut split = parser("r0 = 5 ll\n exit");
    split.programs[0].functions.push((1, "half".to_owned()));
    check_parser(
        split,
        expect!["main, insn 0: the second slot of this lddw is missing"],
    );
}

#[test]
fn refuses_calls_to_what_is_not_there() {
    check(
        "call helper 14\n exit",
        expect![
            "main, insn 0: helper 14 (bpf_get_current_pid_tgid) is not offered by this loader: a parser belongs to no process, and its result must not depend on who runs it"
        ],
    );
    check(
        "call helper 4000\n exit",
        expect![
            "main, insn 0: helper 4000 is not offered by this loader: Linux has no helper of this number"
        ],
    );
    check(
        "call helper 0\n exit",
        expect![
            "main, insn 0: helper 0 (bpf_unspec) is not offered by this loader: Linux has no helper of this number"
        ],
    );
    check(
        "call helper 9\n exit",
        expect![
            "main, insn 0: helper 9 (bpf_skb_store_bytes) is not offered by this loader: Linux does not offer it to such programs either"
        ],
    );
    check(
        "call kfunc 0\n exit",
        expect!["main, insn 0: kfunc 0 does not exist; the parser names 0"],
    );
    check(
        "r1 = &kfunc 3\n exit",
        expect!["main, insn 0: kfunc 3 does not exist; the parser names 0"],
    );
    check(
        "r1 = &map 0\n exit",
        expect!["main, insn 0: map 0 does not exist; the parser has 0"],
    );
    check(
        "fn main:\n call +0\n exit\n fn other:\n r0 = 0\n exit",
        expect!["main, insn 0: insn 1 is not the start of a function of this program"],
    );
    check(
        "fn main:\n r1 = &inner\n exit\n fn other:\n r0 = 0\n inner:\n exit",
        expect!["main, insn 0: insn 4 is not the start of a function of this program"],
    );
}

#[test]
fn refuses_addresses_outside_of_a_map() {
    let with_maps = |text| {
        let mut parser = parser(text);
        parser
            .maps
            .push(map("ring", MapKind::RingBuffer, [0, 0, 4096]));
        parser.maps.push(map(".bss", MapKind::Array, [4, 24, 1]));
        parser
    };
    with_maps("r1 = &value 1 23\n exit").verify().unwrap();
    check_parser(
        with_maps("r1 = &value 1 24\n exit"),
        expect!["main, insn 0: offset 0x18 lies outside the 0x18 bytes of map .bss"],
    );
    check_parser(
        with_maps("r1 = &value 1 4294967295\n exit"),
        expect!["main, insn 0: offset 0xffffffff lies outside the 0x18 bytes of map .bss"],
    );
    check_parser(
        with_maps("r1 = &value 0 0\n exit"),
        expect!["main, insn 0: map ring has no value that can be addressed; only arrays have"],
    );
    check_parser(
        with_maps("r1 = &value 2 0\n exit"),
        expect!["main, insn 0: map 2 does not exist; the parser has 2"],
    );
}

#[test]
fn refuses_recursion_and_deep_calls() {
    check(
        "fn main:\n call main\n exit",
        expect!["main, insn 0: recursion: main -> main"],
    );
    check(
        "fn main:\n call a\n exit\n fn a:\n call b\n exit\n fn b:\n r2 = &a\n exit",
        expect!["b (program main), insn 4: recursion: a -> b -> a"],
    );
    let chain = |functions: usize| {
        let calls = (0..functions - 1).map(|n| format!("fn f{n}:\n call f{}\n exit\n", n + 1));
        calls.collect::<String>() + &format!("fn f{}:\n exit", functions - 1)
    };
    verify(&chain(8)).unwrap();
    check(
        &chain(9),
        expect![
            "f7 (program main), insn 14: calls nest 9 frames deep, at most 8 are allowed: f0 -> f1 -> f2 -> f3 -> f4 -> f5 -> f6 -> f7 -> f8"
        ],
    );
    // A diamond of many paths is looked at once for each function.
    let diamond = |n: usize| {
        format!(
            "fn d{n}:\n call d{0}\n call d{0}\n call d{0}\n exit\n",
            n + 1
        )
    };
    let text = (0..7).map(diamond).collect::<String>() + "fn d7:\n exit";
    verify(&text).unwrap();
}

#[test]
fn refuses_tables_of_functions_that_do_not_fit() {
    for functions in [&[][..], &[1], &[0, 0], &[0, 3], &[0, 2, 1]] {
        let mut parser = parser("exit\n exit\n exit");
        parser.programs[0].functions = functions
            .iter()
            .map(|start| (*start, "f".to_owned()))
            .collect();
        assert!(parser.verify().is_err(), "{functions:?}");
    }
    let mut empty = parser("exit");
    empty.programs[0].code.clear();
    check_parser(
        empty,
        expect!["main, insn 0: the program's table of functions does not fit its 0 insns"],
    );
}

#[test]
fn refuses_maps_that_cannot_be() {
    let one = |kind, sizes| {
        let mut parser = parser("exit");
        parser.maps.push(map("m", kind, sizes));
        parser
    };
    check_parser(
        one(MapKind::Array, [8, 8, 1]),
        expect!["map m: key_size must be 4, found 8"],
    );
    check_parser(
        one(MapKind::Array, [4, 0, 1]),
        expect!["map m: value_size must be 1 or more, found 0"],
    );
    check_parser(
        one(MapKind::Array, [4, 8, 0]),
        expect!["map m: max_entries must be 1 or more, found 0"],
    );
    check_parser(
        one(MapKind::Hash, [0, 8, 1]),
        expect!["map m: key_size must be 1 to 512, found 0"],
    );
    check_parser(
        one(MapKind::Hash, [513, 8, 1]),
        expect!["map m: key_size must be 1 to 512, found 513"],
    );
    check_parser(
        one(MapKind::RingBuffer, [4, 0, 4096]),
        expect!["map m: key_size must be 0, found 4"],
    );
    let mut long = one(MapKind::Array, [4, 3, 1]);
    long.maps[0].initial = Some(bytes::Bytes::from_static(b"long"));
    check_parser(
        long,
        expect!["map m: the initial value's length must be at most value_size, found 4"],
    );
}

#[test]
fn tells_the_function_and_the_source_line() {
    let parser = parser("fn main:\n call other\n exit\n fn other:\n r0 = 0\n r10 = 0\n exit");
    check_parser(
        with_lines(parser),
        expect![
            "test.bpf.c:104 in other (program main), insn 3: r10, the frame pointer, is read-only"
        ],
    );
}

/// Every reason there is: its name, code (or an encoded first instruction) that
/// is refused for it, and the slot to blame.
const REASONS: [(&str, &str, Option<Insn>, u32); 17] = [
    ("Opcode", "exit", encoded(0xe5, 0), 0),
    ("Packet", "exit", encoded(0x30, 0), 0),
    ("Field", "exit", encoded(0x95, 1), 0),
    ("Register", "exit", encoded(0xbf | 0x0b00, 0), 0),
    ("FramePointer", "r0 = 0\n r10 = 0\n exit", None, 1),
    ("Cut", "exit\n r0 = 5 ll", None, 1),
    ("JumpOut", "r0 = 0\n goto +7\n exit", None, 1),
    (
        "JumpIntoWide",
        "if r1 == 0 goto +1\n r0 = 5 ll\n exit",
        None,
        0,
    ),
    ("FallsOff", "r0 = 0\n r0 = 1", None, 1),
    ("NoFunction", "r0 = 0\n call +1\n exit\n exit", None, 1),
    ("Recursion", "fn main:\n r0 = 0\n call main\n exit", None, 1),
    ("TooDeep", DEEP, None, 14),
    ("Helper", "r0 = 0\n call helper 14\n exit", None, 1),
    ("Kfunc", "r0 = 0\n call kfunc 5\n exit", None, 1),
    ("Map", "r0 = 0\n r1 = &map 5\n exit", None, 1),
    ("NoValue", "r0 = 0\n r1 = &value 0 0\n exit", None, 1),
    ("ValueOffset", "r0 = 0\n r1 = &value 1 24\n exit", None, 1),
];

const DEEP: &str = "fn a:\n call b\n exit\n fn b:\n call c\n exit\n fn c:\n call d\n exit\n fn d:\n call e\n \
                    exit\n fn e:\n call f\n exit\n fn f:\n call g\n exit\n fn g:\n call h\n exit\n fn h:\n \
                    call i\n exit\n fn i:\n exit";

/// An instruction; `code` may have a destination register in its upper byte.
const fn encoded(code: u16, imm: i32) -> Option<Insn> {
    let [code, dst] = code.to_le_bytes();
    Some(Insn {
        code,
        dst,
        src: 0,
        off: 0,
        imm,
    })
}

#[test]
fn every_reason_comes_with_instruction_and_source_line() {
    let mut told = String::new();
    for (name, text, first, slot) in REASONS {
        let mut parser = parser(text);
        let main = &mut parser.programs[0];
        if let Some(insn) = first {
            main.code.insert(0, insn);
        }
        if name == "Cut" {
            main.code.pop();
        }
        parser
            .maps
            .push(map("ring", MapKind::RingBuffer, [0, 0, 4096]));
        parser.maps.push(map("array", MapKind::Array, [4, 24, 1]));
        let error = with_lines(parser).verify().expect_err(name);
        let place = error.place().expect(name);
        assert_eq!(place.slot, slot, "{name}");
        assert_eq!(place.line.as_ref().map(|line| line.line), Some(slot + 101));
        told += &format!("{error}\n");
    }
    expect![[r#"
        test.bpf.c:101 in main, insn 0: opcode 0xe5 is no instruction of RFC 9669
        test.bpf.c:101 in main, insn 0: opcode 0x30 is legacy packet access (ld_abs, ld_ind), and parsers have no packet; read from the image instead
        test.bpf.c:101 in main, insn 0: opcode 0x95: the immediate must be 0, found 0x1
        test.bpf.c:101 in main, insn 0: register r11 does not exist; r10 is the last
        test.bpf.c:102 in main, insn 1: r10, the frame pointer, is read-only
        test.bpf.c:102 in main, insn 1: the second slot of this lddw is missing
        test.bpf.c:102 in main, insn 1: jump to insn 9, outside of this function (insns 0 to 2)
        test.bpf.c:101 in main, insn 0: jump to insn 2, the second half of an lddw
        test.bpf.c:102 in main, insn 1: control falls off the end of the function here; its last insn must be exit or a jump
        test.bpf.c:102 in main, insn 1: insn 3 is not the start of a function of this program
        test.bpf.c:102 in main, insn 1: recursion: main -> main
        test.bpf.c:115 in h (program main), insn 14: calls nest 9 frames deep, at most 8 are allowed: a -> b -> c -> d -> e -> f -> g -> h -> i
        test.bpf.c:102 in main, insn 1: helper 14 (bpf_get_current_pid_tgid) is not offered by this loader: a parser belongs to no process, and its result must not depend on who runs it
        test.bpf.c:102 in main, insn 1: kfunc 5 does not exist; the parser names 0
        test.bpf.c:102 in main, insn 1: map 5 does not exist; the parser has 2
        test.bpf.c:102 in main, insn 1: map ring has no value that can be addressed; only arrays have
        test.bpf.c:102 in main, insn 1: offset 0x18 lies outside the 0x18 bytes of map array
    "#]].assert_eq(&told);
}

#[test]
fn accepts_weak_kfuncs_and_poison() {
    let mut parser = parser("r1 = &kfunc 0\n call kfunc 0\n call helper 195896080\n exit");
    parser.kfuncs.push(kfunc("bpf_weak", None));
    parser.verify().unwrap();
}

/// Returns a parser of these instructions, with a map of so many entries.
fn with_map(insns: &[(u8, u8, u8, i16, i32)], entries: u32) -> Parser {
    let mut parser = code(insns);
    parser.maps = vec![map("values", MapKind::Array, [4, 8, entries])];
    parser
}

#[test]
fn reports_every_instruction_and_map() {
    let insns = [
        (0xb7, 10, 0, 0, 1),
        (0x18, 1, 5, 0, 3),
        (0, 0, 0, 0, 0),
        (0x85, 0, 0, 0, 25),
        (0x05, 0, 0, 90, 0),
        (0xff, 0, 0, 0, 0),
        (0xb7, 0, 0, 0, 0),
    ];
    let parser = with_map(&insns, 0);
    let all = parser.verify_or_explain().unwrap_err();
    let lines = all.iter().map(|problem| format!("{problem}\n"));
    expect![[r#"
        map values: max_entries must be 1 or more, found 0
        main, insn 0: r10, the frame pointer, is read-only
        main, insn 5: opcode 0xff is no instruction of RFC 9669
        main, insn 6: control falls off the end of the function here; its last insn must be exit or a jump
        main, insn 4: jump to insn 95, outside of this function (insns 0 to 6)
        main, insn 1: map 3 does not exist; the parser has 1
        main, insn 3: helper 25 (bpf_perf_event_output) is not offered by this loader: nobody listens: print with bpf_printk instead
    "#]]
    .assert_eq(&lines.collect::<String>());
    assert_eq!(parser.verify().unwrap_err().to_string(), all[0].to_string());
}

#[test]
fn accepts_what_there_is_nothing_wrong_with() {
    let parser = with_map(&[(0xb7, 0, 0, 0, 1), (0x95, 0, 0, 0, 0)], 1);
    assert!(parser.verify_or_explain().is_ok());
    assert!(parser.verify().is_ok());
}
