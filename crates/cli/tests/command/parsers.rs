//! Goldens of `ukexec parser`: parsers by themselves, and in containers.

use crate::golden::check;

#[test]
fn parser_check() {
    check(
        "parser-check",
        &[
            "parser check uki.bpf.o",
            "parser check uki.match.bpf.o",
            "parser check zboot.o",
            "parser check uki.efi",
            "parser check closed.bpf.o",
            "parser check zboot.o --json",
        ],
    );
}

/// An instruction that would end a run.
#[test]
fn parser_traps() {
    check(
        "parser-traps",
        &[
            "parser check parser-19-v4.bpf.o",
            "parser check parser-19-v4.bpf.o --json",
        ],
    );
}

#[test]
fn parser_refused() {
    check(
        "parser-refused",
        &[
            "parser check refused-undefined.bpf.o",
            "parser check refused-kfunc.o",
            "parser check initrd",
            "parser check box.bpf.c",
            "parser check box.bc",
            "parser check box.txt",
            "parser check empty",
            "parser check folder",
            "parser check x86.o",
            "parser check hook.bpf.o",
            "parser check section.bpf.o",
            "parser check kfunc.bpf.o",
            "parser check refused-kfunc.bpf.o",
            "parser check refused-undefined.bpf.o --json",
        ],
    );
}

#[test]
fn parser_run() {
    check(
        "parser-run",
        &[
            "parser run uki.match.bpf.o --image=uki.efi",
            "parser run uki.bpf.o --image=uki.efi --initrd=initrd --cmdline=debug --panic",
            "parser run uki.match.bpf.o --image=zboot.efi",
            "parser run uki.bpf.o --image=uki.efi --max-insns=100",
            "parser run uki.bpf.o --image=uki.efi --max-insns=100 --trace",
            "parser run uki.match.bpf.o --image=uki.efi --json",
        ],
    );
}

#[test]
fn parser_disasm() {
    check(
        "parser-disasm",
        &[
            "parser disasm zboot.bpf.o --program=post_parse_pe --bytes",
            "parser disasm zboot.o --program=post_parse_pe",
            "parser disasm uki.efi",
            "parser disasm zboot.o --program=none",
        ],
    );
}

/// A licence that Linux refuses, in the document.
#[test]
fn parser_licence() {
    check("parser-licence", &["parser check none.bpf.o --json"]);
}

#[test]
fn parser_new() {
    check(
        "parser-new",
        &["parser new box-2", "parser new box-2", "parser new folder"],
    );
}

#[test]
fn parser_pack() {
    check(
        "parser-pack",
        &[
            "parser pack commands.second.bpf.o -o one.bpf",
            "parser pack commands.first.bpf.o commands.second.bpf.o --nested one.bpf -o two.bpf",
            "parser pack zboot.o -o none.bpf",
            "parser pack commands.first.bpf.o two.bpf -o none.bpf",
            "parser pack commands.first.bpf.o box.bpf.c -o none.bpf",
            "parser pack commands.first.bpf.o x86.o -o none.bpf",
            "parser pack commands.first.bpf.o --nested zboot.o -o none.bpf",
            "parser pack commands.first.bpf.o --nested absent -o none.bpf",
            "parser pack commands.first.bpf.o -o folder",
            "parser pack zboot.o",
            "parser pack commands.first.bpf.o --nested one.bpf -o one.bpf",
            "attach zboot.efi zboot.bpf.o -o zboot.bpf.o",
            "attach zboot.efi two.bpf -o none.efi",
            "attach zboot.efi commands.first.bpf.o -o none.efi",
        ],
    );
}

#[test]
fn parser_helper() {
    check(
        "parser-helpers",
        &[
            "parser helpers bpf_probe_read_kernel",
            "parser helpers decompress",
            "parser helpers ukexec_match_image",
            "parser helpers 36",
            "parser helpers bpf_handel_pefile",
            "parser helpers ringbuf_reserv",
            "parser helpers malloc",
            "parser helpers bpf_strtol --json",
        ],
    );
}

#[test]
fn parsers_of_a_container_are_tried_level_by_level() {
    check(
        "parser-container",
        &[
            "parser pack commands.first.bpf.o commands.second.bpf.o -o inner.bpf",
            "parser pack commands.first.bpf.o --nested inner.bpf -o outer.bpf",
            "inspect steps --parser outer.bpf",
            "inspect steps",
            "inspect idle --parser inner.bpf",
            "inspect steps --parser inner.bpf",
            "inspect outer.bpf",
            "load outer.bpf --dry-run",
            "inspect mended --parser inner.bpf",
            "inspect mended --parser inner.bpf --json",
        ],
    );
}

#[test]
fn a_slot_is_named() {
    check(
        "parser-slot",
        &[
            "parser pack commands.first.bpf.o commands.second.bpf.o -o inner.bpf",
            "parser pack commands.first.bpf.o --nested inner.bpf -o outer.bpf",
            "parser check inner.bpf",
            "parser check outer.bpf --slot nested.2",
            "parser check outer.bpf --slot 2",
            "parser check zboot.o --slot 1",
            "parser run outer.bpf --image steps",
            "parser run outer.bpf --slot 1 --image steps",
            "parser run outer.bpf --slot nested.2 --image steps",
            "parser disasm outer.bpf",
            "parser disasm outer.bpf --slot 1 --program none",
            "parser check inner.bpf --json",
        ],
    );
}
