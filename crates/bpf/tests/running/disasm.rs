//! The listing of instructions.

use expect_test::expect;
use ukexec_bpf::MapKind;
use ukexec_bpf::disasm::{Line, disassemble};

use crate::rig::{code, kfunc, map};

fn lines(insns: &[(u8, u8, u8, i16, i32)]) -> Vec<Line> {
    let mut parser = code(insns);
    parser.maps = vec![map(".rodata", MapKind::Array, [4, 8, 1])];
    parser.kfuncs = vec![kfunc("bpf_decompress", None)];
    disassemble(&parser, &parser.programs[0])
}

/// A row for each upper half of an opcode: `i` is listed as an instruction,
/// `L` also leads to a label, and so does `l`, which is none.
#[test]
fn lists_each_of_256_opcodes() {
    let sign = |code| {
        let lines = lines(&[(code, 0, 0, 1, 1), (0, 0, 0, 0, 0), (0x95, 0, 0, 0, 0)]);
        let is_none = lines[0].text.starts_with("(no instruction");
        match (
            is_none,
            lines.iter().any(|line| line.label.as_deref() == Some("L1")),
        ) {
            (false, false) => 'i',
            (false, true) => 'L',
            (true, true) => 'l',
            (true, false) => '.',
        }
    };
    let rows = (0_u8..16).map(|upper| {
        let row: String = (0..16).map(|lower| sign(upper << 4 | lower)).collect();
        format!("{upper:x}: {row}\n")
    });
    expect![[r#"
        0: ....iLLi....iLLi
        1: ....iLLii...iLLi
        2: ....iLLi....iLLi
        3: ....iLLi....iLLi
        4: ....iLLi....iLLi
        5: ....iLLi....iLLi
        6: .iiiiLLi.iiiiLLi
        7: .iiiiLLi.iiiiLLi
        8: .i..iili.i..iili
        9: .i..iili....illi
        a: ....iLLi....iLLi
        b: ....iLLi....iLLi
        c: ...iiLLi....iLLi
        d: ....iLLi...iiLL.
        e: .....ll......ll.
        f: .....ll......ll.
    "#]]
    .assert_eq(&rows.collect::<String>());
}

#[test]
fn lists_arithmetic_as_assignments_and_memory_with_its_type() {
    for (code, text) in [
        ((0x07, 1, 0, 0, -5), "r1 += -0x5"),
        ((0x0c, 1, 2, 0, 0), "w1 += w2"),
        ((0x3f, 3, 4, 1, 0), "r3 s/= r4"),
        ((0xbf, 3, 4, 8, 0), "r3 = (s8)r4"),
        ((0x87, 3, 0, 0, 0), "r3 = -r3"),
        ((0xdc, 3, 0, 0, 32), "r3 = be32 r3"),
        ((0xc4, 3, 0, 0, 31), "w3 s>>= 0x1f"),
        ((0xe7, 3, 0, 0, 31), "(no instruction: opcode 0xe7)"),
        ((0x61, 1, 10, -8, 0), "r1 = *(u32 *)(r10 - 0x8)"),
        ((0x91, 1, 2, 16, 0), "r1 = *(s8 *)(r2 + 0x10)"),
        ((0x7a, 1, 0, 8, -1), "*(u64 *)(r1 + 0x8) = -0x1"),
        ((0x73, 1, 2, 0, 0), "*(u8 *)(r1 + 0x0) = r2"),
        ((0xdb, 1, 2, 0, 0x00), "lock *(u64 *)(r1 + 0x0) += r2"),
        (
            (0xdb, 1, 2, 0, 0x01),
            "r2 = atomic_fetch_add((u64 *)(r1 + 0x0), r2)",
        ),
        ((0xc3, 1, 2, 0, 0xf1), "r0 = cmpxchg_32(r1 + 0x0, r0, r2)"),
        ((0xc3, 1, 2, 0, 0xe1), "r2 = xchg_32(r1 + 0x0, r2)"),
    ] {
        assert_eq!(lines(&[code])[0].text, text);
    }
}

#[test]
fn lists_jumps_and_calls_by_name() {
    let lines = lines(&[
        (0x18, 1, 6, 0, 0),
        (0, 0, 0, 0, 4),
        (0x18, 2, 0, 0, -1),
        (0, 0, 0, 0, 1),
        (0x65, 1, 0, 1, 7),
        (0x85, 0, 0, 0, 113),
        (0x85, 0, 2, 0, 0),
        (0x85, 0, 1, 0, -8),
        (0x1e, 1, 2, -5, 0),
        (0x05, 0, 0, 40, 0),
        (0x8d, 3, 0, 0, 0),
        (0x8d, 0, 0, 0, 300),
        (0x95, 0, 0, 0, 0),
    ]);
    let lines = lines.iter().map(|line| {
        let label = line.label.as_ref();
        let label = label.map_or_else(String::new, |label| format!("{label}: "));
        format!("{} {label}{}\n", line.slot, line.text)
    });
    expect![[r#"
        0 main: r1 = .rodata + 0x4 ll
        2 r2 = 0x1ffffffff ll
        4 L1: if r1 s> 0x7 goto L2
        5 call bpf_probe_read_kernel#113
        6 L2: call bpf_decompress
        7 call main
        8 if w1 == w2 goto L1
        9 goto insn 50
        10 callx r3
        11 callx r300
        12 exit
    "#]]
    .assert_eq(&lines.collect::<String>());
}
