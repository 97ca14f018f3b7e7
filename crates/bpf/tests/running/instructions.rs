//! Every instruction of RFC 9669, both widths, with the values at the edges.

use crate::asm::{ALU, CONDITIONS};
use crate::rig::{run, run_on};

const MIN64: u64 = 1 << 63;
const MIN32: u64 = 1 << 31;
const ONES: u64 = u64::MAX;
const ONES32: u64 = 0xffff_ffff;

/// Runs `dst op operand` with the operand in a register, and as an immediate
/// where it is one.
#[track_caller]
fn check_alu(op: &str, half: bool, dst: u64, operand: u64, expected: u64) {
    let width = if half { 'w' } else { 'r' };
    let by_register =
        format!("r0 = {dst:#x} ll\n r3 = {operand:#x} ll\n {width}0 {op} {width}3\n exit");
    assert_eq!(
        run(&by_register).unwrap(),
        expected,
        "{dst:#x} {op} {operand:#x} ({width}, X)"
    );
    let imm = operand as i32;
    if (half && operand <= ONES32) || imm as i64 as u64 == operand {
        let by_immediate = format!("r0 = {dst:#x} ll\n {width}0 {op} {imm}\n exit");
        assert_eq!(
            run(&by_immediate).unwrap(),
            expected,
            "{dst:#x} {op} {imm} ({width}, K)"
        );
    }
}

#[test]
fn arithmetic_on_64_bits() {
    let table: [(&str, u64, u64, u64); 60] = [
        ("+=", 1, 2, 3),
        ("+=", ONES, 1, 0),
        ("+=", 0xffff_ffff, 1, 0x1_0000_0000),
        ("+=", 5, ONES, 4),
        ("-=", 1, 2, ONES),
        ("-=", 0x1_0000_0000, 1, 0xffff_ffff),
        ("-=", 0, MIN64, MIN64),
        ("*=", 3, 5, 15),
        ("*=", 0x1_0000_0001, 0x1_0000_0001, 0x2_0000_0001),
        ("*=", ONES, ONES, 1),
        ("*=", 7, ONES, 7_u64.wrapping_neg()),
        ("/=", 7, 2, 3),
        ("/=", 7, 0, 0),
        ("/=", ONES, 2, ONES / 2),
        ("/=", 10, ONES, 0),
        ("/=", ONES, ONES, 1),
        ("/=", MIN64, ONES, 0),
        ("s/=", 7, 2, 3),
        ("s/=", 7, 2_u64.wrapping_neg(), 3_u64.wrapping_neg()),
        ("s/=", 7_u64.wrapping_neg(), 2, 3_u64.wrapping_neg()),
        ("s/=", 7_u64.wrapping_neg(), 2_u64.wrapping_neg(), 3),
        ("s/=", 7, 0, 0),
        ("s/=", MIN64, ONES, MIN64),
        ("s/=", MIN64, 1, MIN64),
        ("%=", 7, 4, 3),
        ("%=", 7, 0, 7),
        ("%=", ONES, 16, 15),
        ("%=", ONES, ONES, 0),
        ("%=", 0x1_0000_0005, 0, 0x1_0000_0005),
        ("s%=", 7, 4, 3),
        ("s%=", 7_u64.wrapping_neg(), 4, 3_u64.wrapping_neg()),
        ("s%=", 7, 4_u64.wrapping_neg(), 3),
        ("s%=", MIN64, ONES, 0),
        ("s%=", 7_u64.wrapping_neg(), 0, 7_u64.wrapping_neg()),
        ("|=", 0xf0, 0x0f, 0xff),
        ("|=", 0, ONES, ONES),
        ("|=", 0, MIN32, MIN32),
        ("&=", 0xff, 0x3c, 0x3c),
        ("&=", ONES, ONES, ONES),
        ("&=", ONES, 0xffff_ffff_8000_0000, 0xffff_ffff_8000_0000),
        ("^=", 0xff, 0x0f, 0xf0),
        ("^=", ONES, ONES, 0),
        ("^=", 0, ONES, ONES),
        ("<<=", 1, 63, MIN64),
        ("<<=", 1, 64, 1),
        ("<<=", 1, 65, 2),
        ("<<=", 3, 0, 3),
        ("<<=", 1, ONES, MIN64),
        (">>=", MIN64, 63, 1),
        (">>=", MIN64, 64, MIN64),
        (">>=", ONES, 4, ONES >> 4),
        (">>=", MIN64, 0x1_0000_003f, 1),
        ("s>>=", MIN64, 63, ONES),
        ("s>>=", MIN64, 64, MIN64),
        ("s>>=", 0x7fff_ffff_ffff_ffff, 62, 1),
        ("s>>=", 16_u64.wrapping_neg(), 2, 4_u64.wrapping_neg()),
        ("=", 1, 0x1234_5678, 0x1234_5678),
        ("=", 1, ONES, ONES),
        ("=", ONES, 0x8000_0000_0000_0001, 0x8000_0000_0000_0001),
        ("=", ONES, 0, 0),
    ];
    for (op, dst, operand, expected) in table {
        check_alu(op, false, dst, operand, expected);
    }
    assert!(
        ALU.iter()
            .all(|(op, ..)| table.iter().any(|(tested, ..)| tested == op))
    );
}

#[test]
fn arithmetic_on_32_bits_clears_the_upper_half() {
    let table: [(&str, u64, u64, u64); 56] = [
        ("+=", 1, 2, 3),
        ("+=", ONES, 1, 0),
        ("+=", 0x5_7fff_ffff, 1, MIN32),
        ("-=", 1, 2, ONES32),
        ("-=", ONES, ONES32, 0),
        ("*=", 0x10000, 0x10000, 0),
        ("*=", ONES32, ONES32, 1),
        ("*=", 0x5_0000_0003, 4, 12),
        ("/=", 7, 2, 3),
        ("/=", ONES, 0, 0),
        ("/=", 0x1_0000_0007, 2, 3),
        ("/=", 7, 0x1_0000_0000, 0),
        ("/=", MIN32, ONES32, 0),
        ("/=", ONES32, ONES32, 1),
        ("s/=", 7, ONES32 - 1, ONES32 - 2),
        ("s/=", ONES32 - 6, 2, ONES32 - 2),
        ("s/=", MIN32, ONES32, MIN32),
        ("s/=", ONES, 0, 0),
        ("s/=", ONES32 - 6, ONES32 - 1, 3),
        ("%=", 7, 4, 3),
        ("%=", 0x5_0000_0007, 0, 7),
        ("%=", ONES, 16, 15),
        ("%=", 7, 0x1_0000_0000, 7),
        ("s%=", ONES32 - 6, 4, ONES32 - 2),
        ("s%=", 7, ONES32 - 3, 3),
        ("s%=", MIN32, ONES32, 0),
        ("s%=", ONES, 0, ONES32),
        ("|=", 0xf_0000_00f0, 0x0f, 0xff),
        ("|=", 0, ONES32, ONES32),
        ("&=", ONES, 0x3c, 0x3c),
        ("&=", ONES, ONES32, ONES32),
        ("&=", ONES, MIN32, MIN32),
        ("^=", ONES, 0x0f, 0xffff_fff0),
        ("^=", 0x1_0000_0001, 1, 0),
        ("<<=", 1, 31, MIN32),
        ("<<=", 1, 32, 1),
        ("<<=", 1, 33, 2),
        ("<<=", ONES, 4, 0xffff_fff0),
        ("<<=", ONES, 0, ONES32),
        (">>=", MIN32, 31, 1),
        (">>=", ONES, 32, ONES32),
        (">>=", ONES, 4, 0x0fff_ffff),
        (">>=", 0xf_8000_0000, 63, 1),
        ("s>>=", MIN32, 31, ONES32),
        ("s>>=", MIN32, 32, MIN32),
        ("s>>=", 0xf_7fff_ffff, 30, 1),
        ("s>>=", 0x8000_0000_0000_0010, 4, 1),
        ("s>>=", 0xffff_fff0, 2, 0xffff_fffc),
        ("=", ONES, 0x1234_5678, 0x1234_5678),
        ("=", ONES, ONES32, ONES32),
        ("=", ONES, ONES, ONES32),
        ("=", 0, 0x5_0000_0001, 1),
        ("=", ONES, MIN32, MIN32),
        ("=", ONES, 0, 0),
        ("+=", 0, 0x7_0000_0001, 1),
        ("-=", 0, 0x7_0000_0001, ONES32),
    ];
    for (op, dst, operand, expected) in table {
        check_alu(op, true, dst, operand, expected);
    }
    assert!(
        ALU.iter()
            .all(|(op, ..)| table.iter().any(|(tested, ..)| tested == op))
    );
}

/// Runs `insn` on r0 = r3 = `value`.
#[track_caller]
fn check_unary(insn: &str, value: u64, expected: u64) {
    let text = format!("r0 = {value:#x} ll\n r3 = r0\n {insn}\n exit");
    assert_eq!(run(&text).unwrap(), expected, "{insn} on {value:#x}");
}

#[test]
fn negates_extends_and_swaps() {
    let bytes = 0x0102_0304_0506_f7f8;
    let signs = 0xf123_4567_89ab_cdef;
    for (insn, value, expected) in [
        ("r0 = -r0", 1, ONES),
        ("r0 = -r0", MIN64, MIN64),
        ("w0 = -w0", 1, ONES32),
        ("w0 = -w0", 0x5_8000_0000, MIN32),
        ("r0 = (s8)r3", signs, 0xffff_ffff_ffff_ffef),
        ("r0 = (s8)r3", 0x17f, 0x7f),
        ("r0 = (s16)r3", signs, 0xffff_ffff_ffff_cdef),
        ("r0 = (s16)r3", 0x1_7fff, 0x7fff),
        ("r0 = (s32)r3", signs, 0xffff_ffff_89ab_cdef),
        ("r0 = (s32)r3", 0x5_7fff_ffff, 0x7fff_ffff),
        ("w0 = (s8)w3", signs, 0xffff_ffef),
        ("w0 = (s8)w3", 0x17f, 0x7f),
        ("w0 = (s16)w3", signs, 0xffff_cdef),
        ("w0 = (s16)w3", 0x1_7fff, 0x7fff),
        ("r0 = le16 r0", bytes, 0xf7f8),
        ("r0 = le32 r0", bytes, 0x0506_f7f8),
        ("r0 = le64 r0", bytes, bytes),
        ("r0 = be16 r0", bytes, 0xf8f7),
        ("r0 = be32 r0", bytes, 0xf8f7_0605),
        ("r0 = be64 r0", bytes, 0xf8f7_0605_0403_0201),
        ("r0 = bswap16 r0", bytes, 0xf8f7),
        ("r0 = bswap32 r0", bytes, 0xf8f7_0605),
        ("r0 = bswap64 r0", bytes, 0xf8f7_0605_0403_0201),
    ] {
        check_unary(insn, value, expected);
    }
}

/// Runs a conditional jump in its four forms; `half` says what the 32-bit forms
/// do.
#[track_caller]
fn check_jump(op: &str, one: u64, other: u64, taken: bool, half: bool) {
    for (width, expected) in [('r', taken), ('w', half)] {
        let by_register = format!(
            "r3 = {one:#x} ll\n r4 = {other:#x} ll\n r0 = 1\n if {width}3 {op} {width}4 goto yes\n \
             r0 = 0\n yes:\n exit"
        );
        let taken = run(&by_register).unwrap() == 1;
        assert_eq!(taken, expected, "{width}: {one:#x} {op} {other:#x}");
        let imm = other as i32;
        if imm as i64 as u64 == other {
            let by_immediate = format!(
                "r3 = {one:#x} ll\n r0 = 1\n if {width}3 {op} {imm} goto yes\n r0 = 0\n yes:\n exit"
            );
            let taken = run(&by_immediate).unwrap() == 1;
            assert_eq!(taken, expected, "{width}: {one:#x} {op} {imm}");
        }
    }
}

#[test]
fn jumps_on_conditions() {
    let table = [
        ("==", 5, 5, true, true),
        ("==", 5, 6, false, false),
        ("==", 0x1_0000_0005, 5, false, true),
        ("==", ONES, ONES, true, true),
        ("!=", 5, 5, false, false),
        ("!=", 0x1_0000_0005, 5, true, false),
        ("!=", ONES32, ONES, true, false),
        (">", 6, 5, true, true),
        (">", 5, 5, false, false),
        (">", ONES, 1, true, true),
        (">", 0x1_0000_0000, 1, true, false),
        (">", 1, ONES, false, false),
        (">=", 5, 5, true, true),
        (">=", 4, 5, false, false),
        (">=", 0x1_0000_0000, 1, true, false),
        ("<", 5, 6, true, true),
        ("<", 5, 5, false, false),
        ("<", 0x1_0000_0000, 1, false, true),
        ("<", 1, ONES, true, true),
        ("<=", 5, 5, true, true),
        ("<=", 6, 5, false, false),
        ("<=", 0x1_0000_0000, 1, false, true),
        ("&", 0b110, 0b010, true, true),
        ("&", 0b101, 0b010, false, false),
        ("&", MIN64, ONES, true, false),
        ("s>", 1, ONES, true, true),
        ("s>", ONES, 1, false, false),
        ("s>", 5, 5, false, false),
        ("s>", MIN32, 0, true, false),
        ("s>=", 5, 5, true, true),
        ("s>=", ONES, 1, false, false),
        ("s>=", MIN32, 0, true, false),
        ("s<", ONES, 1, true, true),
        ("s<", 1, ONES, false, false),
        ("s<", 5, 5, false, false),
        ("s<", MIN32, 0, false, true),
        ("s<=", 5, 5, true, true),
        ("s<=", 1, ONES, false, false),
        ("s<=", MIN64, 0, true, true),
    ];
    for (op, one, other, taken, half) in table {
        check_jump(op, one, other, taken, half);
    }
    assert!(
        CONDITIONS
            .iter()
            .all(|(op, _)| table.iter().any(|(tested, ..)| tested == op))
    );
}

#[test]
fn jumps_backwards_and_far() {
    let text = "
        r0 = 0
        goto start
        back:
        r0 += 1
        gotol end
        start:
        if r0 == 0 goto back
        r0 = 99
        end:
        exit";
    assert_eq!(run(text).unwrap(), 1);
}

#[test]
fn loads_and_stores_of_every_size() {
    let bytes = [0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x09];
    for (size, expected) in [
        ("u8", 0x81),
        ("u16", 0x8281),
        ("u32", 0x8483_8281),
        ("u64", 0x8887_8685_8483_8281),
        ("s8", 0xffff_ffff_ffff_ff81),
        ("s16", 0xffff_ffff_ffff_8281),
        ("s32", 0xffff_ffff_8483_8281),
    ] {
        let aligned = format!("r0 = *({size} *)(r1 + 0)\n exit");
        assert_eq!(run_on(&aligned, &bytes).unwrap(), expected, "{size}");
        let last = 9 - size[1..].parse::<usize>().unwrap() / 8;
        let at_end = format!("r0 = *({size} *)(r1 + {last})\n r0 &= 1\n exit");
        assert_eq!(
            run_on(&at_end, &bytes).unwrap(),
            u64::from(bytes[last] & 1),
            "{size} at end"
        );
    }
    for (size, expected) in [
        ("u8", 0xffff_ffff_ffff_ffef),
        ("u16", 0xffff_ffff_ffff_cdef),
        ("u32", 0xffff_ffff_89ab_cdef),
        ("u64", 0x0123_4567_89ab_cdef),
    ] {
        let text = format!(
            "r3 = 0x0123456789abcdef ll\n *(u64 *)(r10 - 8) = -1\n *({size} *)(r10 - 8) = r3\n \
             r0 = *(u64 *)(r10 - 8)\n exit"
        );
        assert_eq!(run(&text).unwrap(), expected, "stx {size}");
    }
    for (size, expected) in [
        ("u8", 0x1111_1111_1111_11fe),
        ("u16", 0x1111_1111_1111_fffe),
        ("u32", 0x1111_1111_ffff_fffe),
        ("u64", 0xffff_ffff_ffff_fffe),
    ] {
        let text = format!(
            "r3 = 0x1111111111111111 ll\n *(u64 *)(r10 - 8) = r3\n *({size} *)(r10 - 8) = -2\n \
             r0 = *(u64 *)(r10 - 8)\n exit"
        );
        assert_eq!(run(&text).unwrap(), expected, "st {size}");
    }
}

/// Runs an atomic instruction on `[r10 - 8]` = `old`, with r3 and r0 given.
/// Expects what memory, r3 and r0 hold then.
#[track_caller]
fn check_atomic(insn: &str, old: u64, [r3, r0]: [u64; 2], expected: [u64; 3]) {
    for (register, expected) in ["*(u64 *)(r10 - 8)", "r3", "r0"].into_iter().zip(expected) {
        let text = format!(
            "r4 = {old:#x} ll\n *(u64 *)(r10 - 8) = r4\n r3 = {r3:#x} ll\n r0 = {r0:#x} ll\n {insn}\n \
             r0 = {register}\n exit"
        );
        assert_eq!(
            run(&text).unwrap(),
            expected,
            "{register} after {insn} on {old:#x}"
        );
    }
}

#[test]
fn atomics() {
    let old = 0xaaaa_aaaa_0000_00f0;
    let arg = 0x1111_1111_0000_0018;
    for (name, sign, wide, half) in [
        ("add", "+=", 0xbbbb_bbbb_0000_0108, 0xaaaa_aaaa_0000_0108),
        ("or", "|=", 0xbbbb_bbbb_0000_00f8, 0xaaaa_aaaa_0000_00f8),
        ("and", "&=", 0x0000_0000_0000_0010, 0xaaaa_aaaa_0000_0010),
        (
            "xor",
            "^=",
            0xbbbb_bbbb_0000_00e8,
            0xaaaa_aaaa_0000_00e8_u64,
        ),
    ] {
        let plain = format!("lock *(u64 *)(r10 - 8) {sign} r3");
        check_atomic(&plain, old, [arg, 7], [wide, arg, 7]);
        let plain = format!("lock *(u32 *)(r10 - 8) {sign} w3");
        check_atomic(&plain, old, [arg, 7], [half, arg, 7]);
        let fetch = format!("r3 = atomic_fetch_{name}((u64 *)(r10 - 8), r3)");
        check_atomic(&fetch, old, [arg, 7], [wide, old, 7]);
        let fetch = format!("w3 = atomic_fetch_{name}((u32 *)(r10 - 8), w3)");
        check_atomic(&fetch, old, [arg, 7], [half, 0xf0, 7]);
    }
    check_atomic("r3 = xchg_64(r10 - 8, r3)", old, [arg, 7], [arg, old, 7]);
    let half = 0xaaaa_aaaa_0000_0018;
    check_atomic(
        "w3 = xchg32_32(r10 - 8, w3)",
        old,
        [arg, 7],
        [half, 0xf0, 7],
    );
    check_atomic(
        "r0 = cmpxchg_64(r10 - 8, r0, r3)",
        old,
        [arg, old],
        [arg, arg, old],
    );
    check_atomic(
        "r0 = cmpxchg_64(r10 - 8, r0, r3)",
        old,
        [arg, 7],
        [old, arg, old],
    );
    check_atomic(
        "w0 = cmpxchg32_32(r10 - 8, w0, w3)",
        old,
        [arg, 0xf0],
        [half, arg, 0xf0],
    );
    let upper = 0x9_0000_00f0;
    check_atomic(
        "w0 = cmpxchg32_32(r10 - 8, w0, w3)",
        old,
        [arg, upper],
        [half, arg, 0xf0],
    );
    check_atomic(
        "w0 = cmpxchg32_32(r10 - 8, w0, w3)",
        old,
        [arg, 7],
        [old, arg, 0xf0],
    );
}

#[test]
fn wide_immediates() {
    check_unary("r0 = 0x123456789abcdef0 ll", 0, 0x1234_5678_9abc_def0);
    check_unary("r0 = 0xffffffff ll", 0, ONES32);
    check_unary("r0 = 0x8000000000000000 ll", 0, MIN64);
}

#[test]
fn everything_starts_as_zeros() {
    let sum: String = (0..10).map(|n| format!("r0 |= r{n}\n")).collect();
    let stack: String = (1..=64)
        .map(|n| format!("r3 = *(u64 *)(r10 - {})\n r0 |= r3\n", n * 8))
        .collect();
    assert_eq!(
        run(&format!("r1 = 0\n r2 = 0\n {sum}{stack}exit")).unwrap(),
        0
    );
}
