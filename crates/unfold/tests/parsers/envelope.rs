//! The sections of an envelope, and the resources that they give.

use expect_test::{Expect, expect};

use crate::image::{Section, gzip, pe, put, section, uki, zboot};
use crate::{Caller, KERNEL, outcome, run};

const HEADER: usize = 64;
/// Offsets in a section's header.
const TYPE: usize = 4;
const OFFSET: usize = 24;
const SIZE: usize = 32;

/// Returns an ELF file of these sections behind the null section, and behind them the string table.
fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let count = sections.len() + 2;
    let names: Vec<u8> = sections
        .iter()
        .flat_map(|(name, _)| [b"\0", name.as_bytes()].concat())
        .chain(*b"\0.shstrtab\0")
        .collect();
    let mut image = vec![0; HEADER * (1 + count)];
    put(&mut image, 0, b"\x7fELF\x02\x01\x01");
    put(&mut image, 0x28, &(HEADER as u64).to_le_bytes());
    put(&mut image, 0x3a, &(HEADER as u16).to_le_bytes());
    put(&mut image, 0x3c, &(count as u16).to_le_bytes());
    put(&mut image, 0x3e, &(count as u16 - 1).to_le_bytes());
    let mut name = 1_u32;
    let contents = sections
        .iter()
        .map(|(name, content)| (name.len(), *content));
    for (index, (len, content)) in contents.chain([(0, &names[..])]).enumerate() {
        let header = at(index);
        let end = image.len() as u64;
        put(&mut image, header, &name.to_le_bytes());
        put(&mut image, header + TYPE, &1_u32.to_le_bytes());
        put(&mut image, header + OFFSET, &end.to_le_bytes());
        put(
            &mut image,
            header + SIZE,
            &(content.len() as u64).to_le_bytes(),
        );
        image.extend_from_slice(content);
        name += len as u32 + 1;
    }
    image
}

/// Returns the offset of the header of section `index`, from 0 behind the null section.
fn at(index: usize) -> usize {
    HEADER * (2 + index)
}

fn addon(sections: &[Section]) -> Vec<u8> {
    let mut all = vec![section(".sbat", "sbat")];
    all.extend_from_slice(sections);
    pe(&all)
}

fn check(image: &[u8], caller: &Caller<'_>, expected: Expect) {
    expected.assert_eq(&outcome(&run(image, caller)));
}

fn check_alone(image: &[u8], expected: Expect) {
    check(image, &Caller::default(), expected);
}

/// Expects that no parser takes the image apart.
fn check_other(image: &[u8], what: &str) {
    let stages = run(image, &Caller::default()).unwrap().report.stages;
    assert!(stages.is_empty(), "{what}");
}

#[test]
fn hands_over_each_part() {
    let image = elf(&[
        (".kernel", KERNEL),
        (".initrd", b"initrd"),
        (".cmdline", b"ro quiet\0"),
    ]);
    check_alone(
        &image,
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "ro quiet"
        envelope.bpf.o: kernel 6, initrd 6, command line 8
    "#]],
    );
    let caller = Caller {
        initrd: Some(b"mine."),
        cmdline: Some("rw"),
    };
    check(
        &image,
        &caller,
        expect![[r#"
        kernel "kernel"
        initrd "mine.\x00\x00\x00initrd"
        cmdline "rw"
        envelope.bpf.o: kernel 6, initrd 14
    "#]],
    );
}

#[test]
fn needs_no_more_than_a_kernel() {
    check_alone(
        &elf(&[(".kernel", KERNEL)]),
        expect![[r#"
        kernel "kernel"
        envelope.bpf.o: kernel 6
    "#]],
    );
    let empty: &[u8] = b"";
    let image = elf(&[(".kernel", KERNEL), (".initrd", empty), (".cmdline", empty)]);
    check(
        &image,
        &Caller::initrd(b"mine"),
        expect![[r#"
        kernel "kernel"
        initrd "mine"
        envelope.bpf.o: kernel 6
    "#]],
    );
}

#[test]
fn holds_images_of_other_formats() {
    let zboot = zboot("gzip", &gzip(KERNEL));
    check_alone(
        &elf(&[(".cmdline", b"ro"), (".kernel", &zboot)]),
        expect![[r#"
            kernel "kernel"
            cmdline "ro"
            envelope.bpf.o: kernel 1024, command line 2
            zboot.bpf.o: kernel 6
        "#]],
    );
}

/// The UKI's own parts are there, but an addon's command line replaces its own.
#[test]
fn an_addon_replaces_the_command_line_of_a_uki() {
    let uki = uki(&[
        section(".cmdline", "root=a"),
        section(".ucode", "ucode"),
        section(".initrd", "initrd"),
    ]);
    let addon = addon(&[section(".cmdline", "root=b debug")]);
    check_alone(
        &elf(&[(".uki", &uki)]),
        expect![[r#"
        kernel "kernel"
        initrd "ucode\x00\x00\x00initrd"
        cmdline "root=a"
        envelope.bpf.o: kernel 3584
        uki.bpf.o: kernel 6, initrd 14, command line 6
    "#]],
    );
    let image = elf(&[(".uki", &uki), (".addon", &addon)]);
    check_alone(
        &image,
        expect![[r#"
        kernel "kernel"
        initrd "ucode\x00\x00\x00initrd"
        cmdline "root=b debug"
        envelope.bpf.o: kernel 3584, command line 12
        uki.bpf.o: kernel 6, initrd 14, command line 12
    "#]],
    );
    let caller = Caller {
        initrd: Some(b"mine"),
        cmdline: Some("root=c"),
    };
    check(
        &image,
        &caller,
        expect![[r#"
        kernel "kernel"
        initrd "ucode\x00\x00\x00mineinitrd"
        cmdline "root=c"
        envelope.bpf.o: kernel 3584
        uki.bpf.o: kernel 6, initrd 18, command line 6
    "#]],
    );
}

#[test]
fn refuses_what_is_not_in_the_file() {
    let image = elf(&[
        (".kernel", KERNEL),
        (".initrd", b"initrd"),
        (".cmdline", b"ro"),
    ]);
    let edited = |at: usize, bytes: &[u8]| {
        let mut image = image.clone();
        put(&mut image, at, bytes);
        image
    };
    check_alone(
        &edited(at(0) + SIZE, &[0; 8]),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over; only initrd and command line
          printed: envelope: section .kernel or .uki: expected a kernel, found no such section or an empty one
    "#]],
    );
    check_alone(
        &edited(at(0) + OFFSET, &[0xff; 8]),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
          printed: envelope: section .kernel at 0xffffffffffffffff of 0x6 bytes: expected it to end inside the image
    "#]],
    );
    check_alone(
        &edited(at(1) + TYPE, &8_u32.to_le_bytes()),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over; only command line
          printed: envelope: section .initrd: expected bytes in the file, found sh_type 8 (SHT_NOBITS)
    "#]],
    );
    check_alone(
        &edited(at(2) + SIZE, &0x1000_u64.to_le_bytes()),
        expect![[r#"
            image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
              printed: envelope: section .cmdline at 0x18c of 0x1000 bytes: expected it to end inside the image
        "#]],
    );
    check_alone(
        &edited(at(1) + SIZE, &(1_u64 << 63).to_le_bytes()),
        expect![[r#"
            image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over; only command line
              printed: envelope: section .initrd at 0x186 of 0x8000000000000000 bytes: expected it to end inside the image
        "#]],
    );
}

#[test]
fn refuses_what_is_there_twice() {
    check_alone(
        &elf(&[(".kernel", KERNEL), (".kernel", b"other")]),
        expect![[r#"
            image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
              printed: envelope: section .kernel: expected one, found 2
        "#]],
    );
    check_alone(
        &elf(&[(".kernel", KERNEL), (".uki", b"other")]),
        expect![[r#"
            image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
              printed: envelope: sections .kernel and .uki: expected one of them, found both
        "#]],
    );
    let cmdlines: &[(&str, &[u8])] = &[(".kernel", KERNEL), (".cmdline", b"a"), (".cmdline", b"b")];
    check_alone(
        &elf(cmdlines),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
          printed: envelope: section .cmdline: expected one, found 2
    "#]],
    );
    let long = vec![b'x'; (64 << 10) + 1];
    check_alone(
        &elf(&[(".kernel", KERNEL), (".cmdline", &long)]),
        expect![[r#"
            image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
              printed: envelope: section .cmdline: expected at most 65536 bytes, found 65537
        "#]],
    );
}

#[test]
fn refuses_an_addon_that_it_does_not_understand() {
    let with = |addon: &[u8]| elf(&[(".uki", &uki(&[])), (".addon", addon)]);
    check_alone(
        &with(b""),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
          printed: envelope: section .addon: expected a PE file, found none in 0x0 bytes (magic 0x0)
    "#]],
    );
    check_alone(
        &with(b"ELF?"),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
          printed: envelope: section .addon: expected a PE file, found none in 0x4 bytes (magic 0x4c45)
    "#]],
    );
    check_alone(
        &with(&addon(&[section(".dtb", "dtb")])),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
          printed: envelope: section .addon: expected a PE section .cmdline, found none; nothing else of an addon counts
    "#]],
    );
    let mut cut = addon(&[section(".cmdline", "x".repeat(600)).virtual_size(0)]);
    cut.truncate(cut.len() - 512);
    check_alone(
        &with(&cut),
        expect![[r#"
        image: stage 1 (envelope.bpf.o, built-in): no kernel was handed over
          printed: envelope: section .cmdline of .addon: expected it to end inside .addon, of 0x600 bytes, found its end at 0x800
    "#]],
    );
}

/// A kernel in ELF has sections, but not these; one without a section table has none.
#[test]
fn other_files_are_no_envelopes() {
    let image = elf(&[(".kernel", KERNEL)]);
    let edits: &[(&str, usize, &[u8])] = &[
        ("32 bits", 4, &[1]),
        ("big-endian", 5, &[2]),
        ("headers of 40 bytes", 0x3a, &[40]),
        ("a table outside", 0x28, &[0xff; 8]),
        ("no sections", 0x3c, &[0]),
        ("names outside the table", 0x3e, &[3]),
        ("names outside the file", at(1) + SIZE, &[0xff]),
        ("names not in the file", at(1) + TYPE, &[8]),
    ];
    for (what, at, bytes) in edits {
        let mut image = image.clone();
        put(&mut image, *at, bytes);
        check_other(&image, what);
    }
    for name in [".text", ".kernels", ".kerne", "kernel", ".ukiX", ".bpf.1"] {
        check_other(&elf(&[(name, KERNEL), (".cmdline", b"ro")]), name);
    }
    for len in 0..HEADER * 4 {
        check_other(&image[..len], "cut off");
    }
}

/// No bytes of a header make it fail in other words than its own.
#[test]
fn every_edited_byte_of_the_headers_is_understood_or_refused() {
    let image = elf(&[(".cmdline", b"ro"), (".kernel", KERNEL), (".initrd", b"i")]);
    for at in 7..HEADER * 6 {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut image = image.clone();
            put(&mut image, at, &[byte]);
            if let Err(error) = run(&image, &Caller::default()) {
                let notes = error.notes().iter().map(ToString::to_string);
                let notes: String = notes.collect();
                assert!(notes.contains("printed: envelope: "), "{at}: {notes}");
            }
        }
    }
}
