//! The rules of command lines: systemd-stub's.

use expect_test::{Expect, expect};

use ukexec_bpf::Rope;
use ukexec_unfold::{Budget, Input, MemoryStore, Options, built_in_parsers, unfold};

use crate::image::{section, uki};
use crate::{Caller, outcome, run};

/// Expects what becomes of `.cmdline` with this content.
fn check(content: impl AsRef<[u8]>, expected: Expect) {
    let unfolded = run(&uki(&[section(".cmdline", content)]), &Caller::default()).unwrap();
    let cmdline = unfolded.cmdline.map(|line| line.escape_ascii().to_string());
    expected.assert_eq(&format!("{cmdline:?}"));
}

/// Expects what comes out where the caller's command line is `line`, and
/// `.cmdline` is `own`.
fn check_caller(line: &str, own: Option<&str>, expected: Expect) {
    let own: Vec<_> = own
        .map(|own| section(".cmdline", own))
        .into_iter()
        .collect();
    expected.assert_eq(&outcome(&run(&uki(&own), &Caller::cmdline(line))));
}

#[test]
fn ends_at_the_first_nul() {
    check("ro\0quiet", expect![[r#"Some("ro")"#]]);
    check(
        "a b c d e f g h i j\0",
        expect![[r#"Some("a b c d e f g h i j")"#]],
    );
    check("\0ro", expect![[r#"Some("")"#]]);
}

#[test]
fn drops_blanks_at_both_ends() {
    check(
        "\n\t\x01\x7f ro quiet \n\t\x01\x7f ",
        expect![[r#"Some("ro quiet")"#]],
    );
    check(" \0 ", expect![[r#"Some("")"#]]);
    check("x", expect![[r#"Some("x")"#]]);
    check("  x  ", expect![[r#"Some("x")"#]]);
}

#[test]
fn makes_inner_control_characters_spaces() {
    check(
        "a\nb\tc\x1fd\x7fe\r\nf",
        expect![[r#"Some("a b c d e  f")"#]],
    );
}

#[test]
fn leaves_all_other_bytes_as_they_are() {
    let all: Vec<u8> = (0x20..0x7f).chain(0x80..=0xff).collect();
    let image = uki(&[section(".cmdline", [b"x", all.as_slice(), b"x"].concat())]);
    let unfolded = run(&image, &Caller::default()).unwrap();
    assert_eq!(
        unfolded.cmdline.unwrap(),
        [b"x", all.as_slice(), b"x"].concat()
    );
}

/// Words of 8 bytes are cleaned at once: every character at every place of one
/// must come out as if they were cleaned one by one.
#[test]
fn cleans_every_place_of_a_word_alike() {
    for place in 0..17 {
        for special in [0, 1, 0x1f, b' ', 0x7e, 0x7f, 0x80, 0x81, 0xa0, 0xff] {
            let mut text = *b"abcdefghijklmnopq";
            text[place] = special;
            let image = uki(&[section(".cmdline", text)]);
            let unfolded = run(&image, &Caller::default()).unwrap();
            assert_eq!(unfolded.cmdline.unwrap(), cleaned(&text), "{text:?}");
        }
    }
}

/// The rules once more, one byte after the other.
fn cleaned(text: &[u8]) -> Vec<u8> {
    let is_blank = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    let text = text.split(|&byte| byte == 0).next().unwrap();
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(0);
    let end = text
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    text[start..end]
        .iter()
        .map(|byte| if is_blank(byte) { b' ' } else { *byte })
        .collect()
}

#[test]
fn takes_long_lines_up_to_64_kib() {
    let long = vec![b'x'; 64 << 10];
    let unfolded = run(&uki(&[section(".cmdline", &long)]), &Caller::default()).unwrap();
    assert_eq!(unfolded.cmdline.unwrap(), long);
    let longer = uki(&[section(".cmdline", vec![b'x'; (64 << 10) + 1])]);
    expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
          printed: uki: section .cmdline: expected at most 65536 bytes, found 65537
    "#]]
    .assert_eq(&outcome(&run(&longer, &Caller::default())));
}

#[test]
fn the_callers_line_replaces_the_images() {
    check_caller(
        "single",
        Some("ro quiet"),
        expect![[r#"
        kernel "kernel"
        cmdline "single"
        uki.bpf.o: kernel 6, command line 6
    "#]],
    );
    check_caller(
        "  single\n",
        Some("ro quiet"),
        expect![[r#"
        kernel "kernel"
        cmdline "  single\n"
        uki.bpf.o: kernel 6, command line 6
    "#]],
    );
}

#[test]
fn a_blank_line_from_the_caller_replaces_nothing() {
    // That it comes out all the same is the loader's doing, not the parser's.
    check_caller(
        "",
        Some("ro quiet"),
        expect![[r#"
        kernel "kernel"
        cmdline ""
        uki.bpf.o: kernel 6, command line 8
    "#]],
    );
    check_caller(
        " \t",
        Some("ro quiet"),
        expect![[r#"
        kernel "kernel"
        cmdline " \t"
        uki.bpf.o: kernel 6, command line 8
    "#]],
    );
    check_caller(
        " ",
        None,
        expect![[r#"
        kernel "kernel"
        cmdline " "
        uki.bpf.o: kernel 6, command line 0
    "#]],
    );
}

#[test]
fn refuses_a_caller_who_says_too_much() {
    check_caller(
        &"x".repeat((64 << 10) + 1),
        None,
        expect![[r#"
            image: the given command line has 65537 bytes; expected at most 65536 (kernels take 4096 at most)
        "#]],
    );
}

/// An image whose line stands keeps an empty one as well, also where a profile
/// that was asked for leaves nothing of the caller's.
#[test]
fn an_empty_line_that_stands_is_not_replaced() {
    let deciding = |image: &[u8], cmdline: &str| {
        let input = Input {
            image: Rope::from(image.to_vec()),
            cmdline: Some(cmdline.as_bytes().to_vec()),
            ..Input::default()
        };
        let options = Options {
            parsers: built_in_parsers(),
            image_decides_cmdline: true,
            ..Options::default()
        };
        let (mut store, mut budget) = (MemoryStore::default(), Budget::default());
        unfold(input, &options, &mut store, &mut budget)
    };
    for empty in [
        section(".cmdline", "").virtual_size(8),
        section(".cmdline", " \n"),
        section(".cmdline", "\0quiet"),
    ] {
        let base = uki(std::slice::from_ref(&empty));
        let in_profile = uki(&[
            section(".profile", "ID=a"),
            section(".profile", "ID=b"),
            empty,
        ]);
        for (image, line) in [
            (&base, "init=/bin/sh"),
            (&base, "@0 init=/bin/sh"),
            (&in_profile, "@1 init=/bin/sh"),
            (&in_profile, "@b init=/bin/sh"),
        ] {
            let error = deciding(image, line).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("a command line of its own, which is part of"),
                "{line}: {error}"
            );
        }
        let other = deciding(&in_profile, "@0 quiet").unwrap();
        assert_eq!(other.cmdline.as_deref(), Some(&b"quiet"[..]));
        let own = deciding(&in_profile, "@1").unwrap();
        assert_eq!(own.cmdline.as_deref(), Some(&b""[..]));
    }
}
