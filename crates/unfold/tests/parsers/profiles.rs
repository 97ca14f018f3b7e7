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
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @3: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check(
        "@4294967296 ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @4294967296: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check(
        "@99999999999999999999 ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @99999999999999999999: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check_image(
        &uki(&[]),
        "@1 ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @1: expected the ID of a .profile section, or its number, counted from 0; found 0 such sections, none with this ID
        "#]],
    );
}

#[test]
fn refuses_an_id_that_is_not_there() {
    check(
        "@deb ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @deb: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check(
        "@debug2 ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @debug2: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check(
        "@-1 ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @-1: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check(
        "@x ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @x: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check_image(
        &uki(&[]),
        "@main ",
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @main: expected the ID of a .profile section, or its number, counted from 0; found 0 such sections, none with this ID
        "#]],
    );
    check(
        &format!("@{} ", "x".repeat(63)),
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: expected the ID of a .profile section, or its number, counted from 0; found 3 such sections, none with this ID
        "#]],
    );
    check(
        &format!("@{} ", "x".repeat(64)),
        expect![[r#"
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: word behind the @ in front of the command line: expected a profile's number or ID of at most 63 bytes
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
fn reads_an_id_as_systemd_reads_assignments() {
    for text in [
        "ID=id",
        "ID=id\n",
        "ID=id\r\n",
        "ID=\"id\"",
        "ID='id'\n",
        "TITLE=x\nID=id",
        "\nID=id",
        "ID=id\0ID=x",
        "  ID=id",
        "\t ID = id \t\n",
        "ID=id   \r\nTITLE=x",
        "ID= \"id\" \n",
        "ID='i''d'",
        "ID=\"i\"d",
        "ID=\\id",
        "ID=i\\d",
        "ID=i\\\nd",
        "ID=\"i\\\nd\"",
        "# ID=x\nID=id",
        "; a comment with a \\\nID=id",
        "ID=x\nID=id",
        "TITLE=\"two\nID=x\"\nID=id",
        "no assignment\nID=id",
        "ID=\"id",
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
        "IDX=id",
        "I D=id",
        "id=id",
        "TITLE=ID=id",
        "ID=\"id'",
        "ID=\"id \"",
        "ID=' id'",
        "ID=i\\ d",
        "ID=id\\ ",
        "ID=\"i\\d\"",
        "ID='i\\d'",
        "ID=i\"d\"",
        "#ID=id",
        ";ID=id",
        "ID=id\nID=x",
        "ID=id\nID=",
        "TITLE=\"\nID=id\n\"",
        "\0ID=id",
        "ID=\"\"",
    ] {
        check_text(text, false);
    }
    check_text(&format!("{}\nID=id", "x".repeat(4000)), true);
    check_text(&format!("{}\nID=id", "x".repeat(4096)), false);
    check_text(&format!("ID={}id", "x".repeat(1000)), false);
}

/// systemd-stub knows numbers alone, so they come first.
#[test]
fn digits_are_a_number_and_where_there_is_none_an_id() {
    let image = uki(&[
        section(".profile", "ID=1"),
        section(".cmdline", "of 0"),
        section(".profile", "ID=2024"),
        section(".cmdline", "of 1"),
        section(".profile", "ID=007"),
        section(".cmdline", "of 2"),
    ]);
    let found = |selector: &str| {
        let unfolded = run(&image, &Caller::cmdline(selector)).unwrap();
        unfolded.report.stages[0].profile
    };
    for (selector, profile) in [
        ("@1", 1),
        ("@01", 1),
        ("@2024", 1),
        ("@007", 2),
        ("@2", 2),
        ("@000000000000000000000000000002", 2),
    ] {
        assert_eq!(found(selector), Some(profile), "{selector}");
    }
    run(&image, &Caller::cmdline("@7")).unwrap_err();
    run(&image, &Caller::cmdline("@02024")).unwrap_err();
}

#[test]
fn the_report_says_which_profile_it_is() {
    let found = |image: &[u8], selector: &str| {
        let caller = if selector.is_empty() {
            Caller::default()
        } else {
            Caller::cmdline(selector)
        };
        run(image, &caller).unwrap().report.stages[0].profile
    };
    for (selector, profile) in [("", 0), ("single", 0), ("@1", 1), ("@other x", 2)] {
        assert_eq!(found(&image(), selector), Some(profile), "{selector}");
    }
    assert_eq!(found(&uki(&[]), ""), None);
    assert_eq!(found(&uki(&[]), "@0"), Some(0));
}

/// As in systemd-stub: in a profile, a section of `VirtualSize` 0 is none, also if
/// the base has one.
#[test]
fn an_empty_section_of_a_profile_hides_that_of_the_base() {
    let image = uki(&[
        section(".cmdline", "base"),
        section(".initrd", "initrd"),
        section(".ucode", [b'u'; 512]).virtual_size(0),
        section(".profile", "ID=none"),
        section(".cmdline", [b'x'; 512]).virtual_size(0),
        section(".initrd", ""),
        section(".ucode", "ucode"),
    ]);
    check_image(
        &image,
        "@none",
        expect![[r#"
            kernel "kernel"
            initrd "ucode"
            uki.bpf.o: kernel 6, initrd 5, command line 0
        "#]],
    );
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
            image: stage 1 (uki.bpf.o, built-in): no kernel was handed over
              printed: uki: profile @p47: expected the ID of a .profile section, or its number, counted from 0; found 47 such sections, none with this ID
        "#]],
    );
}
