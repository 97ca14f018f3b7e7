//! Stages: what parsers hand over, what hooks see, what takes effect.

use expect_test::expect;
use ukexec_bpf::Rope;

use super::{Image, Op, check, check_with, gzip, input, options, run};
use crate::{Input, Options};

fn with_initrd(image: Vec<u8>, initrd: &[u8]) -> Input {
    Input {
        initrd: Some(Rope::from(initrd.to_vec())),
        ..input(image)
    }
}

fn with_cmdline(image: Vec<u8>, cmdline: &str) -> Input {
    Input {
        cmdline: Some(cmdline.as_bytes().to_vec()),
        ..input(image)
    }
}

#[test]
fn one_stage_gives_all_three() {
    let image = Image::new(Op::Unfold)
        .kernel(b"kernel")
        .initrd(b"initrd")
        .cmdline(b"ro quiet");
    check(
        image.build(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 6, command line 8
        kernel "kernel"
        initrd "initrd"
        cmdline "ro quiet"
    "#]],
    );
}

#[test]
fn stages_follow_each_other_and_later_hand_overs_win() {
    let inner = Image::new(Op::Unfold).kernel(b"kernel").cmdline(b"inner");
    let outer = Image::new(Op::Unfold)
        .kernel(&inner.build())
        .initrd(b"initrd")
        .cmdline(b"outer");
    check(
        outer.build(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test: test.bpf.o, parsers.d
        layer image > kernel handed over by test > kernel handed over by test
        stage 1: kernel 51, initrd 6, command line 5
        stage 2: kernel 6, command line 5
        kernel "kernel"
        initrd "initrd"
        cmdline "inner"
    "#]],
    );
}

#[test]
fn a_later_stage_sees_what_earlier_ones_handed_over() {
    let inner = Image::new(Op::Unfold).kernel(b"kernel").initrd(b"-inner");
    let outer = Image::new(Op::Unfold)
        .kernel(&inner.build())
        .initrd(b"-outer");
    check_with(
        with_initrd(outer.build(), b"caller"),
        &options(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test: test.bpf.o, parsers.d
            layer image > kernel handed over by test > kernel handed over by test
            stage 1: kernel 52, initrd 12
            stage 2: kernel 6, initrd 18
            kernel "kernel"
            initrd "caller-outer-inner"
        "#]],
    );
}

#[test]
fn paths_name_sections_and_payloads() {
    let kernel = gzip(b"kernel");
    let zboot = Image::new(Op::Decompress).kernel(&kernel).build();
    let uki = Image::new(Op::Unfold).kernel(&zboot).cmdline(b"ro");
    check(
        uki.build_pe(&[(".osrel", b"ID=test")]),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > .linux: test.bpf.o, parsers.d
            layer image > .linux > test payload
            stage 1: kernel 66, command line 2
            stage 2: kernel 6
            kernel "kernel"
            cmdline "ro"
        "#]],
    );
}

#[test]
fn a_context_names_everything() {
    let image = || Image::new(Op::Context).build();
    check(
        image(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 0 null 1
              printed: cmdline 0 null 1: 
        "#]],
    );
    let input = Input {
        cmdline: Some(b"a b".to_vec()),
        ..with_initrd(image(), b"initrd")
    };
    check_with(
        input,
        &options(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 6 null 0
              printed: cmdline 3 null 0: a b
        "#]],
    );
    check_with(
        with_cmdline(image(), ""),
        &options(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 0 null 1
              printed: cmdline 0 null 0: 
        "#]],
    );
}

#[test]
fn kdump_is_the_same_in_every_stage() {
    let image = Image::new(Op::Context).build();
    let options = Options {
        kdump: true,
        ..options()
    };
    check_with(
        input(image),
        &options,
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 1 image 40
              printed: initrd 0 null 1
              printed: cmdline 0 null 1: 
        "#]],
    );
    let inner = Image::new(Op::Context).build();
    check_with(
        input(Image::new(Op::Unfold).kernel(&inner).build()),
        &options,
        expect![[r#"
            error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 1 image 40
              printed: initrd 0 null 1
              printed: cmdline 0 null 1: 
        "#]],
    );
}

#[test]
fn missing_initrd_and_command_line_are_no_errors() {
    check(
        Image::new(Op::Unfold).kernel(b"kernel").build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6
            kernel "kernel"
        "#]],
    );
}

#[test]
fn an_explicit_command_line_comes_out() {
    let image = || {
        Image::new(Op::Unfold)
            .kernel(b"kernel")
            .cmdline(b"built in")
            .build()
    };
    check_with(
        with_cmdline(image(), "explicit"),
        &options(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, command line 8
        kernel "kernel"
        cmdline "explicit"
    "#]],
    );
    let input = Input {
        append: Some(b"more".to_vec()),
        ..input(image())
    };
    check_with(
        input,
        &options(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, command line 8
        kernel "kernel"
        cmdline "built in more"
    "#]],
    );
}

#[test]
fn a_command_line_ends_at_its_first_nul() {
    let image = Image::new(Op::Unfold)
        .kernel(b"kernel")
        .cmdline(b"ro\0quiet\0")
        .build();
    check(
        image,
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, command line 2
        kernel "kernel"
        cmdline "ro"
    "#]],
    );
}

#[test]
fn a_profile_has_to_be_taken() {
    let options = |profile: &str| Options {
        profile: Some(profile.to_owned()),
        ..options()
    };
    let silent = Image::new(Op::Unfold).kernel(b"kernel").build();
    check_with(
        input(silent),
        &options("1"),
        expect![[r#"
            error: image: no parser chose profile @1: the image has no profiles that its parser knows
        "#]],
    );
    let taken = Image::new(Op::Unfold)
        .kernel(b"kernel")
        .cmdline(b"profile 1's")
        .build();
    check_with(
        input(taken),
        &options("1"),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, command line 11
        kernel "kernel"
        cmdline "profile 1\\'s"
    "#]],
    );
    let seen = Image::new(Op::Context).build();
    check_with(
        with_cmdline(seen, "ro"),
        &options("rescue"),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: kdump 0 image 40
              printed: initrd 0 null 1
              printed: cmdline 10 null 0: @rescue ro
        "#]],
    );
}

#[test]
fn a_callers_initrd_must_come_out() {
    let dropped = Image::new(Op::NoInitrd).kernel(b"kernel").build();
    check_with(
        with_initrd(dropped.clone(), b"caller"),
        &options(),
        expect![[r#"
            error: image: the given initrd (6 bytes) is not in what the parsers handed over; drop --initrd, or use a parser that passes it on
        "#]],
    );
    check(
        dropped,
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 0
        kernel "kernel"
    "#]],
    );
    let kept = Image::new(Op::Unfold)
        .kernel(b"kernel")
        .initrd(b"-image")
        .build();
    check_with(
        with_initrd(kept, b"caller"),
        &options(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 12
        kernel "kernel"
        initrd "caller-image"
    "#]],
    );
    let replaced = Image::new(Op::OnlyInitrd).build();
    check_with(
        with_initrd(replaced, b"caller"),
        &options(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over; only initrd
              the parser printed nothing
        "#]],
    );
}

#[test]
fn an_image_without_a_parser_is_the_kernel() {
    let input = Input {
        append: Some(b"ro".to_vec()),
        ..with_initrd(b"vmlinux".to_vec(), b"i")
    };
    check_with(
        input,
        &options(),
        expect![[r#"
        layer image
        kernel "vmlinux"
        initrd "i"
        cmdline "ro"
    "#]],
    );
    check(
        Vec::new(),
        expect![[r#"
        layer image
        kernel ""
    "#]],
    );
}

#[test]
fn hand_over_is_by_value() {
    check(
        Image::new(Op::Modify).kernel(b"kernel").build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6, command line 1
            kernel "kernel"
            cmdline "a"
        "#]],
    );
}

#[test]
fn hand_overs_are_checked() {
    check(
        Image::new(Op::Errnos).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over; only initrd and command line
              failed: bpf_copy_to_kernel: the size is -1, which is negative as an int
              failed: bpf_copy_to_kernel: the buffer cannot be read: read of 41 bytes passes the end of the image: image+0x0; the image ends at 0x28
              failed: bpf_copy_to_kernel: the buffer cannot be read: read of 1 byte through a NULL pointer: NULL+0x1234
              failed: bpf_copy_to_kernel: a kernel of 0 bytes
              printed: too long -22
              printed: nowhere -22
              printed: empty kernel -22
              printed: empty initrd 0
              printed: empty line 0
        "#]],
    );
}

#[test]
fn a_later_program_of_the_hook_replaces_a_hand_over() {
    check(
        Image::new(Op::Replace).kernel(b"kernel").build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 8
            kernel "replaced"
        "#]],
    );
}

#[test]
fn the_post_hook_sees_the_stages_inputs_and_may_not_hand_over() {
    check(
        Image::new(Op::Post)
            .kernel(b"kernel")
            .cmdline(b"ro")
            .build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6, command line 2
              post image 48
              post -22
            kernel "kernel"
            cmdline "ro"
        "#]],
    );
}

#[test]
fn results_are_read_through_core() {
    check(
        Image::new(Op::Result).kernel(&gzip(b"abcdef")).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: buf abc buf_sz 6 data_sz 6
              printed: alloc_type 1 pg_cnt 0 status 0
              printed: put 0
        "#]],
    );
}

#[test]
fn weak_kfuncs_are_null_and_a_trap() {
    check(
        Image::new(Op::WeakTested).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              printed: no bpf_of_tomorrow
        "#]],
    );
    check(
        Image::new(Op::WeakCalled).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:360 in handle, insn 119: kfunc bpf_of_tomorrow is not offered by this loader; test it with `bpf_ksym_exists(bpf_of_tomorrow)` before the call
        "#]],
    );
}

#[test]
fn decompression_warns_of_cut_trailers_and_trailing_bytes() {
    let payload = gzip(b"kernel");
    let cut = Image::new(Op::Decompress).kernel(&payload[..payload.len() - 4]);
    check(
        cut.build(),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > test payload
        stage 1: kernel 6
        warning image: stage 1: the trailer (CRC-32 and length) of the gzip payload is cut off; its data could not be checked
        kernel "kernel"
    "#]],
    );
    let longer = Image::new(Op::Decompress).kernel(&[&payload[..], b"1234"].concat());
    check(
        longer.build(),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > test payload
            stage 1: kernel 6
            warning image: stage 1: ignored 4 bytes behind the gzip payload
            kernel "kernel"
        "#]],
    );
}

#[test]
fn no_progress_names_the_stage() {
    check(
        Image::new(Op::Nothing).kernel(b"no stream").build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              failed: bpf_decompress: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
              printed: first line
              printed: kernel missing at 40
        "#]],
    );
    check(
        Image::new(Op::Same).build(),
        expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): the kernel that was handed over is the stage's own image: there is no progress
    "#]],
    );
    check(
        Image::new(Op::OnlyInitrd).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over; only initrd
              the parser printed nothing
        "#]],
    );
    let same = Image::new(Op::Same).build();
    check(
        Image::new(Op::Unfold).kernel(&same).build(),
        expect![[r#"
        error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): the kernel that was handed over is the stage's own image: there is no progress
    "#]],
    );
}

#[test]
fn the_same_bytes_elsewhere_are_no_progress() {
    check(
        Image::new(Op::SameBytes).build(),
        expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): the kernel that was handed over is the stage's own image: there is no progress
    "#]],
    );
}

#[test]
fn a_failed_stage_changes_nothing() {
    let inner = Image::new(Op::SecondFault)
        .kernel(b"kernel")
        .initrd(b"i")
        .cmdline(b"c")
        .build();
    check(
        Image::new(Op::Unfold).kernel(&inner).build(),
        expect![[r#"
            error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): hook bpf_handle_pefile: ./crates/unfold/testdata/test.bpf.c:389 in handle_again, insn 22: read of 1 byte through a NULL pointer: NULL+0x8
        "#]],
    );
    let inner = Image::new(Op::PostFault).kernel(b"kernel").build();
    check(
        Image::new(Op::Unfold).kernel(&inner).build(),
        expect![[r#"
            error: image > kernel handed over by test: stage 2 (test.bpf.o, parsers.d): hook bpf_post_handle_pefile: ./crates/unfold/testdata/test.bpf.c:404 in post, insn 32: read of 1 byte through a NULL pointer: NULL+0x8
        "#]],
    );
}

#[test]
fn errors_name_stage_hook_instruction_and_cause() {
    let inner = Image::new(Op::PostFault).kernel(b"kernel").build();
    let outer = Image::new(Op::Unfold).kernel(&inner).build_pe(&[]);
    let error = run(input(outer), &options()).unwrap_err();
    assert_eq!(error.layer(), "image > .linux");
    assert_eq!(error.stage(), Some(2));
    assert_eq!(error.hook(), Some("bpf_post_handle_pefile"));
    assert!(error.fault().is_some());
    assert!(error.to_string().contains("(test.bpf.o, parsers.d)"));
}

#[test]
fn the_report_has_the_line_that_an_explicit_one_replaced() {
    let image = Image::new(Op::Replace)
        .kernel(b"kernel")
        .cmdline(b"built in")
        .build();
    let unfolded = run(with_cmdline(image, "explicit"), &options()).unwrap();
    let sizes = unfolded.report.stages[0]
        .handed_over
        .iter()
        .map(|item| item.size);
    assert_eq!(sizes.collect::<Vec<_>>(), [8, 8]);
    assert_eq!(unfolded.cmdline.as_deref(), Some(&b"explicit"[..]));
}

#[test]
fn the_same_input_gives_the_same_report() {
    let image = Image::new(Op::Decompress)
        .kernel(&gzip(&[7; 100_000]))
        .build();
    let reports = [(); 2].map(|()| run(input(image.clone()), &options()).unwrap().report);
    assert_eq!(reports[0], reports[1]);
    assert!(reports[0].stages[0].insns > 0);
}
