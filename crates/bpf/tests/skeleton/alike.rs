//! A skeleton becomes the parser that the object becomes which it was made
//! from.

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::{Expect, expect};
use ukexec_bpf::insn::{CALL, LDDW, call, lddw};
use ukexec_bpf::{Interface, Map, MapKind, Parser, Program};

use crate::{file, hosts, refusal, skeleton};

/// Returns the name of a map in an object: libbpf puts the object's name
/// before that of a data section.
fn map_name(map: &Map) -> &str {
    let data = [".rodata", ".data", ".bss"];
    let start = data.iter().find_map(|section| map.name.find(section));
    &map.name[start.unwrap_or(0)..]
}

/// Returns the description of a map that both forms share.
fn map_text(map: &Map) -> String {
    let entries = match map.kind {
        // libbpf has rounded it.
        MapKind::RingBuffer => map.max_entries.next_power_of_two().max(4096),
        _ => map.max_entries,
    };
    let zeros = |bytes: &bytes::Bytes| bytes.iter().all(|&byte| byte == 0);
    let initial = map.initial.as_ref().filter(|bytes| !zeros(bytes));
    format!(
        "{} {:?} {} {} {entries} {} {initial:?}",
        map_name(map),
        map.kind,
        map.key_size,
        map.value_size,
        map.read_only
    )
}

/// Returns the instructions of each function, with names for what they name,
/// its lines, fields and what is poisoned. The order of functions differs.
fn functions(parser: &Parser, program: &Program) -> BTreeMap<String, String> {
    let at = |index: i32| usize::try_from(index).unwrap();
    let mut functions = BTreeMap::new();
    let ends = program.functions.iter().skip(1).map(|(start, _)| *start);
    let ends = ends.chain([u32::try_from(program.code.len()).unwrap()]);
    for ((start, name), end) in program.functions.iter().zip(ends) {
        let mut text = String::new();
        for slot in *start..end {
            let index = usize::try_from(slot).unwrap();
            let mut insn = program.code[index];
            let is_test = (insn.code, insn.src) == (LDDW, lddw::KFUNC);
            if is_test && parser.kfuncs[at(insn.imm)].host.is_none() {
                // A loader makes a plain 0 of it.
                (insn.src, insn.imm) = (lddw::IMM, 0);
            }
            let names = match (insn.code, insn.src) {
                (CALL, call::LOCAL) | (LDDW, lddw::FUNC) => {
                    let target = i64::from(slot) + 1 + i64::from(insn.imm);
                    let mut functions = program.functions.iter();
                    let target = functions.find(|(start, _)| i64::from(*start) == target);
                    target.unwrap().1.clone()
                }
                (CALL, call::KFUNC) | (LDDW, lddw::KFUNC) => {
                    format!("{:?}", parser.kfuncs[at(insn.imm)])
                }
                (LDDW, lddw::MAP | lddw::MAP_VALUE) => map_text(&parser.maps[at(insn.imm)]),
                _ => insn.imm.to_string(),
            };
            let relative = slot - start;
            let line = program.lines.iter().find(|line| line.slot == slot);
            let line = line.map(|line| (line.file, line.line, line.text));
            let poisoned = program
                .poisoned
                .iter()
                .find(|poisoned| poisoned.slot == slot);
            let poisoned = poisoned.map(|poisoned| &poisoned.reason);
            let mut relocated = program.relocated.iter();
            let field = relocated.find(|relocated| relocated.slot == slot);
            let field = field.map(|relocated| &relocated.field);
            let (code, dst, src, off) = (insn.code, insn.dst, insn.src, insn.off);
            writeln!(
                text,
                "{relative}: {code:02x} {dst} {src} {off} {names} {line:?} {poisoned:?} {field:?}"
            )
            .unwrap();
        }
        functions.insert(name.clone(), text);
    }
    functions
}

fn check(skeleton_name: &str, object: &str, interface: &Interface) {
    let skeleton = Parser::load(&skeleton(skeleton_name), interface).unwrap();
    let object = Parser::load(&file(object), interface).unwrap();
    assert_eq!(skeleton.license, object.license, "{skeleton_name}");
    let maps = |parser: &Parser| parser.maps.iter().map(map_text).collect::<Vec<_>>();
    assert_eq!(maps(&skeleton), maps(&object), "{skeleton_name}");
    assert_eq!(
        skeleton.programs.len(),
        object.programs.len(),
        "{skeleton_name}"
    );
    for (ours, theirs) in skeleton.programs.iter().zip(&object.programs) {
        let text = |program: &Program| {
            format!(
                "{} {} {:?} {}",
                program.name, program.section, program.attach, program.hook
            )
        };
        assert_eq!(text(ours), text(theirs), "{skeleton_name}");
        assert!(ours.lines.iter().is_sorted_by_key(|line| line.slot));
        let (ours, theirs) = (functions(&skeleton, ours), functions(&object, theirs));
        assert_eq!(
            ours.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>()
        );
        for (name, code) in ours {
            pretty(skeleton_name, &name, &code, &theirs[&name]);
        }
    }
    skeleton.verify().unwrap();
}

/// Compares line by line: a difference in the middle of a program is hard to
/// see otherwise.
fn pretty(skeleton: &str, function: &str, ours: &str, theirs: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{skeleton}, {function}");
    }
    assert_eq!(ours.len(), theirs.len(), "{skeleton}, {function}");
}

#[test]
fn debians_bpftool() {
    for build in ["14-v1", "16-v2", "19-v4"] {
        let object = format!("objects/parser-{build}.bpf.o");
        check(&format!("parser-{build}"), &object, &hosts::kexec());
    }
}

#[test]
fn the_newest_libbpf() {
    check(
        "parser-19-v3",
        "objects/parser-19-v3.bpf.o",
        &hosts::kexec(),
    );
}

#[test]
fn signed_skeletons() {
    check(
        "parser-14-v2",
        "objects/parser-14-v2.bpf.o",
        &hosts::kexec(),
    );
}

#[test]
fn every_core_relocation() {
    check("core-14-v1", "objects/core-14-v1.bpf.o", &hosts::core());
    check("core-19-v4", "objects/core-19-v4.bpf.o", &hosts::core());
}

#[test]
fn refusals_are_told_in_words() {
    let check = |name: &str, expected: Expect| {
        expected.assert_eq(&refusal(&skeleton(name), &hosts::kexec()));
    };
    check(
        "refused-hook",
        expect![
            "the skeleton's loader failed: hook bpf_foo is not offered by this loader (-ENOENT); offered: bpf_handle_pefile, bpf_post_handle_pefile, ukexec_match_image"
        ],
    );
    check(
        "refused-kfunc",
        expect![
            "the skeleton's loader failed: kfunc bpf_missing is not offered by this loader (-ENOENT); offered: bpf_decompress, bpf_copy_to_kernel, bpf_mem_range_result_put"
        ],
    );
    check(
        "refused-kfunc_args",
        expect![
            "the skeleton's loader failed: kfunc bpf_copy_to_kernel is declared to take 1 argument(s), and this loader's takes 3 (-EINVAL)"
        ],
    );
    check(
        "refused-kprobe",
        expect![
            "the skeleton's loader failed: program program (prog_type 2, expected_attach_type 0): programs of this kind are not offered; offered: fentry (26, 24), fmod_ret (26, 26) (-EINVAL)"
        ],
    );
    check(
        "refused-variable",
        expect![
            "the skeleton's loader failed: bpf_prog_active is a symbol of the kernel, which parsers cannot see (-ENOENT)"
        ],
    );
}

#[test]
fn signed_data_that_was_changed_is_refused() {
    let mut object = skeleton("parser-14-v2");
    let text = b"kexec:kernel\0";
    let at = object
        .windows(text.len())
        .position(|at| at == text)
        .unwrap();
    object[at] = b'K';
    expect!["the skeleton's loader failed: opts_data is not what opts_insn was made for, its SHA-256 is another (-EINVAL)"]
        .assert_eq(&refusal(&object, &hosts::kexec()));
}
