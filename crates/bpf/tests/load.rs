//! Loading the objects of `testdata/objects`, made by several compilers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fmt::Write;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use ukexec_bpf::btf::{Btf, TypesBuilder};
use ukexec_bpf::insn::{CALL, LDDW, POISON, call, lddw};
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{
    BpfError, HookDecl, Host, Insn, Interface, KfuncDecl, Meter, Parser, Program, Vm,
};

/// Where the objects are: `testdata/objects`, or a folder that `build.sh` made.
fn folder() -> PathBuf {
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/objects");
    std::env::var_os("UKEXEC_BPF_OBJECTS").map_or(committed, PathBuf::from)
}

fn object(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.bpf.o"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the builds of a source that are there, by compiler and set.
fn builds(source: &str) -> Vec<String> {
    let versions = ["14", "16", "19"].iter().flat_map(|version| {
        ["v1", "v2", "v3", "v4"]
            .iter()
            .map(move |cpu| format!("{source}-{version}-{cpu}"))
    });
    let builds = versions.filter(|name| folder().join(format!("{name}.bpf.o")).exists());
    let builds = builds.collect::<Vec<_>>();
    assert!(!builds.is_empty());
    builds
}

/// The v5 host's interface.
fn kexec() -> Interface {
    let mut types = TypesBuilder::new();
    let boolean = types.boolean();
    let char = types.char();
    let int = types.int("int", 4, true);
    let bytes = types.pointer(char);
    types.structure(
        "kexec_context",
        &[
            ("kdump", boolean),
            ("image", bytes),
            ("image_sz", int),
            ("initrd", bytes),
            ("initrd_sz", int),
            ("cmdline", bytes),
            ("cmdline_sz", int),
        ],
    );
    Interface {
        types: vec![types.build().into()],
        choose: Interface::only,
        hooks: vec![
            HookDecl {
                name: "bpf_handle_pefile",
                args: 1,
            },
            HookDecl {
                name: "bpf_post_handle_pefile",
                args: 1,
            },
            HookDecl {
                name: "ukexec_match_image",
                args: 1,
            },
        ],
        kfuncs: vec![
            KfuncDecl {
                name: "bpf_decompress",
                args: 2,
            },
            KfuncDecl {
                name: "bpf_copy_to_kernel",
                args: 3,
            },
        ],
    }
}

/// A host with the types of `host.bpf.c` and the hooks of `core.bpf.c`.
fn core_host() -> Interface {
    let object = object("host");
    let header = object
        .windows(4)
        .position(|at| at == [0x9f, 0xeb, 1, 0])
        .unwrap();
    // The section's end is not sought: BTF data says its own.
    let types = Btf::parse(&object[header..]).unwrap();
    let hooks = [
        "offsets",
        "sizes",
        "existence",
        "bitfields",
        "types",
        "matches",
        "enums",
        "poisoned",
    ];
    let hooks = hooks.map(|name| HookDecl { name, args: 1 }).to_vec();
    Interface {
        types: vec![types.into()],
        choose: Interface::only,
        hooks,
        kfuncs: Vec::new(),
    }
}

fn chain(error: &BpfError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        write!(text, ": {error}").unwrap();
        cause = error.source();
    }
    text
}

/// Returns the thing that an instruction of a linked program names, if any.
fn names(parser: &Parser, program: &Program, slot: usize) -> Option<String> {
    let insn = program.code[slot];
    let second = program.code.get(slot + 1).copied().unwrap_or_default();
    let at = |index: i32| usize::try_from(index).unwrap();
    let function = || {
        let target = i64::try_from(slot).unwrap() + 1 + i64::from(insn.imm);
        let found = program
            .functions
            .iter()
            .find(|(start, _)| i64::from(*start) == target);
        found.map_or_else(
            || format!("NOT A FUNCTION ({target})"),
            |(_, name)| name.clone(),
        )
    };
    Some(match (insn.code, insn.src) {
        (CALL, call::HELPER) if insn.imm == POISON => "poison".to_owned(),
        (CALL, call::HELPER) => format!("helper {}", insn.imm),
        (CALL, call::LOCAL) => format!("call {}", function()),
        (CALL, call::KFUNC) => format!("kfunc {}", parser.kfuncs[at(insn.imm)].name),
        (LDDW, lddw::KFUNC) => format!("if {}", parser.kfuncs[at(insn.imm)].name),
        (LDDW, lddw::FUNC) => format!("address of {}", function()),
        (LDDW, lddw::MAP) => format!("map {}", parser.maps[at(insn.imm)].name),
        (LDDW, lddw::MAP_VALUE) => {
            format!("{}+{}", parser.maps[at(insn.imm)].name, second.imm)
        }
        _ => return None,
    })
}

/// Lists the things that each function of a program names, in the order of its
/// code.
fn describe(parser: &Parser, program: &Program) -> String {
    let mut text = format!(
        "{} ({}: {:?} {})\n",
        program.name, program.section, program.attach, program.hook
    );
    let ends = program.functions.iter().skip(1).map(|(start, _)| *start);
    let ends = ends.chain([u32::try_from(program.code.len()).unwrap()]);
    for ((start, name), end) in program.functions.iter().zip(ends) {
        let slots = usize::try_from(*start).unwrap()..usize::try_from(end).unwrap();
        let found = slots
            .filter_map(|slot| names(parser, program, slot))
            .collect::<Vec<_>>();
        writeln!(text, "  {name}: {}", found.join(", ")).unwrap();
    }
    text
}

#[test]
fn loads_the_parser() {
    let parser = Parser::load(&object("parser-19-v3"), &kexec()).unwrap();
    let mut text = format!("license {}\n", parser.license);
    for map in &parser.maps {
        writeln!(text, "{map:?}").unwrap();
    }
    for kfunc in &parser.kfuncs {
        writeln!(text, "{kfunc:?}").unwrap();
    }
    for program in &parser.programs {
        text += &describe(&parser, program);
    }
    expect![[r#"
        license Dual BSD/GPL
        Map { name: "ringbuf_1", kind: RingBuffer, key_size: 0, value_size: 0, max_entries: 1, initial: None, read_only: false }
        Map { name: "seen", kind: Hash, key_size: 8, value_size: 4, max_entries: 16, initial: None, read_only: false }
        Map { name: "sums", kind: Array, key_size: 4, value_size: 16, max_entries: 4, initial: None, read_only: false }
        Map { name: ".data", kind: Array, key_size: 4, value_size: 8, max_entries: 1, initial: Some(b"\0\x10\0\0\x03\0\0\0"), read_only: false }
        Map { name: ".rodata", kind: Array, key_size: 4, value_size: 40, max_entries: 1, initial: Some(b"\x01\0\0\0image of %d bytes\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0"), read_only: true }
        Map { name: ".rodata.str1.1", kind: Array, key_size: 4, value_size: 26, max_entries: 1, initial: Some(b"kexec:kernel\0kexec:initrd\0"), read_only: true }
        Map { name: ".bss", kind: Array, key_size: 4, value_size: 12, max_entries: 1, initial: None, read_only: false }
        Kfunc { name: "bpf_later", host: None }
        Kfunc { name: "bpf_copy_to_kernel", host: Some(1) }
        parse_pe (fentry.s/bpf_handle_pefile: Fentry bpf_handle_pefile)
          parse_pe: .bss+0, .rodata+0, .rodata+4, helper 6, address of each, helper 181, if bpf_later, kfunc bpf_later, .bss+8, poison, map seen, helper 1, .bss+8, call hand_over
          each: .rodata+24, .bss+8
          hand_over: map ringbuf_1, helper 131, helper 113, .data+0, .rodata.str1.1+0, kfunc bpf_copy_to_kernel, helper 133, call account
          account: map sums, helper 1, .bss+0, .data+4
        count (fentry.s/bpf_handle_pefile: Fentry bpf_handle_pefile)
          count: call account
          account: map sums, helper 1, .bss+0, .data+4
        post_parse_pe (fentry/bpf_post_handle_pefile: Fentry bpf_post_handle_pefile)
          post_parse_pe: .rodata.str1.1+13, kfunc bpf_copy_to_kernel, call account, .bss+8
          account: map sums, helper 1, .bss+0, .data+4
        match (fmod_ret.s/ukexec_match_image: FmodRet ukexec_match_image)
          match: 
    "#]].assert_eq(&text);
}

#[test]
fn loads_every_build_of_the_parser_alike() {
    let describe_all = |build: &str| {
        let parser = Parser::load(&object(build), &kexec()).unwrap();
        let programs = parser
            .programs
            .iter()
            .map(|program| describe(&parser, program));
        programs.collect::<String>()
    };
    let builds = builds("parser");
    for build in &builds {
        assert_eq!(describe_all(build), describe_all(&builds[0]), "{build}");
    }
}

#[test]
fn loads_the_programs_on_one_hook_alone() {
    let (object, host) = (object("core-19-v4"), core_host());
    let whole = Parser::load(&object, &host).unwrap();
    let of = |hook| {
        let parser = Parser::load_hook(&object, &host, hook).unwrap();
        let names = parser.programs.iter().map(|it| it.name.clone());
        names.collect::<Vec<_>>()
    };
    assert!(whole.programs.len() > 1);
    for program in &whole.programs {
        assert_eq!(of(&program.hook), [program.name.as_str()]);
    }
    assert_eq!(of("absent"), [""; 0]);
}

#[test]
fn keeps_source_lines_of_every_function() {
    let parser = Parser::load(&object("parser-19-v3"), &kexec()).unwrap();
    let program = &parser.programs[0];
    assert!(program.lines.iter().is_sorted_by_key(|line| line.slot));
    let mut text = String::new();
    for (start, name) in &program.functions {
        let line = program
            .lines
            .iter()
            .find(|line| line.slot == *start)
            .unwrap();
        writeln!(
            text,
            "{name} at {start}: {}:{}: {}",
            line.file, line.line, line.text
        )
        .unwrap();
    }
    expect![[r#"
        parse_pe at 0: ./parser.bpf.c:90: struct kexec_context *ctx = (void *)args[0];
        each at 56: ./parser.bpf.c:58: total += weights[index & 3];
        hand_over at 69: ./parser.bpf.c:74: __noinline int hand_over(char *image, int size)
        account at 101: ./parser.bpf.c:62: static __noinline int account(u32 key, int bytes)
    "#]]
    .assert_eq(&text);
}

/// Compares with what libbpf made of the same object and types.
#[test]
fn relocates_as_libbpf_does() {
    for build in builds("core") {
        let parser = Parser::load(&object(&build), &core_host()).unwrap();
        let answers = std::fs::read_to_string(folder().join(format!("{build}.libbpf.txt")));
        let answers = answers.unwrap();
        let mut compared = 0;
        for answer in answers.lines() {
            let [program, slot, what, value @ ..] = &answer.split(' ').collect::<Vec<_>>()[..]
            else {
                panic!("{answer}");
            };
            let program = parser
                .programs
                .iter()
                .find(|found| found.name == *program)
                .unwrap();
            let slot = slot.parse::<usize>().unwrap();
            let (insn, second) = (program.code[slot], program.code.get(slot + 1));
            let value = value
                .first()
                .map_or(0, |value| value.parse::<u64>().unwrap());
            let ours = match *what {
                "off" => u64::from(insn.off.cast_unsigned()),
                "imm" => u64::from(insn.imm.cast_unsigned()),
                "imm64" => {
                    let high = u64::from(second.unwrap().imm.cast_unsigned());
                    high << 32 | u64::from(insn.imm.cast_unsigned())
                }
                "size" => [4, 2, 1, 8][usize::from(insn.code >> 3 & 3)],
                "poison" => {
                    assert_eq!(
                        insn,
                        Insn {
                            code: CALL,
                            imm: POISON,
                            ..Insn::default()
                        }
                    );
                    0
                }
                what => panic!("{what}"),
            };
            assert_eq!(ours, value, "{build}: {answer}");
            compared += 1;
        }
        assert!(compared >= 55, "{build}: {compared}");
    }
}

#[test]
fn tells_why_instructions_are_poisoned() {
    let parser = Parser::load(&object("core-19-v4"), &core_host()).unwrap();
    let poisoned = parser.programs.iter().flat_map(|program| &program.poisoned);
    let reasons = poisoned.map(|poisoned| format!("{}\n", poisoned.reason));
    expect![[r#"
        the offset of struct thing.gone: no match in the host's struct thing, which has number, nested, many, first, sign, pointer, before, right, left, color_pad, color, kind, narrow, tail
        the offset of struct absent.a: the host has no struct absent
        the value of enum color::GONE: no match in the host's enum color, which has BLUE, GREEN, RED
        struct thing.sign has 4 bytes in the program's types and 8 in the host's; an access can be adjusted to pointers and unsigned integers only
        the size of struct thing.gone: no match in the host's struct thing, which has number, nested, many, first, sign, pointer, before, right, left, color_pad, color, kind, narrow, tail
    "#]].assert_eq(&reasons.collect::<String>());
}

/// A host without kfuncs of its own, which nothing is printed to.
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

#[test]
fn every_type_of_map_loads_and_works() {
    let parser = Parser::load(&object("maps"), &kexec()).unwrap();
    let maps = parser
        .maps
        .iter()
        .map(|map| format!("{}: {}\n", map.name, map.kind));
    expect![[r#"
        hash: hash
        array: array
        percpu_hash: per-CPU hash
        percpu_array: per-CPU array
        lru_hash: LRU hash
        lru_percpu_hash: per-CPU LRU hash
        queue: queue
        stack: stack
        ring: ring buffer
        .rodata: array
    "#]]
    .assert_eq(&maps.collect::<String>());
    let mut meter = Meter::default();
    let mut vm = Vm::new(&parser.verify().unwrap(), &mut meter).unwrap();
    let sum = vm.run(0, &[0], &mut Silent, &mut meter).unwrap();
    assert_eq!(sum, 111_111 + 3_000_000 + "seven 7".len() as u64);
}

#[test]
fn pointers_in_data_are_left_as_they_are() {
    let parser = Parser::load(&refused("pointers"), &kexec()).unwrap();
    expect![[r#"
        section .rodata has pointers in its initial values, which are left as offsets, as libbpf does (it skips .rel.rodata): only code is relocated; set them at run time
    "#]]
    .assert_eq(&(parser.warnings.join("\n") + "\n"));
}

/// Expects why each object is refused, one line each.
fn check(objects: &[Vec<u8>], expected: &Expect) {
    let refusal = |object: &Vec<u8>| {
        let error = Parser::load(object, &kexec()).unwrap_err();
        chain(&error) + "\n"
    };
    expected.assert_eq(&objects.iter().map(refusal).collect::<String>());
}

fn refused(case: &str) -> Vec<u8> {
    object(&format!("refused-{case}"))
}

#[test]
fn refuses_programs_that_cannot_attach() {
    check(
        &[refused("kprobe"), refused("static"), refused("none")],
        &expect![[r#"
            section kprobe/do_exit, function program: programs of this kind are not offered; offered: fentry/HOOK, fentry.s/HOOK, fmod_ret/HOOK, fmod_ret.s/HOOK
            section fentry.s/bpf_handle_pefile, function program: a program must be a global function, this one is static
            the object holds no program; programs are functions in sections named fentry/HOOK, fentry.s/HOOK, fmod_ret/HOOK, fmod_ret.s/HOOK
        "#]],
    );
}

#[test]
fn a_program_for_an_unknown_hook_is_refused_by_name() {
    check(
        &[refused("hook")],
        &expect![[r#"
            program program (section fentry.s/bpf_foo): hook bpf_foo is not offered by this loader; offered: bpf_handle_pefile, bpf_post_handle_pefile, ukexec_match_image
        "#]],
    );
}

#[test]
fn refuses_what_the_host_does_not_define() {
    check(
        &[
            refused("kfunc"),
            refused("kfunc_linux"),
            refused("kfunc_args"),
            refused("kconfig"),
            refused("variable"),
            refused("undefined"),
        ],
        &expect![[r#"
            ./refused.bpf.c:25 in program (section fentry.s/bpf_handle_pefile), insn 1: kfunc bpf_missing is not offered by this loader; offered: bpf_decompress, bpf_copy_to_kernel
            ./refused.bpf.c:80 in program (section fentry.s/bpf_handle_pefile), insn 2: kfunc bpf_obj_new_impl is a kfunc of Linux that this loader does not offer: parsers have no heap, and thus no lists and trees on it; use maps
            ./refused.bpf.c:30 in program (section fentry.s/bpf_handle_pefile), insn 2: kfunc bpf_copy_to_kernel is declared to take 1 argument(s), and this loader's takes 3
            ./refused.bpf.c:35 in program (section fentry.s/bpf_handle_pefile), insn 0: CONFIG_HZ is a __kconfig variable, and the kernel's configuration is not offered to parsers
            ./refused.bpf.c:40 in program (section fentry.s/bpf_handle_pefile), insn 0: bpf_prog_active is a kernel variable, which parsers cannot see; declare it __weak to test for it
            ./refused.bpf.c:45 in program (section fentry.s/bpf_handle_pefile), insn 1: elsewhere is neither defined nor declared as a kfunc (extern ... __ksym)
        "#]],
    );
}

#[test]
fn refuses_maps_and_data() {
    check(
        &[
            refused("map_type"),
            refused("map_key"),
            refused("map_static"),
            refused("map_pinned"),
            refused("map_legacy"),
        ],
        &expect![[r#"
            map counts: maps of type lpm_trie (11) are not offered; offered: hash (1), array (2), percpu_hash (5), percpu_array (6), lru_hash (9), lru_percpu_hash (10), queue (22), stack (23), ringbuf (27)
            map counts: key_size is 8, and must be 4 for an array
            map counts: a map must be a global variable, this one is static
            map counts: pinning is 1, and must be 0: parsers leave nothing behind
            section maps holds maps of a kind that libbpf 1.0 gave up; define them in .maps
        "#]],
    );
}

/// Returns the parser after an edit.
fn edited(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut object = object("parser-19-v3");
    edit(&mut object);
    object
}

/// Returns the parser with `bytes` at a place that depends on it.
fn with(bytes: &[u8], place: impl Fn(&[u8]) -> usize) -> Vec<u8> {
    edited(|object| {
        let at = place(object);
        object[at..at + bytes.len()].copy_from_slice(bytes);
    })
}

/// Where the header of a section begins, and where its bytes do.
fn section(object: &[u8], wanted: &str) -> (usize, usize) {
    let word = |at: usize| u64::from_le_bytes(object[at..at + 8].try_into().unwrap());
    let size = |at: usize| usize::try_from(word(at)).unwrap();
    let half = |at: usize| usize::from(u16::from_le_bytes([object[at], object[at + 1]]));
    let header = |index: usize| size(0x28) + index * 64;
    let names = size(header(half(0x3e)) + 24);
    let name = |index: usize| {
        let offset = u32::try_from(word(header(index)) & 0xffff_ffff).unwrap();
        let name = &object[names + usize::try_from(offset).unwrap()..];
        name.split(|&byte| byte == 0).next().unwrap()
    };
    let index = (0..half(0x3c))
        .find(|&index| name(index) == wanted.as_bytes())
        .unwrap();
    (header(index), size(header(index) + 24))
}

const SH_TYPE: usize = 4;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;

#[test]
fn other_files_are_refused() {
    check(
        &[
            Vec::new(),
            b"MZ, and then some".to_vec(),
            edited(|object| object[4] = 1),
            edited(|object| object[5] = 2),
            edited(|object| object[6] = 0),
            edited(|object| object[16] = 3),
            edited(|object| object[18] = 62),
            edited(|object| object.truncate(64)),
            vec![0; (16 << 20) + 1],
        ],
        &expect![[r#"
            the file is empty; expected a BPF object
            this is a PE image or a DOS program, not an object; give the parser itself
            ELF header, EI_CLASS at byte 0x4: expected 2 (64-bit), found 1 (32-bit)
            ELF header, EI_DATA at byte 0x5: expected 1 (little-endian), found 2 (big-endian)
            ELF header, EI_VERSION at byte 0x6: expected 1, found 0
            ELF header, e_type at byte 0x10: expected 1 (a relocatable object, as clang -c writes it), found 3
            this is an object for x86_64, and no light skeleton: it defines no symbol opts_data; compile the parser with clang -target bpf -g -O2 -c
            the ELF file's section headers cannot be read: Invalid ELF section header offset/size/alignment
            bytes of the object: 16777217, at most 16777216 are taken
        "#]],
    );
}

/// Symbol bounds, size 0, several symbol tables, sections without bytes.
#[test]
fn lies_of_sections_and_symbols_are_refused() {
    let header = |name: &str, field: usize, bytes: &[u8]| {
        with(bytes, |object| section(object, name).0 + field)
    };
    check(
        &[
            header(".rodata", SH_TYPE, &[2]),
            header(".symtab", SH_TYPE, &[1]),
            header(".bss", SH_SIZE, &[0xff; 8]),
            header(".bss", SH_SIZE, &[0, 0, 0, 0x40]),
            header(".text", SH_SIZE, &[0xff; 8]),
            header(".text", SH_SIZE, &[12, 0]),
            header(".text", SH_OFFSET, &[0xff; 8]),
            header(".text", SH_TYPE, &[8]),
            header(".data", SH_OFFSET, &[0x40, 0]),
            header(".rel.text", SH_TYPE, &[4]),
            header(".rel.text", SH_SIZE, &[17, 0]),
            header(".BTF", SH_SIZE, &[30, 0]),
            header(".BTF", 0, &[0; 4]),
        ],
        &expect![[r#"
            the object has 2 symbol tables, and one is needed
            the object has 0 symbol tables, and one is needed
            bytes of a data section: 18446744073709551615, at most 268435456 are taken
            bytes of a data section: 1073741824, at most 268435456 are taken
            section .text: bytes 0x40 to 0x40+0xffffffffffffffff pass the end of the object, which has 0x2a80
            section .text holds code, and its size is no multiple of 8
            section .text: bytes 0xffffffffffffffff to 0xffffffffffffffff+0x250 pass the end of the object, which has 0x2a80
            symbol account (value 0x100, size 0xe8) is a function outside the sections with code
            sections .text and .data overlap at byte 0x40
            section .rel.text holds relocations with addends (RELA), which BPF does not have
            section .rel.text holds relocations, and its size is no multiple of 16
            section .BTF: the types at byte 0x18: expected 1660 bytes, found 6
            section .maps needs the section .BTF, which the object lacks: compile with -g
        "#]],
    );
    // The first global function.
    let symbol = |field: usize, bytes: &[u8]| {
        with(bytes, |object| {
            let mut entries = (section(object, ".symtab").1..).step_by(24);
            entries.find(|&at| object[at + 4] == 0x12).unwrap() + field
        })
    };
    check(
        &[
            symbol(16, &[0; 8]),
            symbol(16, &[0xff; 8]),
            symbol(8, &[4]),
            symbol(8, &[8]),
            symbol(6, &[1]),
            symbol(6, &[0xf1, 0xff]),
        ],
        &expect![[r#"
            symbol hand_over (value 0x0, size 0x0) is a function of no whole instructions
            symbol hand_over (value 0x0, size 0xffffffffffffffff) is a function of no whole instructions
            symbol hand_over (value 0x4, size 0x100) is a function of no whole instructions
            functions hand_over and account of section .text overlap
            symbol hand_over (value 0x0, size 0x100) is a function outside the sections with code
            ./parser.bpf.c:108 in parse_pe (section fentry.s/bpf_handle_pefile), insn 54: hand_over lies in section *ABS* or *COMMON*, which is neither code, maps nor data
        "#]],
    );
}

#[test]
fn refuses_lies_of_relocations() {
    let content = |name: &str, field: usize, bytes: &[u8]| {
        with(bytes, |object| section(object, name).1 + field)
    };
    let find = |object: &[u8], name: &str, bytes: &[u8]| {
        let start = section(object, name).1;
        let mut places = object[start..].windows(bytes.len());
        start + places.position(|at| at == bytes).unwrap()
    };
    check(
        &[
            content(".rel.text", 0, &[1]),
            content(".rel.text", 0, &[0]),
            content(".rel.text", 8, &[10]),
            content(".rel.text", 8, &[2]),
            content(".rel.text", 12, &[0xff; 4]),
            content(".rel.text", 12, &[0]),
            content(".text", 16 + 4, &[4]),
            edited(|object| {
                // The call without a relocation: its immediate is positive.
                let start = section(object, ".text").1;
                let is_local = |insn: &[u8]| insn.starts_with(&[0x85, 0x10]) && insn[7] == 0;
                let at = object[start..].chunks(8).position(is_local).unwrap();
                object[start + at * 8 + 4] += 1;
            }),
            edited(|object| {
                let at = find(object, ".text", &[0x85, 0x00]);
                object[at + 1] = 0x20;
            }),
            edited(|object| {
                let at = find(object, ".text", &[0x18, 0x01]);
                object[at + 1] = 0x51;
            }),
            edited(|object| {
                let at = section(object, ".data").0 + SH_SIZE;
                object[at] = 4;
            }),
        ],
        &expect![[r#"
            ./parser.bpf.c:74 in hand_over (section .text), insn 0: a relocation is about byte 0x1, where no instruction begins
            ./parser.bpf.c:74 in hand_over (section .text), insn 0: the relocation against ringbuf_1 needs an lddw, found opcode 0xbc
            ./parser.bpf.c:76 in hand_over (section .text), insn 2: the relocation against ringbuf_1 needs a call of a function, found opcode 0x18
            ./parser.bpf.c:76 in hand_over (section .text), insn 2: relocation type 2 has no place in code
            ./parser.bpf.c:76 in hand_over (section .text), insn 2: the relocation names symbol 4294967295, and there are 33
            ./parser.bpf.c:76 in hand_over (section .text), insn 2: a symbol without a name is neither defined nor declared as a kfunc (extern ... __ksym)
            ./parser.bpf.c:76 in hand_over (section .text), insn 2: the relocation leads to byte 0x4 of section .maps, where no map begins
            ./parser.bpf.c:84 in hand_over (section .text), insn 29: the call or address leads to insn 33 of section .text, where no function begins
            ./parser.bpf.c:76 in hand_over (section .text), insn 6: the instruction (opcode 0x85) has pseudo source 2 without a relocation
            ./parser.bpf.c:76 in hand_over (section .text), insn 2: the relocation against ringbuf_1 needs an lddw, found opcode 0x18
            ./parser.bpf.c:71 in account (section .text), insn 53: section .data leads to byte 0x4 of section .data, which has 0x4
        "#]],
    );
}

/// A random number generator (SplitMix64): tests must not differ by run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// No mutation makes loading panic or take long; most are refused.
#[test]
fn survives_mutations() {
    let longest = |object: &[u8], interface: &Interface| {
        let start = std::time::Instant::now();
        let _any_answer = Parser::load(object, interface);
        assert!(start.elapsed().as_secs() < 1);
    };
    for (name, interface) in [("parser-19-v3", kexec()), ("core-16-v2", core_host())] {
        let original = object(name);
        // Every byte, to a value that differs by run of the loop only.
        for at in 0..original.len() {
            for flip in [0xff, 0x01] {
                let mut object = original.clone();
                object[at] ^= flip;
                longest(&object, &interface);
            }
        }
        let mut random = Random(1);
        for _ in 0..3_000 {
            let mut object = original.clone();
            for _ in 0..=random.below(8) {
                let at = random.below(object.len());
                match random.below(4) {
                    0 => object[at] = u8::try_from(random.below(256)).unwrap(),
                    1 => {
                        let end = object.len().min(at + 4);
                        object[at..end].fill(0xff);
                    }
                    2 => {
                        let from = random.below(object.len() - 8);
                        let to = at.min(object.len() - 8);
                        object.copy_within(from..from + 8, to);
                    }
                    _ if random.below(8) == 0 => object.truncate(at.max(64)),
                    _ => object[at] = object[at].wrapping_add(1),
                }
            }
            longest(&object, &interface);
        }
        for len in 0..original.len() {
            longest(&original[..len], &interface);
        }
    }
}

/// An object as large as is taken, whose relocations all trap.
#[test]
fn takes_many_records_in_little_time() {
    let mut object = object("core-16-v2");
    let (header, start) = section(&object, ".BTF.ext");
    let word = |at: usize| u32::from_le_bytes(object[at..at + 4].try_into().unwrap());
    let size = |at: usize| usize::try_from(word(at)).unwrap();
    // The last section's first record, which poisons its instruction.
    let table = start + 32 + size(start + 24) + 4;
    let tables = std::iter::successors(Some(table), |at| Some(at + 8 + size(at + 4) * 16));
    let last = tables.take(8).last().unwrap();
    let [name, .., access, kind] = [0, 4, 8, 12, 16, 20].map(|field| word(last + field));
    let record = [word(last + 8), word(last + 12), access, kind];
    let count = (1 << 16) - 1;
    let table = [16, name, count]
        .into_iter()
        .chain((0..count).flat_map(|_| record));
    let table = table.flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let mut ext = object[start..start + 32].to_vec();
    ext[12..24].fill(0);
    ext[24..28].fill(0);
    ext[28..32].copy_from_slice(&u32::try_from(table.len()).unwrap().to_le_bytes());
    let end = object.len();
    object[header + SH_OFFSET..][..8].copy_from_slice(&end.to_le_bytes());
    object[header + SH_SIZE..][..8].copy_from_slice(&(ext.len() + table.len()).to_le_bytes());
    object.extend(ext.into_iter().chain(table));
    let start = std::time::Instant::now();
    let parser = Parser::load(&object, &core_host()).unwrap();
    assert!(start.elapsed().as_secs() < 1);
    let poisoned = parser.programs.iter().map(|program| program.poisoned.len());
    assert_eq!(poisoned.sum::<usize>(), 1);
}

#[test]
fn tells_an_author_all_that_is_refused() {
    let mut poor = kexec();
    poor.kfuncs.clear();
    poor.hooks.truncate(1);
    let object = object("parser-19-v3");
    let all = Parser::load_or_explain(&object, &poor).unwrap_err();
    let first = Parser::load(&object, &poor).unwrap_err();
    assert_eq!(first.to_string(), all[0].to_string());
    let lines = all.iter().map(|problem| format!("{problem}\n"));
    expect![[r#"
        program post_parse_pe (section fentry/bpf_post_handle_pefile): hook bpf_post_handle_pefile is not offered by this loader; did you mean bpf_handle_pefile?
        program match (section fmod_ret.s/ukexec_match_image): hook ukexec_match_image is not offered by this loader; offered: bpf_handle_pefile
        ./parser.bpf.c:82 in hand_over (program parse_pe), insn 22: kfunc bpf_copy_to_kernel is not offered by this loader; offered: none
    "#]].assert_eq(&lines.collect::<String>());
    assert!(Parser::load_or_explain(&object, &kexec()).is_ok());
}

#[test]
fn knows_which_fields_instructions_are_about() {
    let parser = Parser::load(&object("parser-19-v3"), &kexec()).unwrap();
    let mut text = String::new();
    for program in &parser.programs {
        for relocated in &program.relocated {
            writeln!(
                text,
                "{} {} {}",
                program.name, relocated.slot, relocated.field
            )
            .unwrap();
        }
    }
    expect![[r#"
        parse_pe 6 struct kexec_context.image_sz
        parse_pe 12 struct kexec_context.image_sz
        parse_pe 36 the existence of struct kexec_context___v6.kernel
        parse_pe 38 struct kexec_context___v6.kernel
        parse_pe 52 struct kexec_context.image_sz
        parse_pe 53 struct kexec_context.image
        post_parse_pe 1 struct kexec_context.initrd_sz
        post_parse_pe 2 struct kexec_context.initrd
        match 1 struct kexec_context.kdump
    "#]]
    .assert_eq(&text);
}
