//! Which parser runs, and what is refused before any does.

use bytes::Bytes;
use expect_test::expect;

use super::{
    Image, NO_HANDLER, Op, RECURSE, SECTION_TABLE, SUBSYSTEM, TEST, UNKNOWN_HOOK, check,
    check_with, input, options, parser, pe, run,
};
use crate::error::chain;
use crate::{Options, ParserFile, ParserOrigin, built_in_parsers};

fn listed(object: &'static [u8]) -> Options {
    Options {
        parsers: vec![parser(object)],
        ..options()
    }
}

fn given(object: &'static [u8]) -> Options {
    let given = ParserFile {
        name: "given.bpf.o".to_owned(),
        ..parser(object)
    };
    Options {
        parser: Some(given),
        parsers: Vec::new(),
        ..options()
    }
}

/// An image that carries the test parser.
fn own(op: Op) -> Vec<u8> {
    Image::new(op).kernel(b"kernel").build_pe(&[(".bpf", TEST)])
}

#[test]
fn an_images_own_parser_comes_before_the_list() {
    let parsers = Options {
        parsers: Vec::new(),
        ..options()
    };
    check_with(
        input(own(Op::Unfold)),
        &parsers,
        expect![[r#"
            layer image: .bpf, embedded
            layer image > .linux
            stage 1: kernel 6
            kernel "kernel"
        "#]],
    );
    check(
        own(Op::MatchNot),
        expect![[r#"
            layer image: .bpf, embedded
            layer image > .linux
            stage 1: kernel 6
            kernel "kernel"
        "#]],
    );
}

#[test]
fn a_given_parser_comes_first_and_for_the_outermost_image_only() {
    check_with(
        input(own(Op::MatchNot)),
        &given(TEST),
        expect![[r#"
            layer image: given.bpf.o, given
            layer image > .linux
            stage 1: kernel 6
            kernel "kernel"
        "#]],
    );
    let inner = Image::new(Op::Unfold).kernel(b"kernel").build();
    let outer = Image::new(Op::Unfold).kernel(&inner).build();
    check_with(
        input(outer),
        &given(TEST),
        expect![[r#"
        layer image: given.bpf.o, given
        layer image > kernel handed over by given
        stage 1: kernel 46
        kernel of 46 bytes
    "#]],
    );
}

#[test]
fn embedded_parsers_can_be_left_out_at_every_layer() {
    let outer = Image::new(Op::Unfold).kernel(&own(Op::MatchNot)).build();
    let none = Options {
        embedded_parsers: false,
        ..options()
    };
    check_with(
        input(outer),
        &none,
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 39936
            kernel of 39936 bytes
        "#]],
    );
}

#[test]
fn the_first_match_of_the_list_wins() {
    let file = |name: &str, origin| ParserFile {
        name: name.to_owned(),
        origin,
        ..parser(TEST)
    };
    let parsers = vec![
        ParserFile {
            name: "no_match.bpf.o".to_owned(),
            ..parser(NO_HANDLER)
        },
        file("first.bpf.o", ParserOrigin::ParsersD),
        file("second.bpf.o", ParserOrigin::BuiltIn),
    ];
    let image = Image::new(Op::Unfold).kernel(b"kernel").build();
    check_with(
        input(image),
        &Options {
            parsers,
            ..options()
        },
        expect![[r#"
            layer image: first.bpf.o, parsers.d
            layer image > kernel handed over by first
            stage 1: kernel 6
            warning image: parser no_match.bpf.o is never chosen: it has no program on hook ukexec_match_image
            kernel "kernel"
        "#]],
    );
}

#[test]
fn a_match_program_without_an_answer_is_told() {
    // The section's name: the last that there is, behind those of BTF.
    let name = b"fmod_ret.s/ukexec_match_image\0";
    let mut object = TEST.to_vec();
    let at = object.windows(name.len()).rposition(|text| text == name);
    let other = b"fentry.s/ukexec_match_image\0";
    object[at.unwrap()..][..other.len()].copy_from_slice(other);
    let fentry = ParserFile {
        object: object.into(),
        ..parser(TEST)
    };
    let options = Options {
        parsers: vec![fentry],
        ..options()
    };
    check_with(
        input(Image::new(Op::Unfold).kernel(b"kernel").build()),
        &options,
        expect![[r#"
            layer image
            warning image: parser test.bpf.o is never chosen: its program on hook ukexec_match_image is fentry, which has no answer; make it fmod_ret
            kernel of 46 bytes
        "#]],
    );
}

#[test]
fn a_failing_match_program_is_an_error() {
    check(
        Image::new(Op::MatchFault).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): hook ukexec_match_image: program match, insn 16 (./crates/unfold/testdata/test.bpf.c:415: "return *(volatile char *)8;"): read of 1 byte at 0x8: no region (a NULL pointer)
        "#]],
    );
    check(
        Image::new(Op::MatchHandsOver).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): hook ukexec_match_image: program match, insn 25 (./crates/unfold/testdata/test.bpf.c:421: "bpf_copy_to_kernel(ukexec_kernel, own, sizeof(own));"): a match program may not hand over; call bpf_copy_to_kernel in a program on bpf_handle_pefile
        "#]],
    );
    check(
        Image::new(Op::MatchNot).build(),
        expect![[r#"
        layer image
        kernel "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00TESTf\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
    "#]],
    );
}

#[test]
fn a_parser_that_cannot_be_loaded_is_an_error() {
    check_with(
        input(b"image".to_vec()),
        &listed(b"no object"),
        expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): the parser cannot be loaded: ELF header, EI_MAG at byte 0x0: expected 7f 45 4c 46 (ELF), found 6e 6f 20 6f
    "#]],
    );
    check_with(
        input(b"image".to_vec()),
        &given(b""),
        expect![[r#"
        error: image: stage 1 (given.bpf.o, given): the parser cannot be loaded: ELF header, EI_MAG at byte 0x0: expected an ELF file, found 0 bytes
    "#]],
    );
    check_with(
        input(b"image".to_vec()),
        &given(NO_HANDLER),
        expect![[r#"
        error: image: stage 1 (given.bpf.o, given): the parser has no program on hook bpf_handle_pefile, which parsers of ABI v5 hand over in
    "#]],
    );
}

#[test]
fn a_parser_that_calls_itself_is_refused() {
    check_with(
        input(b"image".to_vec()),
        &given(RECURSE),
        expect![[r#"
        error: image: stage 1 (given.bpf.o, given): the parser is refused: program handle, function recurse, insn 10 (./crates/unfold/testdata/test.bpf.c:38: "return recurse(here - 1) + here;"): recursion: recurse -> recurse
    "#]],
    );
}

#[test]
fn flaw_14_an_unknown_hook_is_refused_by_name() {
    check_with(
        input(pe(&[(".bpf", UNKNOWN_HOOK)]).0),
        &options(),
        expect![[r#"
            error: image: stage 1 (.bpf, embedded): the parser cannot be loaded: program later (section fentry.s/kexec_image_parser_anchor): hook kexec_image_parser_anchor is not offered by this loader; offered: bpf_handle_pefile, bpf_post_handle_pefile, ukexec_match_image
        "#]],
    );
    check_with(
        input(b"image".to_vec()),
        &listed(UNKNOWN_HOOK),
        expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): the parser cannot be loaded: program later (section fentry.s/kexec_image_parser_anchor): hook kexec_image_parser_anchor is not offered by this loader; offered: bpf_handle_pefile, bpf_post_handle_pefile, ukexec_match_image
    "#]],
    );
}

#[test]
fn flaw_01_lies_of_the_headers_are_errors() {
    let edit = |at: usize, bytes: &[u8]| {
        let mut image = own(Op::Unfold);
        image[at..at + bytes.len()].copy_from_slice(bytes);
        image
    };
    check(
        edit(0x3c, &u32::MAX.to_le_bytes()),
        expect![[r#"
            error: image: the image begins with MZ, but it is no sound PE: e_lfanew at file offset 0x3c: expected bytes inside the file, found 0xffffffff to 0x100000017 of a file that ends at 0x9c00; is the file cut off?
        "#]],
    );
    check(
        edit(0x40, b"NE"),
        expect![[r#"
        error: image: the image begins with MZ, but it is no sound PE: Signature at file offset 0x40: expected 0x4550 ("PE\0\0"), found 0x454e
    "#]],
    );
    check(
        edit(0x46, &u16::MAX.to_le_bytes()),
        expect![[r#"
            error: image: the image begins with MZ, but it is no sound PE: NumberOfSections at file offset 0x46: expected bytes inside the file, found 0x148 to 0x280120 of a file that ends at 0x9c00; is the file cut off?
        "#]],
    );
    check(
        edit(SECTION_TABLE + 20, &u32::MAX.to_le_bytes()),
        expect![[r#"
            error: image: the image begins with MZ, but it is no sound PE: PointerToRawData of section 0 (.linux) at file offset 0x15c: expected content inside the file, found 0xffffffff to 0x100000005 of a file that ends at 0x9c00; is the file cut off?
        "#]],
    );
    check(
        b"MZ".to_vec(),
        expect![[r#"
        error: image: the image begins with MZ, but it is no sound PE: e_lfanew at file offset 0x3c: expected 4 bytes there, found the end of the file at 0x2; is the file cut off?
    "#]],
    );
    let inner = Image::new(Op::Unfold)
        .kernel(&edit(0x40, b"NE"))
        .build_pe(&[]);
    let error = run(input(inner), &options()).unwrap_err();
    assert_eq!(error.layer(), "image > .linux");
    assert_eq!(error.offset(), Some(0x40));
}

#[test]
fn flaw_01_section_names_are_eight_bytes() {
    // Eight bytes without a NUL, then what a longer comparison would see.
    let mut image = pe(&[(".bpfbpf.", b"no parser")]).0;
    check(
        image.clone(),
        expect![[r#"
        layer image
        kernel of 1024 bytes
    "#]],
    );
    image[SECTION_TABLE + 4] = 0;
    check(
        image,
        expect![[r#"
        error: image: stage 1 (.bpf, embedded): the parser cannot be loaded: ELF header, EI_MAG at byte 0x0: expected 7f 45 4c 46 (ELF), found 6e 6f 20 70
    "#]],
    );
}

#[test]
fn flaw_02_only_efi_applications_carry_parsers() {
    let mut image = own(Op::MatchNot);
    image[SUBSYSTEM] = 3;
    check(
        image,
        expect![[r#"
            layer image
            warning image: section .bpf is ignored: the image is no EFI application (Subsystem is 3, not 10)
            kernel of 39936 bytes
        "#]],
    );
}

#[test]
fn flaw_03_a_pe_without_a_parser_is_no_container() {
    check(
        pe(&[(".text", b"a kernel")]).0,
        expect![[r#"
        layer image
        kernel of 1024 bytes
    "#]],
    );
}

#[test]
fn flaw_10_what_is_no_parser_in_the_section_is_refused() {
    check(
        pe(&[(".bpf", b"")]).0,
        expect![[r#"
        error: image: stage 1 (.bpf, embedded): section .bpf is empty; expected a BPF object (ukexec attach puts one there)
    "#]],
    );
    check(
        pe(&[(".bpf", b"\x7fELF")]).0,
        expect![[r#"
        error: image: stage 1 (.bpf, embedded): the parser cannot be loaded: ELF header, EI_MAG at byte 0x0: expected an ELF file, found 4 bytes
    "#]],
    );
    let mut object = b"\x7fELF\x02\x01\x01".to_vec();
    object.resize(64, 0);
    object[16..20].copy_from_slice(&[1, 0, 62, 0]);
    check(
        pe(&[(".bpf", &object)]).0,
        expect![[r#"
        error: image: stage 1 (.bpf, embedded): the parser cannot be loaded: ELF header, e_shentsize: expected 64, found 0
    "#]],
    );
}

#[test]
fn every_truncation_is_an_outcome() {
    let image = own(Op::Unfold);
    for len in 0..0x400 {
        let _any = run(input(image[..len].to_vec()), &options());
    }
    let end = 0x400 + TEST.len();
    for len in (0x400..end).step_by(97) {
        let error = run(input(image[..len].to_vec()), &options()).unwrap_err();
        assert!(!chain(&error).is_empty());
    }
}

#[test]
fn built_in_parsers_load() {
    let parsers = Options {
        parsers: built_in_parsers(),
        ..options()
    };
    assert!(!parsers.parsers.is_empty());
    let unfolded = run(input(Bytes::from_static(b"no image")), &parsers).unwrap();
    assert_eq!(unfolded.report.warnings, []);
    assert_eq!(unfolded.report.stages, []);
}

#[test]
fn parsers_that_are_asked_are_in_the_report() {
    let file = |name: &str| ParserFile {
        name: name.to_owned(),
        ..parser(TEST)
    };
    let parsers = Options {
        parsers: vec![file("first.bpf.o"), file("second.bpf.o")],
        ..options()
    };
    let asked = |op| {
        let image = Image::new(op).kernel(b"no stream").build();
        let report = run(input(image), &parsers).unwrap().report;
        let asked = report.layers[0].asked.iter();
        asked
            .map(|asked| {
                assert!(asked.insns > 0, "{asked:?}");
                format!(
                    "{}: {} {:?} {:?}",
                    asked.parser, asked.fits, asked.log, asked.refusals
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    expect![[r#"
        first.bpf.o, parsers.d: false ["is it mine?", "cannot decompress"] ["bpf_decompress: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd"]
        second.bpf.o, parsers.d: false ["is it mine?", "cannot decompress"] ["bpf_decompress: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd"]"#]].assert_eq(&asked(Op::MatchTalks));
    expect!["first.bpf.o, parsers.d: true [] []"].assert_eq(&asked(Op::Unfold));
}
