//! Profiles of a UKI: which one is asked for, and what it replaces.

use expect_test::{Expect, expect};

use crate::image::{Section, section, uki};
use crate::{Caller, outcome, run};

/// A UKI with a base and three profiles.
fn image() -> Vec<u8> {
    uki(&[
        section(".cmdline", "base"),
        section(".initrd", "initrd"),
        section(".profile", "ID=main\nTITLE=As always\n"),
        section(".profile", "TITLE=\"No ID=x\"\nID=\"debug\"\n"),
        section(".cmdline", "debug"),
        section(".profile", "ID=other"),
        section(".linux", "other kernel"),
        section(".initrd", "other initrd"),
        section(".initrd", "never"),
    ])
}

fn check(cmdline: &str, expected: Expect) {
    check_image(&image(), cmdline, expected);
}

fn check_image(image: &[u8], cmdline: &str, expected: Expect) {
    expected.assert_eq(&outcome(&run(image, &Caller::cmdline(cmdline))));
}

#[test]
fn the_first_is_the_default() {
    let default = uki(&[
        section(".cmdline", "base"),
        section(".profile", "ID=main"),
        section(".cmdline", "main"),
        section(".profile", "ID=other"),
        section(".cmdline", "other"),
    ]);
    expect![[r#"
        kernel "kernel"
        cmdline "main"
        uki.bpf.o: kernel 6, command line 4
    "#]]
    .assert_eq(&outcome(&run(&default, &Caller::default())));
    check_image(
        &default,
        "@0",
        expect![[r#"
        kernel "kernel"
        cmdline "main"
        uki.bpf.o: kernel 6, command line 4
    "#]],
    );
    check_image(
        &default,
        "@main ",
        expect![[r#"
        kernel "kernel"
        cmdline "main"
        uki.bpf.o: kernel 6, command line 4
    "#]],
    );
    expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "base"
        uki.bpf.o: kernel 6, initrd 6, command line 4
    "#]]
    .assert_eq(&outcome(&run(&image(), &Caller::default())));
}

#[test]
fn is_chosen_by_number() {
    check(
        "@0 ",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "base"
        uki.bpf.o: kernel 6, initrd 6, command line 4
    "#]],
    );
    check(
        "@1 ",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "debug"
        uki.bpf.o: kernel 6, initrd 6, command line 5
    "#]],
    );
    check(
        "@1",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "debug"
        uki.bpf.o: kernel 6, initrd 6, command line 5
    "#]],
    );
    check(
        "@2 ",
        expect![[r#"
        kernel "other kernel"
        initrd "other initrd"
        cmdline "base"
        uki.bpf.o: kernel 12, initrd 12, command line 4
    "#]],
    );
    check(
        "@002 ",
        expect![[r#"
        kernel "other kernel"
        initrd "other initrd"
        cmdline "base"
        uki.bpf.o: kernel 12, initrd 12, command line 4
    "#]],
    );
}

#[test]
fn is_chosen_by_id() {
    check(
        "@main ",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "base"
        uki.bpf.o: kernel 6, initrd 6, command line 4
    "#]],
    );
    check(
        "@debug ",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "debug"
        uki.bpf.o: kernel 6, initrd 6, command line 5
    "#]],
    );
    check(
        "@other",
        expect![[r#"
        kernel "other kernel"
        initrd "other initrd"
        cmdline "base"
        uki.bpf.o: kernel 12, initrd 12, command line 4
    "#]],
    );
}

#[test]
fn what_follows_is_the_callers_line() {
    check(
        "@1 single",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "single"
        uki.bpf.o: kernel 6, initrd 6, command line 6
    "#]],
    );
    check(
        "@debug  single  x ",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline " single  x "
        uki.bpf.o: kernel 6, initrd 6, command line 9
    "#]],
    );
    // Nothing follows, and the image has no line either: an empty one, so that
    // the word is not seen again.
    check_image(
        &uki(&[]),
        "@0  ",
        expect![[r#"
        kernel "kernel"
        cmdline " "
        uki.bpf.o: kernel 6, command line 0
    "#]],
    );
}

#[test]
fn only_a_word_in_front_counts() {
    check(
        "@ 1",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "@ 1"
        uki.bpf.o: kernel 6, initrd 6, command line 3
    "#]],
    );
    check(
        " @1",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline " @1"
        uki.bpf.o: kernel 6, initrd 6, command line 2
    "#]],
    );
    check(
        "x @1",
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "x @1"
        uki.bpf.o: kernel 6, initrd 6, command line 4
    "#]],
    );
}

#[test]
fn refuses_a_number_that_is_not_there() {
    check(
        "@3 ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @3: expected the number of a .profile section, counted from 0; found 3 such sections"
    "#]],
    );
    check(
        "@4294967296 ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @4294967296: expected the number of a .profile section, counted from 0; found 3 such sections"
    "#]],
    );
    check(
        "@99999999999999999999 ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @99999999999999999999: expected the number of a .profile section, counted from 0; found 3 such sections"
    "#]],
    );
    check_image(
        &uki(&[]),
        "@1 ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @1: expected the number of a .profile section, counted from 0; found 0 such sections"
    "#]],
    );
}

#[test]
fn refuses_an_id_that_is_not_there() {
    check(
        "@deb ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @deb: expected the ID= line of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID"
    "#]],
    );
    check(
        "@debug2 ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @debug2: expected the ID= line of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID"
    "#]],
    );
    check(
        "@-1 ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @-1: expected the ID= line of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID"
    "#]],
    );
    check(
        "@x ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @x: expected the ID= line of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID"
    "#]],
    );
    check_image(
        &uki(&[]),
        "@main ",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @main: expected the ID= line of a .profile section, or its number, counted from 0; found 0 such sections, none with this ID"
    "#]],
    );
    check(
        &format!("@{} ", "x".repeat(63)),
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: expected the ID= line of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID"
    "#]],
    );
    check(
        &format!("@{} ", "x".repeat(64)),
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: word behind the @ in front of the command line: expected a profile's number or ID of at most 63 bytes"
    "#]],
    );
}

/// Expects whether a `.profile` section with this text is `@id`.
fn check_text(text: &str, expected: bool) {
    let image = uki(&[section(".profile", text), section(".cmdline", "found")]);
    let is_found = run(&image, &Caller::cmdline("@id ")).is_ok();
    assert_eq!(is_found, expected, "{text:?}");
}

#[test]
fn reads_the_id_line_of_a_profile() {
    for text in [
        "ID=id",
        "ID=id\n",
        "ID=id\r\n",
        "ID=\"id\"",
        "ID='id'\n",
        "TITLE=x\nID=id",
        "\nID=id",
        "ID=id\0ID=x",
    ] {
        check_text(text, true);
    }
    for text in [
        "",
        "ID",
        "ID=",
        "ID=i",
        "ID=idx",
        "ID=id x",
        "XID=id",
        "ID =id",
        "id=id",
        "TITLE=ID=id",
        "ID=\"id",
        "ID=\"id'",
        "ID=x\nID=id",
        "\0ID=id",
        "ID=\"\"",
    ] {
        check_text(text, false);
    }
    check_text(&format!("{}\nID=id", "x".repeat(1000)), true);
    check_text(&format!("{}\nID=id", "x".repeat(1024)), false);
}

#[test]
fn finds_the_last_of_many() {
    let profiles: Vec<Section> = (0..47)
        .flat_map(|number| {
            [
                section(
                    ".profile",
                    format!("TITLE=Profile {number}\nID=p{number}\n"),
                ),
                section(".cmdline", format!("line {number}")),
            ]
        })
        .collect();
    check_image(
        &uki(&profiles),
        "@p46",
        expect![[r#"
        kernel "kernel"
        cmdline "line 46"
        uki.bpf.o: kernel 6, command line 7
    "#]],
    );
    check_image(
        &uki(&profiles),
        "@46",
        expect![[r#"
        kernel "kernel"
        cmdline "line 46"
        uki.bpf.o: kernel 6, command line 7
    "#]],
    );
    check_image(
        &uki(&profiles),
        "@p47",
        expect![[r#"
        image: stage 1 (uki.bpf.o, built-in): no kernel was handed over; the parser's last lines: "uki: profile @p47: expected the ID= line of a .profile section, or its number, counted from 0; found 47 such sections, none with this ID"
    "#]],
    );
}
