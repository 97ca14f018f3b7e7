//! Which parser runs, and what is refused before any does.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use expect_test::expect;
use ukexec_bpf::{Piece, Rope, Source, SourceId};

use super::{
    Image, NO_HANDLER, Op, RECURSE, SECTION_TABLE, SUBSYSTEM, TEST, UNKNOWN_HOOK, check,
    check_with, input, options, outcome_text, parser, pe, run,
};
use crate::{Budget, MemoryStore, Options, ParserFile, ParserOrigin, built_in_parsers, unfold};

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
            stage 1: kernel 43008
            kernel of 43008 bytes
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
fn a_match_program_without_an_answer_is_reported() {
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
            error: image: stage 1 (test.bpf.o, parsers.d): hook ukexec_match_image: ./crates/unfold/testdata/test.bpf.c:415 in match, insn 16: read of 1 byte through a NULL pointer: NULL+0x8
        "#]],
    );
    check(
        Image::new(Op::MatchHandsOver).build(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): hook ukexec_match_image: ./crates/unfold/testdata/test.bpf.c:421 in match, insn 25: a match program may not hand over; call bpf_copy_to_kernel in a program on bpf_handle_pefile
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
            error: image: stage 1 (test.bpf.o, parsers.d): the parser cannot be loaded: this is text, not an object; clang -target bpf -g -O2 -c makes objects of C
        "#]],
    );
    check_with(
        input(b"image".to_vec()),
        &given(b""),
        expect![[r#"
            error: image: stage 1 (given.bpf.o, given): the parser cannot be loaded: the file is empty; expected a BPF object
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
            error: image: stage 1 (given.bpf.o, given): the parser is refused: ./crates/unfold/testdata/test.bpf.c:38 in recurse (program handle), insn 10: recursion: recurse -> recurse
        "#]],
    );
}

#[test]
fn an_unknown_hook_is_refused_by_name() {
    check_with(
        input(pe(&[(".bpf", UNKNOWN_HOOK)]).0),
        &options(),
        expect![[r#"
            error: image: stage 1 (.bpf, embedded): the parser cannot be loaded: program later (section fentry.s/kexec_image_parser_of_tomorrow): hook kexec_image_parser_of_tomorrow is not offered by this loader; did you mean kexec_image_parser_anchor?
        "#]],
    );
    check_with(
        input(b"image".to_vec()),
        &listed(UNKNOWN_HOOK),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): the parser cannot be loaded: program later (section fentry.s/kexec_image_parser_of_tomorrow): hook kexec_image_parser_of_tomorrow is not offered by this loader; did you mean kexec_image_parser_anchor?
        "#]],
    );
}

/// Edits an image that carries a parser, which the list takes for its own or
/// does not.
fn edited(op: Op, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = own(op);
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn no_lie_of_the_headers_is_believed() {
    for (at, bytes, fault) in [
        (0x3c, &[0xff; 4][..], "e_lfanew at 0x3c: "),
        (0x3c, &[0; 4], "Signature at 0x0: "),
        (0x40, b"NE", "Signature at 0x40: "),
        (0x46, &[0xff; 2], "NumberOfSections at 0x46: "),
        (
            SECTION_TABLE + 20,
            &[0xff; 4],
            "PointerToRawData of section 0 (.linux) at 0x15c: ",
        ),
        (
            super::PE + 24 + 112 + 4 * 8,
            &[0xff; 8],
            "certificate table (data directory 4) at 0xe8: ",
        ),
    ] {
        // It may be a kernel all the same; but no parser of its own runs.
        let unfolded = run(input(edited(Op::MatchNot, at, bytes)), &options()).unwrap();
        let [layer] = &unfolded.report.layers[..] else {
            panic!("{:?}", unfolded.report.layers);
        };
        assert_eq!(layer.parser, None);
        let text = layer.pe_fault.as_deref().unwrap();
        assert!(text.starts_with(fault), "{text}");
        assert_eq!(unfolded.report.warnings, []);
    }
    let whole = run(input(own(Op::MatchNot)), &options()).unwrap();
    assert_eq!(whole.report.layers[0].pe_fault, None);
}

#[test]
fn a_parser_that_fits_takes_damaged_headers_with_a_warning() {
    check(
        edited(Op::Unfold, 0x40, b"NE"),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6
        warning image: the image begins with MZ but is no sound PE32+ file, so that no signature and no .bpf section of it is looked for: Signature at 0x40: expected 0x4550 ("PE\0\0"), found 0x454e
        kernel "kernel"
    "#]],
    );
    check_with(
        input(edited(Op::MatchNot, 0x40, b"NE")),
        &given(TEST),
        expect![[r#"
            layer image: given.bpf.o, given
            layer image > kernel handed over by given
            stage 1: kernel 6
            warning image: the image begins with MZ but is no sound PE32+ file, so that no signature and no .bpf section of it is looked for: Signature at 0x40: expected 0x4550 ("PE\0\0"), found 0x454e
            kernel "kernel"
        "#]],
    );
}

#[test]
fn headers_that_cannot_be_read_are_an_error() {
    let front = Rope::from(edited(Op::Unfold, 0x3c, &0x9000_u32.to_le_bytes())).slice(0..4096);
    let mut image = front.unwrap();
    image.push(gone(1 << 20));
    check(
        image,
        expect![[r#"
        error: image: the image begins with MZ, but its headers cannot be read: reading 24 bytes at 0x9000 failed: medium broken
    "#]],
    );
}

#[test]
fn a_parser_that_is_too_long_is_not_read() {
    let too_long = |len: u32| {
        let (mut headers, _) = pe(&[(".bpf", b"")]);
        for field in [8, 16] {
            let at = SECTION_TABLE + field;
            headers[at..at + 4].copy_from_slice(&len.to_le_bytes());
        }
        // Headers are read in one go.
        headers.resize(4096, 0);
        let mut image = Rope::from(headers);
        image.push(gone(len.into()));
        image
    };
    check(
        too_long((64 << 20) + 1),
        expect![[r#"
        error: image: stage 1 (.bpf, embedded): section .bpf has 67108865 bytes; expected at most 67108864 (parsers have up to 64 MiB, and no more than the memory budget has left)
    "#]],
    );
    check(
        too_long(64 << 20),
        expect![[r#"
        error: image: stage 1 (.bpf, embedded): the image cannot be read: source 0 cannot be read: medium broken
    "#]],
    );
    let mut budget = Budget::default();
    budget.meter.memory = 1 << 20;
    let input = input(too_long((1 << 20) + 1));
    let unfolded = unfold(input, &options(), &mut MemoryStore::default(), &mut budget);
    expect![[r#"
        error: image: stage 1 (.bpf, embedded): section .bpf has 1048577 bytes; expected at most 1048576 (parsers have up to 64 MiB, and no more than the memory budget has left)
    "#]].assert_eq(&outcome_text(unfolded));
}

/// Returns so many bytes that cannot be read.
fn gone(len: u64) -> Piece {
    Piece::Source {
        id: SourceId(0),
        source: Arc::new(Gone { len }),
        range: 0..len,
    }
}

#[derive(Debug)]
struct Gone {
    len: u64,
}

impl Source for Gone {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("medium broken"))
    }
}

#[test]
fn section_names_are_eight_bytes() {
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
            error: image: stage 1 (.bpf, embedded): the parser cannot be loaded: this is text, not an object; clang -target bpf -g -O2 -c makes objects of C
        "#]],
    );
}

#[test]
fn only_efi_applications_carry_parsers() {
    let mut image = own(Op::MatchNot);
    image[SUBSYSTEM] = 3;
    check(
        image,
        expect![[r#"
            layer image
            warning image: section .bpf is ignored: the image is no EFI application (Subsystem is 3, not 10)
            kernel of 43008 bytes
        "#]],
    );
}

#[test]
fn a_pe_without_a_parser_is_no_container() {
    check(
        pe(&[(".text", b"a kernel")]).0,
        expect![[r#"
        layer image
        kernel of 1024 bytes
    "#]],
    );
}

#[test]
fn a_section_without_a_parser_is_refused() {
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
fn a_failure_reports_what_was_found_before() {
    let image = own(Op::Unfold);
    let reached = |image: Vec<u8>, stages| {
        let mut budget = Budget {
            stages,
            ..Budget::default()
        };
        let mut store = MemoryStore::default();
        let error = unfold(input(image), &options(), &mut store, &mut budget).unwrap_err();
        let report = error.report();
        let layers: Vec<&str> = report.layers.iter().map(|it| it.path.as_str()).collect();
        let parsers = report
            .layers
            .iter()
            .filter(|it| it.parser.is_some())
            .count();
        format!(
            "{}, {parsers} chosen, {} run",
            layers.join(", "),
            report.stages.len()
        )
    };
    assert_eq!(reached(image, 0), "image, 1 chosen, 0 run");
    assert_eq!(
        reached(pe(&[(".bpf", b"\x7fELF")]).0, 8),
        "image, 0 chosen, 0 run"
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
        let unfolded = run(input(image[..len].to_vec()), &options()).unwrap();
        let fault = unfolded.report.layers[0].pe_fault.as_deref().unwrap();
        assert!(fault.ends_with("is the file cut off?"), "{fault}");
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
