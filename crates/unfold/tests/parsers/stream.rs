//! Bare compressed kernels, and the kernels in them.

use std::path::Path;

use expect_test::{Expect, expect};

use crate::image::{gzip, section, uki, zboot};
use crate::{Caller, KERNEL, outcome, run};

fn check(image: &[u8], expected: Expect) {
    expected.assert_eq(&outcome(&run(image, &Caller::default())));
}

/// Returns a stream of the decompressor's tests, which a real tool wrote.
fn stream(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decompress/testdata");
    std::fs::read(folder.join(name)).unwrap()
}

const STREAMS: [&str; 8] = [
    "data.gz",
    "data.bz2",
    "data.lzma",
    "data.xz",
    "data.lzo",
    "data.lz4",
    "data.zst",
    "sized.zst",
];

/// Expects that `image` unpacks to the decompressor's test data.
fn check_unpacked(image: &[u8], what: &str) {
    let unfolded = run(image, &Caller::default());
    let error = unfolded.as_ref().err().map(|error| crate::chain(error));
    assert_eq!(error, None, "{what}");
    let unfolded = unfolded.unwrap();
    assert!(
        unfolded.kernel.to_vec().unwrap() == stream("data.raw"),
        "{what}"
    );
    let stages = unfolded.report.stages;
    let parsers: Vec<&str> = stages.iter().map(|it| it.parser.name.as_str()).collect();
    assert_eq!(parsers.last(), Some(&"stream.bpf.o"), "{what}");
}

#[test]
fn every_compression_is_unpacked() {
    for name in STREAMS {
        check_unpacked(&stream(name), name);
    }
}

#[test]
fn hands_over_the_kernel_and_nothing_else() {
    let caller = Caller {
        initrd: Some(b"mine"),
        cmdline: Some("ro"),
    };
    expect![[r#"
        kernel "kernel"
        initrd "mine"
        cmdline "ro"
        stream.bpf.o: kernel 6
    "#]]
    .assert_eq(&outcome(&run(&gzip(KERNEL), &caller)));
}

#[test]
fn is_found_inside_a_uki_and_around_one() {
    for name in STREAMS {
        let image = crate::image::pe(&[section(".linux", stream(name))]);
        check_unpacked(&image, name);
    }
    check(
        &gzip(&uki(&[section(".cmdline", "ro")])),
        expect![[r#"
        kernel "kernel"
        cmdline "ro"
        stream.bpf.o: kernel 2048
        uki.bpf.o: kernel 6, command line 2
    "#]],
    );
    check(
        &gzip(&zboot("gzip", &gzip(KERNEL))),
        expect![[r#"
        kernel "kernel"
        stream.bpf.o: kernel 1024
        zboot.bpf.o: kernel 6
    "#]],
    );
}

/// Returns `stream` with a signature of `size` bytes as sign-file appends it.
fn signed(mut stream: Vec<u8>, size: u32, claimed: u32) -> Vec<u8> {
    stream.extend((0..size).map(|byte| byte as u8));
    stream.extend([0; 8]);
    stream.extend(claimed.to_be_bytes());
    stream.extend(b"~Module signature appended~\n");
    stream
}

/// It is no part of the stream, and the warning of bytes behind a stream does not
/// count it.
#[test]
fn leaves_an_appended_signature_alone() {
    for name in STREAMS {
        let image = signed(stream(name), 700, 700);
        check_unpacked(&image, name);
        let unfolded = run(&image, &Caller::default()).unwrap();
        assert_eq!(unfolded.report.warnings, [], "{name}");
    }
    // One that is longer than the image is none.
    let image = signed(gzip(KERNEL), 0, u32::MAX);
    let unfolded = run(&image, &Caller::default()).unwrap();
    assert_eq!(unfolded.report.warnings.len(), 1);
}

/// Bytes behind a stream are the kernel's size, or padding; a warning counts them.
#[test]
fn leaves_what_follows_a_stream_alone() {
    for behind in [&[0; 4][..], &[0; 511], b"junk"] {
        let image = [&gzip(KERNEL), behind].concat();
        let unfolded = run(&image, &Caller::default()).unwrap();
        assert_eq!(unfolded.kernel.to_vec().unwrap(), KERNEL);
        let warnings: Vec<String> = unfolded
            .report
            .warnings
            .iter()
            .map(|it| it.to_string())
            .collect();
        let count = behind.len();
        assert_eq!(
            warnings,
            [format!(
                "image: stage 1: ignored {count} bytes behind the gzip payload"
            )]
        );
    }
}

#[test]
fn refuses_what_is_damaged_or_cut_off() {
    let whole = gzip(&[b'k'; 1000]);
    check(
        &whole[..2],
        expect![[r#"
            image: stage 1 (stream.bpf.o, built-in): no kernel was handed over
              failed: bpf_decompress: the payload cannot be decompressed: the gzip stream is cut short: the input ends at offset 0x2 and the data go on; check the payload's size in the image's header
              printed: stream: payload at 0x0 of 0x2 bytes: expected a whole gzip stream, it does not decompress
        "#]],
    );
    check(
        &whole[..whole.len() - 12],
        expect![[r#"
            image: stage 1 (stream.bpf.o, built-in): no kernel was handed over
              failed: bpf_decompress: the payload cannot be decompressed: the gzip stream is cut short: the input ends at offset 0x12 and the data go on; check the payload's size in the image's header
              printed: stream: payload at 0x0 of 0x12 bytes: expected a whole gzip stream, it does not decompress
        "#]],
    );
    check(
        &gzip(b""),
        expect![[r#"
            image: stage 1 (stream.bpf.o, built-in): no kernel was handed over
              printed: stream: decompressed kernel: expected 1 to 0x1ffff000 bytes, found 0x0
        "#]],
    );
    for name in STREAMS {
        let whole = stream(name);
        for cut in [13, whole.len() / 2] {
            let image = whole.get(..cut).unwrap();
            // LZ4 ends where a block does.
            let Err(error) = run(image, &Caller::default()) else {
                assert_eq!(name, "data.lz4", "cut at {cut}");
                continue;
            };
            assert!(crate::chain(&error).contains("stream"), "{name}: {error}");
        }
    }
}

#[test]
fn takes_a_stream_in_a_stream_as_often_as_there_are_stages() {
    let mut image = KERNEL.to_vec();
    for _ in 0..8 {
        image = gzip(&image);
    }
    let unfolded = run(&image, &Caller::default()).unwrap();
    assert_eq!(unfolded.kernel.to_vec().unwrap(), KERNEL);
    check(
        &gzip(&image),
        expect![[r#"
            image > kernel handed over by stream > kernel handed over by stream > kernel handed over by stream > kernel handed over by stream > kernel handed over by stream > kernel handed over by stream > kernel handed over by stream > kernel handed over by stream: stage 9 (stream.bpf.o, built-in): the budget of 8 stages is used up, and one more parser fits; --max-stages raises it
        "#]],
    );
}

#[test]
fn other_beginnings_are_no_streams() {
    let lzma = stream("data.lzma");
    let mut no_dictionary = lzma.clone();
    no_dictionary[1..5].fill(0);
    let mut huge = lzma;
    huge[5..13].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    for image in [
        &b""[..],
        b"\x1f",
        b"BZ9",
        b"\x04\x22\x4d\x18 an LZ4 frame",
        b"LZIP\x01",
        b"]\0text",
        b"070701",
        &no_dictionary,
        &huge,
    ] {
        let unfolded = run(image, &Caller::default()).unwrap();
        assert!(
            unfolded.report.stages.is_empty(),
            "{}",
            image.escape_ascii()
        );
    }
}
