//! Parser containers: alternatives on a level, levels, and what a parser of one level leaves to the
//! next.

mod limits;

use expect_test::{Expect, expect};
use ukexec_bpf::container::pack;

use super::commands::{CMDLINE, Cmd, FILL, INITRD, KERNEL, Steps, What};
use super::{gzip, input, outcome_text, parser, run};
use crate::{
    Budget, Generation, MemoryStore, Options, ParserFile, ParserOrigin, built_in_parsers, unfold,
};

/// Parsers of the first steps of an image, of those behind them, and of ABI v6.
const FIRST: &[u8] = include_bytes!("../../testdata/commands.first.bpf.o");
const SECOND: &[u8] = include_bytes!("../../testdata/commands.second.bpf.o");
/// The first with a match program, and with one that hands over.
const MATCH: &[u8] = include_bytes!("../../testdata/commands.v7.bpf.o");
const MATCH_HANDS_OVER: &[u8] = include_bytes!("../../testdata/commands.match.bpf.o");
const V5: &[u8] = super::TEST;
const V6: &[u8] = include_bytes!("../../testdata/commands.v6.bpf.o");

fn v7() -> Steps {
    Steps::new(Generation::V7)
}

/// Steps that hand over `kernel`, to the next level as well.
fn passes_on(kernel: &Steps) -> Steps {
    v7().send_flagged(Cmd::Copy, KERNEL, FILL, &kernel.image)
        .end()
}

fn given(container: Vec<u8>) -> Options {
    Options {
        parser: Some(file("x.bpf", container)),
        parsers: Vec::new(),
        image_name: "image".to_owned(),
        ..Options::default()
    }
}

fn listed(container: Vec<u8>) -> Options {
    Options {
        parser: None,
        parsers: vec![file("x.bpf", container), parser(V5)],
        ..given(Vec::new())
    }
}

fn file(name: &str, container: Vec<u8>) -> ParserFile {
    ParserFile {
        name: name.to_owned(),
        object: container.into(),
        origin: ParserOrigin::ParsersD,
    }
}

fn container(slots: &[&[u8]], nested: Option<&[u8]>) -> Vec<u8> {
    pack(slots, nested).unwrap()
}

/// Two slots, and in the container two slots more.
fn two_levels() -> Vec<u8> {
    let inner = container(&[FIRST, SECOND], None);
    container(&[FIRST, SECOND], Some(&inner))
}

fn check(steps: Steps, options: &Options, expected: Expect) {
    let unfolded = run(input(steps.image), options);
    let layers = match &unfolded {
        Ok(unfolded) => &unfolded.report.layers,
        Err(error) => &error.report().layers,
    };
    let asked = layers.iter().flat_map(|layer| &layer.asked);
    let asked: String = asked
        .map(|asked| {
            let silent = if asked.fits { "mine" } else { "not mine" };
            let fault = asked.fault.as_deref().unwrap_or(silent);
            format!("asked {}: {fault}\n", asked.parser)
        })
        .collect();
    expected.assert_eq(&(outcome_text(unfolded) + &asked));
}

#[test]
fn the_first_slot_that_is_done_takes_a_layer_apart() {
    let options = given(two_levels());
    check(
        v7().send(Cmd::Copy, KERNEL, b"one")
            .end()
            .others()
            .send(Cmd::Copy, KERNEL, b"two")
            .end(),
        &options,
        expect![[r#"
            layer image: x.bpf slot 1, given
            layer image > kernel handed over by x
            stage 1: kernel 3
              0
              0
            kernel "one"
        "#]],
    );
    check(
        v7().others().send(Cmd::Copy, KERNEL, b"two").end(),
        &options,
        expect![[r#"
            layer image: x.bpf slot 2, given
            layer image > kernel handed over by x
            stage 1: kernel 3
              0
              0
            kernel "two"
            asked x.bpf slot 1, given: not mine
        "#]],
    );
}

#[test]
fn nothing_counts_of_a_slot_that_is_not_done() {
    let options = given(two_levels());
    let all = v7()
        .send_flagged(Cmd::Copy, KERNEL, FILL, b"one")
        .send(Cmd::Copy, INITRD, b"initrd")
        .send(Cmd::Copy, CMDLINE, b"line");
    check(
        all.clone()
            .others()
            .simple(What::Show)
            .send(Cmd::Copy, KERNEL, b"two")
            .end(),
        &options,
        expect![[r#"
            layer image: x.bpf slot 2, given
            layer image > kernel handed over by x
            stage 1: kernel 3
              kernel 0 initrd 0 cmdline 0
              absent 111
              line 
              parsed 0 sig_mode 0
              buffers 126 0 0
              0
              0
            kernel "two"
            asked x.bpf slot 1, given: not mine
        "#]],
    );
    let broken = all.send(Cmd::Decompress, KERNEL, b"no stream");
    check(
        broken
            .others()
            .simple(What::Show)
            .send(Cmd::Copy, KERNEL, b"two")
            .end(),
        &options,
        expect![[r#"
            layer image: x.bpf slot 2, given
            layer image > kernel handed over by x
            stage 1: kernel 3
              kernel 0 initrd 0 cmdline 0
              absent 111
              line 
              parsed 0 sig_mode 0
              buffers 153 0 0
              0
              0
            warning image: stage 1: x.bpf slot 1 breaks off, and x.bpf slot 2 takes the image apart: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
            kernel "two"
            asked x.bpf slot 1, given: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
        "#]],
    );
}

#[test]
fn an_error_names_every_slot() {
    let options = given(two_levels());
    check(
        v7().others(),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf, given): none of 2 parsers takes the image apart
              slot 1 lets the image be: it did not send DONE
              slot 2 lets the image be: it did not send DONE
            asked x.bpf slot 1, given: not mine
            asked x.bpf slot 2, given: not mine
        "#]],
    );
    check(
        v7().end().others().end(),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf, given): none of 2 parsers takes the image apart
              slot 1 lets the image be: it sent DONE and handed nothing over
              slot 1 printed: 0
              slot 2 lets the image be: it sent DONE and handed nothing over
              slot 2 printed: 0
            asked x.bpf slot 1, given: not mine
            asked x.bpf slot 2, given: not mine
        "#]],
    );
    let broken = v7().send(Cmd::Decompress, KERNEL, b"no stream");
    check(
        broken.clone().others(),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf, given): none of 2 parsers takes the image apart
              slot 1 breaks off: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
              slot 1 printed: -22
              slot 2 lets the image be: it did not send DONE
            asked x.bpf slot 1, given: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
            asked x.bpf slot 2, given: not mine
        "#]],
    );
    check(
        broken.others().simple(What::Leak),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf, given): none of 2 parsers takes the image apart
              slot 1 breaks off: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
              slot 1 printed: -22
              slot 2 breaks off: ./crates/unfold/testdata/commands.bpf.c:125 in parse, insn 236: a bpf_parser_context acquired here was not released before the program ended
            asked x.bpf slot 1, given: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
            asked x.bpf slot 2, given: ./crates/unfold/testdata/commands.bpf.c:125 in parse, insn 236: a bpf_parser_context acquired here was not released before the program ended
        "#]],
    );
    // A single one speaks for itself.
    let options = given(container(&[FIRST], None));
    check(
        v7(),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf slot 1, given): the parser lets the image be: it did not send DONE
              the parser printed nothing
            asked x.bpf slot 1, given: not mine
        "#]],
    );
    check(
        v7().simple(What::Leak),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf slot 1, given): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:125 in parse, insn 236: a bpf_parser_context acquired here was not released before the program ended
            asked x.bpf slot 1, given: ./crates/unfold/testdata/commands.bpf.c:125 in parse, insn 236: a bpf_parser_context acquired here was not released before the program ended
        "#]],
    );
}

#[test]
fn a_level_takes_apart_what_the_one_before_filled() {
    let options = given(two_levels());
    let inner = v7()
        .simple(What::Show)
        .send(Cmd::Decompress, KERNEL, &gzip(b"kernel"));
    check(
        passes_on(&inner.end()),
        &options,
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x: x.bpf slot nested.1, given
        layer image > kernel handed over by x > x payload
        stage 1: kernel 74
          0
          0
        stage 2: kernel 6
          kernel 74 initrd 0 cmdline 0
          absent 011
          line 
          parsed 0 sig_mode 0
          buffers 74 0 0
          0
          0
        kernel "kernel"
    "#]],
    );
    // Not the first buffer is the kernel, but the second.
    let inner = v7()
        .simple(What::Show)
        .send(Cmd::Copy, INITRD, b"initrd")
        .end();
    let outer = v7()
        .send_flagged(Cmd::Copy, INITRD, FILL, &inner.image)
        .send_flagged(Cmd::Copy, KERNEL, FILL, b"kernel")
        .end();
    check(
        outer,
        &options,
        expect![[r#"
            layer image: x.bpf slot 1, given
            layer image > buffer filled by x: x.bpf slot nested.1, given
            layer image > kernel handed over by x
            stage 1: kernel 6, initrd 54
              0
              0
              0
            stage 2: initrd 6
              kernel 6 initrd 54 cmdline 0
              absent 001
              line 
              parsed 0 sig_mode 0
              buffers 54 6 0
              0
              0
            kernel "kernel"
            initrd "initrd"
        "#]],
    );
}

#[test]
fn a_layer_that_a_nested_level_lets_be_is_the_kernel() {
    let options = given(two_levels());
    check(
        passes_on(&v7().others()),
        &options,
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x
        stage 1: kernel 12
          0
          0
        kernel "CMDS\\x0b\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
        asked x.bpf slot nested.1, given: not mine
        asked x.bpf slot nested.2, given: not mine
    "#]],
    );
    // A buffer that is let be need not be the kernel.
    let outer = v7()
        .send_flagged(Cmd::Copy, INITRD, FILL, &v7().image)
        .send(Cmd::Copy, KERNEL, b"kernel")
        .end();
    check(
        outer,
        &options,
        expect![[r#"
            layer image: x.bpf slot 1, given
            layer image > buffer filled by x
            layer image > kernel handed over by x
            stage 1: kernel 6, initrd 4
              0
              0
              0
            kernel "kernel"
            initrd "CMDS"
            asked x.bpf slot nested.1, given: not mine
            asked x.bpf slot nested.2, given: not mine
        "#]],
    );
    // Without a kernel there is nothing to boot.
    let outer = v7()
        .send_flagged(Cmd::Copy, INITRD, FILL, &v7().image)
        .end();
    check(
        outer,
        &options,
        expect![[r#"
            error: image > buffer filled by x: stage 2 (x.bpf, given): none of 2 parsers takes the image apart
              slot nested.1 lets the image be: it did not send DONE
              slot nested.2 lets the image be: it did not send DONE
            asked x.bpf slot nested.1, given: not mine
            asked x.bpf slot nested.2, given: not mine
        "#]],
    );
    // The ordinary choice goes on: the list knows it.
    let inner = super::Image::new(super::Op::Unfold)
        .kernel(b"kernel")
        .build();
    let outer = v7().send_flagged(Cmd::Copy, KERNEL, FILL, &inner).end();
    let options = Options {
        parsers: vec![parser(V5)],
        ..options
    };
    check(
        outer,
        &options,
        expect![[r#"
            layer image: x.bpf slot 1, given
            layer image > kernel handed over by x: test.bpf.o, parsers.d
            layer image > kernel handed over by x > kernel handed over by test
            stage 1: kernel 46
              0
              0
            stage 2: kernel 6
            kernel "kernel"
            asked x.bpf slot nested.1, given: not mine
            asked x.bpf slot nested.2, given: not mine
            asked test.bpf.o, parsers.d: mine
            asked test.bpf.o, parsers.d: not mine
        "#]],
    );
}

#[test]
fn a_nested_level_that_is_broken_is_an_error() {
    let options = given(two_levels());
    let broken = v7().send(Cmd::Decompress, KERNEL, b"no stream");
    check(
        passes_on(&broken),
        &options,
        expect![[r#"
            error: image > kernel handed over by x: stage 2 (x.bpf, given): none of 2 parsers takes the image apart
              slot nested.1 breaks off: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
              slot nested.1 printed: -22
              slot nested.2 lets the image be: it did not send DONE
            asked x.bpf slot nested.1, given: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
            asked x.bpf slot nested.2, given: not mine
        "#]],
    );
    let mended = broken.others().send(Cmd::Copy, KERNEL, b"kernel").end();
    check(
        passes_on(&mended),
        &options,
        expect![[r#"
            layer image: x.bpf slot 1, given
            layer image > kernel handed over by x: x.bpf slot nested.2, given
            layer image > kernel handed over by x > kernel handed over by x
            stage 1: kernel 81
              0
              0
            stage 2: kernel 6
              0
              0
            warning image > kernel handed over by x: stage 2: x.bpf slot nested.1 breaks off, and x.bpf slot nested.2 takes the image apart: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
            kernel "kernel"
            asked x.bpf slot nested.1, given: the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
        "#]],
    );
}

#[test]
fn a_kernel_that_is_filled_into_no_buffer_is_the_kernel() {
    let inner = super::Image::new(super::Op::Unfold)
        .kernel(b"kernel")
        .build();
    let outer = v7().send(Cmd::Copy, KERNEL, &inner).end();
    let terminal = Options {
        parsers: vec![parser(V5)],
        ..given(two_levels())
    };
    check(
        outer.clone(),
        &terminal,
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x
        stage 1: kernel 46
          0
          0
        kernel of 46 bytes
    "#]],
    );
    // Where the container has no more levels, it says nothing.
    let one_level = Options {
        parser: Some(file("x.bpf", container(&[FIRST], None))),
        ..terminal
    };
    check(
        outer,
        &one_level,
        expect![[r#"
            layer image: x.bpf slot 1, given
            layer image > kernel handed over by x: test.bpf.o, parsers.d
            layer image > kernel handed over by x > kernel handed over by test
            stage 1: kernel 46
              0
              0
            stage 2: kernel 6
            kernel "kernel"
            asked test.bpf.o, parsers.d: mine
            asked test.bpf.o, parsers.d: not mine
        "#]],
    );
    // Not even a kernel.
    let outer = v7().send(Cmd::Copy, INITRD, b"initrd").end();
    check(
        outer,
        &given(two_levels()),
        expect![[r#"
            error: image: stage 1 (x.bpf slot 1, given): no kernel was handed over; only initrd
              printed: 0
              printed: 0
        "#]],
    );
}

#[test]
fn a_container_ends_with_a_kernel_that_is_not_its_image() {
    // A part of the image that is the image again, and one that is its buffer.
    let options = given(two_levels());
    let inner = v7().simple(What::SendImage).end();
    check(
        inner.clone(),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf slot 1, given): the kernel in the end is the image again: there is no progress
        "#]],
    );
    check(
        passes_on(&inner),
        &options,
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x: x.bpf slot nested.1, given
        layer image > kernel handed over by x > kernel handed over by x
        stage 1: kernel 30
          0
          0
        stage 2: kernel 30
          0
          0
        kernel "CMDS\\x0c\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\n\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
    "#]],
    );
}

#[test]
fn a_container_of_the_list_is_tried_slot_by_slot() {
    let options = listed(two_levels());
    check(
        v7().others().send(Cmd::Copy, KERNEL, b"two").end(),
        &options,
        expect![[r#"
            layer image: x.bpf slot 2, parsers.d
            layer image > kernel handed over by x
            stage 1: kernel 3
              0
              0
            kernel "two"
            asked x.bpf slot 1, parsers.d: not mine
        "#]],
    );
    check(
        v7().others(),
        &options,
        expect![[r#"
        layer image
        kernel "CMDS\\x0b\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
        asked x.bpf slot 1, parsers.d: not mine
        asked x.bpf slot 2, parsers.d: not mine
        asked test.bpf.o, parsers.d: not mine
    "#]],
    );
    // A broken one is not passed over.
    check(
        v7().others().simple(What::Leak),
        &options,
        expect![[r#"
            error: image: stage 1 (x.bpf, parsers.d): none of 2 parsers takes the image apart
              slot 1 lets the image be: it did not send DONE
              slot 2 breaks off: ./crates/unfold/testdata/commands.bpf.c:125 in parse, insn 236: a bpf_parser_context acquired here was not released before the program ended
            asked x.bpf slot 1, parsers.d: not mine
            asked x.bpf slot 2, parsers.d: ./crates/unfold/testdata/commands.bpf.c:125 in parse, insn 236: a bpf_parser_context acquired here was not released before the program ended
        "#]],
    );
    // Parsers behind it have their turn.
    let image = super::Image::new(super::Op::Unfold)
        .kernel(b"kernel")
        .build();
    expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6
        kernel "kernel"
    "#]]
    .assert_eq(&outcome_text(run(input(image), &options)));
}

#[test]
fn generations_have_their_places() {
    let steps = v7().others().send(Cmd::Copy, KERNEL, b"two").end();
    let mixed = given(container(&[V5, V6, SECOND], None));
    check(
        steps.clone(),
        &mixed,
        expect![[r#"
            layer image: x.bpf slot 3, given
            layer image > kernel handed over by x
            stage 1: kernel 3
              0
              0
            warning image: stage 1: x.bpf slot 1 breaks off, and x.bpf slot 3 takes the image apart: the parser is of parser ABI v5, whose place is section .bpf of an image (ukexec attach puts it there); the slots of a container take parsers of ABI v7
            warning image: stage 1: x.bpf slot 2 breaks off, and x.bpf slot 3 takes the image apart: the parser is of parser ABI v6, whose place is section .bpf of an image (ukexec attach puts it there); the slots of a container take parsers of ABI v7
            kernel "two"
            asked x.bpf slot 1, given: the parser is of parser ABI v5, whose place is section .bpf of an image (ukexec attach puts it there); the slots of a container take parsers of ABI v7
            asked x.bpf slot 2, given: the parser is of parser ABI v6, whose place is section .bpf of an image (ukexec attach puts it there); the slots of a container take parsers of ABI v7
        "#]],
    );
    check(
        steps,
        &given(container(&[V6], None)),
        expect![[r#"
            error: image: stage 1 (x.bpf slot 1, given): the parser is of parser ABI v6, whose place is section .bpf of an image (ukexec attach puts it there); the slots of a container take parsers of ABI v7
            asked x.bpf slot 1, given: the parser is of parser ABI v6, whose place is section .bpf of an image (ukexec attach puts it there); the slots of a container take parsers of ABI v7
        "#]],
    );
    let (image, _) = super::pe(&[(".bpf", FIRST)]);
    // Where a built-in parser fits, the error says so.
    let parsers = Options {
        parsers: built_in_parsers(),
        ..Options::default()
    };
    let sections: [(&str, &[u8]); 3] =
        [(".linux", b"kernel"), (".osrel", b"ID=x"), (".bpf", FIRST)];
    let (uki, _) = super::pe(&sections);
    expect![[r#"
        error: image: stage 1 (.bpf, embedded): the parser is of parser ABI v7, whose place is a container beside the image (ukexec parser pack makes one, and --parser gives it); section .bpf takes parsers of ABI v5 and v6
          the built-in parser uki.bpf.o fits; it runs with --no-embedded-parser
    "#]].assert_eq(&outcome_text(run(input(uki), &parsers)));
    expect![[r#"
        error: image: stage 1 (.bpf, embedded): the parser is of parser ABI v7, whose place is a container beside the image (ukexec parser pack makes one, and --parser gives it); section .bpf takes parsers of ABI v5 and v6
    "#]].assert_eq(&outcome_text(run(input(image), &Options::default())));
}

#[test]
fn parsers_of_all_generations_follow_each_other() {
    let third = Steps::new(Generation::V6).send(Cmd::Copy, KERNEL, b"kernel");
    let second = super::Image::new(super::Op::Unfold).kernel(&third.image);
    let first = v7().send(Cmd::Copy, KERNEL, &second.initrd(b"initrd").build());
    let options = Options {
        parsers: vec![parser(V5), parser(V6)],
        ..given(container(&[FIRST], None))
    };
    let unfolded = run(input(first.end().image), &options).unwrap();
    let stages = unfolded.report.stages.iter();
    let abis: Vec<&str> = stages.map(|stage| stage.abi).collect();
    assert_eq!(abis, ["v7", "v5", "v6"]);
    assert_eq!(unfolded.kernel.to_vec().unwrap(), b"kernel");
    assert_eq!(unfolded.initrd.unwrap().to_vec().unwrap(), b"initrd");
}

#[test]
fn an_unsound_container_is_refused() {
    let mut gap = two_levels();
    let at = gap
        .windows(8)
        .rposition(|name| name == b"\0.bpf.2\0")
        .unwrap();
    gap[at + 6] = b'3';
    check(
        v7(),
        &given(gap.clone()),
        expect![[r#"
        error: image: stage 1 (x.bpf, given): the parser container is refused: the container has a section .bpf.3 and no .bpf.2; expected numbers from 1 without a gap
    "#]],
    );
    check(
        v7(),
        &listed(gap),
        expect![[r#"
        error: image: stage 1 (x.bpf, parsers.d): the parser container is refused: the container has a section .bpf.3 and no .bpf.2; expected numbers from 1 without a gap
    "#]],
    );
    let mut cut = two_levels();
    cut.truncate(cut.len() - 1);
    check(
        v7(),
        &given(cut.clone()),
        expect![[r#"
            error: image: stage 1 (x.bpf, given): the parser cannot be loaded: this is no sound parser container: ELF header, e_shoff: expected the start of 5 section headers in a file of 55495 bytes, found 55176
        "#]],
    );
    check(
        v7(),
        &listed(cut),
        expect![[r#"
            error: image: stage 1 (x.bpf, parsers.d): the parser cannot be loaded: this is no sound parser container: ELF header, e_shoff: expected the start of 5 section headers in a file of 55495 bytes, found 55176
        "#]],
    );
}

#[test]
fn a_slots_match_program_is_asked_first() {
    let two = |first| given(container(&[first, SECOND], None));
    let steps = v7().send(Cmd::Copy, KERNEL, b"one").end();
    let steps = steps.others().send(Cmd::Copy, KERNEL, b"two").end();
    check(
        steps.clone(),
        &two(MATCH),
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x
        stage 1: kernel 3
          0
          0
        kernel "one"
        asked x.bpf slot 1, given: mine
    "#]],
    );
    check(
        steps.clone(),
        &two(MATCH_HANDS_OVER),
        expect![[r#"
            layer image: x.bpf slot 2, given
            layer image > kernel handed over by x
            stage 1: kernel 3
              0
              0
            warning image: stage 1: x.bpf slot 1 breaks off, and x.bpf slot 2 takes the image apart: ./crates/unfold/testdata/commands.bpf.c:169 in match, insn 23: a match program may not hand over; send commands in a program on kexec_image_parser_anchor
            kernel "two"
            asked x.bpf slot 1, given: ./crates/unfold/testdata/commands.bpf.c:169 in match, insn 23: a match program may not hand over; send commands in a program on kexec_image_parser_anchor
        "#]],
    );
    let foreign = Steps {
        image: b"OTHER".to_vec(),
        ..v7()
    };
    check(
        foreign,
        &two(MATCH),
        expect![[r#"
        error: image: stage 1 (x.bpf, given): none of 2 parsers takes the image apart
          slot 1 lets the image be: it did not send DONE
          slot 2 lets the image be: it did not send DONE
        asked x.bpf slot 1, given: not mine
        asked x.bpf slot 2, given: not mine
    "#]],
    );
    // Its memory is given back.
    let left = |first| {
        let mut budget = Budget::default();
        unfold(
            input(steps.image.clone()),
            &two(first),
            &mut MemoryStore::default(),
            &mut budget,
        )
        .unwrap();
        budget.meter.memory
    };
    assert_eq!(left(MATCH_HANDS_OVER), left(FIRST));
}

#[test]
fn five_levels_take_five_layers_apart() {
    let mut all = container(&[FIRST], None);
    let mut image = v7()
        .simple(What::Show)
        .send(Cmd::Copy, KERNEL, b"kernel")
        .end();
    for _ in 1..5 {
        all = container(&[FIRST], Some(&all));
        image = passes_on(&image);
    }
    check(
        image,
        &given(all),
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x: x.bpf slot nested.1, given
        layer image > kernel handed over by x > kernel handed over by x: x.bpf slot nested.nested.1, given
        layer image > kernel handed over by x > kernel handed over by x > kernel handed over by x: x.bpf slot nested.nested.nested.1, given
        layer image > kernel handed over by x > kernel handed over by x > kernel handed over by x > kernel handed over by x: x.bpf slot nested.nested.nested.nested.1, given
        layer image > kernel handed over by x > kernel handed over by x > kernel handed over by x > kernel handed over by x > kernel handed over by x
        stage 1: kernel 174
          0
          0
        stage 2: kernel 134
          0
          0
        stage 3: kernel 94
          0
          0
        stage 4: kernel 54
          0
          0
        stage 5: kernel 6
          kernel 54 initrd 0 cmdline 0
          absent 011
          line 
          parsed 0 sig_mode 0
          buffers 54 0 0
          0
          0
        kernel "kernel"
    "#]],
    );
}

#[test]
fn a_level_in_the_middle_may_leave_the_kernel_as_it_is() {
    let inner = container(&[FIRST], None);
    let middle = container(&[FIRST], Some(&inner));
    let options = given(container(&[FIRST], Some(&middle)));
    // It fills nothing, so that the kernel of the first level is the kernel.
    let line = v7().send(Cmd::Copy, CMDLINE, b"line").end();
    check(
        passes_on(&line),
        &options,
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x: x.bpf slot nested.1, given
        layer image > kernel handed over by x > left as it is by x
        stage 1: kernel 44
          0
          0
        stage 2: command line 4
          0
          0
        kernel of 44 bytes
        cmdline "line"
    "#]],
    );
}

#[test]
fn a_container_of_the_list_takes_inner_layers_apart() {
    let inner = v7()
        .simple(What::Show)
        .send(Cmd::Copy, KERNEL, b"kernel")
        .end();
    let middle = super::Image::new(super::Op::Unfold).kernel(&passes_on(&inner).image);
    let middle = middle.initrd(b"initrd").build();
    check(
        Steps {
            image: middle,
            ..v7()
        },
        &listed(two_levels()),
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test: x.bpf slot 1, parsers.d
            layer image > kernel handed over by test > kernel handed over by x: x.bpf slot nested.1, parsers.d
            layer image > kernel handed over by test > kernel handed over by x > kernel handed over by x
            stage 1: kernel 94, initrd 6
            stage 2: kernel 54
              0
              0
            stage 3: kernel 6
              kernel 54 initrd 6 cmdline 0
              absent 001
              line 
              parsed 0 sig_mode 0
              buffers 54 0 0
              0
              0
            kernel "kernel"
            initrd "initrd"
            asked x.bpf slot 1, parsers.d: not mine
            asked x.bpf slot 2, parsers.d: not mine
            asked test.bpf.o, parsers.d: mine
            asked x.bpf slot 1, parsers.d: not mine
            asked x.bpf slot 2, parsers.d: not mine
            asked test.bpf.o, parsers.d: not mine
        "#]],
    );
}
