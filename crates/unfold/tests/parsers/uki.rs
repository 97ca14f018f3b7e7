//! The sections of a UKI, and the resources that they give.

use std::io;
use std::sync::Arc;

use expect_test::{Expect, expect};
use ukexec_bpf::{Rope, Source, SourceId};
use ukexec_unfold::{
    Budget, Input, MemoryStore, Options, UnfoldError, Unfolded, built_in_parsers, unfold,
};

use crate::image::{PE, Section, TABLE, pe, put, section, uki};
use crate::{Caller, KERNEL, handed_over, outcome, run, run_input};

fn check(image: &[u8], caller: &Caller<'_>, expected: Expect) {
    expected.assert_eq(&outcome(&run(image, caller)));
}

/// A UKI of these sections, with nothing from the caller.
fn check_alone(more: &[Section], expected: Expect) {
    check(&uki(more), &Caller::default(), expected);
}

#[test]
fn hands_over_each_part() {
    check_alone(
        &[
            section(".cmdline", "ro quiet"),
            section(".initrd", "initrd"),
        ],
        expect![[r#"
            kernel "kernel"
            initrd "initrd"
            cmdline "ro quiet"
            uki.bpf.o: kernel 6, initrd 6, command line 8
        "#]],
    );
}

#[test]
fn needs_no_more_than_a_kernel() {
    check_alone(
        &[],
        expect![[r#"
        kernel "kernel"
        uki.bpf.o: kernel 6
    "#]],
    );
}

#[test]
fn leaves_the_callers_initrd_alone_without_one_of_its_own() {
    check(
        &uki(&[]),
        &Caller::initrd(b"mine"),
        expect![[r#"
        kernel "kernel"
        initrd "mine"
        uki.bpf.o: kernel 6
    "#]],
    );
}

#[test]
fn puts_microcode_first_and_the_callers_initrd_between() {
    let all = [section(".initrd", "initrd."), section(".ucode", "ucode")];
    check(
        &uki(&all),
        &Caller::initrd(b"mine.."),
        expect![[r#"
        kernel "kernel"
        initrd "ucode\x00\x00\x00mine..\x00\x00initrd."
        uki.bpf.o: kernel 6, initrd 23
    "#]],
    );
    check(
        &uki(&all),
        &Caller::default(),
        expect![[r#"
        kernel "kernel"
        initrd "ucode\x00\x00\x00initrd."
        uki.bpf.o: kernel 6, initrd 15
    "#]],
    );
    check(
        &uki(&all[..1]),
        &Caller::initrd(b"mine."),
        expect![[r#"
        kernel "kernel"
        initrd "mine.\x00\x00\x00initrd."
        uki.bpf.o: kernel 6, initrd 15
    "#]],
    );
    check(
        &uki(&all[1..]),
        &Caller::initrd(b"mine."),
        expect![[r#"
        kernel "kernel"
        initrd "ucode\x00\x00\x00mine."
        uki.bpf.o: kernel 6, initrd 13
    "#]],
    );
}

#[test]
fn pads_only_where_another_part_follows() {
    check_alone(
        &[section(".initrd", "12345")],
        expect![[r#"
        kernel "kernel"
        initrd "12345"
        uki.bpf.o: kernel 6, initrd 5
    "#]],
    );
    check_alone(
        &[section(".ucode", "12345")],
        expect![[r#"
        kernel "kernel"
        initrd "12345"
        uki.bpf.o: kernel 6, initrd 5
    "#]],
    );
    check_alone(
        &[section(".ucode", "1234"), section(".initrd", "5")],
        expect![[r#"
            kernel "kernel"
            initrd "12345"
            uki.bpf.o: kernel 6, initrd 5
        "#]],
    );
}

#[test]
fn takes_an_empty_section_as_absent() {
    check_alone(
        &[
            section(".initrd", ""),
            section(".ucode", ""),
            section(".cmdline", ""),
        ],
        expect![[r#"
            kernel "kernel"
            uki.bpf.o: kernel 6
        "#]],
    );
}

#[test]
fn takes_the_smaller_of_a_sections_sizes() {
    let linux = |size| pe(&[section(".linux", KERNEL).virtual_size(size)]);
    check(
        &linux(4),
        &Caller::default(),
        expect![[r#"
        kernel "kern"
        uki.bpf.o: kernel 4
    "#]],
    );
    // VirtualSize 0 is what some objcopy leaves: the raw size, padding included.
    let initrd = uki(&[section(".initrd", [b'i'; 512]).virtual_size(0)]);
    let unfolded = run(&initrd, &Caller::default()).unwrap();
    assert_eq!(unfolded.initrd.unwrap().len(), 512);
    // Early ukify wrote more than there is.
    let long = linux(0x10_0000);
    let unfolded = run(&long, &Caller::default()).unwrap();
    assert_eq!(unfolded.kernel.len(), 512);
}

#[test]
fn takes_the_first_of_several_sections_of_a_name() {
    check_alone(
        &[
            section(".linux", "second"),
            section(".cmdline", "first"),
            section(".cmdline", "second"),
            section(".initrd", "first"),
            section(".initrd", "second"),
        ],
        expect![[r#"
            kernel "kernel"
            initrd "first"
            cmdline "first"
            uki.bpf.o: kernel 6, initrd 5, command line 5
        "#]],
    );
}

#[test]
fn knows_the_kernel_wherever_it_is() {
    let last = [section(".initrd", "initrd"), section(".linux", KERNEL)];
    check(
        &pe(&last),
        &Caller::default(),
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        uki.bpf.o: kernel 6, initrd 6
    "#]],
    );
}

#[test]
fn is_not_fooled_by_names_that_only_begin_alike() {
    check_alone(
        &[section(".cmdlin", "no"), section(".initrdX", "no")],
        expect![[r#"
            kernel "kernel"
            uki.bpf.o: kernel 6
        "#]],
    );
}

#[test]
fn leaves_other_programs_alone() {
    // An addon, a boot loader, a kernel.
    let addon = pe(&[section(".cmdline", "more")]);
    let unfolded = run(&addon, &Caller::default()).unwrap();
    assert!(unfolded.report.stages.is_empty());
    assert_eq!(unfolded.kernel.to_vec().unwrap(), addon);
}

/// The sections that count lie anywhere in a table of `count` sections, in any
/// part of it that is looked at together, and at its ends.
#[test]
fn takes_as_many_sections_as_the_header_can_say() {
    for count in [31, 32, 33, 64, 96, 97, 500, 4096] {
        for at in [0, 30, 31, 32, count / 2, count - 3] {
            let mut sections = vec![section(".dtbauto", ""); count];
            let parts = [
                section(".linux", KERNEL),
                section(".initrd", "initrd"),
                section(".cmdline", "ro"),
            ];
            let at = at.min(count - 3);
            sections.splice(at..at + 3, parts);
            check(
                &pe(&sections),
                &Caller::default(),
                expect![[r#"
                    kernel "kernel"
                    initrd "initrd"
                    cmdline "ro"
                    uki.bpf.o: kernel 6, initrd 6, command line 2
                "#]],
            );
        }
    }
    let mut sections = vec![section(".dtbauto", ""); 0xffff];
    sections[0xfffe] = section(".linux", KERNEL);
    let unfolded = run(&pe(&sections), &Caller::default()).unwrap();
    assert_eq!(unfolded.kernel.to_vec().unwrap(), KERNEL);
}

#[test]
fn a_command_line_of_zeros_that_are_not_in_the_file_is_there_and_empty() {
    check_alone(
        &[section(".cmdline", "").virtual_size(8)],
        expect![[r#"
            kernel "kernel"
            cmdline ""
            uki.bpf.o: kernel 6, command line 0
        "#]],
    );
}

#[test]
fn refuses_an_empty_kernel() {
    check(
        &pe(&[section(".linux", "")]),
        &Caller::default(),
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: section .linux: expected a kernel, found no such section or an empty one
        "#]],
    );
}

#[test]
fn refuses_what_is_no_efi_application() {
    let mut image = uki(&[]);
    put(&mut image, PE + 24 + 68, &3_u16.to_le_bytes());
    check(
        &image,
        &Caller::default(),
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
          printed: uki: Subsystem: expected 10 (EFI application), found 3
    "#]],
    );
}

#[test]
fn leaves_a_lanzaboote_image_to_others() {
    let thin = uki(&[section(".linuxh", [7; 32])]);
    // As lanzaboote's first images were.
    let first = pe(&[section(".kernelp", "path"), section(".initrdh", [7; 32])]);
    for image in [thin, first] {
        let unfolded = run(&image, &Caller::default()).unwrap();
        assert_eq!(handed_over(&unfolded.report), "");
        assert_eq!(unfolded.kernel.to_vec().unwrap(), image);
        // The parser says so if it is asked by name.
        let options = Options {
            parser: built_in_parsers().into_iter().next(),
            image_name: "image".to_owned(),
            ..Options::default()
        };
        let input = Input {
            image: Rope::from(image),
            ..Input::default()
        };
        let (mut store, mut budget) = (MemoryStore::default(), Budget::default());
        expect![[r#"
            image: stage 1 (uki.bpf.o, given): no kernel was handed over
              printed: uki: section .linuxh or .initrdh: this is a lanzaboote thin image, not a UKI
              printed: uki: it holds paths on the EFI system partition and hashes in place of kernel and initrd; load those files
        "#]].assert_eq(&outcome(&unfold(input, &options, &mut store, &mut budget)));
    }
}

#[test]
fn refuses_a_section_past_the_end() {
    let mut image = uki(&[section(".initrd", "initrd")]);
    put(
        &mut image,
        TABLE + 40 * 2 + 20,
        &0xffff_ff00_u32.to_le_bytes(),
    );
    check(
        &image,
        &Caller::default(),
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: section .initrd: expected it to end inside the image, of 0x800 bytes, found its end at 0xffffff06
        "#]],
    );
}

/// So many zeros, which nobody allocates.
#[derive(Debug)]
struct Zeros(u64);

impl Source for Zeros {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }
}

/// Unfolds a UKI with an initrd of 6 bytes and microcode of 5, where the
/// caller's initrd is `len` zeros.
fn with_callers_initrd(len: u64) -> Result<Unfolded, UnfoldError> {
    let parts = [section(".initrd", "initrd"), section(".ucode", "ucode")];
    run_input(Input {
        image: Rope::from(uki(&parts)),
        initrd: Some(Rope::from_source(SourceId(7), Arc::new(Zeros(len)))),
        ..Input::default()
    })
}

#[test]
fn takes_initrds_as_long_as_a_kernel_can() {
    // The microcode with its padding, and the image's initrd at a multiple of 4.
    for (callers, all) in [
        (1 << 30, (1 << 30) + 14),
        (0x7fff_fff0, 0x7fff_fffe),
        (0x7fff_ffed, 0x7fff_fffe),
    ] {
        let unfolded = with_callers_initrd(callers).unwrap();
        let initrd = unfolded.initrd.unwrap();
        assert_eq!(initrd.len(), all);
        assert_eq!(
            initrd.slice(0..8).unwrap().to_vec().unwrap(),
            b"ucode\0\0\0"
        );
        let end = initrd.slice(all - 8..all).unwrap();
        assert_eq!(end.to_vec().unwrap(), b"\0\0initrd");
    }
}

#[test]
fn refuses_an_initrd_that_nobody_could_load() {
    expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
          printed: uki: initrd of all parts: expected at most 0x7fffffff bytes, found 0x80000002
    "#]]
    .assert_eq(&outcome(&with_callers_initrd(0x7fff_fff1)));
}
