//! The same parsers as light skeletons: in an image, given, and in `parsers.d`.

use expect_test::expect;
use ukexec_bpf::Rope;
use ukexec_unfold::{
    Budget, Input, MemoryStore, Options, ParserFile, ParserOrigin, Unfolded, unfold,
};

use crate::image::{gzip, section, zboot};
use crate::{Caller, KERNEL, outcome, parts, run, run_with};

/// `parsers/zboot.bpf.c`, signed, compiled for x86-64.
const ZBOOT: &str = "zboot.o";
/// `parsers/uki.bpf.c` with its match program, compiled for aarch64.
const UKI: &str = "uki.match.o";

fn skeleton(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../bpf/testdata/skeletons");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

fn parser(name: &str, skeleton_name: &str) -> ParserFile {
    ParserFile {
        name: name.to_owned(),
        object: skeleton(skeleton_name).into(),
        origin: ParserOrigin::BuiltIn,
    }
}

fn input(image: Vec<u8>) -> Input {
    Input {
        image: Rope::from(image),
        initrd: None,
        cmdline: None,
        append: None,
    }
}

fn unfolded(input: Input, options: &Options) -> Unfolded {
    let store = &mut MemoryStore::default();
    unfold(input, options, store, &mut Budget::default()).unwrap()
}

#[test]
fn given_with_the_image() {
    let options = Options {
        parser: Some(parser("zboot.o", ZBOOT)),
        ..Options::default()
    };
    let unfolded = unfolded(input(zboot("gzip", &gzip(KERNEL))), &options);
    expect![[r#"
        kernel "kernel"
        zboot.o: kernel 6
    "#]]
    .assert_eq(&parts(&unfolded));
}

#[test]
fn in_the_image() {
    let image = crate::image::pe(&[
        section(".bpf", skeleton(UKI)),
        section(".linux", KERNEL),
        section(".initrd", "initrd"),
        section(".cmdline", "ro"),
    ]);
    let options = Options {
        embedded_parsers: true,
        ..Options::default()
    };
    expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "ro"
        .bpf: kernel 6, initrd 6, command line 2
    "#]]
    .assert_eq(&parts(&unfolded(input(image), &options)));
}

#[test]
fn in_parsers_d() {
    let image = crate::image::uki(&[section(".initrd", "initrd"), section(".cmdline", "ro")]);
    let parsers = vec![parser("uki.o", UKI)];
    let text = outcome(&run_with(input(image.clone()), parsers));
    expect![[r#"
        kernel "kernel"
        initrd "initrd"
        cmdline "ro"
        uki.o: kernel 6, initrd 6, command line 2
    "#]]
    .assert_eq(&text);
    let plain = outcome(&run(&image, &Caller::default()));
    assert_eq!(text.replace("uki.o", "uki.bpf.o"), plain);
}
