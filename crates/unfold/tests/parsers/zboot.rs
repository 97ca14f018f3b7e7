//! Zboot images, and the kernels in them.

use expect_test::{Expect, expect};

use crate::image::{gzip, put, section, uki, zboot};
use crate::{Caller, KERNEL, outcome, run};

fn check(image: &[u8], expected: Expect) {
    expected.assert_eq(&outcome(&run(image, &Caller::default())));
}

/// Expects what becomes of a good image whose header has other bytes at `at`.
fn check_header(at: usize, bytes: &[u8], expected: Expect) {
    let mut image = zboot("gzip", &gzip(KERNEL));
    put(&mut image, at, bytes);
    check(&image, expected);
}

#[test]
fn hands_over_the_kernel_and_nothing_else() {
    let image = zboot("gzip", &gzip(KERNEL));
    check(
        &image,
        expect![[r#"
        kernel "kernel"
        zboot.bpf.o: kernel 6
    "#]],
    );
    let caller = Caller {
        initrd: Some(b"mine"),
        cmdline: Some("ro"),
    };
    expect![[r#"
        kernel "kernel"
        initrd "mine"
        cmdline "ro"
        zboot.bpf.o: kernel 6
    "#]]
    .assert_eq(&outcome(&run(&image, &caller)));
}

#[test]
fn is_found_inside_a_uki() {
    let kernel = zboot("gzip", &gzip(KERNEL));
    let image = crate::image::pe(&[section(".linux", kernel), section(".cmdline", "ro")]);
    check(
        &image,
        expect![[r#"
        kernel "kernel"
        cmdline "ro"
        uki.bpf.o: kernel 1024, command line 2
        zboot.bpf.o: kernel 6
    "#]],
    );
    let nested = zboot("gzip", &gzip(&uki(&[section(".initrd", "initrd")])));
    check(
        &nested,
        expect![[r#"
        kernel "kernel"
        initrd "initrd"
        zboot.bpf.o: kernel 2048
        uki.bpf.o: kernel 6, initrd 6
    "#]],
    );
}

#[test]
fn knows_every_type_that_linux_writes() {
    let payload = gzip(KERNEL);
    for kind in [
        "gzip", "zstd", "zstd22", "xzkern", "lzma", "lzo", "lz4", "bzip2",
    ] {
        let unfolded = run(&zboot(kind, &payload), &Caller::default()).unwrap();
        assert_eq!(unfolded.kernel.to_vec().unwrap(), KERNEL);
    }
}

#[test]
fn refuses_a_type_it_does_not_know() {
    check_header(
        0x18,
        b"lzip\0",
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: compression type at 0x18: expected gzip, zstd, zstd22, xzkern, lzma, lzo, lz4 or bzip2, found 'lzip'
        "#]],
    );
    check_header(
        0x18,
        b"\0",
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: compression type at 0x18: expected gzip, zstd, zstd22, xzkern, lzma, lzo, lz4 or bzip2, found ''
        "#]],
    );
    check_header(
        0x18,
        b"gzip2",
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: compression type at 0x18: expected gzip, zstd, zstd22, xzkern, lzma, lzo, lz4 or bzip2, found 'gzip2'
        "#]],
    );
    check_header(
        0x18,
        b"GZIP",
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: compression type at 0x18: expected gzip, zstd, zstd22, xzkern, lzma, lzo, lz4 or bzip2, found 'GZIP'
        "#]],
    );
    check_header(
        0x18,
        &[b'x'; 32],
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: compression type at 0x18: expected gzip, zstd, zstd22, xzkern, lzma, lzo, lz4 or bzip2, found 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
        "#]],
    );
}

#[test]
fn refuses_a_payload_outside_the_image() {
    check_header(
        0x08,
        &u32::MAX.to_le_bytes(),
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: payload at 0xffffffff of 0x1a bytes: expected it to end inside the image, of 0x400 bytes
        "#]],
    );
    check_header(
        0x0c,
        &u32::MAX.to_le_bytes(),
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: payload at 0x200 of 0xffffffff bytes: expected it to end inside the image, of 0x400 bytes
        "#]],
    );
    check_header(
        0x0c,
        &0xffff_ff00_u32.to_le_bytes(),
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: payload at 0x200 of 0xffffff00 bytes: expected it to end inside the image, of 0x400 bytes
        "#]],
    );
    check_header(
        0x08,
        &0x3f_u32.to_le_bytes(),
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: payload offset at 0x8: expected 0x40 or more, behind the header, found 0x3f
        "#]],
    );
    check_header(
        0x0c,
        &[0; 4],
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: payload size at 0xc: expected a compressed kernel, found 0 bytes
        "#]],
    );
}

#[test]
fn refuses_a_payload_that_is_no_stream() {
    check(
        &zboot("zstd", b"not compressed"),
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              failed: bpf_decompress: the payload cannot be decompressed: no compression of the Linux kernel starts with 6e 6f 74 20 63 6f 6d 70 72: expected gzip, bzip2, lzma, xz, lzo, lz4 (legacy) or zstd
              printed: zboot: payload at 0x200 of 0xe bytes: expected a whole zstd stream, it does not decompress
        "#]],
    );
    let whole = gzip(&[b'k'; 1000]);
    check(
        &zboot("gzip", &whole[..whole.len() - 12]),
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              failed: bpf_decompress: the payload cannot be decompressed: the gzip stream is cut short: the input ends at offset 0x12 and the data go on; check the payload's size in the image's header
              printed: zboot: payload at 0x200 of 0x12 bytes: expected a whole gzip stream, it does not decompress
        "#]],
    );
}

#[test]
fn refuses_an_empty_kernel() {
    check(
        &zboot("gzip", &gzip(b"")),
        expect![[r#"
            image: stage 1 (zboot.bpf.o, built-in): no kernel was handed over
              printed: zboot: decompressed kernel: expected 1 to 0x1ffff000 bytes, found 0x0
        "#]],
    );
}
