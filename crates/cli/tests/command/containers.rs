//! Containers of parsers: each parser by itself, and all on an image.

use crate::golden::check;

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
