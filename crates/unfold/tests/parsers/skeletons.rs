//! The same parsers as light skeletons: in an image, given, and in `parsers.d`.

use expect_test::expect;
use ukexec_bpf::Rope;
use ukexec_unfold::{Budget, Input, MemoryStore, Options, Unfolded, unfold};

use crate::image::{gzip, section, zboot};
use crate::{Caller, KERNEL, outcome, parser, parts, run, run_with};

/// `parsers/zboot.bpf.c`, signed, compiled for x86-64.
const ZBOOT: &[u8] = include_bytes!("../../../bpf/testdata/skeletons/zboot.o");
/// `parsers/uki.bpf.c` with its match program, compiled for aarch64.
const UKI: &[u8] = include_bytes!("../../../bpf/testdata/skeletons/uki.match.o");

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
        section(".bpf", UKI),
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
