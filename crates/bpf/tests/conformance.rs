//! The conformance plugin, by the protocol of the public suite. The cases here
//! are ours; the suite brings its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../examples/conformance/plugin.rs"]
mod plugin;

use expect_test::{Expect, expect};
use plugin::Request;

/// Runs the plugin with `args` and the words of `input` as its program.
fn check(args: &[&str], input: &str, expected: Expect) {
    let request = Request::parse(args.iter().map(|&arg| arg.to_owned()));
    let result = request.and_then(|request| plugin::run(&request, input));
    expected.assert_eq(&match result {
        Ok(r0) => format!("{r0:x}"),
        Err(problem) => problem.to_string(),
    });
}

const EXIT: &str = "95 00 00 00 00 00 00 00";

/// The instructions, each as hex bytes, and an `exit`.
fn program(insns: &[&str]) -> String {
    [insns, &[EXIT]].concat().join("  ")
}

#[test]
fn memory_is_in_r1_and_its_length_in_r2() {
    // r0 = *(u32 *)(r1 + 1); r0 <<= 8; r0 |= r2
    let text = program(&[
        "61 10 01 00 00 00 00 00",
        "67 00 00 00 08 00 00 00",
        "4f 20 00 00 00 00 00 00",
    ]);
    check(&["01  02  03  04  05 "], &text, expect!["504030205"]);
}

#[test]
fn memory_may_be_absent_or_empty() {
    // r0 = r1; r0 |= r2
    let text = program(&["bf 10 00 00 00 00 00 00", "4f 20 00 00 00 00 00 00"]);
    check(&[], &text, expect!["0"]);
    check(&["", ""], &text, expect!["0"]);
}

#[test]
fn the_program_may_be_an_argument() {
    let text = program(&["b7 00 00 00 2a 00 00 00"]);
    check(&["--program", &text], "", expect!["2a"]);
}

#[test]
fn what_is_not_understood_is_an_error() {
    check(&["--jit"], EXIT, expect![[r#"unknown argument "--jit""#]]);
    check(
        &["0x"],
        EXIT,
        expect![[r#"expected two hex digits for each byte, found "0x""#]],
    );
    check(
        &[],
        "95 00",
        expect!["the program's 2 bytes are no multiple of 8"],
    );
    check(
        &["--program"],
        "",
        expect!["--program needs hex bytes behind it"],
    );
}

#[test]
fn refusals_and_faults_are_errors() {
    check(
        &[],
        "b7 0b 00 00 00 00 00 00",
        expect!["insn_0 (program case), insn 0: register r11 does not exist; r10 is the last"],
    );
    check(
        &["00"],
        &program(&["61 10 00 00 00 00 00 00"]),
        expect![
            "insn_0 (program case), insn 0: read of 4 bytes passes the end of the memory: memory+0x0; the memory ends at 0x1"
        ],
    );
}

#[test]
fn functions_start_where_calls_go() {
    // call +1; exit; r0 = 7; exit
    let text = format!(
        "85 10 00 00 01 00 00 00 {EXIT} {}",
        program(&["b7 00 00 00 07 00 00 00"])
    );
    check(&[], &text, expect!["7"]);
}

#[test]
fn callx_takes_the_number_of_a_helper() {
    // r2 = 8; callx r2
    let text = program(&["b7 02 00 00 08 00 00 00", "8d 02 00 00 00 00 00 00"]);
    check(&[], &text, expect!["0"]);
}

#[test]
fn runtime_functions_return_0() {
    let text = program(&["b7 00 00 00 01 00 00 00", "85 20 00 00 2a 00 00 00"]);
    check(&[], &text, expect!["0"]);
}

#[test]
fn packet_access_reads_big_endian() {
    let memory = "11 22 33 44 55 66 77 88";
    for (load, expected) in [
        ("20 00 00 00 01 00 00 00", expect!["22334455"]), // ld_abs word
        ("28 00 00 00 01 00 00 00", expect!["2233"]),     // ld_abs half
        ("30 00 00 00 07 00 00 00", expect!["88"]),       // ld_abs byte
        ("40 70 00 00 02 00 00 00", expect!["55667788"]), // ld_ind word, r7
        ("48 70 00 00 ff ff ff ff", expect!["2233"]),     // ld_ind half, r7 - 1
    ] {
        // r7 = 2; r8 = 3
        let text = program(&["b7 07 00 00 02 00 00 00", "b7 08 00 00 03 00 00 00", load]);
        check(&[memory], &text, expected);
    }
}

#[test]
fn packet_access_outside_of_the_packet_ends_with_0() {
    for load in ["20 00 00 00 06 00 00 00", "30 00 00 00 ff ff ff ff"] {
        let text = program(&["b7 00 00 00 01 00 00 00", load, "b7 00 00 00 01 00 00 00"]);
        check(&["11 22 33 44 55 66 77 88"], &text, expect!["0"]);
    }
}

#[test]
fn the_second_half_of_an_lddw_is_no_packet_access() {
    // Its opcode field is that of ld_abs; the verifier says so.
    let text = program(&["18 00 00 00 01 00 00 00", "20 00 00 00 00 00 00 00"]);
    check(
        &[],
        &text,
        expect![
            "insn_0 (program case), insn 0: opcode 0x18: the opcode of the second slot must be 0, found 0x20"
        ],
    );
}

#[test]
fn an_object_file_gives_the_code_of_its_first_section_with_code() {
    let text = program(&["b7 00 00 00 2a 00 00 00"]);
    check(&["--elf"], &object(&text), expect!["2a"]);
    let memory = program(&["bf 20 00 00 00 00 00 00"]);
    check(&["aa bb", "--elf"], &object(&memory), expect!["2"]);
}

#[test]
fn an_object_file_without_code_is_an_error() {
    check(
        &["--elf"],
        &object(""),
        expect!["the object file has no section with code"],
    );
    check(
        &["--elf"],
        EXIT,
        expect!["Invalid ELF header size or alignment"],
    );
}

/// An ELF64 object of machine BPF with `code` (hex) in a section of its own, in
/// hex.
fn object(code: &str) -> String {
    let code: Vec<u8> = code
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let names = b"\0.text\0.shstrtab\0";
    let sections = 64 + code.len() + names.len();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([1, 0, 247, 0, 1, 0, 0, 0]); // ET_REL, EM_BPF, version
    file.resize(40, 0);
    file.extend((sections as u64).to_le_bytes());
    file.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
    file.extend(&code);
    file.extend(names);
    let section = |name: u32, kind: u32, flags: u64, offset: usize, len: usize| {
        let mut header = Vec::new();
        header.extend(name.to_le_bytes());
        header.extend(kind.to_le_bytes());
        for word in [flags, 0, offset as u64, len as u64, 0, 1, 0] {
            header.extend(word.to_le_bytes());
        }
        header
    };
    file.extend([0; 64]);
    file.extend(section(1, 1, 6, 64, code.len()));
    file.extend(section(7, 3, 0, 64 + code.len(), names.len()));
    file.iter().map(|byte| format!("{byte:02x} ")).collect()
}
