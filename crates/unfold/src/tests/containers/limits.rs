//! Limits of containers: which end the whole, and what each attempt and each level is charged.

use expect_test::{Expect, expect};

use super::{FIRST, container, given, passes_on, two_levels, v7};
use crate::tests::commands::{CMDLINE, Cmd, FILL, INITRD, KERNEL, Steps, What};
use crate::tests::{gzip, input, outcome_text};
use crate::{Budget, MemoryStore, Options, unfold};

#[test]
fn limits_end_the_whole() {
    let options = given(two_levels());
    let steps = v7()
        .send(Cmd::Copy, KERNEL, b"one")
        .others()
        .send(Cmd::Copy, KERNEL, b"two");
    let outcome = |budget: Budget| {
        let input = input(steps.clone().end().image);
        outcome_text(unfold(input, &options, &mut MemoryStore::default(), &mut {
            budget
        }))
    };
    let mut budget = Budget::default();
    budget.meter.insns = 500;
    expect![[r#"
        limit: image: stage 1 (x.bpf slot 1, given): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:110 in parse, insn 140: the budget of 500 instructions is used up; --max-insns raises it
          printed: 0
    "#]].assert_eq(&outcome(budget));
    let budget = Budget {
        stages: 0,
        ..Budget::default()
    };
    expect![[r#"
        limit: image: stage 1 (x.bpf slot 2, given): the budget of 0 stages is used up, and one more parser fits; --max-stages raises it
    "#]].assert_eq(&outcome(budget));
}

/// The budget with so many bytes of output.
fn output(output: u64) -> Budget {
    Budget {
        output,
        ..Budget::default()
    }
}

/// Unfolds steps with less of a budget.
fn check_budget(steps: &Steps, options: &Options, budget: Budget, expected: Expect) {
    let (mut store, mut budget) = (MemoryStore::default(), budget);
    let done = unfold(input(steps.image.clone()), options, &mut store, &mut budget);
    expected.assert_eq(&outcome_text(done));
}

#[test]
fn done_does_not_make_up_for_a_limit() {
    let options = given(two_levels());
    let budget = || output(1000);
    let bomb = gzip(&[0; 4096]);
    let bomb = || v7().send(Cmd::Decompress, KERNEL, &bomb);
    // Nothing else was handed over, something else was, and at a nested level.
    let others = |steps: Steps| steps.end().others().send(Cmd::Copy, KERNEL, b"two").end();
    check_budget(
        &others(bomb()),
        &options,
        budget(),
        expect![[r#"
        limit: image: stage 1 (x.bpf slot 1, given): the parser supplied the kernel, but it was rejected: the payload cannot be decompressed: the gzip stream decompresses to more bytes than the limit of 1000; --max-output raises it
          printed: -22
          printed: 0
    "#]],
    );
    let with_line = bomb().send(Cmd::Copy, CMDLINE, b"line");
    check_budget(
        &others(with_line.clone()),
        &options,
        budget(),
        expect![[r#"
            limit: image: stage 1 (x.bpf slot 1, given): the parser supplied the kernel, but it was rejected: the payload cannot be decompressed: the gzip stream decompresses to more bytes than the limit of 1000; --max-output raises it
              printed: -22
              printed: 0
              printed: 0
        "#]],
    );
    check_budget(
        &passes_on(&bomb().end()),
        &options,
        budget(),
        expect![[r#"
        limit: image > kernel handed over by x: stage 2 (x.bpf slot nested.1, given): the parser supplied the kernel, but it was rejected: the payload cannot be decompressed: the gzip stream decompresses to more bytes than the limit of 1000; --max-output raises it
          printed: -22
          printed: 0
    "#]],
    );
    check_budget(
        &passes_on(&with_line.end()),
        &options,
        budget(),
        expect![[r#"
            limit: image > kernel handed over by x: stage 2 (x.bpf slot nested.1, given): the parser supplied the kernel, but it was rejected: the payload cannot be decompressed: the gzip stream decompresses to more bytes than the limit of 1000; --max-output raises it
              printed: -22
              printed: 0
              printed: 0
        "#]],
    );
    // One that did not need it, and another fault behind DONE.
    let mended_steps = || bomb().send(Cmd::Copy, KERNEL, b"kernel").end();
    check_budget(
        &mended_steps(),
        &options,
        budget(),
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > kernel handed over by x
        stage 1: kernel 6
          -22
          0
          0
        kernel "kernel"
    "#]],
    );
    let fails = mended_steps().send(Cmd::Copy, KERNEL, b"");
    let fails = fails.others().send(Cmd::Copy, KERNEL, b"two").end();
    check_budget(
        &fails,
        &options,
        budget(),
        expect![[r#"
        layer image: x.bpf slot 2, given
        layer image > kernel handed over by x
        stage 1: kernel 3
          0
          0
        warning image: stage 1: x.bpf slot 1 breaks off, and x.bpf slot 2 takes the image apart: the parser did not send DONE after this failed: bpf_buffer_parser: COPY of a kernel of 0 bytes
        kernel "two"
    "#]],
    );
    // A parser would take a good signature for a bad one.
    let signature = v7().send(Cmd::VerifySig, 0, &[0; 64]);
    let asked = (0..17).fold(signature, |steps, _| steps.send(Cmd::VerifySig, 0, b"MZ"));
    let asked = asked.send(Cmd::Copy, KERNEL, b"one").end();
    check_budget(
        &asked,
        &options,
        budget(),
        expect![[r#"
        limit: image: stage 1 (x.bpf slot 1, given): hook kexec_image_parser_anchor: ./crates/unfold/testdata/commands.bpf.c:106 in parse, insn 132: VERIFY_SIG: all stages may ask about 16 signatures, and each about no more bytes than there are (465)
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
}

#[test]
fn buffers_keep_what_later_hand_overs_replace() {
    let options = given(two_levels());
    let budget = || {
        let mut budget = Budget::default();
        budget.meter.memory = 60_000;
        budget
    };
    // A line is copied; kernels of this length are not.
    let lines = |flags: u8| {
        let steps = (0..15).fold(v7(), |steps, _| {
            steps.send_flagged(Cmd::Copy, CMDLINE, flags, &[b'7'; 4000])
        });
        let steps = steps.send(Cmd::Copy, KERNEL, b"kernel").end();
        let (mut store, mut budget) = (MemoryStore::default(), budget());
        let done = unfold(input(steps.image), &options, &mut store, &mut budget);
        done.map(|done| done.cmdline.map_or(0, |line| line.len()))
    };
    assert_eq!(lines(0).unwrap(), 4000);
    let error = lines(FILL).unwrap_err();
    assert!(error.is_limit(), "{error}");
    assert!(
        crate::error::chain(&error).contains("--max-memory raises it"),
        "{error}"
    );
}

#[test]
fn all_levels_together_hand_over_what_there_is() {
    let options = given(two_levels());
    let inner = v7().simple(What::SendImage);
    let outer = passes_on(&inner.clone().end());
    check_budget(
        &outer,
        &options,
        output(0),
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
    // The kernel of the first level and an initrd of the second are longer than the image.
    let long = v7().send(Cmd::Copy, INITRD, &[7; 300]).end();
    let outer = v7().send_flagged(Cmd::Copy, KERNEL, FILL, &long.image);
    check_budget(
        &outer.end(),
        &options,
        output(0),
        expect![[r#"
        limit: image > kernel handed over by x: stage 2 (x.bpf slot nested.1, given): the parser supplied the initrd, but it was rejected: kernel and initrd are longer by 260 than all that there is to hand over (380 of image, initrd and decompressed payloads), and the output budget has 0 left; --max-output raises it
          printed: -12
          printed: 0
    "#]],
    );
}

#[test]
fn the_memory_of_buffers_is_given_back() {
    let options = given(two_levels());
    let left = |steps: Steps| {
        let mut budget = Budget::default();
        let (mut store, input) = (MemoryStore::default(), input(steps.image));
        let done = unfold(input, &options, &mut store, &mut budget).unwrap();
        assert_eq!(done.kernel.to_vec().unwrap(), b"kernel");
        budget.meter.memory
    };
    let plain = left(v7().send(Cmd::Copy, KERNEL, b"kernel").end());
    let inner = v7().send(Cmd::Copy, KERNEL, b"kernel").end();
    assert_eq!(left(passes_on(&inner)), plain);
    let many = (0..16).fold(v7(), |steps, _| {
        steps.send_flagged(Cmd::Copy, KERNEL, FILL, &inner.image)
    });
    assert_eq!(left(many.end()), plain);
}

#[test]
fn a_later_level_does_not_pay_again() {
    let innermost = container(&[FIRST], None);
    let inner = container(&[FIRST], Some(&innermost));
    let options = given(container(&[FIRST], Some(&inner)));
    // Both levels inside hand over the same kernel beside the initrd of the first level.
    let image = v7()
        .step(What::SendImage, FILL, 0, &[])
        .raw(&[0; 300])
        .end()
        .image;
    let outer = v7().send_flagged(Cmd::Copy, INITRD, FILL, &image).end();
    let len = image.len() as u64;
    let more = 2 * len - outer.image.len() as u64;
    check_budget(
        &outer,
        &options,
        output(more),
        expect![[r#"
        layer image: x.bpf slot 1, given
        layer image > buffer filled by x: x.bpf slot nested.1, given
        layer image > buffer filled by x > kernel handed over by x: x.bpf slot nested.nested.1, given
        layer image > buffer filled by x > kernel handed over by x > kernel handed over by x
        stage 1: initrd 338
          0
          0
        stage 2: kernel 338
          0
          -22
          0
        stage 3: kernel 338
          0
          -22
          0
        kernel of 338 bytes
        initrd of 338 bytes
    "#]],
    );
    check_budget(
        &outer,
        &options,
        output(more - 1),
        expect![[r#"
        limit: image > buffer filled by x: stage 2 (x.bpf slot nested.1, given): the parser supplied the kernel, but it was rejected: kernel and initrd are longer by 298 than all that there is to hand over (378 of image, initrd and decompressed payloads), and the output budget has 297 left; --max-output raises it
          failed: bpf_buffer_parser: cmd at byte 0 is 0; expected 1 (DONE), 2 (DECOMPRESS), 3 (COPY) or 4 (VERIFY_SIG), the commands of parser ABI v7
          printed: -12
          printed: -22
          printed: 0
    "#]],
    );
}
