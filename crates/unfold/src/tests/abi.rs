//! Version 5 of the ABI, corner by corner, where [`super::stages`] does not
//! show it.

use std::path::Path;

use expect_test::{Expect, expect};
use ukexec_bpf::{Meter, Rope};

use super::{Image, Op, TEST, check, check_with, input, options, outcome_text, parser, run};
use crate::{Budget, Input, MemoryStore, Observer, Options, run_stage, unfold};

const HOOKS: &[u8] = include_bytes!("../../testdata/hooks.bpf.o");

/// An image whose parser prints the context and hands nothing over, in one that
/// is unfolded first.
fn seen_in_stage_2(outer: Image) -> Vec<u8> {
    outer.kernel(&Image::new(Op::Context).build()).build()
}

#[test]
fn programs_of_a_hook_run_in_file_order() {
    let options = Options {
        parser: Some(parser(HOOKS)),
        parsers: Vec::new(),
        ..options()
    };
    check_with(
        input(b"TESTkernel".to_vec()),
        &options,
        expect![[r#"
            layer image: test.bpf.o, given
            layer image > kernel handed over by test
            stage 1: kernel 6
              sleepable
              first after 0, image 10
              plain
              second after -5
              plain post
              post after 0
            kernel "kernel"
        "#]],
    );
}

#[test]
fn a_later_stage_sees_the_newest_command_line() {
    let given = || Input {
        cmdline: Some(b"given".to_vec()),
        ..input(seen_in_stage_2(Image::new(Op::Unfold).cmdline(b"outer")))
    };
    check_with(
        given(),
        &options(),
        expect![[r#"
            error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 0 null 1
              printed: cmdline 5 null 0: outer
        "#]],
    );
    let given = Input {
        cmdline: Some(b"given".to_vec()),
        ..input(seen_in_stage_2(Image::new(Op::Unfold)))
    };
    check_with(
        given,
        &options(),
        expect![[r#"
            error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 0 null 1
              printed: cmdline 5 null 0: given
        "#]],
    );
}

#[test]
fn an_initrd_of_0_bytes_is_none() {
    let given = Input {
        initrd: Some(Rope::from(b"given".to_vec())),
        ..input(seen_in_stage_2(Image::new(Op::NoInitrd)))
    };
    check_with(
        given,
        &options(),
        expect![[r#"
            error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 0 null 1
              printed: cmdline 0 null 1: 
        "#]],
    );
}

#[test]
fn a_command_line_of_0_bytes_is_empty_not_absent() {
    check(
        seen_in_stage_2(Image::new(Op::Unfold).cmdline(b"")),
        expect![[r#"
            error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 0 null 1
              printed: cmdline 0 null 0: 
        "#]],
    );
}

#[test]
fn one_nul_follows_the_command_line() {
    let given = Input {
        cmdline: Some(b"ro".to_vec()),
        ..input(Image::new(Op::EndOfLine).build())
    };
    check_with(
        given,
        &options(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: behind the line 0
              printed: and then -14
        "#]],
    );
}

#[test]
fn maps_live_for_one_stage() {
    let inner = Image::new(Op::Count).kernel(b"kernel").build();
    check(
        Image::new(Op::Count).kernel(&inner).build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test: test.bpf.o, parsers.d
            layer image > kernel handed over by test > kernel handed over by test
            stage 1: kernel 46
              count 1
              count in post 2
            stage 2: kernel 6
              count 1
              count in post 2
            kernel "kernel"
        "#]],
    );
}

#[test]
fn a_hand_over_past_the_budget_is_enomem() {
    let mut budget = Budget {
        meter: Meter {
            memory: 6 << 20,
            ..Meter::default()
        },
        ..Budget::default()
    };
    let unfolded = unfold(
        input(Image::new(Op::Big).build()),
        &options(),
        &mut MemoryStore::default(),
        &mut budget,
    );
    let error = outcome_text(unfolded);
    let refused = "the memory budget is used up: asked for 2097152 bytes";
    assert!(
        error.contains(refused) && error.contains("big -12"),
        "{error}"
    );
}

/// Keeps what a program prints and why its calls are refused, in turn.
#[derive(Default)]
struct Heard(String);

impl Observer for Heard {
    fn logged(&mut self, line: &str) {
        self.0 += &format!("{line}\n");
    }

    fn refused(&mut self, reason: &str) {
        self.0 += &format!("  {reason}\n");
    }
}

#[test]
fn every_hand_over_that_makes_no_sense_is_einval() {
    let mut heard = Heard::default();
    let stage = run_stage(
        input(Image::new(Op::Errnos).build()),
        &parser(TEST),
        None,
        &options(),
        &mut MemoryStore::default(),
        &mut Budget::default(),
        &mut heard,
    );
    stage.unwrap_err();
    expect![[r#"
          bpf_copy_to_kernel: nobody listens to "kexec:dtb"; expected kexec:kernel, kexec:initrd or kexec:cmdline, or one of ukexec's own: ukexec:initrd-part, ukexec:profile
        unknown name -22
          bpf_copy_to_kernel: the name cannot be read: read of 1 byte through a NULL pointer: NULL+0x0
        no name -22
          bpf_copy_to_kernel: the buffer is NULL
        no buffer -22
          bpf_copy_to_kernel: the size is -1, which is negative as an int
        negative -22
          bpf_copy_to_kernel: the buffer cannot be read: read of 41 bytes passes the end of the image: image+0x0; the image ends at 0x28
        too long -22
          bpf_copy_to_kernel: the buffer cannot be read: read of 1 byte through a NULL pointer: NULL+0x1234
        nowhere -22
          bpf_copy_to_kernel: a kernel of 0 bytes
        empty kernel -22
        empty initrd 0
        empty line 0
    "#]].assert_eq(&heard.0);
}

#[test]
fn parts_of_an_initrd_follow_each_other_at_multiples_of_4() {
    check(
        Image::new(Op::Parts).kernel(b"kernel").build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6, initrd 9
              part of no bytes 0
              part 0
              part that is not there -22
              another 0
            kernel "kernel"
            initrd "kernel\\x00\\x00k"
        "#]],
    );
    let image = Image::new(Op::Parts).kernel(b"kernel").initrd(b"i");
    check(
        image.build(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 13
          part of no bytes 0
          part 0
          part that is not there -22
          another 0
        kernel "kernel"
        initrd "i\\x00\\x00\\x00kernel\\x00\\x00k"
    "#]],
    );
}

#[test]
fn the_profile_that_was_chosen_is_in_the_report() {
    let image = Image::new(Op::Profile).kernel(b"kernel").build();
    check(
        image.clone(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6
          profile 0
          of 3 bytes -22
          of no place -22
        kernel "kernel"
    "#]],
    );
    let unfolded = run(input(image), &options()).unwrap();
    assert_eq!(unfolded.report.stages[0].profile, Some(3));
}

/// Decompresses what the tool of `extension` wrote.
fn check_compression(extension: &str, expected: &Expect) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decompress/testdata");
    let read = |name: String| std::fs::read(folder.join(name)).unwrap();
    let stream = read(format!("data.{extension}"));
    let image = Image::new(Op::Decompress).kernel(&stream).build();
    let unfolded = run(input(image), &options()).unwrap();
    assert!(unfolded.kernel.to_vec().unwrap() == read("data.raw".to_owned()));
    expected.assert_eq(&unfolded.report.layers[1].path);
    // Its fields, read through CO-RE.
    let image = Image::new(Op::Result).kernel(&stream).build();
    let error = outcome_text(run(input(image), &options()));
    let len = unfolded.kernel.len();
    let fields = format!("buf_sz {len} data_sz {len}\n  printed: alloc_type 1 pg_cnt 0 status 0");
    assert!(error.contains(&fields), "{error}");
}

#[test]
fn every_compression_is_decompressed() {
    for extension in ["gz", "bz2", "lzma", "xz", "lzo", "lz4", "zst"] {
        check_compression(extension, &expect!["image > test payload"]);
    }
}

#[test]
fn a_kernel_of_crumbs_comes_out_in_few_pieces() {
    let kernel: Vec<u8> = (0..1 << 20).map(|at| (at / 253) as u8).collect();
    let header = Image::new(Op::Crumbs).build().len();
    let mut image = Image::new(Op::Crumbs).kernel(&kernel).build();
    // Where the parts begin; the first program hands over the whole.
    image[24..32].copy_from_slice(&[0, 0, 0, 0, header as u8, 0, 0, 0]);
    let unfolded = run(input(image), &options()).unwrap();
    let (one, two) = kernel.split_at(kernel.len() / 2);
    let turns = one.chunks(256).zip(two.chunks(256));
    let expected: Vec<u8> = turns.flat_map(|(one, two)| [one, two].concat()).collect();
    assert!(unfolded.kernel.to_vec().unwrap() == expected);
    assert_eq!(unfolded.kernel.pieces().len(), 1);
}
