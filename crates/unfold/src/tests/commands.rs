//! Parsers of v6 and v7: every row of the table of commands, what the context shows, and
//! references.

use std::error::Error;

use expect_test::{Expect, expect};
use ukexec_bpf::Rope;

use super::{gzip, input, outcome_text, parser, run};
use crate::{
    Budget, Gate, Generation, Input, LayerAtGate, MemoryStore, Options, SignatureRefusal,
    unfold_with,
};

const V6: &[u8] = include_bytes!("../../testdata/commands.v6.bpf.o");
const V7: &[u8] = include_bytes!("../../testdata/commands.v7.bpf.o");
const MIXED: &[u8] = include_bytes!("../../testdata/commands.mixed.bpf.o");

/// The steps of `commands.bpf.c`.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum What {
    Send = 1,
    SendNull,
    SendShort,
    Show,
    GetOther,
    GetTwice,
    Leak,
    PutTwice,
    PutNull,
    SendAfterPut,
    Others,
    SendImage,
}

/// The commands of both generations.
#[derive(Clone, Copy)]
pub(super) enum Cmd {
    Done,
    Decompress,
    Copy,
    VerifySig,
    Number(u16),
}

/// Subcommands.
pub(super) const KERNEL: u8 = 1;
pub(super) const INITRD: u8 = 2;
pub(super) const CMDLINE: u8 = 3;

/// The flag by which the parser of the next level sees a hand-over.
pub(super) const FILL: u8 = 1;

/// An image of steps for a parser of one generation.
#[derive(Clone)]
pub(super) struct Steps {
    pub(super) generation: Generation,
    pub(super) image: Vec<u8>,
}

impl Steps {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            generation,
            image: b"CMDS".to_vec(),
        }
    }

    pub(super) fn step(mut self, what: What, more: u8, size: i32, bytes: &[u8]) -> Self {
        self.image.extend([what as u8, more, 0, 0]);
        self.image.extend(size.to_le_bytes());
        self.image.extend(bytes);
        self
    }

    pub(super) fn simple(self, what: What) -> Self {
        self.step(what, 0, 0, b"")
    }

    /// Ends the steps of a parser; those of the next one follow.
    pub(super) fn others(self) -> Self {
        self.simple(What::Others)
    }

    /// Sends a buffer as it is.
    pub(super) fn raw(self, buffer: &[u8]) -> Self {
        self.step(What::Send, 0, buffer.len() as i32, buffer)
    }

    pub(super) fn send(self, cmd: Cmd, sub: u8, payload: &[u8]) -> Self {
        self.send_flagged(cmd, sub, 0, payload)
    }

    pub(super) fn send_flagged(self, cmd: Cmd, sub: u8, flags: u8, payload: &[u8]) -> Self {
        let is_v7 = self.generation == Generation::V7;
        let number = match cmd {
            Cmd::Done => 1,
            Cmd::Decompress => 1 + u16::from(is_v7),
            Cmd::Copy => 2 + u16::from(is_v7),
            Cmd::VerifySig => 4,
            Cmd::Number(number) => number,
        };
        let mut buffer = number.to_le_bytes().to_vec();
        buffer.extend([sub, flags]);
        buffer.extend((payload.len() as u32).to_le_bytes());
        if is_v7 {
            buffer.extend([0, 0]);
        }
        buffer.extend(payload);
        self.raw(&buffer)
    }

    /// Sends the end that a parser of v7 needs.
    pub(super) fn end(self) -> Self {
        match self.generation {
            Generation::V7 => self.send(Cmd::Done, 0, b""),
            _ => self,
        }
    }
}

fn options(generation: Generation) -> Options {
    let object = match generation {
        Generation::V7 => V7,
        _ => V6,
    };
    Options {
        parsers: vec![parser(object)],
        image_name: "image".to_owned(),
        ..Options::default()
    }
}

fn outcome(steps: Steps) -> String {
    let options = options(steps.generation);
    outcome_text(run(input(steps.image), &options))
}

fn check(steps: Steps, expected: Expect) {
    expected.assert_eq(&outcome(steps));
}

/// Runs the same steps in both generations; v7 adds DONE.
fn check_both(steps: fn(Steps) -> Steps, expected: Expect) {
    let both = [Generation::V6, Generation::V7];
    let outcomes = both.map(|generation| outcome(steps(Steps::new(generation)).end()));
    expected.assert_eq(&outcomes.join("\n"));
}

#[test]
fn copies_and_decompressions_hand_over() {
    check_both(
        |steps| {
            steps
                .send(Cmd::Decompress, KERNEL, &gzip(b"kernel"))
                .send(Cmd::Copy, INITRD, b"initrd")
                .send(Cmd::Copy, CMDLINE, b"ro quiet")
        },
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > test payload
            stage 1: kernel 6, initrd 6, command line 8
              0
              0
              0
            kernel "kernel"
            initrd "initrd"
            cmdline "ro quiet"

            layer image: test.bpf.o, parsers.d
            layer image > test payload
            stage 1: kernel 6, initrd 6, command line 8
              0
              0
              0
              0
            kernel "kernel"
            initrd "initrd"
            cmdline "ro quiet"
        "#]],
    );
}

#[test]
fn each_row_of_v6_has_its_errno() {
    let one = |steps: Steps| steps.send(Cmd::Copy, KERNEL, b"kernel");
    let steps = Steps::new(Generation::V6)
        .step(What::SendNull, 0, 16, b"")
        .step(What::SendShort, 7, 8, &[2, 0, 1, 0, 0, 0, 0, 0])
        .step(What::Send, 0, -1, b"")
        .raw(&[2, 0, 1, 0, 2, 0, 0, 0, 1])
        .send(Cmd::Number(0), 0, b"")
        .send(Cmd::Number(3), KERNEL, b"x")
        .send(Cmd::Decompress, KERNEL, b"no stream")
        .send(Cmd::Decompress, INITRD, &gzip(b"x"))
        .send(Cmd::Copy, KERNEL, b"")
        .send(Cmd::Copy, INITRD, b"")
        .send(Cmd::Copy, CMDLINE, b"")
        .send(Cmd::Copy, 4, b"x")
        // Behind the payload may be more.
        .raw(&[2, 0, 2, 0, 2, 0, 0, 0, b'i', b'n', 9, 9]);
    check(
        one(steps),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 2
          -22
          -22
          -22
          -22
          -22
          -22
          -22
          -22
          -22
          0
          -22
          -22
          0
          0
        kernel "kernel"
        initrd "in"
    "#]],
    );
}

#[test]
fn each_row_of_v7_has_its_errno() {
    let steps = Steps::new(Generation::V7)
        .step(What::SendNull, 0, 16, b"")
        .step(What::SendShort, 9, 10, &[3, 0, 1, 0, 0, 0, 0, 0, 0, 0])
        .raw(&[3, 0, 1, 0, 2, 0, 0, 0, 0, 0, 1])
        .raw(&[3, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1])
        .send(Cmd::Number(0), 0, b"")
        .send(Cmd::Number(5), KERNEL, b"x")
        .send_flagged(Cmd::Copy, KERNEL, 2, b"x")
        .send(Cmd::Decompress, KERNEL, b"no stream")
        .send(Cmd::Decompress, CMDLINE, &gzip(b"x"))
        .send(Cmd::Copy, KERNEL, b"")
        .send(Cmd::Copy, INITRD, b"")
        .send(Cmd::Copy, CMDLINE, b"")
        .send(Cmd::Copy, 0, b"x")
        .send(Cmd::VerifySig, 0, b"MZ")
        .send(Cmd::Copy, KERNEL, b"kernel")
        // Subcommand, flags and payload of DONE are nobody's.
        .send_flagged(Cmd::Done, 7, 1, b"bytes");
    check(
        steps,
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6
          -22
          -22
          -22
          -22
          -22
          -22
          -22
          -22
          -22
          -22
          0
          -22
          -22
          -126
          0
          0
        kernel "kernel"
    "#]],
    );
}

#[test]
fn the_context_shows_what_was_handed_over() {
    let steps = |generation| {
        Steps::new(generation)
            .simple(What::Show)
            .send(Cmd::Copy, CMDLINE, b"ro\0padding")
            .send(Cmd::Copy, INITRD, b"initrd")
            .simple(What::Show)
            .send(Cmd::Copy, KERNEL, b"kernel")
            .end()
            .simple(What::Show)
    };
    check(
        steps(Generation::V6),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 6, command line 2
          kernel 98 initrd 0 cmdline 0
          absent 011
          line 
          0
          0
          kernel 98 initrd 6 cmdline 3
          absent 000
          line ro
          0
          kernel 6 initrd 6 cmdline 3
          absent 000
          line ro
        kernel "kernel"
        initrd "initrd"
        cmdline "ro"
    "#]],
    );
    check(
        steps(Generation::V7),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 6, command line 2
          kernel 0 initrd 0 cmdline 0
          absent 111
          line 
          parsed 0 sig_mode 0
          buffers 122 0 0
          0
          0
          kernel 0 initrd 6 cmdline 3
          absent 100
          line ro
          parsed 0 sig_mode 0
          buffers 122 0 0
          0
          0
          kernel 6 initrd 6 cmdline 3
          absent 000
          line ro
          parsed 1 sig_mode 0
          buffers 122 0 0
        kernel "kernel"
        initrd "initrd"
        cmdline "ro"
    "#]],
    );
}

#[test]
fn the_same_resource_again_replaces_it() {
    check_both(
        |steps| {
            steps
                .send(Cmd::Copy, KERNEL, b"first")
                .send(Cmd::Copy, CMDLINE, b"first")
                .send(Cmd::Copy, KERNEL, b"second")
                .send(Cmd::Copy, CMDLINE, b"second")
        },
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6, command line 6
              0
              0
              0
              0
            warning image: stage 1: the parser handed the kernel over more than once; the last one counts
            warning image: stage 1: the parser handed the command line over more than once; the last one counts
            kernel "second"
            cmdline "second"

            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6, command line 6
              0
              0
              0
              0
              0
            warning image: stage 1: the parser handed the kernel over more than once; the last one counts
            warning image: stage 1: the parser handed the command line over more than once; the last one counts
            kernel "second"
            cmdline "second"
        "#]],
    );
}

#[test]
fn references_are_counted() {
    let kernel = |steps: Steps| steps.send(Cmd::Copy, KERNEL, b"kernel");
    check_both(
        |steps| {
            let steps = steps.simple(What::GetOther).simple(What::GetTwice);
            steps.send(Cmd::Copy, KERNEL, b"kernel")
        },
        expect![[r#"
            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6
              other 1
              twice
              0
            kernel "kernel"

            layer image: test.bpf.o, parsers.d
            layer image > kernel handed over by test
            stage 1: kernel 6
              other 1
              twice
              0
              0
            kernel "kernel"
        "#]],
    );
    let fault = |what| outcome(kernel(Steps::new(Generation::V6)).simple(what));
    expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:125 in parse, insn 214: a bpf_parser_context acquired here was not released before the program ended
          printed: 0
    "#]].assert_eq(&fault(What::Leak));
    expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:133 in parse, insn 249: bpf_parser_context+0x0 is not a bpf_parser_context that is held: it was released by instruction 133
          printed: 0
    "#]].assert_eq(&fault(What::PutTwice));
    expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:133 in parse, insn 249: 0x0 is not a bpf_parser_context that is held: it is NULL
          printed: 0
    "#]].assert_eq(&fault(What::PutNull));
    expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:138 in parse, insn 227: bpf_parser_context+0x0 is not a bpf_parser_context that is held: it was released by instruction 223
          printed: 0
    "#]].assert_eq(&fault(What::SendAfterPut));
}

#[test]
fn sixteen_buffers_are_filled_and_no_more() {
    let mut steps = Steps::new(Generation::V7);
    for _ in 0..16 {
        steps = steps.send_flagged(Cmd::Copy, INITRD, 1, b"initrd");
    }
    // A command that is refused changes nothing.
    let steps = steps
        .send(Cmd::Copy, KERNEL, b"kernel")
        .send_flagged(Cmd::Copy, KERNEL, 1, b"other")
        .end();
    check(
        steps,
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, initrd 6
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          0
          -12
          0
        warning image: stage 1: the parser handed the initrd over more than once; the last one counts
        kernel "kernel"
        initrd "initrd"
    "#]],
    );
}

#[test]
fn a_parser_of_v7_says_that_it_is_done() {
    let v7 = || Steps::new(Generation::V7);
    // Not mine: no command at all, DONE alone, hand-overs without DONE.
    check(
        v7(),
        expect![[r#"
            layer image
            warning image: stage 1: parser test.bpf.o says that the image is its own, and lets it be
            kernel "CMDS"
        "#]],
    );
    check(
        v7().end(),
        expect![[r#"
            layer image
            warning image: stage 1: parser test.bpf.o says that the image is its own, and lets it be
            kernel "CMDS\\x01\\x00\\x00\\x00\\n\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
        "#]],
    );
    check(
        v7().send(Cmd::Copy, KERNEL, b"kernel"),
        expect![[r#"
            layer image
            warning image: stage 1: parser test.bpf.o says that the image is its own, and lets it be
            kernel "CMDS\\x01\\x00\\x00\\x00\\x10\\x00\\x00\\x00\\x03\\x00\\x01\\x00\\x06\\x00\\x00\\x00\\x00\\x00kernel"
        "#]],
    );
    // Broken: a command failed, and DONE did not follow.
    let broken = v7().send(Cmd::Decompress, KERNEL, b"no stream");
    check(
        broken.clone(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): the parser did not send DONE after this failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
              printed: -22
        "#]],
    );
    let failed_behind = v7().send(Cmd::Copy, KERNEL, b"kernel").end();
    check(
        failed_behind.send(Cmd::Copy, 9, b"x"),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): the parser did not send DONE after this failed: bpf_buffer_parser: COPY with subcmd 9 at byte 2; expected 1 (KERNEL), 2 (INITRD) or 3 (CMDLINE)
              printed: 0
              printed: 0
              printed: -22
        "#]],
    );
    // Done: it knew what to do about the failure. Commands behind DONE are obeyed.
    let done = broken.send(Cmd::Copy, KERNEL, b"kernel").end();
    check(
        done.send(Cmd::Copy, CMDLINE, b"ro"),
        expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6, command line 2
          -22
          0
          0
          0
        kernel "kernel"
        cmdline "ro"
    "#]],
    );
    // Without a kernel, nobody is left to find one.
    check(
        v7().send(Cmd::Copy, INITRD, b"initrd").end(),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over; only initrd
              printed: 0
              printed: 0
        "#]],
    );
}

#[test]
fn a_parser_of_v6_hands_over_a_kernel() {
    let v6 = || Steps::new(Generation::V6);
    check(
        v6().send(Cmd::Decompress, KERNEL, b"no stream"),
        expect![[r#"
            error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over
              failed: bpf_buffer_parser: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 20 73 74 72 65 61 6d: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
              printed: -22
        "#]],
    );
    check(
        v6().send(Cmd::Copy, CMDLINE, b"ro"),
        expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): no kernel was handed over; only command line
          printed: 0
    "#]],
    );
}

#[test]
fn callers_parts_are_not_shown_and_kept() {
    let given = |steps: Steps| Input {
        initrd: Some(Rope::from(b"caller's".to_vec())),
        cmdline: Some(b"caller".to_vec()),
        ..input(steps.image)
    };
    let steps = Steps::new(Generation::V6)
        .simple(What::Show)
        .send(Cmd::Copy, KERNEL, b"kernel");
    let options = options(Generation::V6);
    let text = |steps| outcome_text(run(given(steps), &options));
    expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6
          kernel 34 initrd 0 cmdline 0
          absent 011
          line 
          0
        kernel "kernel"
        initrd "caller\\'s"
        cmdline "caller"
    "#]]
    .assert_eq(&text(steps.clone()));
    expect![[r#"
        error: image: the given initrd (8 bytes) is not in what the parsers handed over; drop --initrd, or use a parser that passes it on
    "#]].assert_eq(&text(steps.send(Cmd::Copy, INITRD, b"initrd")));
}

#[test]
fn kfuncs_of_another_generation_are_refused() {
    let options = Options {
        parsers: vec![parser(MIXED)],
        image_name: "image".to_owned(),
        ..Options::default()
    };
    let steps = Steps::new(Generation::V6);
    expect![[r#"
        error: image: stage 1 (test.bpf.o, parsers.d): the parser is refused: kfunc bpf_copy_to_kernel belongs to parser ABI v5, and the parser is for v6
    "#]].assert_eq(&outcome_text(run(input(steps.image), &options)));
}

/// A gate that has an opinion of signatures: good is what begins with `MZ`.
struct Strict;

impl Gate for Strict {
    fn admit(&mut self, _: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn requires_signatures(&self) -> bool {
        true
    }

    fn verify_signature(&mut self, image: &Rope) -> Result<(), SignatureRefusal> {
        if image.to_vec().unwrap().starts_with(b"MZ") {
            return Ok(());
        }
        let reason = "nobody signed it".to_owned();
        Err(SignatureRefusal { errno: 129, reason })
    }
}

#[test]
fn questions_about_signatures_are_limited() {
    let mut steps = Steps::new(Generation::V7);
    for _ in 0..17 {
        steps = steps.send(Cmd::VerifySig, 0, b"MZ");
    }
    check(
        steps,
        expect![[r#"
            limit: image: stage 1 (test.bpf.o, parsers.d): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:106 in parse, insn 132: VERIFY_SIG: all stages may ask about 16 signatures, and each about no more bytes than there are (344)
              failed: bpf_buffer_parser: VERIFY_SIG: no signature is checked here
              failed: bpf_buffer_parser: VERIFY_SIG: no signature is checked here
              failed: bpf_buffer_parser: VERIFY_SIG: no signature is checked here
              failed: bpf_buffer_parser: VERIFY_SIG: no signature is checked here
              printed: -126
              printed: -126
              printed: -126
              printed: -126
              printed: -126
        "#]],
    );
    // A buffer of 255 bytes, most of which are in no image.
    let header = [4, 0, 0, 0, 245, 0, 0, 0, 0, 0];
    let steps = Steps::new(Generation::V7).step(What::SendShort, 255, 10, &header);
    check(
        steps,
        expect![[r#"
            limit: image: stage 1 (test.bpf.o, parsers.d): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:106 in parse, insn 132: VERIFY_SIG: all stages may ask about 16 signatures, and each about no more bytes than there are (22)
        "#]],
    );
}

#[test]
fn signatures_are_for_the_gate() {
    let steps = Steps::new(Generation::V7)
        .simple(What::Show)
        .send(Cmd::VerifySig, 0, b"MZ good")
        .send(Cmd::VerifySig, 0, b"bad")
        .send(Cmd::Copy, KERNEL, b"kernel")
        .end();
    let (mut store, mut budget) = (MemoryStore::default(), Budget::default());
    let options = options(Generation::V7);
    let done = unfold_with(
        input(steps.image),
        &options,
        &mut Strict,
        &mut store,
        &mut budget,
    );
    expect![[r#"
        layer image: test.bpf.o, parsers.d
        layer image > kernel handed over by test
        stage 1: kernel 6
          kernel 0 initrd 0 cmdline 0
          absent 111
          line 
          parsed 0 sig_mode 1
          buffers 100 0 0
          0
          -129
          0
          0
        kernel "kernel"
    "#]]
    .assert_eq(&outcome_text(done));
}
